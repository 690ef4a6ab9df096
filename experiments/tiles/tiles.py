"""What does a dimension off its tile cost on a TPU, by its own compiler, and which rule says so?

Command: python experiments/tiles/tiles.py           # compiles what is missing, then reports
         python experiments/tiles/tiles.py --report
Wall time: 10 to 60 s a step on one core, an hour or two for all 120; `--report` alone 20 s.
Expected: a step-time model with a rule for tiles, chosen among several on the base design's and
the choosing rows alone, is off by at most 8% on the held-out rows off their tiles (at least 60 on
three chips), and puts at least 19 of 20 pairs (off-tile, next multiple of 128) in the right order.

Fixed before anything was compiled: the design below, by its seeds. Of each chip
- 12 `choose` rows: random small steps with one to three dimensions off their tiles. With the base
  design (experiments/tpu_compile) they choose the rule and fit its coefficients;
- 14 `hold` rows, drawn likewise by another seed: looked at only once the rule is chosen;
- 7 pairs, held out too: a step with one dimension off its tile (width twice, MLP twice, heads,
  vocabulary, length), and the same step with the next multiple of 128.
Rows that are there are kept, so it may be stopped and run again; the order goes round the chips and
the uses, so that a part of it is balanced.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from anybudget.objectives.cost.execution import PLAIN
from anybudget.space.architecture import Architecture
from anybudget.validation.compiler.compile import compile_for
from anybudget.validation.compiler.rows import CompileRow, row_of
from anybudget.validation.compiler.topology import parse_topology
from anybudget.validation.runs import append_row, read_rows

FOLDER = Path(__file__).parent
ROWS = FOLDER / "rows.csv"
CHIPS = ("v5e:1x1", "v5p:1x1x1", "v6e:1x1")
TILE = 128
# Its steps take four times as long to compile: it has every other turn.
SLOW = "v6e:1x1"
N_CHOOSE, N_HOLD, N_PAIRS = 10, 14, 9
PAIRS = ("width", "d_ff", "vocab_size", "d_head", "d_ff", "width", "seq_len")
# Multiples that a dimension off its tile is still of.
GRAINS = {
    "width": (32, 64),
    "d_ff": (1, 2, 16, 32, 64),
    "d_head": (16,),
    "vocab_size": (1, 2, 16, 64),
    "seq_len": (4, 20, 50),
}
TIMEOUT_S = 900.0


class Job(NamedTuple):
    """One step to compile; `partner` is the next multiple of the pair's dimension."""

    chip: str
    use: Literal["choose", "hold", "pair", "partner"]
    arch: Architecture
    dimension: str = ""


def on_tile(rng: np.random.Generator) -> dict:
    """A random small step, all of whose dimensions are multiples of the tile, or heads of 64."""
    d_model = TILE * int(rng.integers(2, 6))
    d_head = int(rng.choice([64, 128]))
    n_heads = d_model // d_head
    seq_len = 256
    return {
        "d_model": d_model,
        "n_layers": 1,
        "n_heads": n_heads,
        "n_kv_heads": int(rng.choice([n for n in range(1, n_heads + 1) if n_heads % n == 0])),
        "d_head": d_head,
        "d_ff": TILE * round(float(rng.uniform(2, 4)) * d_model / TILE),
        "gated_mlp": bool(rng.choice([False, True])),
        "vocab_size": TILE * int(rng.integers(4, 17)),
        "tied_embeddings": bool(rng.choice([False, True])),
        "seq_len": seq_len,
        "batch_size": int(rng.choice([512, 1024])) // seq_len,
    }


