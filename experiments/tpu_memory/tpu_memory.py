"""Does the analytic memory say what a TPU's own compiler plans, and what fits?

Command: python experiments/tpu_memory/tpu_memory.py
         python experiments/tpu_memory/tpu_memory.py --near
         python experiments/tpu_memory/tpu_memory.py --fused    # five minutes
         python experiments/tpu_memory/tpu_memory.py --ironwood # ten minutes
Wall time: 4 to 20 s a plan, an hour at most for all; `--report` alone 2 s.
Expected: within 10% of the compiler's plan for nine rows of ten, whatever the rematerialisation;
near the limit fits-or-not right at least 19 times of 20.

Compiles validation/training/step.py's training step for one TPU v5e chip as far as its memory
plan, on a machine without TPU (extra `tpu`), and appends each to tpu_memory/plans.csv, or with
`--near` to near.csv and fresh.csv. Rows that are there are kept, so it may be stopped and run
again.

The design: 14 shapes chosen to be unlike each other in width, depth, heads, sequence, vocabulary
and batch, and 16 and then 10 more drawn at random that need 0.1 to 0.4 of the chip's memory, each
under three rematerialisations with every layer compiled by itself; six of them also with the layers
as a loop.
The sets near the limit have 20 architectures, drawn at random and given the batch that the model,
by then frozen, puts at 0.7 to 1.4 of the chip's memory.

The model's structure was read off the compiler's buffers of other shapes (and of the first of the
design's). `first.csv` holds a set near the limit that was drawn in the same way by an earlier
model, which had no holes between buffers, took what a block's attention and MLP work on together,
and 16 GB for the limit: of 20 it had 18 right. On its rows and the design's first 18, `HOLES` was
fitted; the rest of the design and the second set are held out.

Whether a step fits is asked twice: does it without the compiler's running more of it again than
asked (its matmul FLOPs tell), which `find` wants and `memory_bytes` foretells; and does the
compiler accept it at all, which `squeezed_bytes` foretells. That function was made when the first
two sets had shown what the compiler does as memory runs out; fresh.csv, a third set drawn in the
same way, came after it.

`--fused` compiles the design's first 14 shapes with jax's splash attention, a kernel that writes no
scores, into fused.csv. Expected: as above, but for heads of 32, which a TPU pads. The model of it
was corrected after eleven other steps, for heads narrower than 128.

`--ironwood` compiles ten of the design's shapes, the first and those of fewest layers, which take
least to compile, under three rematerialisations for one of the two devices of an Ironwood chip
(`tpu7x`) into ironwood.csv. Expected: within 10%, for the model was
made of another generation's plans and knows nothing of this one. Half of its 30 rows are of shapes
that a draw by a CPU's memory gave, by mistake: they stay, and 15 of the design are to come.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pandas as pd

from anybudget.experiments.tpu_compile.tpu_compile import CHIP, Job, compile_missing
from anybudget.objectives.cost.counts import flops_per_step
from anybudget.objectives.cost.execution import Execution, Remat
from anybudget.objectives.cost.memory import memory_bytes, squeezed_bytes
from anybudget.space.architecture import Architecture
from anybudget.validation.compiler.rows import CompileRow
from anybudget.validation.compiler.topology import parse_topology
from anybudget.validation.runs import read_rows

FOLDER = Path(__file__).parent
PLANS, FIRST, NEAR, FRESH = (FOLDER / f"{name}.csv" for name in ("plans", "first", "near", "fresh"))
FUSED, IRONWOOD = FOLDER / "fused.csv", FOLDER / "ironwood.csv"
IRONWOOD_CHIP = "tpu7x:1x1x1"
N_NEAR = 20


def _shape(d: int, n: int, v: int, t: int, b: int, heads: str = "", **fields: object):
    """`heads` is query heads / key heads × width of a head."""
    if heads:
        many, _, d_head = heads.partition("x")
        n_heads, _, n_kv_heads = many.partition("/")
        fields |= {
            "n_heads": int(n_heads),
            "n_kv_heads": int(n_kv_heads or n_heads),
            "d_head": int(d_head),
        }
    return Architecture.from_shape(
        d_model=d, n_layers=n, vocab_size=v, seq_len=t, batch_size=b, **fields
    )


SHAPES = (
    _shape(512, 8, 8192, 1024, 16),
    _shape(768, 6, 32000, 1024, 8),
    _shape(1024, 8, 4096, 512, 32, "16/4x64", d_ff=2816, gated_mlp=True),
    _shape(1536, 4, 32000, 512, 16, "12x128"),
    _shape(2048, 6, 8192, 512, 4, gated_mlp=True),
    _shape(768, 12, 32000, 512, 16, "12/3x64", d_ff=2048, gated_mlp=True),
    _shape(1024, 4, 16384, 2048, 4, "8x128"),
    _shape(2048, 3, 50304, 256, 16, gated_mlp=True, tied_embeddings=False),
    _shape(3072, 2, 32000, 1024, 2, "24x128", tied_embeddings=False),
    _shape(256, 12, 8192, 512, 64, "8x32"),
    _shape(640, 6, 32768, 1024, 8, "10/2x64"),
    _shape(384, 6, 2048, 2048, 8),
    _shape(512, 4, 65536, 256, 64, "4x128"),
    _shape(4096, 2, 8192, 256, 4, gated_mlp=True),
)
N_LOOPS, N_FUSED, N_IRONWOOD = 6, 14, 10
N_DRAWN, SEEDS = (16, 10), (2, 5)


def jobs() -> list[Job]:
    """The design."""
    unrolled = [Job(arch, Execution(remat=remat)) for arch in SHAPES for remat in Remat]
    loops = [
        Job(arch, Execution(scan_layers=True, remat=remat))
        for arch in SHAPES[:N_LOOPS]
        for remat in Remat
    ]
    sets = zip(N_DRAWN, SEEDS, strict=True)
    more = [job.arch for n, seed in sets for job in drawn(0.1, 0.4, n, seed=seed)]
    return (
        unrolled + loops + [Job(arch, Execution(remat=remat)) for arch in more for remat in Remat]
    )


def ironwood() -> list[Job]:
    """Of the unrolled design the first shape and those of fewest layers, in its order."""
    first, *rest = (job for job in jobs() if not job.execution.scan_layers)
    shapes = dict.fromkeys(
        job.arch for job in [first, *sorted(rest, key=lambda j: j.arch.n_layers)]
    )
    return [
        Job(arch, Execution(remat=remat)) for arch in list(shapes)[:N_IRONWOOD] for remat in Remat
    ]


def near_limit(seed: int) -> list[Job]:
    """Twenty architectures by the model between 0.7 and 1.4 of the chip's memory."""
    return drawn(0.7, 1.4, N_NEAR, seed=seed)


