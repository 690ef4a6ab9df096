"""How long does a step of ours take on one core of this machine?

Command: python experiments/cpu_core/cpu_core.py amx
Wall time: 8 minutes of an otherwise idle core.
Expected: on shapes left out within 10% (found: 9% with AVX-512 in float32, 11% with AMX).

`anybudget calibrate` on fewer and smaller models than its own, for a machine that has other work to
do; on one core it counts processor seconds, so that others' turns are not in them, though what they
do to shared caches is. Writes NAME.toml, NAME.draws.csv and NAME.csv, whose rows a rerun keeps.

NAME says what the processor has: the rows of `avx512` are in float32, as steps were on a processor
with AMX too before they were in bfloat16 there, and those of `device` a Zen 3 core's, when its
attention was plain. To make them anew takes a processor that has no more.
"""
# ruff: noqa: E402

from __future__ import annotations

import sys
from pathlib import Path

from anybudget.machines import host

# Before anything starts its threads.
host.use_cores(1)
host.keep_freed_memory()

from anybudget.validation.timing.calibrate import calibrate
from anybudget.validation.timing.step_design import Effort

EFFORT = Effort(n_architectures=40, seconds=1.0, max_step_s=0.1, max_layers=8)


def main() -> None:
    """Time what is not timed yet, and fit."""
    path = Path(__file__).with_name(f"{sys.argv[1]}.toml")
    found = calibrate(path, effort=EFFORT, on_progress=lambda *done: print(*done, flush=True))
    for fit in found.fits:
        print(f"{fit.model.name:10} R² {fit.r2:.3f}, {fit.mape:.1%} off")
    print(*found.warnings, sep="\n")


if __name__ == "__main__":
    main()