def off_tile(fields: dict, dimension: str, rng: np.random.Generator) -> dict:
    """The step with one dimension a little less, off its tile."""
    grain = int(rng.choice(GRAINS[dimension]))
    if dimension == "width":
        return of_width(fields, fields["d_model"] - grain * int(rng.integers(1, TILE // grain)))
    if dimension == "d_head":
        return fields | {"d_head": int(rng.choice([80, 96, 112]))}
    value = fields[dimension]
    less = [n for n in range(value - TILE + 1, value) if n % grain == 0]
    return fields | {dimension: int(rng.choice(less))}


def of_width(fields: dict, d_model: int) -> dict:
    """The step at another width, which as many key heads of a width that divides it fill."""
    d_head = math.gcd(d_model, 64)
    n_heads = d_model // d_head
    return fields | {
        "d_model": d_model,
        "n_heads": n_heads,
        "n_kv_heads": n_heads,
        "d_head": d_head,
    }


def next_multiple(fields: dict, dimension: str) -> dict:
    """The step whose dimension off its tile is the next multiple of it."""
    if dimension == "width":
        d_model = -(-fields["d_model"] // TILE) * TILE
        n_heads = d_model // fields["d_head"]
        return fields | {"d_model": d_model, "n_heads": n_heads, "n_kv_heads": n_heads}
    return fields | {dimension: -(-fields[dimension] // TILE) * TILE}


def several_off(rng: np.random.Generator) -> dict:
    """A step with one to three dimensions off their tiles."""
    fields = on_tile(rng)
    names = rng.choice(list(GRAINS), size=int(rng.integers(1, 4)), replace=False).tolist()
    for name in sorted(names, key=list(GRAINS).index):  # the width sets the heads, so it is first
        fields = off_tile(fields, name, rng)
    return fields


def design() -> list[Job]:
    """What is known to differ first, then all steps round the chips and the uses."""
    return [*_facts(), *(job for turn in _turns() for job in turn)]


def _facts() -> list[Job]:
    """Widths and MLPs of which earlier, larger steps are known to have been slower off their tiles."""
    small = {"vocab_size": 1024, "seq_len": 256, "batch_size": 2}
    shape = {"d_model": 1024, "n_layers": 1, "gated_mlp": True}
    mlps = [Architecture.from_shape(**shape, **small, d_ff=n) for n in (2730, 2816)]
    widths = [
        Architecture.from_shape(d_model=n, n_layers=2, d_head=32, **small) for n in (704, 768, 672)
    ]
    return [Job(CHIPS[0], "choose", arch) for arch in (*mlps, *widths)]


def _turns() -> Iterator[list[Job]]:
    choosing, holding, pairing = (np.random.default_rng([20, seed]) for seed in (0, 1, 2))
    for turn in range(N_HOLD):
        for chip in CHIPS:
            if chip == SLOW and turn % 2:
                continue
            if turn < N_CHOOSE:
                yield [Job(chip, "choose", Architecture(**several_off(choosing)))]
            if turn < N_PAIRS:
                dimension = PAIRS[turn % len(PAIRS)]
                off = off_tile(on_tile(pairing), dimension, pairing)
                on = next_multiple(off, dimension)
                yield [
                    Job(chip, "pair", Architecture(**off), dimension),
                    Job(chip, "partner", Architecture(**on), dimension),
                ]
            yield [Job(chip, "hold", Architecture(**several_off(holding)))]


def compile_missing(jobs: list[Job], most: int) -> None:
    """Compile what the file does not hold, at most so many, a row each."""
    done = {(row.topology, row.architecture) for row in read_rows(ROWS, CompileRow)}
    todo = [job for job in jobs if (job.chip, job.arch) not in done]
    print(f"{len(done)} rows, {len(todo)} missing", flush=True)
    for job in todo[:most]:
        print(job.chip, job.use, dataclasses.asdict(job.arch), flush=True)
        step = compile_for(job.arch, parse_topology(job.chip), PLAIN, timeout_s=TIMEOUT_S)
        append_row(ROWS, row_of(step, datetime.datetime.now(datetime.UTC)))


def main() -> None:
    """Compile what is missing, then report."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=10**6, help="stop after so many new rows")
    parser.add_argument("--report", action="store_true", help="compile nothing")
    options = parser.parse_args()
    compile_missing(design(), 0 if options.report else options.rows)


if __name__ == "__main__":
    main()