def drawn(least: float, most: float, n: int, *, seed: int) -> list[Job]:
    """Random steps that by the model need from `least` to `most` of the chip's memory."""
    rng = np.random.default_rng(seed)
    limit = parse_topology(CHIP).device.memory_bytes
    return [_draw(rng, share * limit) for share in np.linspace(least, most, n)]


def _draw(rng: np.random.Generator, needed_bytes: float) -> Job:
    """A random architecture with the batch that needs so much, within 2%."""
    while True:
        d_head, group = int(rng.choice([64, 128])), int(rng.choice([1, 1, 4]))
        n_heads = group * int(rng.integers(2, 13 if group == 1 else 5))
        arch = Architecture(
            d_model=128 * int(rng.integers(2, 17)),
            n_layers=int(rng.integers(2, 7)),
            n_heads=n_heads,
            n_kv_heads=n_heads // group,
            d_head=d_head,
            d_ff=256 * int(rng.integers(2, 25)),
            gated_mlp=bool(rng.integers(2)),
            vocab_size=int(rng.choice([2048, 8192, 16384, 32000, 50304])),
            tied_embeddings=bool(rng.integers(2)),
            seq_len=int(rng.choice([256, 512, 1024, 2048])),
            batch_size=np.arange(2, 400),
        )
        execution = Execution(remat=int(rng.integers(3)))
        needed = memory_bytes(arch, execution, bytes_per_element=2, kind="tpu")
        nearest = int(np.argmin(np.abs(needed - needed_bytes)))
        if abs(needed[nearest] / needed_bytes - 1) < 0.02:
            batch_size = int(arch.batch_size[nearest])
            return Job(dataclasses.replace(arch, batch_size=batch_size), execution)


