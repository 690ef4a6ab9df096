"""Does the analytic model say what a TPU's own compiler says of a step's time, FLOPs and bytes?

Command: anybudget calibrate --topology v5e:1x1 --out experiments/tpu_compile/v5e.toml
         python experiments/tpu_compile/tpu_compile.py
         (and v5p and v6e calibrated likewise)
Wall time: one to ten minutes a step on one core, some hours in all; `--report` alone, with the rows
in place, 5 s.
Expected: matmul FLOPs equal within 1%; memory copies with FLOPs (the paper's model) explain the
compiler's step times better than either alone, and the best model within 10%; at equal parameters
the widest is the fastest.

The first command compiles validation/training/step.py's training step of 42 architectures chosen
to be unlike each other, as it does for a user; the second compiles five shapes of some 113M
parameters outside the vocabulary, from the widest to the deepest, unrolled and with the layers as
a loop (the loops again with a batch of 2, for most do not fit with 8), and the two widest with
blocks run a second time, and appends each to tpu_compile/rows.csv. Rows that are there are kept,
so both may be stopped and run again; `--rows N` stops after N new ones. All times are the
compiler's estimates: nothing was measured on a chip. Memory is tpu_memory.py's.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import math
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import pandas as pd

from anybudget.objectives.cost.counts import flops_per_step, memcpys_per_step
from anybudget.objectives.cost.execution import PLAIN, Execution
from anybudget.objectives.fit.step_time import compare_step_times, variance_explained_alone
from anybudget.space.architecture import Architecture
from anybudget.validation.compiler.compile import compile_for
from anybudget.validation.compiler.rows import CompileRow, row_of, steps_of
from anybudget.validation.compiler.topology import parse_topology
from anybudget.validation.runs import append_row, read_rows

FOLDER = Path(__file__).parent
ROWS = FOLDER / "rows.csv"
# Plans of tpu_memory.py, whose programs say what they move.
PLANS = [
    Path(__file__).parents[1] / "tpu_memory" / f"{name}.csv" for name in ("plans", "first", "near")
]
CHIP = "v5e:1x1"
GENERATIONS = ("v5e", "v5p", "v6e")
# Width and depth, from the widest to the deepest, of equal parameters outside the vocabulary.
EQUAL = ((2048, 2), (1536, 4), (1024, 9), (768, 16), (512, 36))
# Of 8 sequences the deeper loops do not fit the chip.
LOOP_BATCH = 2
TIMEOUT_S = 3600.0
MIN_SHAPES = 5
GROWS = ["step_ms", "moved_gb", "accessed_gb", "memory_gb", "matmul_gflop", "predicted_memcpy_gb"]


class Job(NamedTuple):
    """One row to make."""

    arch: Architecture
    execution: Execution = PLAIN

    def key(self, chip: str) -> tuple:
        """As `CompileRow.key`."""
        return (self.arch, chip, self.execution)


def jobs() -> list[Job]:
    """The design, what says most for its minutes first."""
    equal = [Architecture.from_shape(d_model=d, n_layers=n, batch_size=8) for d, n in EQUAL]
    loop = Execution(scan_layers=True)
    return [
        *(Job(arch) for arch in equal[:2]),
        *(Job(arch, loop) for arch in equal),
        *(Job(arch) for arch in equal[2:]),
        *(Job(arch, Execution(remat=remat)) for arch in equal[:2] for remat in ("layer", "dots")),
        *(Job(dataclasses.replace(arch, batch_size=LOOP_BATCH), loop) for arch in equal),
    ]


def main() -> None:
    """Compile what is missing, then report on all rows."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=10**6, help="stop after so many new rows")
    parser.add_argument("--report", action="store_true", help="compile nothing")
    options = parser.parse_args()
    compile_missing(jobs(), ROWS, with_time=True, most=0 if options.report else options.rows)
    for generation in GENERATIONS:
        report_fits(generation, read_rows(FOLDER / f"{generation}.csv", CompileRow))
    report_equal(read_rows(ROWS, CompileRow))
    report_traffic(
        [row for path in PLANS for row in read_rows(path, CompileRow) if row.traffic_bytes]
    )


def compile_missing(
    design: list[Job],
    path: Path,
    *,
    with_time: bool,
    most: int,
    chip: str = CHIP,
) -> None:
    """Compile of a design what a file does not hold, at most so many, a row each."""
    done = {row.key for row in read_rows(path, CompileRow)}
    todo = [job for job in design if job.key(chip) not in done]
    print(f"{path.name}: {len(done)} rows, {len(todo)} missing")
    for job in todo[:most]:
        print(job.arch, job[1:], flush=True)
        step = compile_for(
            job.arch,
            parse_topology(chip),
            job.execution,
            with_time=with_time,
            timeout_s=TIMEOUT_S,
        )
        append_row(path, row_of(step, datetime.datetime.now(datetime.UTC)))


