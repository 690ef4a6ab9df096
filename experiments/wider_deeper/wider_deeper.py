"""Do wider models beat deeper ones of equal parameters, and is it their speed or their quality?

Command: python experiments/wider_deeper/wider_deeper.py
         python experiments/wider_deeper/wider_deeper.py --figure    # draws again, 5 s
Wall time: 15 models × 3 seeds × (20 s + 80 s), an hour and a half of one core; with its
rows in place, a minute.
Expected: at equal time the best of five shapes has a width over depth of 20 to 110 in every cell,
neither the deepest nor the single widest layer, and the deepest is 2% of loss or more behind it.
At equal tokens the deep gain on the wide everywhere, and the best stays or moves deeper. So "wider
beats deeper" holds against the very deep, mostly for speed, and fails for the very wide.

The five shapes at each of three parameter counts of `loss_law.py`, two budgets four-fold apart,
three seeds, at equal time: by the clock where a cell's folder has a disturbed.csv (160k and 400k,
whose runs were made again, up to three times, when their step time drifted by over 15%), else in
undisturbed steps (fixed_time.py). Beside it equal tokens, where time is free: the rows of
loss_law/python.csv at the number of steps nearest to what the cell's middle shape made. Writes
wider_deeper/CELL/runs.csv row by row, wider_deeper.csv (a row a cell and shape; intervals of 95% by
Student's t, from the noise of a seed pooled over the cell's shapes, or over the parameter count's
up to as many tokens where those are equal) and wider_deeper.png.
"""
# ruff: noqa: E402

from __future__ import annotations

import argparse
import math
from pathlib import Path

from anybudget.machines import host

host.use_cores(1)  # before anything starts its threads, like the next
host.keep_freed_memory()

import matplotlib.pyplot as plt
import pandas as pd
from scipy import stats

from anybudget.experiments.loss_law.loss_law import LEVELS, TEXT, heads_of, tokens_of
from anybudget.experiments.shared.fixed_time import entry_list, train_entries
from anybudget.objectives.budget import parse_budget
from anybudget.objectives.loss_at_time import LossAtTime
from anybudget.presets.devices import load_device
from anybudget.presets.laws import load_law
from anybudget.search.candidate import Candidate
from anybudget.show.pictures.style import ACCENT, SECOND, STYLE
from anybudget.space.architecture import Architecture
from anybudget.validation.confirm.compare import Trained, pooled_std

FOLDER = Path(__file__).parent
OUT = Path(__file__).with_suffix(".csv")
FIGURE = Path(__file__).with_name("wider_deeper.png")
EQUAL_TOKENS = Path(__file__).parents[1] / "loss_law" / "python.csv"
NAMES = {160e3: "160k", 400e3: "400k", 1e6: "1M"}
BUDGETS = ("20s", "80s")
N_SEEDS = 3
SHAPE = ["d_model", "n_layers", "d_ff"]


def shapes(level: float) -> list[Architecture]:
    """The five of a parameter count, deepest first."""
    return [
        Architecture.from_shape(
            d_model=d_model, n_layers=n_layers, d_ff=d_ff, d_head=heads_of(d_model), **TEXT
        )
        for d_model, n_layers, d_ff in LEVELS[level]
    ]


def equal_tokens(level: float, n_steps: float) -> tuple[list[list[float]], int, list[list[float]]]:
    """Losses of a parameter count's shapes at the trained number of steps nearest to one asked.

    Returns:
        The losses of each shape, a list a shape, the number of steps, and losses of no more steps
        that differ by nothing but the seed (beyond 2 million tokens some seeds copy).
    """
    runs = pd.read_csv(EQUAL_TOKENS)
    losses: dict[tuple[int, tuple[int, ...]], list[float]] = {}
    for n, loss, *shape in runs[["n_steps", "measured_loss", *SHAPE]].itertuples(index=False):
        if tuple(shape) in LEVELS[level]:
            losses.setdefault((n, tuple(shape)), []).append(loss)
    trained = {n for n, _ in losses}
    whole = [n for n in trained if all((n, shape) in losses for shape in LEVELS[level])]
    nearest = min(whole, key=lambda n: abs(math.log(n / n_steps)))
    seeds = [group for (n, _), group in losses.items() if n <= nearest]
    return [losses[nearest, shape] for shape in LEVELS[level]], nearest, seeds