def main() -> None:
    """Compile what is missing, then report on all rows."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--near", action="store_true", help="the set near the limit")
    parser.add_argument("--fused", action="store_true", help="attention as one kernel")
    parser.add_argument("--ironwood", action="store_true", help="another generation")
    parser.add_argument("--report", action="store_true", help="compile nothing")
    options = parser.parse_args()
    if options.ironwood:
        designs = {IRONWOOD: ironwood()}
    elif options.fused:
        plain = jobs()[: N_FUSED * len(Remat)]
        fused = [
            Job(job.arch, dataclasses.replace(job.execution, attention="fused")) for job in plain
        ]
        designs = {FUSED: fused}
    elif options.near:
        designs = {NEAR: near_limit(1), FRESH: near_limit(3)}
    else:
        designs = {PLANS: jobs()}
    for path, design in designs.items():
        compile_missing(
            design,
            path,
            with_time=False,
            most=0 if options.report else len(design),
            chip=IRONWOOD_CHIP if options.ironwood else CHIP,
        )
    report_plans(read_rows(PLANS, CompileRow))
    print("\nwith fused attention")
    report_plans(read_rows(FUSED, CompileRow), fused=True)
    print("\non Ironwood")
    report_plans(read_rows(IRONWOOD, CompileRow))
    for path in (FIRST, NEAR, FRESH):
        report_near(path.name, read_rows(path, CompileRow))


def report_plans(rows: list[CompileRow], *, fused: bool = False) -> None:
    """The compiler's plan over the model's, for each rematerialisation."""
    table = _table(rows)
    if table.empty:
        return
    if fused:  # what the kernel does is not in the program's text
        table = table.drop(columns=["flops", "as_asked", "least_fits"])
    print("\ncompiler's plan over the model's bytes:\n")
    print(table.round(3).to_string(index=False))
    for loop, remat in itertools.product((False, True), Remat):
        chosen = ((table["loop"] == loop) & (table["remat"] == str(remat))).to_numpy()
        print(f"{'a loop' if loop else 'unrolled'}, remat {remat}: {_within(table, chosen)}")
    print(f"all: {_within(table, np.full(len(table), True))}")
    near: dict[Architecture, bool] = {}
    for row, ratio in zip(rows, table["ratio"], strict=True):
        if not row.execution.scan_layers:
            near[row.architecture] = near.get(row.architecture, True) and abs(ratio - 1) <= 0.1
    print(f"unrolled, shapes under all three: {sum(near.values())} of {len(near)}")


def _within(table: pd.DataFrame, chosen: np.ndarray) -> str:
    ratio = table["ratio"].to_numpy()[chosen]
    if not len(ratio):
        return "no rows"
    near = np.count_nonzero(np.abs(ratio - 1) <= 0.1)
    return f"{ratio.min():.2f} to {ratio.max():.2f}, within 10%: {near} of {len(ratio)}"


def report_near(name: str, rows: list[CompileRow]) -> None:
    """How often the model is right about what fits."""
    table = _table(rows)
    if table.empty:
        return
    print(f"\nnear the limit, {name}:\n")
    print(table.round(3).to_string(index=False))
    print(f"all: {_within(table, np.full(len(table), True))}")
    for question, predicted in (("compiles", "least_fits"), ("as_asked", "needed_fits")):
        right = np.count_nonzero(table[predicted] == table[question])
        print(f"fits or not, {question}: right {right} times of {len(table)}")


def _table(rows: list[CompileRow]) -> pd.DataFrame:
    """Each row beside what the model says of it."""
    lines = []
    for row in rows:
        limit = parse_topology(row.topology).device.memory_bytes
        arch, execution = row.architecture, row.execution
        needed, least = (
            count(arch, execution, bytes_per_element=2, kind="tpu")
            for count in (memory_bytes, squeezed_bytes)
        )
        flops = (row.matmul_flops or np.nan) / flops_per_step(arch, execution)
        lines.append(
            {
                "shape": f"{arch.d_model}×{arch.n_layers}",
                "vocab": arch.vocab_size,
                "tokens": f"{arch.batch_size}×{arch.seq_len}",
                "loop": execution.scan_layers,
                "remat": str(execution.remat),
                "model_gb": needed / 1e9,
                "plan_gb": row.memory_bytes / 1e9,
                "ratio": row.memory_bytes / needed,
                "flops": flops,
                "needed_fits": bool(needed <= limit),
                "as_asked": row.fits and flops < 1.001,
                "least_fits": bool(least <= limit),
                "compiles": row.fits,
            }
        )
    return pd.DataFrame(lines)


if __name__ == "__main__":
    main()
