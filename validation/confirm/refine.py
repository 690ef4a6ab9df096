"""The loop: train what was found, refit the law on all runs, search again, say what changed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ...files import disk
from ...files.table import read_runs
from ...files.write import write_whole
from ...objectives.fit.report import report_law
from ...objectives.law.loss_law import LossLaw
from ...presets.devices import KnownDevice
from ...presets.known import Known
from ...presets.laws import KnownLaw, known_law, save_law
from ...search.answer import Answer
from ...search.find import find
from ...search.record import write_record
from .confirm import Confirmation, confirm
from .train_all import RUNS_FILE

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
    result: Answer,
    folder: Path,
    *,
    runs: Iterable[Path] = (),
    rounds: int = 3,
    device: KnownDevice | None = None,
    seed: int = 0,
    command: str = "",
    on_progress: Callable[[str], None] = lambda line: None,
    on_round: Callable[[Round, Path], None] = lambda done, folder: None,
    **training: Any,
) -> list[Round]:
    """Confirm, refit, search again; until nothing changes or the rounds are over.

    Every round is kept in `folder/round-N`: what was trained, the law, the new answer. What is
    trained there already is not trained again.

    Args:
        result: the answer to start from.
        folder: where the rounds are, or will be.
        runs: CSVs of earlier runs to fit on besides, of the same text and vocabulary.
        rounds: the most to make.
        device: to predict and search for; the result's when left out.
        seed: of search, bootstrap and choice of contrast.
        command: the command line, for the records.
        on_progress: called with a line before anything that takes time.
        on_round: called with each round once it is there, and its folder.
        **training: see `confirm`.

    Raises:
        ValueError: `rounds` is not positive, or see `confirm` and `report_law`.
    """
    if rounds < 1:
        raise ValueError(f"`rounds` must be at least 1, but got {rounds}")
    tables, done = [read_runs(path) for path in runs], []
    device = device or result.known.device
    for number in range(1, rounds + 1):
        here = folder / f"round-{number}"
        disk.make_folder(here / CONFIRM_FOLDER)
        on_progress(f"round {number}: training")
        confirmation = confirm(
            result,
            here / CONFIRM_FOLDER,
            device=device,
            seed=seed,
            on_progress=on_progress,
            **training,
        )
        confirmation.save(here / CONFIRM_FOLDER, command=command)
        tables.append(read_runs(here / CONFIRM_FOLDER / RUNS_FILE))
        on_progress(f"round {number}: fitting the law to all runs, searching again")
        found = _search_again(
            result, merged(tables), here, device=device, seed=seed, command=command
        )
        trained = {m.candidate.shape for m in confirmation.comparison.models if m.measured_loss}
        best_measured = confirmation.comparison.best.candidate.shape
        done.append(
            Round(
                number=number,
                confirmation=confirmation,
                law_before=result.objective.law,
                law_after=found.objective.law,
                found=found,
                settled=best_measured in found.tied_shapes and found.best.shape in trained,
            )
        )
        write_whole(here / ROUND_FILE, json.dumps(done[-1].as_dict(), indent=2) + "\n")
        on_round(done[-1], here)
        if done[-1].settled:
            break
        result = found
    return done


def _search_again(
    result: Answer,
    runs: dict[str, np.ndarray],
    folder: Path,
    *,
    device: KnownDevice,
    seed: int,
    command: str,
) -> Answer:
    """Refit the law, keep it in the folder, and answer the result's question under it."""
    report = report_law(runs, name=folder.name, source=f"anybudget refine, {folder.name}")
    path = folder / LAW_FILE
    save_law(path, KnownLaw.of(report))
    known = Known(law=known_law(str(path)), device=device)
    found = find(dataclasses.replace(result.question.under(known), seed=seed))
    write_record(found, folder, command=command)
    return found


def merged(tables: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Several tables of runs as one, with the columns that all of them have."""
    columns = [name for name in tables[0] if all(name in table for table in tables)]
    return {name: np.concatenate([table[name] for table in tables]) for name in columns}
