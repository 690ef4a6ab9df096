"""Training runs as the fit of a loss law needs them, and the law that a fit to them is."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..law.loss_law import N_COLUMNS, RANGED, Convention, LossLaw
from .table import looked_through, positive, run_of_rows

if TYPE_CHECKING:
    from .law import LawFit

# The law has five unknowns, and one more run shows how well they do.
MIN_RUNS = 6
FEW_RUNS = 15
# A constant and a power law have three unknowns.
MIN_VALUES = 3
# Values closer than this are one: a size read off a figure is no more precise.
SAME_VALUE = 0.01
COLLINEAR = 0.98


class TooFewRunsError(ValueError):
    """Runs that are sound, but cannot tell a law without another's help.

    Attributes:
        lack: what they lack, in words.
    """

    def __init__(self, lack: str) -> None:
        super().__init__(
            f"{lack}; fit --prior LAW moves a known law by as few as one, and says how far"
        )
        self.lack = lack


@dataclasses.dataclass(frozen=True, kw_only=True)
class LawRuns:
    """R rows of runs that a loss law can be fitted to; `law_runs` checks and builds them.

    Attributes:
        n_params: parameters by `n_convention`, (R,).
        n_tokens: tokens trained on, (R,).
        measured_loss: nats per token, (R,).
        n_convention: which parameters are counted.
        run: the training run of each row, counted from 0, (R,).
        columns: every column that has a number in each row, by its name, each (R,).
        warnings: what a reader should know of the data, a sentence each.
    """

    n_params: np.ndarray
    n_tokens: np.ndarray
    measured_loss: np.ndarray
    n_convention: Convention
    run: np.ndarray
    columns: dict[str, np.ndarray]
    warnings: tuple[str, ...] = ()

    @property
    def n_runs(self) -> int:
        """Independent training runs; several rows may share one."""
        return int(self.run.max()) + 1

    @property
    def shape(self) -> np.ndarray:
        """The architecture of each row, counted from 0: its width and depth, else its size."""
        if {"d_model", "n_layers"} <= set(self.columns):
            keys = np.column_stack([self.columns["d_model"], self.columns["n_layers"]])
        else:
            keys = _level(self.n_params)[:, None]
        return np.unique(keys, axis=0, return_inverse=True)[1].ravel()

    def longest(self) -> LawRuns:
        """The rows that have seen the most tokens."""
        return self.only(self.n_tokens == self.n_tokens.max())

    def only(self, kept: np.ndarray) -> LawRuns:
        """The rows that are kept, (R,)."""
        return dataclasses.replace(
            self,
            n_params=self.n_params[kept],
            n_tokens=self.n_tokens[kept],
            measured_loss=self.measured_loss[kept],
            run=np.unique(self.run[kept], return_inverse=True)[1],
            columns={name: column[kept] for name, column in self.columns.items()},
        )


def law_runs(
    table: Mapping[str, Any], *, n_convention: Convention | None = None, few: bool = False
) -> LawRuns:
    """Check a table of runs and keep what the fit of a law needs.

    What the table says beside what it means is set right with a warning (`table`). Rows with the
    same value in the column `run`, or W&B's `Name`, are of one training run.

    Args:
        table: columns by name, lists or arrays of one length.
        n_convention: which parameters the law shall count; None: all, where the table has them.
        few: whether any number of runs will do, for another law tells the rest.

    Raises:
        ValueError: a column is missing, a number is not positive and finite, or the runs differ in
            vocabulary or text.
        TooFewRunsError: they are too few or too alike to tell a law from them.
    """
    if n_convention is None:
        only = "n_params" not in table and "n_params_non_embedding" in table
        n_convention = "non_embedding" if only else "total"
    names = (N_COLUMNS[n_convention], "n_tokens", "measured_loss")
    _require_columns(names, table)
    if np.any(np.asarray(table.get("n_experts", 1)).astype(float) > 1):
        raise ValueError("runs of models with experts fit no law of dense ones; leave them out")
    columns, warnings = looked_through({n: np.asarray(table[n]) for n in table}, names)
    n_params, n_tokens, measured_loss = (positive(name, columns[name]) for name in names)
    run = run_of_rows(columns, len(n_params))
    if not (few and len(run)):
        warnings += _require_spread(n_params, n_tokens, run)
        if np.all(measured_loss == measured_loss[0]):
            raise ValueError(
                f"runs must differ in `measured_loss`, but all have {measured_loss[0]:.4g}"
            )
    return LawRuns(
        n_params=n_params,
        n_tokens=n_tokens,
        measured_loss=measured_loss,
        n_convention=n_convention,
        run=run,
        columns={name: c.astype(float) for name, c in columns.items() if _is_full_of_numbers(c)},
        warnings=tuple(warnings),
    )


def _require_columns(names: tuple[str, ...], table: Mapping[str, Any]) -> None:
    missing = [name for name in names if name not in table]
    if missing:
        raise ValueError(
            "runs must have the columns `n_params` or `n_params_non_embedding`, `n_tokens` and "
            f"`measured_loss`, but {', '.join(missing)} is missing from {', '.join(table)}; "
            "fit --column n_params=params reads yours under its own name"
        )


def _is_full_of_numbers(column: np.ndarray) -> bool:
    return column.dtype.kind in "biuf" and bool(np.isfinite(column).all())


def _require_spread(n_params: np.ndarray, n_tokens: np.ndarray, run: np.ndarray) -> list[str]:
    """Refuse runs that cannot tell five unknowns; warn where they hardly can."""
    n_runs = len(np.unique(run))
    if n_runs < MIN_RUNS:
        raise TooFewRunsError(
            f"a law has 5 unknowns and needs at least {MIN_RUNS} runs, but got {n_runs}"
        )
    for what, values in (("model sizes", n_params), ("amounts of tokens", n_tokens)):
        n_values = len(np.unique(_level(values)))
        if n_values < MIN_VALUES:
            raise TooFewRunsError(
                f"a law needs runs with at least {MIN_VALUES} {what}, but all have "
                f"{' or '.join(f'{v:.4g}' for v in np.unique(values)[:2])}"
            )
    warnings = []
    if n_runs < FEW_RUNS:
        warnings.append(f"only {n_runs} runs for 5 unknowns: expect wide intervals")
    correlation = np.corrcoef(np.log(n_params), np.log(n_tokens))[0, 1]
    if abs(correlation) > COLLINEAR:
        warnings.append(
            f"size and tokens move together in these runs (correlation {correlation:.3f}): the law "
            "cannot tell their effects apart; vary the tokens at one size"
        )
    return warnings


def _level(values: np.ndarray) -> np.ndarray:
    """Values as integers from 0, the same for all within 1% above the smallest of them."""
    unique, rows = np.unique(values, return_inverse=True)
    levels, smallest = np.zeros(len(unique), int), unique[0]
    for i, value in enumerate(unique[1:], 1):
        is_new = value > smallest * (1 + SAME_VALUE)
        levels[i] = levels[i - 1] + is_new
        smallest = value if is_new else smallest
    return levels[rows]


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