def behind(losses: list[list[float]], seeds: list[list[float]]) -> pd.DataFrame:
    """Each shape's mean loss, and how far it is behind the best, with its interval, in nats."""
    freedom = sum(len(group) - 1 for group in seeds)
    noise = pooled_std(seeds) or math.nan
    frame = pd.DataFrame(
        {"measured_loss": [sum(one) / len(one) for one in losses], "n": [len(o) for o in losses]}
    )
    best = frame.measured_loss.idxmin()
    half = stats.t.isf(0.025, freedom) * noise * (1 / frame.n + 1 / frame.n[best]) ** 0.5
    difference = frame.measured_loss - frame.measured_loss[best]
    return frame.assign(
        behind_nats=difference, behind_low=difference - half, behind_high=difference + half
    )


def rows_of(level: float, budget: str, timed: list[Trained]) -> pd.DataFrame:
    """A cell: every shape at equal time with the prediction, then at equal tokens."""
    losses = [model.losses for model in timed]
    middle = timed[len(timed) // 2]
    equal, n_steps, seeds = equal_tokens(level, (middle.n_tokens or 0) / tokens_per_step(middle))
    predicted = pd.Series([float(model.candidate.loss) for model in timed])
    shape = {
        "level": NAMES[level],
        "budget": budget,
        "label": [model.label for model in timed],
        "aspect_ratio": [model.candidate.arch.aspect_ratio for model in timed],
    }
    time = behind(losses, losses).assign(
        **shape,
        equal="time",
        n_tokens=[model.n_tokens for model in timed],
        predicted_behind_nats=predicted - predicted.min(),
    )
    free = behind(equal, seeds).assign(
        **shape, equal="tokens", n_tokens=n_steps * tokens_per_step(middle)
    )
    return pd.concat([time, free])


def tokens_per_step(model: Trained) -> int:
    """Of its batch."""
    return model.candidate.arch.tokens_per_step


def draw(frame: pd.DataFrame) -> None:
    """Loss behind the cell's best against width over depth: at equal time, at equal tokens."""
    cells = [cell for _, cell in frame.groupby(["level", "budget"], sort=False)]
    with plt.rc_context(STYLE):
        figure, panels = plt.subplots(
            len(BUDGETS), len(NAMES), figsize=(10, 5.6), sharey=True, layout="constrained"
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
            axes.set_xticks(timed.aspect_ratio, timed.label, fontsize=8)
            axes.minorticks_off()
            axes.set_title(f"{cell.level.iloc[0]} parameters, {cell.budget.iloc[0]}")
        panels[0, 0].legend(frameon=False, fontsize=8)
        figure.supxlabel("d_model × n_layers, by their ratio", fontsize=10)
        figure.supylabel("loss behind the best, nats per token", fontsize=10)
        figure.savefig(FIGURE, dpi=130)


def main() -> None:
    """Train what is missing, compare, write and draw."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cpu-core")
    parser.add_argument("--law", default="python-source")
    parser.add_argument("--figure", action="store_true", help="only draw what is in the table")
    options = parser.parse_args()
    if options.figure:
        draw(pd.read_csv(OUT))
        return
    device, law, text = load_device(options.device), load_law(options.law), tokens_of("python")
    cells = []
    for level, name in NAMES.items():
        for budget in BUDGETS:
            objective = LossAtTime(device=device, law=law, time_budget_s=parse_budget(budget))
            roles = {Candidate.of(arch, objective): "shape" for arch in shapes(level)}
            timed = train_entries(
                entry_list(roles),
                text,
                FOLDER / f"{name}-{budget}",
                objective,
                step_times=FOLDER / "step_times.csv",
                n_seeds=N_SEEDS,
            )
            cells.append(rows_of(level, budget, timed))
    frame = pd.concat(cells)
    frame.to_csv(OUT, index=False, float_format="%.5g")
    print(frame.to_string(index=False))
    draw(frame)


if __name__ == "__main__":
    main()
