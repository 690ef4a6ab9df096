"""A fit as a law that `find --law` takes: its numbers, and the ranges of its runs."""

from __future__ import annotations

from ..law.loss_law import RANGED, LossLaw
from .law import LawFit
from .runs import LawRuns


def as_loss_law(fit: LawFit, runs: LawRuns, *, name: str, corpus: str, source: str) -> LossLaw:
    """The fitted law as `find --law` takes it, its ranges those of the runs.

    Raises:
        ValueError: a number of the fit is not one that a law can have, as A = 0.
    """
    aspect_ratio_range = None
    if {"d_model", "n_layers"} <= set(runs.columns):
        ratio = runs.columns["d_model"] / runs.columns["n_layers"]
        aspect_ratio_range = (float(ratio.min()), float(ratio.max()))
    vocab_size = runs.columns.get("vocab_size")
    return LossLaw(
        name=name,
        E=fit.values["E"],
        A=fit.values["A"],
        B=fit.values["B"],
        alpha=fit.values["alpha"],
        beta=fit.values["beta"],
        terms={term: fit.values[term] for term in fit.terms},
        kappa=fit.kappa,
        copying=fit.copying,
        residual_std=fit.residual_std,
        n_convention=runs.n_convention,
        corpus=corpus,
        source=source,
        n_params_range=(float(runs.n_params.min()), float(runs.n_params.max())),
        n_tokens_range=(float(runs.n_tokens.min()), float(runs.n_tokens.max())),
        aspect_ratio_range=aspect_ratio_range,
        ranges=_ranges(runs),
        vocab_size=None if vocab_size is None else int(vocab_size[0]),
    )


def _ranges(runs: LawRuns) -> dict[str, tuple[float, float]]:
    """The range of each field and ratio of `RANGED` that the runs tell of."""
    columns = runs.columns
    ratios = {"ff_ratio": ("d_ff", "d_model"), "heads_per_kv_head": ("n_heads", "n_kv_heads")}
    values = {name: columns[name] for name in RANGED if name in columns} | {
        name: columns[over] / columns[under]
        for name, (over, under) in ratios.items()
        if {over, under} <= set(columns)
    }
    return {name: (float(column.min()), float(column.max())) for name, column in values.items()}
