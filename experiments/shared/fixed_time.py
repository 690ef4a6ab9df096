"""What the experiments that train for a fixed time share: the runs and the usual rules."""

from __future__ import annotations

import dataclasses
import datetime
from pathlib import Path
from typing import Any

import jax
import numpy as np
from pydantic import AwareDatetime, PositiveFloat

from anybudget.experiments.loss_law.loss_law import TEXT, heads_of
from anybudget.objectives.cost.counts import n_params
from anybudget.objectives.device import Device
from anybudget.objectives.loss_at_time import LossAtTime
from anybudget.search.candidate import Candidate
from anybudget.space.architecture import Architecture
from anybudget.validation.backend import machine_name
from anybudget.validation.confirm.choose import Entry
from anybudget.validation.confirm.compare import Trained, labels
from anybudget.validation.confirm.train_all import TrainingList, one_by_one, train_all
from anybudget.validation.runs import ArchitectureRow, Run, append_row, read_rows
from anybudget.validation.training.tokens import Tokens
from anybudget.validation.training.train import Upkeep, train

# How long a probe lasts, in how many windows it is cut, and which share of them is undisturbed. A
# step as slow as the last is probed once: others' turns disturb it less.
PROBE_S, N_WINDOWS, QUIET, SLOW_STEP_S = 4.0, 20, 0.1, 0.25
# The share of a chip's peak that people plan with, and the tokens of one epoch of 10 MB.
PLANNED_UTILISATION, EPOCH_TOKENS = 0.4, 4_000_000
USUAL_ASPECT_RATIO, TOKENS_PER_PARAM = 64, 20


class StepTime(ArchitectureRow):
    """One model's step time in training on one core of a machine that others disturb.

    Attributes:
        step_time_s: of the windows of a probe that nothing disturbed.
        slowest: the slowest window over that.
    """

    step_time_s: PositiveFloat
    slowest: PositiveFloat
    machine: str
    measured: AwareDatetime


def train_entries(
    entries: list[Entry],
    text: Tokens,
    folder: Path,
    objective: LossAtTime,
    *,
    step_times: Path,
    n_seeds: int,
) -> list[Trained]:
    """Train what `folder/runs.csv` does not hold, each for the steps it makes in the budget alone.

    Where others share a machine its speed changes by half within seconds, and equal time by the
    clock is unequal work. So time is counted in steps, each as long as it is undisturbed on the
    machine that the device was calibrated on, and neither what else runs nor which machine trains
    matters. Those are as in the file `step_times`, see `step_time_of`.
    """
    candidates = {entry.candidate.arch: entry.candidate for entry in entries}

    def for_steps(
        arch: Architecture, text: Tokens, *, time_budget_s: float, upkeep: Upkeep, **settings: Any
    ) -> Run:
        # A minute's work, and another process may share the folder of checkpoints.
        settings["upkeep"] = dataclasses.replace(upkeep, checkpoint_dir=None)
        step_time_s = step_time_of(candidates[arch], text, step_times, objective.device)
        n_steps = round(time_budget_s / step_time_s)
        run = train(arch, text, n_steps=n_steps, **settings)
        alone = {
            "time_budget_s": time_budget_s,
            "step_time_s": step_time_s,
            "tokens_per_s": arch.tokens_per_step / step_time_s,
            "mfu": run.mfu and run.step_time_s and run.mfu * run.step_time_s / step_time_s,
        }
        return run.model_copy(update=alone)

    folder.mkdir(parents=True, exist_ok=True)
    listed = TrainingList(
        entries=entries, tokens=text, folder=folder, objective=objective, n_seeds=n_seeds
    )
    return train_all(listed, one_by_one(listed, for_steps, lambda line: print(line, flush=True)))


def step_time_of(candidate: Candidate, text: Tokens, path: Path, device: Device) -> float:
    """Seconds of a model's undisturbed step on the machine that a device was calibrated on.

    Elsewhere a step that the file lacks is the predicted one, times what the file's steps of models
    nearest in depth are of theirs, by the median.

    Raises:
        ValueError: elsewhere, the file has none.
    """
    machine, arch = device.calibration.get("machine"), candidate.arch
    if machine in (None, machine_name(jax.default_backend())):
        return measure_step_times([candidate], text, path)[arch]
    rows = steps_of(path, machine)
    if own := [row.step_time_s for row in rows if row.architecture == arch]:
        return min(own)
    if not rows:
        raise ValueError(f"{path} lacks steps on {machine}")
    nearest = min(abs(row.architecture.n_layers - arch.n_layers) for row in rows)
    alike = [row for row in rows if abs(row.architecture.n_layers - arch.n_layers) == nearest]
    predicted_s = device.step_time_model.step_time_s
    return candidate.prediction.step_time_s * float(
        np.median([row.step_time_s / predicted_s(row.architecture) for row in alike])
    )


