"""What does Ironwood's compiler plan with a tenth more memory than foretold?

Command: python experiments/tpu_memory/limited.py
Wall time: 10 to 60 s a plan; `--report` alone 2 s.
Expected: nine of ten plans within 10%.

In its 95 GB the compiler has no need to be frugal: of most of the 30 plans of `tpu_memory.py
--ironwood` it takes 1.1 to 2.3 times the model's bytes. What a user asks is whether a step fits.
So the same 30 steps are compiled once more, each as if its chip had a tenth more memory than the
model says that it needs. A plan is within 10% where the compiler keeps to that without running more
again than it does in 95 GB, and with a plan of no less than nine tenths.

`none_with_scores` is the plan in 95 GB under `none` over the model's bytes with plain attention's
scores once more in bfloat16, beside float32, as this compiler keeps them.
"""

from __future__ import annotations

import argparse
import datetime
from pathlib import Path

import numpy as np
import pandas as pd

from anybudget.experiments.tpu_compile.tpu_compile import Job
from anybudget.experiments.tpu_memory.tpu_memory import IRONWOOD, IRONWOOD_CHIP
from anybudget.objectives.cost.execution import Remat
from anybudget.objectives.cost.memory import HOLES, memory_bytes
from anybudget.validation.compiler.compile import compile_for
from anybudget.validation.compiler.rows import CompileRow, row_of
from anybudget.validation.compiler.topology import parse_topology
from anybudget.validation.runs import append_row, read_rows

FOLDER = Path(__file__).parent
LIMITED = FOLDER / "limited.csv"
ROOM = 1.1
TIMEOUT_S = 1800.0


class LimitedRow(CompileRow):
    """A step compiled as if its chip had so much memory."""

    within_bytes: float


def compile_limited(jobs: list[Job]) -> None:
    """Compile what limited.csv does not hold."""
    chip = parse_topology(IRONWOOD_CHIP)
    done = {row.key for row in read_rows(LIMITED, LimitedRow)}
    for job in jobs:
        if job.key(chip.name) in done:
            continue
        within = ROOM * needed_bytes(job)
        step = compile_for(
            job.arch, chip, job.execution, with_time=False, within_bytes=within, timeout_s=TIMEOUT_S
        )
        row = row_of(step, datetime.datetime.now(datetime.UTC))
        append_row(LIMITED, LimitedRow(**row.model_dump(), within_bytes=within))
        print(job.arch.d_model, job.arch.n_layers, job.execution.remat, flush=True)


def needed_bytes(job: Job) -> float:
    """By the model."""
    return float(memory_bytes(job.arch, job.execution, bytes_per_element=2, kind="tpu"))


def report_limited() -> None:
    """The plan of each step within its limit over the model's bytes."""
    free = {row.key: row for row in read_rows(IRONWOOD, CompileRow)}
    lines = []
    for row in read_rows(LIMITED, LimitedRow):
        wide, needed = free[row.key], needed_bytes(Job(row.architecture, row.execution))
        again = (row.matmul_flops or np.nan) / (wide.matmul_flops or np.nan)
        lines.append(
            figures(row, needed)
            | {"none_with_scores": wide.memory_bytes / (needed + narrow_scores_bytes(row))}
            | {"in_95_gb": wide.memory_bytes / needed, "flops_over_those_in_95_gb": again}
            | {"kept": bool(row.fits and again < 1.001 and row.memory_bytes <= row.within_bytes)}
        )
    table = pd.DataFrame(lines)
    if table.empty:
        return
    print(table.round(3).to_string(index=False))
    right = table.kept & (table.ratio >= 0.9)
    print(f"within 10%: {right.sum()} of {len(table)}; in 95 GB: {(table.in_95_gb <= ROOM).sum()}")
    near = (table.none_with_scores.dropna() - 1).abs() <= ROOM - 1
    print(f"`none` in 95 GB, scores in bfloat16 too, within 10%: {near.sum()} of {len(near)}")


def narrow_scores_bytes(row: CompileRow) -> float:
    """Of plain attention's scores in bfloat16, with the holes; nan where they are not kept."""
    if row.execution.remat != Remat.NONE:
        return np.nan
    arch = row.architecture
    n_scores = arch.n_layers * arch.batch_size * arch.n_heads * arch.seq_len**2
    return (1 + HOLES) * 2 * n_scores


def figures(row: CompileRow, needed: float) -> dict[str, object]:
    """What the table says of a step."""
    arch = row.architecture
    return {
        "shape": f"{arch.d_model}×{arch.n_layers}",
        "vocab": arch.vocab_size,
        "tokens": f"{arch.batch_size}×{arch.seq_len}",
        "remat": str(row.execution.remat),
        "model_gb": needed / 1e9,
        "plan_gb": row.memory_bytes / 1e9,
        "ratio": row.memory_bytes / needed,
    }


def main() -> None:
    """Compile what is missing, then report."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--report", action="store_true", help="compile nothing")
    options = parser.parse_args()
    if not options.report:
        free = read_rows(IRONWOOD, CompileRow)
        compile_limited([Job(row.architecture, row.execution) for row in free])
    report_limited()


if __name__ == "__main__":
    main()
