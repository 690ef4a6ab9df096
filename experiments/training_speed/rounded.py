"""Does a CPU's step with operands in bfloat16 end at float32's loss?

Command: python experiments/training_speed/rounded.py
(on a processor with AMX; elsewhere bfloat16 takes many times as long)
Wall time: five minutes of a quiet core.
Expected: after 500 steps the mean loss of three seeds with bfloat16 operands lies within the spread
of three seeds in float32, in a shape whose attention is short and in one where it is in blocks.

Seeds decide weights and the order of the text, alike in both. Writes rounded.csv, a row as each run
ends; rows that are there are kept. `processor_s` is of a step, other work on the machine left out.
"""
# ruff: noqa: E402

from __future__ import annotations

import time
from pathlib import Path
from unittest import mock

from anybudget.machines import host

# Before anything starts its threads.
host.use_cores(1)
host.keep_freed_memory()

import pandas as pd

from anybudget.objectives.cost.execution import Execution
from anybudget.space.architecture import Architecture
from anybudget.validation.runs import ArchitectureRow, append_row, finished
from anybudget.validation.training import train as training
from anybudget.validation.training.corpus import load_corpus
from anybudget.validation.training.loop import StepReport
from anybudget.validation.training.model import Backend
from anybudget.validation.training.tokens import prepare_tokens

SHAPE = {"d_model": 128, "n_layers": 2, "n_heads": 4, "d_head": 32, "d_ff": 416, "vocab_size": 1024}
SHAPES = [SHAPE | {"seq_len": 128, "batch_size": 4}, SHAPE | {"seq_len": 256, "batch_size": 2}]
DTYPES, SEEDS, N_STEPS, WARM_UP = ("float32", "bfloat16"), range(3), 500, 5
RESULT = Path(__file__).with_suffix(".csv")


class LossRow(ArchitectureRow):
    """Where one run ended."""

    dtype: str
    seed: int
    n_steps: int
    measured_loss: float
    processor_s: float


def main() -> None:
    """Train what is missing, and print means and spreads."""
    tokens = prepare_tokens(load_corpus("python", max_bytes=10_000_000), vocab_size=1024)
    key = [*Architecture.__dataclass_fields__, "dtype", "seed"]
    done = finished(RESULT, LossRow, key)
    for seed in SEEDS:
        for shape in SHAPES:
            for dtype in DTYPES:
                arch = Architecture.from_shape(**shape)
                if (*arch.as_dict().values(), dtype, seed) in done:
                    continue
                clock: list[float] = []

                def on_step(_: StepReport, clock: list[float] = clock) -> None:
                    clock.append(time.process_time())

                backend = Backend(dtype=dtype)
                with mock.patch.object(training, "this_backend", lambda *_, found=backend: found):
                    run = training.train(
                        arch,
                        tokens,
                        seed=seed,
                        n_steps=N_STEPS,
                        execution=Execution(attention="fused"),
                        upkeep=training.Upkeep(on_step=on_step),
                    )
                assert run.measured_loss
                step_s = (clock[-1] - clock[WARM_UP]) / (len(clock) - 1 - WARM_UP)
                measured = {"measured_loss": run.measured_loss, "processor_s": step_s}
                row = LossRow(**arch.as_dict(), dtype=dtype, seed=seed, n_steps=N_STEPS, **measured)
                append_row(RESULT, row)
    rows = pd.read_csv(RESULT)
    columns = ["measured_loss", "processor_s"]
    print(rows.groupby(["seq_len", "dtype"])[columns].agg(["mean", "min", "max"]).round(4))


if __name__ == "__main__":
    main()