def steps_of(path: Path, machine: str) -> list[StepTime]:
    """The rows of one machine in a file; none where there is no file yet."""
    rows = read_rows(path, StepTime)
    return [row for row in rows if row.machine == machine]


def measure_step_times(
    candidates: list[Candidate], text: Tokens, path: Path, *, n_probes: int = 1
) -> dict[Architecture, float]:
    """Undisturbed steps of training in seconds: the fastest of each model's probes in a file.

    What is missing there is measured, one probe of each in turn and then the next: others' turns
    may outlast a probe, and slow hours should find all alike.

    Args:
        candidates: what is trained.
        text: on what.
        path: the file; only rows of this machine count.
        n_probes: of each, of a slow one's steps one.
    """
    machine = machine_name(jax.default_backend())
    probes_s: dict[Architecture, list[float]] = {candidate.arch: [] for candidate in candidates}
    for row in steps_of(path, machine):
        if row.architecture in probes_s:
            probes_s[row.architecture].append(row.step_time_s)
    for wanted in range(1, n_probes + 1):
        for candidate in candidates:
            arch, about_s = candidate.arch, candidate.prediction.step_time_s
            have = probes_s[arch]
            if len(have) < wanted and (not have or about_s < SLOW_STEP_S):
                append_row(path, row := probe(arch, text, about_s))
                have.append(row.step_time_s)
    return {arch: min(have) for arch, have in probes_s.items()}


def probe(arch: Architecture, text: Tokens, about_s: float) -> StepTime:
    """Train for some seconds, and take the step time of the windows that nothing disturbed."""
    ends_s: list[float] = []
    train(
        arch,
        text,
        seed=0,
        n_steps=max(N_WINDOWS + 1, round(PROBE_S / about_s)),
        upkeep=Upkeep(
            n_heldout_tokens=arch.tokens_per_step,
            on_step=lambda report: ends_s.append(report.train_time_s),
        ),
    )
    windows_s = [float(window.mean()) for window in np.array_split(np.diff(ends_s), N_WINDOWS)]
    quiet_s = float(np.quantile(windows_s, QUIET))
    return StepTime(
        **arch.as_dict(),
        step_time_s=quiet_s,
        slowest=max(windows_s) / quiet_s,
        machine=machine_name(jax.default_backend()),
        measured=datetime.datetime.now(datetime.UTC),
    )


def entry_list(roles: dict[Candidate, str]) -> list[Entry]:
    """Candidates with their roles as entries, each with a label of its own."""
    names = labels([candidate.arch for candidate in roles])
    return [
        Entry(label=label, role=role, candidate=candidate)
        for label, (candidate, role) in zip(names, roles.items(), strict=True)
    ]


def rules(objective: LossAtTime) -> dict[str, Candidate]:
    """What people would train instead, by the name of their rule."""
    usual = [Candidate.of(arch, objective) for arch in _usual_shapes()]
    flops = PLANNED_UTILISATION * objective.device.peak_flops_per_s * objective.time_budget_s
    n_wanted = (flops / 6 / TOKENS_PER_PARAM) ** 0.5
    reads_all = [c for c in usual if c.prediction.n_tokens >= EPOCH_TOKENS] or usual[:1]
    nanogpt = Architecture.from_shape(d_model=128, n_layers=4, n_heads=4, **TEXT)
    return {
        "20 tokens per parameter": min(usual, key=lambda c: abs(c.prediction.n_params - n_wanted)),
        "largest of one epoch": max(reads_all, key=lambda c: c.prediction.n_params),
        "nanoGPT for a CPU": Candidate.of(nanogpt, objective),
    }


def _usual_shapes() -> list[Architecture]:
    """Heads of 16 or 32, d_ff = 4 d_model, d_model / n_layers near 64, smallest first."""
    shapes = [
        Architecture.from_shape(
            d_model=d_model,
            n_layers=max(round(d_model / USUAL_ASPECT_RATIO), 1),
            d_head=heads_of(d_model),
            **TEXT,
        )
        for d_model in range(16, 513, 16)
    ]
    return sorted(shapes, key=n_params)
