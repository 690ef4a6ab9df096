"""What the experiments that train for a fixed time share: the runs and the usual rules."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from loss_law import TEXT, heads_of

from anybudget.objectives.counts import n_params
from anybudget.objectives.loss_at_time import LossAtTime
from anybudget.search.candidate import Candidate
from anybudget.space.architecture import Architecture
from anybudget.validation.choose import Entry
from anybudget.validation.compare import Trained, labels
from anybudget.validation.loop import StepReport
from anybudget.validation.runs import Run, append_row
from anybudget.validation.tokens import Tokens
from anybudget.validation.train import train
from anybudget.validation.train_all import Plan, one_by_one, train_all

# A run whose step time drifts by more is made again.
MOST_DRIFT = 0.15
MOST_TRIES = 3
# The share of a chip's peak that people plan with, and the tokens of one epoch of 10 MB.
PLANNED_UTILISATION, EPOCH_TOKENS = 0.4, 4_000_000
USUAL_ASPECT_RATIO, TOKENS_PER_PARAM = 64, 20


def train_entries(
    entries: list[Entry], text: Tokens, folder: Path, objective: LossAtTime, *, n_seeds: int
) -> list[Trained]:
    """Train what `folder/runs.csv` does not hold; disturbed runs are kept apart and made again."""

    def undisturbed(
        arch: Architecture, text: Tokens, *, on_step: Callable[[StepReport], None], **settings: Any
    ) -> Run:
        for _ in range(MOST_TRIES):
            ends_s: list[float] = []

            def heed(report: StepReport, ends_s: list[float] = ends_s) -> None:
                ends_s.append(report.train_time_s)
                on_step(report)

            run = train(arch, text, on_step=heed, **settings)
            if drift(ends_s) <= MOST_DRIFT:
                break
            append_row(folder / "disturbed.csv", run)
            shutil.rmtree(settings["checkpoint_dir"])
            print(f"  the step time drifted by {drift(ends_s):.0%}", flush=True)
        return run

    folder.mkdir(parents=True, exist_ok=True)
    plan = Plan(entries=entries, tokens=text, folder=folder, objective=objective, n_seeds=n_seeds)
    return train_all(plan, one_by_one(plan, undisturbed, lambda line: print(line, flush=True)))


def drift(ends_s: list[float]) -> float:
    """By how much the mean step of a run's slowest fifth exceeds that of its fastest."""
    means = [float(fifth.mean()) for fifth in np.array_split(np.diff(ends_s), 5)]
    return max(means) / min(means) - 1


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
