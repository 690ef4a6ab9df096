"""Does the analytic model say what a TPU's own compiler says of a step: FLOPs, time, memory?

Command: python experiments/tpu_compile.py --plans; python experiments/tpu_compile.py
Wall time: half a minute a plan, 2 to 10 minutes a step with its time, on two cores; `--report`
alone, with the rows in place, 5 s.
Expected: matmul FLOPs equal within 1%; memory copies with FLOPs (the paper's model) explain the
compiler's step times better than either alone; at equal parameters the widest is the fastest.

Compiles validation/step.py's training step for one TPU v5e chip, one architecture after the other,
on a machine without TPU (extra `tpu`), and appends each to tpu_compile/rows.csv, or with `--plans`,
which stops at the memory plan and the matmuls, to plans.csv. Rows that are there are kept, so it
may be stopped and run again; `--rows N` stops after N new ones. All times are the compiler's
estimates: nothing was measured on a chip.

The design: five shapes of some 113M parameters outside the vocabulary, from the widest to the
deepest, unrolled and with the layers as a loop; 40 architectures chosen to be unlike each other, as
`calibrate` chooses them; twelve of all these again with blocks run a second time (remat); and a
slice of four chips, data parallel and fully sharded.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from anybudget.objectives.counts import flops_per_step
from anybudget.objectives.fit_step_time import compare_step_times, variance_explained_alone
from anybudget.objectives.memory import memory_bytes
from anybudget.objectives.remat import remat_code
from anybudget.space.architecture import Architecture
from anybudget.validation.compile_rows import CompileRow, row_of, steps_of
from anybudget.validation.compiled import compile_for
from anybudget.validation.model import Execution, Remat
from anybudget.validation.runs import append_row, read_rows
from anybudget.validation.step_design import Effort, Limits, choose_architectures
from anybudget.validation.topology import parse_topology

FOLDER = Path(__file__).with_suffix("")
ROWS, PLANS = FOLDER / "rows.csv", FOLDER / "plans.csv"
CHIP, SLICE = "v5e:1x1", "v5e:2x2"
# Width and depth, from the widest to the deepest, of equal parameters outside the vocabulary.
EQUAL = ((2048, 2), (1536, 4), (1024, 9), (768, 16), (512, 36))
EFFORT = Effort(n_architectures=40, seconds=0, max_step_s=0.1, max_layers=6)
N_REMAT = 12
TIMEOUT_S = 3600.0


class Job(NamedTuple):
    """One row to make."""

    arch: Architecture
    scan_layers: bool = False
    remat: Remat = "none"
    topology: str = CHIP
    fully_sharded: bool = False

    @property
    def key(self) -> tuple:
        """As `CompileRow.key`."""
        return (self.arch, self.topology, self.scan_layers, self.remat, self.fully_sharded)


def jobs() -> list[Job]:
    """The design, what says most for its minutes first."""
    equal = [Architecture.from_shape(d_model=d, n_layers=n, batch_size=8) for d, n in EQUAL]
    unlike = sorted(_unlike(), key=lambda arch: arch.n_layers)
    wide = equal[0]
    slices = [Job(wide, topology=SLICE, fully_sharded=full) for full in (False, True)]
    loops = [Job(arch, scan_layers=True) for arch in equal]
    remats = [Job(arch, remat="layer") for arch in (*equal[:2], *unlike[: N_REMAT - 2])]
    return [
        *slices,
        *(Job(arch) for arch in unlike),
        *remats,
        *(Job(arch) for arch in equal[:3]),
        *loops,
        *(Job(arch) for arch in equal[3:]),
    ]


def _unlike() -> list[Architecture]:
    """Forty architectures within a quarter of a chip's memory, spread over what time rests on."""
    device = parse_topology(CHIP).device
    limits = Limits(
        peak_flops_per_s=device.peak_flops_per_s,
        bandwidth_bytes_per_s=device.bandwidth_bytes_per_s,
        memory_bytes=device.memory_bytes,
        bytes_per_element=device.bytes_per_element,
    )
    return choose_architectures(EFFORT, limits, seed=0, scale=4)


