"""Train all that is planned, a row of `runs.csv` each: in this process, or on an engine."""

from __future__ import annotations

import dataclasses
import gc
import hashlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax

from ...files import disk
from ...machines.engines import Engine
from ...machines.job import Job
from ...objectives.budget import format_budget
from ...objectives.cost.execution import Execution
from ...objectives.loss_at_time import LossAtTime
from ...search.candidate import Candidate
from ..runs import Run, append_row, read_rows, run_type
from ..training.corpus import check_corpus
from ..training.hosts import is_first
from ..training.loop import StepReport
from ..training.tokens import Tokens
from ..training.train import Upkeep, train
from ..training.train_job import train_job, training
from .choose import Entry
from .compare import Trained

# Trains one architecture and returns its row, as `train` does.
Train = Callable[..., Run]

RUNS_FILE, JOBS_FOLDER = "runs.csv", "jobs"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training:
    """How what was chosen is trained.

    Attributes:
        n_seeds: runs of each model, with seeds from 0 on.
        corpus: see `load_corpus`.
        cache_dir: where tokens are kept.
        train_one: what trains; for an engine, at the top level of a file.
        engine: where a fresh process trains each; None: in this process.

    Raises:
        ValueError: there are no runs to make, or there is no such corpus.
    """

    n_seeds: int = 1
    corpus: str = "python"
    cache_dir: Path | None = None
    train_one: Train = train
    engine: Engine | None = None

    def __post_init__(self) -> None:
        if self.n_seeds < 1:
            raise ValueError(f"`seeds` must be at least 1, but got {self.n_seeds}")
        check_corpus(self.corpus)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingList:
    """What to train, on what, for how long, and where its rows are.

    Seeds are the outer loop, so that an interrupted confirmation has run every model.
    """

    entries: list[Entry]
    tokens: Tokens
    folder: Path
    objective: LossAtTime
    n_seeds: int = 1

    @property
    def row_type(self) -> type[Run]:
        """What a run is a row of; all are of one space."""
        return run_type(self.entries[0].candidate.arch)

    @property
    def runs(self) -> list[PlannedRun]:
        """Every entry with every seed."""
        pairs = [(entry, seed) for seed in range(self.n_seeds) for entry in self.entries]
        return [
            PlannedRun(self, entry, seed, f"[{at}/{len(pairs)}]")
            for at, (entry, seed) in enumerate(pairs, start=1)
        ]


class PlannedRun(NamedTuple):
    """One run of a list, with its place among them for messages."""

    listed: TrainingList
    entry: Entry
    seed: int
    place: str

    @property
    def label(self) -> str:
        """What it is called in messages."""
        return f"{self.entry.label} ({self.entry.role}), seed {self.seed}"

    @property
    def key(self) -> tuple:
        """What makes two runs the same one."""
        objective = self.listed.objective
        fixed = (objective.time_budget_s, self.listed.tokens.corpus_fingerprint)
        return (*self.entry.candidate.key, self.seed, *fixed, self.execution.attention)

    @property
    def checkpoint(self) -> Path:
        """The folder of its checkpoint."""
        digest = hashlib.blake2b(repr(self.key).encode(), digest_size=8).hexdigest()
        return self.listed.folder / "checkpoints" / digest

    @property
    def settings(self) -> dict[str, Any]:
        """What its training is told besides, as plain data."""
        return {
            "time_budget_s": self.listed.objective.time_budget_s,
            "seed": self.seed,
        }

    @property
    def execution(self) -> Execution:
        """How its steps are run."""
        return self.entry.candidate.prediction.execution


# Trains what it is given, and yields each run with its row as it completes.
Trainer = Callable[[list[PlannedRun]], Iterator[tuple[PlannedRun, Run]]]


def train_all(listed: TrainingList, trainer: Trainer) -> list[Trained]:
    """Train what is planned, a row of `runs.csv` each; what is there is not redone.

    Where several processes train together, the first of them writes. The caller holds the folder.
    """
    rows = _trained(listed, trainer, listed.folder / RUNS_FILE)
    return [
        Trained(
            label=entry.label,
            role=entry.role,
            candidate=entry.candidate,
            runs=[rows[planned.key] for planned in listed.runs if planned.entry is entry],
        )
        for entry in listed.entries
    ]


