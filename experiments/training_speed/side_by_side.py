"""Do two training runs on two cores of one machine disturb each other's clock?

Command: python experiments/training_speed/side_by_side.py
Wall time: two minutes on a quiet machine of two cores.
Expected: small models, which live in a core's own cache, under 5% slower beside another; those
that stream their weights from memory, tens of percent, for the memory is shared.

Times each shape's step on a core alone, and then on two cores at once, two turns of both, in
fresh processes as the engines' jobs are. Writes side_by_side.csv with the fastest of the turns.
"""

from __future__ import annotations

import csv
import dataclasses
import tempfile
from pathlib import Path

from anybudget.machines.engines import Engine
from anybudget.space.architecture import Architecture
from anybudget.validation.timing.timers import time_job

SHAPES = [
    {"d_model": 32, "n_layers": 2, "d_head": 16},
    {"d_model": 128, "n_layers": 4},
    {"d_model": 512, "n_layers": 2, "batch_size": 2},
]
TEXT = {"vocab_size": 2048, "seq_len": 128, "batch_size": 8}
N_TURNS, SECONDS = 2, 1.0
RESULT = Path(__file__).with_suffix(".csv")


def main() -> None:
    """Time every shape alone and in twos, and write how much slower twos are."""
    engine = Engine(name="local", n_workers=2, n_cores=1)
    rows = []
    for shape in SHAPES:
        arch = Architecture.from_shape(**TEXT | shape)
        alone, beside = [], []
        for turn in range(N_TURNS):
            alone += _times(engine, arch, 1, turn)
            beside.append(max(_times(engine, arch, 2, turn)))
        label = f"{arch.d_model}x{arch.n_layers}" + ("g" if arch.gated_mlp else "")
        slower = min(beside) / min(alone) - 1
        rows.append(
            {
                "shape": label,
                "batch_size": arch.batch_size,
                "alone_step_time_s": min(alone),
                "beside_step_time_s": min(beside),
                "slower": slower,
                "alone_spread": max(alone) / min(alone) - 1,
                "beside_spread": max(beside) / min(beside) - 1,
            }
        )
        print(f"{label}: {min(alone):.5f} s alone, {slower:+.1%} beside another", flush=True)
    with RESULT.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows
        )


def _times(engine: Engine, arch: Architecture, n_at_once: int, turn: int) -> list[float]:
    """Step times of that many jobs at once, by the clock of `calibrate`."""
    what = {"arch": arch.as_dict(), "dtype": "float32", "seconds": SECONDS}
    jobs = [engine.job(f"{n_at_once} {turn} {i}", time_job, **what) for i in range(n_at_once)]
    alone = dataclasses.replace(engine, n_workers=n_at_once)
    with tempfile.TemporaryDirectory() as folder:
        answers = [answer for _, answer in alone.run(jobs, Path(folder))]
    return [answer["timing"]["step_time_s"] for answer in answers]


if __name__ == "__main__":
    main()