def main() -> None:
    """Compile what is missing, then report on all rows."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--plans", action="store_true", help="no step times")
    parser.add_argument("--rows", type=int, default=10**6, help="stop after so many new rows")
    parser.add_argument("--report", action="store_true", help="compile nothing")
    options = parser.parse_args()
    path = PLANS if options.plans else ROWS
    most = 0 if options.report else options.rows
    compile_missing(jobs(), path, with_time=not options.plans, most=most)
    report_plans(rows_of(PLANS))
    report_times(rows_of(ROWS))


def compile_missing(design: list[Job], path: Path, *, with_time: bool, most: int) -> None:
    """Compile of a design what a file does not hold, at most so many, a row each."""
    done = {row.key for row in rows_of(path)}
    todo = [job for job in design if job.key not in done]
    print(f"{path.name}: {len(done)} rows, {len(todo)} missing")
    for job in todo[:most]:
        print(job.arch, job[1:], flush=True)
        step = compile_for(
            job.arch,
            parse_topology(job.topology),
            execution=Execution(scan_layers=job.scan_layers, remat=job.remat, dtype="bfloat16"),
            fully_sharded=job.fully_sharded,
            with_time=with_time,
            timeout_s=TIMEOUT_S,
        )
        append_row(path, row_of(step, datetime.datetime.now(datetime.UTC)))


def rows_of(path: Path) -> list[CompileRow]:
    """The rows of a file; none where there is no file yet."""
    return read_rows(path, CompileRow) if path.exists() else []


def report_plans(rows: list[CompileRow]) -> None:
    """Matmul FLOPs and memory: compiler over analytic, and collectives of the slices."""
    if not rows:
        return
    ratios = pd.DataFrame(_ratios(row) for row in rows if row.topology == CHIP)
    ratios.to_csv(FOLDER / "plan_ratios.csv", index=False, float_format="%.4g")
    print("\ncompiler's plan over analytic prediction, one v5e chip:\n")
    print(ratios.round(3).to_string(index=False))
    within = ratios["matmul_flops"].between(0.99, 1.01)
    print(f"\nmatmul FLOPs within 1%: {within.sum()} of {len(ratios)}")
    for remat, loop in itertools.product(("none", "layer"), (False, True)):
        chosen = (ratios["remat"] == remat) & (ratios["loop"] == loop)
        memory = ratios["memory"].to_numpy()[chosen.to_numpy()]
        if not len(memory):
            continue
        near = np.abs(memory - 1) <= 0.1
        print(
            f"memory, remat {remat}, {'a loop' if loop else 'unrolled'}: {memory.min():.2f} to "
            f"{memory.max():.2f}, within 10%: {near.sum()} of {len(memory)}"
        )
    for row in rows:
        if row.topology != CHIP:
            kind = "full" if row.fully_sharded else "data"
            print(f"{row.topology} {kind}: {row.d_model}×{row.n_layers}, {_collectives(row)}")


def report_times(rows: list[CompileRow]) -> None:
    """Step times: models held out, and the factor from the widest to the deepest."""
    on_chip = [row for row in rows if row.topology == CHIP and row.fits]
    unrolled = [row for row in on_chip if not row.scan_layers and row.remat == "none"]
    for row in on_chip:
        print({key: value for key, value in _ratios(row).items() if value == value})
    print("\n".join(_time_fits(unrolled)))
    print("\n".join(_widest_to_deepest(on_chip)))


def _ratios(row: CompileRow) -> dict[str, object]:
    """Compiler over analytic, of one row."""
    arch, remat = row.architecture, remat_code(row.remat)
    device = parse_topology(row.topology).device
    analytic_s = device.step_time_model.step_time_s(arch, remat=remat)
    analytic_bytes = memory_bytes(
        arch, bytes_per_element=2, remat=remat, scan_layers=row.scan_layers
    )
    flops = flops_per_step(arch, remat=remat)
    return {
        "shape": f"{arch.d_model}×{arch.n_layers}",
        "loop": row.scan_layers,
        "remat": row.remat,
        "matmul_flops": _over(row.matmul_flops, flops),
        "memory_gb": row.memory_bytes / 1e9,
        "memory": row.memory_bytes / analytic_bytes,
        "fits": row.fits,
        "flops": _over(row.flops, flops),
        "step_ms": _over(row.step_time_s, 1e-3),
        "step_time": _over(row.step_time_s, analytic_s),
    }


def _over(value: float | None, other: float) -> float:
    return float("nan") if value is None else value / other


def _time_fits(rows: list[CompileRow]) -> Iterator[str]:
    """Held-out error of each step-time model on the compiler's step times."""
    if len({(row.d_model, row.n_layers) for row in rows}) < 5:
        yield f"\n{len(rows)} unrolled rows are too few to fit step times"
        return
    steps = steps_of(rows)
    yield f"\nstep-time models on {len(rows)} unrolled steps, each (width, depth) held out:"
    for fit in compare_step_times(steps):
        yield f"{fit.model.name:9} R² {fit.r2:.3f}, mean error {fit.mape:.1%}"
    alone = variance_explained_alone(steps)
    yield f"variance explained alone: { {name: round(r2, 3) for name, r2 in alone.items()} }"


def _widest_to_deepest(rows: list[CompileRow]) -> Iterator[str]:
    """By which factor time grows at equal parameters, unrolled and as a loop."""
    for scan_layers in (False, True):
        kept = {
            (row.d_model, row.n_layers): row
            for row in rows
            if row.scan_layers is scan_layers and row.remat == "none" and row.vocab_size == 32_000
        }
        shapes = [kept[shape] for shape in EQUAL if shape in kept]
        if len(shapes) > 1:
            times = ", ".join(
                f"{row.d_model}×{row.n_layers} {1e3 * (row.step_time_s or 0):.1f} ms"
                for row in shapes
            )
            first, last = shapes[0].step_time_s or 1, shapes[-1].step_time_s or 1
            kind = "a loop" if scan_layers else "unrolled"
            yield f"\nequal parameters, {kind}: {times}; last over first {last / first:.2f}"


def _collectives(row: CompileRow) -> str:
    return ", ".join(
        f"{kind} {getattr(row, kind + '_bytes')}"
        for kind in ("all_reduce", "all_gather", "reduce_scatter")
    )


if __name__ == "__main__":
    main()