def _trained(listed: TrainingList, trainer: Trainer, path: Path) -> dict[tuple, Run]:
    """The runs that are there, and those that were missing, by their keys."""
    rows = {_key(row): row for row in read_rows(path, listed.row_type)}
    for planned, row in trainer([planned for planned in listed.runs if planned.key not in rows]):
        rows[planned.key] = row
        if is_first():
            append_row(path, row)
            disk.remove(planned.checkpoint)
    if is_first():
        disk.remove(listed.folder / "checkpoints")
    return rows


def one_by_one(
    listed: TrainingList, train_one: Train, on_progress: Callable[[str], None]
) -> Trainer:
    """In this process, one after the other."""
    time_budget_s, device = listed.objective.time_budget_s, listed.objective.hardware

    def trainer(todo: list[PlannedRun]) -> Iterator[tuple[PlannedRun, Run]]:
        began = time.monotonic()
        for n_trained, planned in enumerate(todo):
            each_s = (time.monotonic() - began) / n_trained if n_trained else time_budget_s
            left = format_budget(round(each_s * (len(todo) - n_trained)))
            on_progress(
                f"{planned.place} {planned.label}, "
                f"{format_budget(time_budget_s)}; about {left} left in all"
            )
            row = train_one(
                planned.entry.candidate.arch,
                listed.tokens,
                execution=planned.execution,
                upkeep=Upkeep(
                    device_name=device,
                    checkpoint_dir=planned.checkpoint,
                    on_step=_heartbeat(time_budget_s, on_progress),
                ),
                **planned.settings,
            )
            yield planned, row
            jax.clear_caches()
            gc.collect()

    return trainer


def fan_out(
    listed: TrainingList,
    train_one: Train,
    engine: Engine,
    read: dict[str, Any],
    machines: set[str],
    on_progress: Callable[[str], None],
) -> Trainer:
    """In a job each, on an engine; `machines` is told where."""

    def job_of(planned: PlannedRun) -> Job:
        checkpoint = planned.checkpoint
        arguments = training(
            train_one,
            planned.entry.candidate.arch,
            listed.tokens,
            read=read,
            device=dataclasses.replace(listed.objective.device, name=listed.objective.hardware),
            checkpoint=checkpoint,
            execution=planned.execution.named(),
            **planned.settings,
        )
        job = engine.job(planned.label, train_job, **arguments)
        return dataclasses.replace(job, scratch=str(checkpoint.absolute()))

    def trainer(todo: list[PlannedRun]) -> Iterator[tuple[PlannedRun, Run]]:
        each = format_budget(listed.objective.time_budget_s)
        on_progress(f"{len(todo)} runs of {each} on engine {engine.name}")
        jobs = {job_of(planned): planned for planned in todo}
        for n_done, (job, answer) in enumerate(engine.run(list(jobs), listed.folder / JOBS_FOLDER)):
            on_progress(f"[{n_done + 1}/{len(todo)}] {job.label} has ended")
            machines.add(answer["machine"])
            yield jobs[job], listed.row_type.model_validate(answer["run"])

    return trainer


def _heartbeat(
    time_budget_s: float, on_progress: Callable[[str], None]
) -> Callable[[StepReport], None]:
    """A line every half minute, or every twentieth of a long run."""
    every_s = max(30.0, time_budget_s / 20)
    next_s = every_s

    def report(step: StepReport) -> None:
        nonlocal next_s
        if step.train_time_s >= next_s:
            at = format_budget(round(step.train_time_s))
            on_progress(f"    {at}: step {step.n_steps:,}, training loss {step.loss:.3f}")
            next_s = step.train_time_s + every_s

    return report


def _key(run: Run) -> tuple:
    """What makes two runs the same one."""
    fields = Candidate.key_of(run.architecture)
    how = (run.execution.attention,)
    return (*fields, run.seed, run.time_budget_s, run.corpus_fingerprint, *how)
