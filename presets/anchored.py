"""A law moved by runs, a user's own or published ones, for `fit --prior` and `--anchor`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..files.table import read_runs
from ..objectives.fit.prior import Anchored, anchor, of_another_recipe
from ..objectives.fit.report import corpus_of
from ..objectives.fit.runs import law_runs
from ..objectives.fit.scores import Told, told
from ..objectives.law.loss_law import LossLaw
from ..objectives.shown import Shown, numbers_frame
from .anchors import ANCHORS
from .laws import CPU_LAW, DEFAULT_LAW, KnownLaw, load_law

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Moved(Shown):
    """A law moved by runs of one's own.

    Attributes:
        anchored: the moved law, with its draws.
        prior: the law that it was.
        told: what the runs tell of it.
        warnings: what to beware of in the runs.
        published: whether the runs are those that others published, and not a user's.
    """

    anchored: Anchored
    prior: LossLaw
    told: Told
    warnings: tuple[str, ...]
    published: bool = False

    @property
    def law(self) -> LossLaw:
        """The moved law."""
        return self.anchored.law

    @property
    def n_runs(self) -> int:
        """How many runs moved it."""
        return self.anchored.n_runs

    @property
    def headline(self) -> str:
        """How far the level moved, by how many runs."""
        n_runs, level = self.anchored.n_runs, self.anchored.level
        whose = f"on {self.law.corpus} that others published" if self.published else "of yours"
        return (
            f"{self.prior.name} moved by {n_runs} {'runs' if n_runs > 1 else 'run'} {whose}, "
            f"whose loss is {level:+.1%} from that of its own data ({self.prior.corpus})"
        )

    @property
    def frame(self) -> pd.DataFrame:
        """The law's numbers, a row each: before, after, standard error and interval of 95%."""
        before = self.prior.numbers
        frame = numbers_frame(self.anchored.as_dict(), before).rename(columns={"value": "after"})
        frame.insert(0, "before", list(before.values()))
        return frame

    def as_dict(self) -> dict[str, Any]:
        """The moved law's numbers, what the runs tell, and the warnings, as one JSON object."""
        return self.anchored.as_dict() | {
            "prior": self.prior.name,
            "told": dataclasses.asdict(self.told),
            "warnings": list(self.warnings),
        }

    @property
    def known(self) -> KnownLaw:
        """The moved law with its draws."""
        return KnownLaw(law=self.anchored.law, draws=self.anchored.draws)


def moved_by(
    known: KnownLaw,
    runs: Path,
    *,
    name: str = "",
    columns: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Moved:
    """The law of the data of some runs, another data's law being the prior.

    Runs that others published are of other recipes than the user's, whose level the law's draws
    then allow for.

    Args:
        known: of the other data.
        runs: a CSV as `fit` takes it, of any number of runs.
        name: of the moved law; default: of both that it came from.
        columns: names in the table by ours.
        seed: of the draws.

    Raises:
        ValueError: the table is none, or lacks a column that the law's terms need.
    """
    known = known.dense
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
    published = runs.parent == ANCHORS
    if published:
        # Of runs of one model the longest alone counted.
        recipes = np.asarray(table["recipe"])[: None if few.shape.any() else 1]
        draws = of_another_recipe(anchored.draws, recipes, kappa=law.kappa, seed=seed)
        anchored = dataclasses.replace(anchored, draws=draws)
    return Moved(
        anchored=dataclasses.replace(anchored, law=law),
        prior=before,
        told=told(before, known.draws, few, anchored),
        warnings=warnings,
        published=published,
    )


def nearest_law(table: Mapping[str, Any]) -> str:
    """Name of that of the two default laws whose runs were nearer in size to those of a table."""
    runs = law_runs(table, few=True)
    size = np.log(runs.n_params).mean()
    ranges = {name: np.log(load_law(name).n_params_range) for name in (DEFAULT_LAW, CPU_LAW)}
    return min(ranges, key=lambda name: np.abs(size - np.clip(size, *ranges[name])))