def report_fits(generation: str, rows: list[CompileRow]) -> None:
    """Of the rows that `calibrate --topology` made: FLOPs, and every step-time model held out."""
    timed = [row for row in rows if row.step_time_s]
    if len({(row.architecture.d_model, row.architecture.n_layers) for row in timed}) < MIN_SHAPES:
        print(f"\n{generation}: {len(timed)} steps are too few to fit step times")
        return
    flops = [
        row.matmul_flops / flops_per_step(row.architecture) for row in rows if row.matmul_flops
    ]
    steps = steps_of(timed)
    print(f"\n{generation}, {len(timed)} unrolled steps; each (width, depth) held out:")
    print(f"matmul FLOPs, compiled over counted: {min(flops):.4f} to {max(flops):.4f}")
    for fit in compare_step_times(steps):
        print(f"{fit.model.name:9} R² {fit.r2:.3f}, mean error {fit.mape:.1%}")
    alone = variance_explained_alone(steps)
    print(f"variance explained alone: { {name: round(r2, 3) for name, r2 in alone.items()} }")
    sheet = parse_topology(timed[0].topology).device.step_time_model
    ratios = steps.measured_s / sheet.step_time_s(steps.arch)
    low, middle, high = np.quantile(ratios, (0.05, 0.5, 0.95))
    print(f"compiled over datasheet's: {middle:.2f} ({low:.2f} to {high:.2f}, 90% of steps)")


def report_equal(rows: list[CompileRow]) -> None:
    """At equal parameters: what grows from the widest to the deepest, and by which factor."""
    table = pd.DataFrame(_in_figures(row) for row in rows)
    if table.empty:
        return
    print("\n", table.round(3).to_string(index=False))
    table.to_csv(FOLDER / "equal.csv", index=False, float_format="%.5g")
    for key, same in table[table.remat == "none"].groupby(["loop", "batch"]):
        loop, batch = cast(tuple[bool, int], key)
        ordered = same.set_index("shape").reindex([f"{d}×{n}" for d, n in EQUAL])
        ordered = ordered.dropna(subset="step_ms")  # the others do not fit, or are still to come
        growth = ordered.iloc[-1][GROWS] / ordered.iloc[0][GROWS].astype(float)
        print(
            f"\n{'a loop' if loop else 'unrolled'}, batch {batch}, {ordered.index[-1]} over "
            f"{ordered.index[0]}: "
            + ", ".join(f"{name} {factor:.2f}" for name, factor in growth.items())
        )


def report_traffic(rows: list[CompileRow]) -> None:
    """What programs move in main memory, over memory copies, and what explains it."""
    copied, flops = (
        np.array([count(row.architecture, row.execution) for row in rows])
        for count in (memcpys_per_step, flops_per_step)
    )
    moved = np.array([row.traffic_bytes for row in rows])
    unrolled = np.array([not row.execution.scan_layers for row in rows])
    for kind, chosen in (("unrolled", unrolled), ("a loop", ~unrolled)):
        low, middle, high = np.quantile((moved / (2 * copied))[chosen], (0.1, 0.5, 0.9))
        alone = [np.corrcoef(count[chosen], moved[chosen])[0, 1] ** 2 for count in (copied, flops)]
        print(
            f"\nmoved in main memory over memory copies of 2 bytes, {chosen.sum()} steps, {kind}: "
            f"{middle:.2f} ({low:.2f} to {high:.2f}, 80% of steps); of its variance memory copies "
            f"explain {alone[0]:.3f}, FLOPs {alone[1]:.3f}"
        )


def _in_figures(row: CompileRow) -> dict[str, object]:
    """One row, with what we would have predicted."""
    arch, execution = row.architecture, row.execution
    device = parse_topology(row.topology).device
    return {
        "shape": f"{arch.d_model}×{arch.n_layers}",
        "batch": arch.batch_size,
        "loop": execution.scan_layers,
        "remat": str(execution.remat),
        "matmul_gflop": (row.matmul_flops or math.nan) / 1e9,
        "moved_gb": (row.traffic_bytes or math.nan) / 1e9,
        "accessed_gb": (row.bytes_accessed or math.nan) / 1e9,
        "memory_gb": row.memory_bytes / 1e9,
        "step_ms": 1e3 * (row.step_time_s or math.nan),
        "predicted_memcpy_gb": 2 * memcpys_per_step(arch, execution) / 1e9,
        "predicted_step_ms": 1e3 * device.step_time_model.step_time_s(arch, execution),
    }


if __name__ == "__main__":
    main()
