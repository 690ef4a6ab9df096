"""Many searches at the price of a few: those on one space share its enumeration.

Finished searches are kept in a file, one row each under the fingerprint of its question, so that a
batch that was killed goes on where it was, and an edited plan searches only what is new in it.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd

from ...files.rows import append_row, read_rows
from ...objectives.loss_at_time import LossAtTime
from ...objectives.shown import Shown
from ...objectives.uncertainty import stacked
from ..certify.bounds import certify
from ..certify.frontier import Frontier, Shapes, find_frontiers, serves
from ..certify.scan import scan
from ..find import MAX_RANKED
from ..question import Question
from .curves import fit_curves
from .record import KEPT
from .row import AnswerRow, KeptRow, row_of

# Each of a space's devices, with what it keeps in memory, some 100 MB of the default space.
DEVICES_AT_ONCE = 6
# Spaces of more architectures are not enumerated for many searches, but bounded for each.
MAX_ENUMERATED = 10_000_000

Report = Callable[[str, int, int], None]


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Batch(Shown):
    """The answers of a plan.

    Attributes:
        questions: of the plan, in its order.
        table: of `run_batch`, a row a question.
        curves: of `fit_curves`, how the winners grow with time.
        folder: where they are kept.
        files: what was written there.
    """

    questions: list[Question]
    table: pd.DataFrame
    curves: pd.DataFrame
    folder: Path
    files: list[str] = dataclasses.field(default_factory=list)

    @classmethod
    def of(cls, questions: list[Question], table: pd.DataFrame, folder: Path) -> Batch:
        """The batch with its curves fitted."""
        return cls(
            questions=questions, table=table, curves=fit_curves(questions, table), folder=folder
        )

    @property
    def headline(self) -> str:
        """How many searches, and where they are kept."""
        return f"{len(self.table)} searches in {self.folder}"

    @property
    def frame(self) -> pd.DataFrame:
        """The table."""
        return self.table

    def as_dict(self) -> dict[str, Any]:
        """Both tables, a list of rows each, for JSON."""
        tables = {"searches": self.table, "curves": self.curves}
        rows = {name: one.astype(object).where(one.notna(), None) for name, one in tables.items()}
        return {name: one.to_dict(orient="records") for name, one in rows.items()}


def run_batch(
    questions: list[Question],
    folder: Path,
    *,
    on_progress: Report = lambda stage, done, total: None,
) -> pd.DataFrame:
    """Search what is missing, and tell all of it.

    Args:
        questions: of `load_plan`.
        folder: an existing folder, with what an earlier run of this or another plan kept there,
            held by the caller.
        on_progress: called with the stage, what is newly done in it, and the stage's total.

    Returns:
        A table with a row for each question, in their order: the columns of the question, then
        those of its `AnswerRow`.

    Raises:
        ValueError: what was kept there cannot be read.
    """
    kept = folder / KEPT
    rows = read_rows(kept, KeptRow)
    answers: dict[str, AnswerRow] = {row.fingerprint: row for row in rows}
    missing = [question for question in questions if question.fingerprint not in answers]
    on_progress("searches", len(questions) - len(missing), len(questions))
    for found in search_all(missing, on_progress):
        append_row(kept, found)
        answers[found.fingerprint] = found
        on_progress("searches", 1, len(questions))
    return to_table(questions, answers)


def to_table(questions: list[Question], answers: dict[str, AnswerRow]) -> pd.DataFrame:
    """Questions with their answers, a row each."""
    rows = [
        columns_of(question)
        | answers[question.fingerprint].model_dump(mode="json", include=set(AnswerRow.model_fields))
        for question in questions
    ]
    return pd.DataFrame(rows).astype(_dtypes())


def columns_of(question: Question) -> dict[str, Any]:
    """The columns that say what was asked."""
    words, objective = question.words, question.objective
    return {
        "search": words.name,
        "device": objective.hardware,
        "attention": objective.attention,
        "law": objective.law.name,
        "space": question.space_name,
        "settings": "; ".join(words.settings),
        "remat_asked": objective.remat,
        "data_limit_tokens": objective.data_limit_tokens,
        "critical_batch": objective.critical_batch,
        "extrapolate": words.extrapolate,
        "seed": question.seed,
        "budget": words.budget,
        "time_budget_s": objective.time_budget_s,
    }


def _dtypes() -> dict[str, str]:
    """Types of a table's columns, in which whole numbers stay whole where some are missing."""
    kinds = {int: "Int64", float: "Float64", bool: "boolean"}
    fields = {name: field.annotation for name, field in AnswerRow.model_fields.items()}
    answers = {
        name: next((kinds[one] for one in (get_args(kind) or (kind,)) if one in kinds), "string")
        for name, kind in fields.items()
    }
    return answers | {"data_limit_tokens": "Float64", "time_budget_s": "Float64"}


def search_all(questions: list[Question], on_progress: Report) -> Iterator[KeptRow]:
    """The answers, one by one, those that share an enumeration together."""
    groups = list(_by_space(questions))
    total = sum(shared[0].space.n_architectures for shared in groups)
    for shared in groups:
        size = shared[0].space.n_architectures
        if size <= MAX_ENUMERATED:
            frontiers = _frontiers(shared, lambda n: on_progress("enumeration", n, total))
        else:
            frontiers = {}
            on_progress("enumeration", size, total)
        for question in shared:
            frontier = frontiers.get(_machine(question))
            yield row_of(question, _best_shapes(question, frontier))


def _by_space(questions: list[Question]) -> Iterator[list[Question]]:
    """Questions in groups of one space and of few devices."""
    spaces: dict = {}
    for question in questions:
        machines = spaces.setdefault(question.space, {})
        machines.setdefault(_machine(question), []).append(question)
    for machines in spaces.values():
        groups = list(machines.values())
        for at in range(0, len(groups), DEVICES_AT_ONCE):
            yield list(itertools.chain.from_iterable(groups[at : at + DEVICES_AT_ONCE]))


def _machine(question: Question) -> str:
    """What makes a frontier, beside the space."""
    objective = question.objective
    pins = objective.remat, objective.micro_batch_size, objective.splits
    return repr((objective.device, objective.simplest, *pins))


def _frontiers(
    questions: list[Question], on_progress: Callable[[int], None]
) -> dict[str, Frontier | None]:
    objectives: dict[str, LossAtTime] = {
        _machine(one): one.objective for one in questions if serves(one.objective)
    }
    found = find_frontiers(questions[0].space, list(objectives.values()), on_progress)
    return dict(zip(objectives, found, strict=True))


def _best_shapes(question: Question, frontier: Frontier | None) -> Shapes | None:
    """The best of each of the best shapes."""
    space, objective = question.space, question.objective
    if not serves(objective) or space.n_architectures > MAX_ENUMERATED:
        return _searched(question)
    # A frontier knows nothing of a limit to parameters: what that leaves out is searched for.
    free = dataclasses.replace(objective, reach=None)
    found = frontier.best_shapes(free, MAX_RANKED) if frontier else None
    within = found is None or np.all(free.counted_params(found[1]) <= objective.most_params)
    return found if within else _searched(question)


def _searched(question: Question) -> Shapes | None:
    space, objective = question.space, question.objective
    proof = certify(space, objective, top=MAX_RANKED)
    shapes = proof.candidates if proof else scan(space, objective, top=1).shapes[:MAX_RANKED]
    archs, predictions = [one.arch for one in shapes], [one.prediction for one in shapes]
    return (stacked(archs), stacked(predictions)) if shapes else None
