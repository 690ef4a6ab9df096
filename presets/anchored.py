"""A law moved by a table of a user's own runs, for `fit --prior` and `find --anchor` alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ..files.table import read_runs
from ..objectives.fit.prior import Anchored, anchor
from ..objectives.fit.report import corpus_of
from ..objectives.fit.runs import law_runs
from ..objectives.law.loss_law import LossLaw
from .laws import KnownLaw


class Moved(NamedTuple):
    """A law moved by runs of one's own, the law that it was, and what to beware of in the runs."""

    anchored: Anchored
    prior: LossLaw
    warnings: tuple[str, ...]

    @property
    def known(self) -> KnownLaw:
        """The moved law with its draws."""
        return KnownLaw(law=self.anchored.law, draws=self.anchored.draws)

    @property
    def sentence(self) -> str:
        """How far the level moved, by how many runs."""
        n_runs, level = self.anchored.n_runs, self.anchored.level
        return (
            f"{self.prior.name} moved by {n_runs} {'runs' if n_runs > 1 else 'run'} of yours, "
            f"whose loss is {level:+.1%} from that of its own data ({self.prior.corpus})"
        )


def moved_by(
    known: KnownLaw,
    runs: Path,
    *,
    name: str = "",
    columns: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Moved:
    """The law of the data of some runs, another data's law being the prior.

    Args:
        known: of the other data.
        runs: a CSV as `fit` takes it, of any number of runs.
        name: of the moved law; default: of both that it came from.
        columns: names in the table by ours.
        seed: of the draws.

    Raises:
        ValueError: the table is none, or lacks a column that the law's terms need.
    """
    table, before = read_runs(runs, dict(columns or {})), known.law
    few = law_runs(table, n_convention=before.n_convention, few=True)
    anchored = anchor(before, known.draws, few, seed=seed)
    vocabulary = few.columns.get("vocab_size")
    law = dataclasses.replace(
        anchored.law,
        name=name or f"{before.name}+{runs.stem}",
        corpus=corpus_of(table),
        vocab_size=before.vocab_size if vocabulary is None else int(vocabulary[0]),
        level_std=0.0,
        source=f"{before.name} moved by {anchored.n_runs} runs of {runs.name}, by anybudget",
    )
    warnings = few.warnings
    if anchored.n_runs < few.n_runs:
        warnings += ("all runs are of one model: the longest tells the level, the others nothing",)
    return Moved(dataclasses.replace(anchored, law=law), before, warnings)
