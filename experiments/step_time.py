"""Do memory copies explain the time of a training step, and what does it take to predict it?

Command: python experiments/step_time.py
Wall time: half an hour on one quiet core; with its rows in place, seconds.
Expected: as on the machines of the paper (r² = 0.74 of its model), memory copies alone explain more
of the variance than FLOPs alone; the paper's model has an R² of about 0.9 and a mean error of 15%
with each width and depth held out, and per-part traffic an R² above 0.98 and at most 8%.

Times 160 architectures, 32 to 768 wide and 1 to 16 deep, with `anybudget calibrate`'s own design,
clock and fit. Writes step_time/device.csv row by row (rows that are there are kept), device.toml
with its draws, and heldout.csv.
"""
# ruff: noqa: E402

from __future__ import annotations

from pathlib import Path

from anybudget.validation import host

host.use_cores(1)  # before anything starts its threads, like the next
host.keep_freed_memory()

from anybudget.validation.calibrate import calibrate
from anybudget.validation.step_design import Effort

EFFORT = Effort(n_architectures=160, seconds=1.5, max_step_s=0.2, max_layers=16)
FOLDER = Path(__file__).with_suffix("")


def main() -> None:
    """Time what is missing, fit and print."""
    FOLDER.mkdir(exist_ok=True)
    found = calibrate(FOLDER / "device.toml", effort=EFFORT, on_progress=_tell)
    for fit in found.fits:
        print(f"{fit.model.name}: R² {fit.r2:.3f}, mean error {fit.mape:.1%}")
    print("\n".join(found.warnings))


def _tell(stage: str, done: int, total: int) -> None:
    print(stage, done, total, flush=True)


if __name__ == "__main__":
    main()
