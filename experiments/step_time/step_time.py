"""Do memory copies explain the time of a training step, and what does it take to predict it?

Command: python experiments/step_time/step_time.py
Wall time: half an hour on one quiet core; with its rows in place, ten seconds on any machine.
Expected: as on the machines of the paper (r² = 0.74 of its model), memory copies alone explain more
of the variance than FLOPs alone; the paper's model has an R² of about 0.9 and a mean error of 15%
with each width and depth held out, and per-part traffic an R² above 0.98 and at most 8%.

Times 160 architectures, 32 to 768 wide and 1 to 16 deep, with `anybudget calibrate`'s own design,
clock and fit. Writes step_time/device.csv row by row (rows that are there are kept), device.toml
with its draws, heldout.csv (each model's prediction of each architecture, fitted without its width
and depth), and step_time.png.
"""
# ruff: noqa: E402

from __future__ import annotations

from pathlib import Path

from anybudget.machines import host

host.use_cores(1)  # before anything starts its threads, like the next
host.keep_freed_memory()

import matplotlib.pyplot as plt
import pandas as pd

from anybudget.objectives.fit.step_time import (
    Steps,
    StepTimeFit,
    compare_step_times,
    variance_explained_alone,
)
from anybudget.show.pictures.style import ACCENT, SECOND, STYLE
from anybudget.validation.runs import read_rows
from anybudget.validation.timing.calibrate import calibrate
from anybudget.validation.timing.step_design import Effort
from anybudget.validation.timing.step_rows import StepRow, steps_of

EFFORT = Effort(n_architectures=160, seconds=1.5, max_step_s=0.2, max_layers=16)
FOLDER = Path(__file__).parent
ROWS = FOLDER / "device.csv"
FIGURE = Path(__file__).with_name("step_time.png")
SHOWN = {"memcpys": "memory copies", "flops": "FLOPs", "paper": "the paper's model"}


def main() -> None:
    """Time what is missing; judge, print and draw."""
    if not ROWS.exists() or len({row.architecture for row in _rows()}) < EFFORT.n_architectures:
        FOLDER.mkdir(exist_ok=True)
        calibrate(FOLDER / "device.toml", effort=EFFORT, on_progress=_tell)
    steps = steps_of(_rows())
    fits = compare_step_times(steps)
    heldout = pd.DataFrame(steps.arch.as_dict() | {"measured_s": steps.measured_s})
    for fit in fits:
        heldout[fit.model.name] = fit.heldout_s
        print(f"{fit.model.name:9} R² {fit.r2:.3f}, mean error {fit.mape:.1%}")
    heldout.to_csv(FOLDER / "heldout.csv", index=False, float_format="%.5g")
    alone = variance_explained_alone(steps)
    print("variance explained alone:", {name: round(r2, 3) for name, r2 in alone.items()})
    draw(steps, fits)


def draw(steps: Steps, fits: list[StepTimeFit]) -> None:
    """Predicted over measured step time, held out, of three models and the best."""
    by_name = {fit.model.name: fit for fit in fits}
    titles = SHOWN | {fits[0].model.name: "traffic, part by part"}
    with plt.rc_context(STYLE):
        figure, panels = plt.subplots(
            1, len(titles), figsize=(11, 3.2), sharex=True, sharey=True, layout="constrained"
        )
        for axes, (name, title) in zip(panels, titles.items(), strict=True):
            fit = by_name[name]
            colour = ACCENT if fit is fits[0] else SECOND
            axes.axhline(1, color="0.6", linewidth=0.8)
            axes.scatter(
                1e3 * steps.measured_s, fit.heldout_s / steps.measured_s, s=9, color=colour
            )
            axes.set(xscale="log", yscale="log", xlabel="measured, ms")
            axes.set_title(f"{title}\nR² {fit.r2:.2f}, mean error {fit.mape:.0%}")
        panels[0].set(ylabel="predicted / measured")
        panels[0].set_yticks([0.5, 0.7, 1, 1.5, 2, 3], ["0.5", "0.7", "1", "1.5", "2", "3"])
        panels[0].minorticks_off()
        figure.savefig(FIGURE, dpi=130)


def _rows() -> list[StepRow]:
    return read_rows(ROWS, StepRow)


def _tell(stage: str, done: int, total: int) -> None:
    print(stage, done, total, flush=True)


if __name__ == "__main__":
    main()
