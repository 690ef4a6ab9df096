"""The loop: train what was found, refit the law on all runs, search again, say what changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...files.table import read_runs
from ...files.write import check_writable, json_text, write_whole
from ...objectives.fit.report import report_law
from ...objectives.fit.runs import law_runs
from ...objectives.law.loss_law import LossLaw
from ...presets.devices import KnownDevice
from ...presets.known import Known
from ...presets.laws import KnownLaw, known_law, save_law
from ...search.answer import Answer
from ...search.experts import refuse_sparse
from ...search.find import find
from ...search.question import Question
from ...search.record import write_record
from .choose import Choice
from .confirm import Confirmation, confirm
from .train_all import RUNS_FILE, Training

LAW_FILE, CONFIRM_FOLDER, ROUND_FILE = "law.toml", "confirm", "round.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Round:
    """One turn of the loop.

    Attributes:
        number: from 1 on.
        confirmation: what training said of the answer so far.
        law_before: the law of that answer.
        law_after: refitted on all runs.
        found: the answer under the refitted law.
        settled: whether another round would change nothing: the measured winner's shape is among
            those that the new answer holds tied with its best, and that best has been trained.
    """

    number: int
    confirmation: Confirmation
    law_before: LossLaw
    law_after: LossLaw
    found: Answer
    settled: bool

    def as_dict(self) -> dict[str, Any]:
        """The round as one JSON object."""
        comparison = self.confirmation.comparison
        return {
            "round": self.number,
            "measured_best_shape": list(comparison.best.candidate.shape),
            "measured_loss": comparison.best.measured_loss,
            "predicted_best_shape": list(comparison.winner.candidate.shape),
            "regret_nats": comparison.regret_nats,
            "law_before": self.law_before.numbers | {"kappa": self.law_before.kappa},
            "law_after": self.law_after.numbers | {"kappa": self.law_after.kappa},
            "new_best_shape": list(self.found.best.shape),
            "new_tied_shapes": [list(shape) for shape in self.found.tied_shapes],
            "settled": self.settled,
        }


def refine(
    answer: Answer,
    folder: Path,
    *,
    runs: Iterable[Path] = (),
    rounds: int = 3,
    choice: Choice = Choice(),  # noqa: B008
    training: Training = Training(),  # noqa: B008
    command: str = "",
    on_progress: Callable[[str], None] = lambda line: None,
) -> Iterator[Round]:
    """Confirm, refit, search again; until nothing changes or the rounds are over.

    Every round is kept in `folder/round-N`: what was trained, the law, the new answer. What is
    trained there already is not trained again. A round is yielded once it is kept.

    Args:
        answer: the answer to start from.
        folder: where the rounds are, or will be.
        runs: CSVs of earlier runs to fit on besides, of the same text and vocabulary.
        rounds: the most to make.
        choice: what to train; its seed is that of search and bootstrap too.
        training: how.
        command: the command line, for the records.
        on_progress: called with a line before anything that takes time.

    Raises:
        ValueError: `rounds` is not positive, or see `confirm` and `report_law`.
    """
    refuse_sparse(answer.question, "a law's refit")
    if rounds < 1:
        raise ValueError(f"`rounds` must be at least 1, but got {rounds}")
    tables = [read_runs(path) for path in runs]
    for table in tables:
        law_runs(table, few=True)  # what cannot be fitted is told before hours of training
    choice = dataclasses.replace(choice, device=choice.device or answer.known.device)
    for number in range(1, rounds + 1):
        here = folder / f"round-{number}"
        check_writable(here / CONFIRM_FOLDER)
        on_progress(f"round {number}: training")
        confirmation = confirm(
            answer,
            here / CONFIRM_FOLDER,
            choice=choice,
            training=training,
            on_progress=on_progress,
        )
        confirmation.save(here / CONFIRM_FOLDER, command=command)
        tables.append(read_runs(here / CONFIRM_FOLDER / RUNS_FILE))
        on_progress(f"round {number}: fitting the law to all runs, searching again")
        found = find(_refitted(answer.question, merged(tables), here, choice))
        write_record(found, here, command=command)
        done = _round(number, confirmation, before=answer, after=found)
        write_whole(here / ROUND_FILE, json_text(done.as_dict(), indent=2) + "\n")
        yield done
        if done.settled:
            return
        answer = found


def _refitted(
    question: Question, runs: dict[str, np.ndarray], folder: Path, choice: Choice
) -> Question:
    """Refit the law, keep it in the folder, and ask the same under it."""
    report = report_law(runs, name=folder.name, source=f"anybudget refine, {folder.name}")
    path = folder / LAW_FILE
    save_law(path, KnownLaw.of(report))
    device = choice.device or KnownDevice(device=question.objective.device)
    known = Known(law=known_law(str(path)), device=device)
    return dataclasses.replace(question.under(known), seed=choice.seed)


def _round(number: int, confirmation: Confirmation, *, before: Answer, after: Answer) -> Round:
    """What a round changed, and whether another would change more."""
    comparison = confirmation.comparison
    trained = {model.candidate.shape for model in comparison.models if model.measured_loss}
    return Round(
        number=number,
        confirmation=confirmation,
        law_before=before.objective.law,
        law_after=after.objective.law,
        found=after,
        settled=comparison.best.candidate.shape in after.tied_shapes
        and after.best.shape in trained,
    )


def merged(tables: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Several tables of runs as one, with the columns that all of them have."""
    columns = [name for name in tables[0] if all(name in table for table in tables)]
    return {name: np.concatenate([table[name] for table in tables]) for name in columns}
