"""Do wider models beat deeper ones of equal parameters, and is it their speed or their quality?

Command: python experiments/wider_deeper.py --device DEVICE.toml --law LAW.toml
         (as for best_config.py)
Wall time: 15 models × 3 seeds × (30 s + 2 minutes), about two hours of one quiet core, and as
much again at equal tokens; with its rows in place, a minute.
Expected: at equal time the best of five shapes has a width over depth of 20 to 110 in every cell,
neither the deepest nor the single widest layer, and the deepest is 2% of loss or more behind it.
At equal tokens the deep gain on the wide everywhere, and the best stays or moves deeper. So "wider
beats deeper" holds against the very deep, mostly for speed, and fails for the very wide.

Three parameter counts, five shapes each, two budgets four-fold apart, three seeds, at equal time;
then every shape for as many steps as its cell's middle shape made, so that time is free. Writes
wider_deeper/CELL/runs.csv row by row, wider_deeper.csv (a row a cell and shape; intervals of 95% by
Student's t from all seeds of the cell) and docs/wider_deeper.png.
"""
# ruff: noqa: E402

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

from anybudget.validation import host

host.use_cores(1)  # before anything starts its threads, like the next
host.keep_freed_memory()

import matplotlib.pyplot as plt
import pandas as pd
from fixed_time import entry_list, tokens, train_entries
from loss_law import TEXT, heads_of
from scipy import stats

from anybudget.objectives.budget import parse_budget
from anybudget.objectives.loss_at_time import LossAtTime
from anybudget.objectives.presets import load_device, load_law
from anybudget.search.candidate import Candidate
from anybudget.search.figures import ACCENT, SECOND, STYLE
from anybudget.space.architecture import Architecture
from anybudget.validation.compare import Trained, compare
from anybudget.validation.runs import Run, append_row, read_rows
from anybudget.validation.tokens import Tokens
from anybudget.validation.train import train

FOLDER = Path(__file__).with_suffix("")
OUT = Path(__file__).with_suffix(".csv")
FIGURE = OUT.parent.parent / "docs" / "wider_deeper.png"
# (d_model, n_layers, d_ff) at one parameter count each, to within 1%, from deep to wide.
LEVELS: dict[str, tuple[tuple[int, int, int], ...]] = {
    "160k": ((32, 8, 184), (48, 4, 192), (48, 3, 288), (64, 2, 240), (80, 1, 320)),
    "450k": ((64, 11, 144), (80, 5, 304), (112, 3, 280), (128, 2, 368), (160, 1, 584)),
    "1.3M": ((96, 12, 328), (128, 6, 512), (160, 3, 856), (224, 2, 760), (288, 1, 1152)),
}
BUDGETS = ("30s", "2m")
N_SEEDS = 3


def shapes(level: str) -> list[Architecture]:
    """The five of a parameter count, deepest first."""
    return [
        Architecture.from_shape(
            d_model=d_model,
            n_layers=n_layers,
            d_ff=d_ff,
            d_head=heads_of(d_model),
            **TEXT,
        )
        for d_model, n_layers, d_ff in LEVELS[level]
    ]


def equal_tokens(models: list[Trained], text: Tokens, folder: Path) -> list[Trained]:
    """The same models and seeds for as many steps as the middle one made in the time."""
    middle = models[len(models) // 2].runs
    n_steps = round(sum(run.n_steps for run in middle) / len(middle))
    path = folder / "equal_tokens.csv"
    rows = read_rows(path, Run) if path.exists() else []
    known = {(row.architecture, row.seed): row for row in rows}
    for seed in range(N_SEEDS):
        for model in models:
            arch = model.candidate.arch
            if (arch, seed) not in known:
                known[arch, seed] = train(arch, text, seed=seed, n_steps=n_steps)
                append_row(path, known[arch, seed])
    return [
        Trained(
            label=model.label,
            role=model.role,
            candidate=model.candidate,
            runs=[known[model.candidate.arch, seed] for seed in range(N_SEEDS)],
        )
        for model in models
    ]


def rows_of(level: str, budget: str, at_equal: str, models: list[Trained]) -> list[dict[str, Any]]:
    """A row for each shape of a cell: measured and predicted loss behind the cell's best."""
    comparison = compare(models)
    best, noise = comparison.best, comparison.seed_noise_nats or math.nan
    freedom = sum(len(model.losses) - 1 for model in models)
    predicted = min(model.candidate.loss for model in models)
    half = stats.t.isf(0.025, freedom) * noise * math.sqrt(2 / N_SEEDS)
    rows = []
    for model in models:
        behind = (model.measured_loss or math.nan) - (best.measured_loss or math.nan)
        rows.append(
            {
                "level": level,
                "budget": budget,
                "equal": at_equal,
                "label": model.label,
                "aspect_ratio": model.candidate.arch.aspect_ratio,
                "n_tokens": model.n_tokens,
                "measured_loss": model.measured_loss,
                "behind_nats": behind,
                "behind_low": behind - half,
                "behind_high": behind + half,
                "predicted_behind_nats": model.candidate.loss - predicted,
            }
        )
    return rows


def draw(frame: pd.DataFrame) -> None:
    """Loss behind the cell's best against width over depth: at equal time, at equal tokens."""
    cells = [cell for _, cell in frame.groupby(["level", "budget"], sort=False)]
    with plt.rc_context(STYLE):
        figure, panels = plt.subplots(
            len(BUDGETS), len(LEVELS), figsize=(10, 5.6), sharey=True, layout="constrained"
        )
        for axes, cell in zip(panels.T.ravel(), cells, strict=True):
            for equal, colour in (("time", ACCENT), ("tokens", SECOND)):
                one = cell[cell.equal == equal]
                half = one.behind_high - one.behind_nats
                axes.errorbar(
                    one.aspect_ratio, one.behind_nats, half, fmt="o-", color=colour, ms=4,
                    capsize=2, label=f"equal {equal}",
                )  # fmt: skip
            timed = cell[cell.equal == "time"]
            axes.plot(
                timed.aspect_ratio, timed.predicted_behind_nats, ":", color="0.4", label="predicted"
            )
            axes.set(xscale="log")
            axes.set_title(f"{cell.level.iloc[0]} parameters, {cell.budget.iloc[0]}")
        panels[0, 0].legend(frameon=False, fontsize=8)
        figure.supxlabel("d_model / n_layers", fontsize=10)
        figure.supylabel("loss behind the best, nats per token", fontsize=10)
        figure.savefig(FIGURE, dpi=130)


def main() -> None:
    """Train what is missing, compare, write and draw."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", required=True)
    parser.add_argument("--law", required=True)
    options = parser.parse_args()
    device, law, text = load_device(options.device), load_law(options.law), tokens()
    rows = []
    for level in LEVELS:
        for budget in BUDGETS:
            objective = LossAtTime(device=device, law=law, time_budget_s=parse_budget(budget))
            roles = {Candidate.of(arch, objective): "shape" for arch in shapes(level)}
            folder = FOLDER / f"{level}-{budget}"
            timed = train_entries(entry_list(roles), text, folder, objective, n_seeds=N_SEEDS)
            rows += rows_of(level, budget, "time", timed)
            rows += rows_of(level, budget, "tokens", equal_tokens(timed, text, folder))
    frame = pd.DataFrame(rows)
    frame.to_csv(OUT, index=False, float_format="%.5g")
    print(frame.to_string(index=False))
    draw(frame)


if __name__ == "__main__":
    main()
