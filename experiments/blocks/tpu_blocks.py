"""Memory and time of every kind of block, as counted and as a TPU's compiler has them.

    python experiments/blocks/tpu_blocks.py             # compile what is missing, then report
    python experiments/blocks/tpu_blocks.py --report    # from the rows alone, 5 s
    python experiments/blocks/tpu_blocks.py --ship      # likewise; presets get what chunks cost

Processor time: five seconds a plan and half a minute to one a timed step on one core;
which may be stopped and run again (extra `tpu`).
Expected (written before the first run): FLOPs within 1%; memory within 10% of the compiler's plan
for 30 of 36; step times, by the preset that was fitted to dense steps alone, within 12% for windows
and latent attention, too short for scans, whose decays are elementwise work of chunks squared.
Found: FLOPs and memory held, for 36 of 36 (the dense one needs less than counted, which is for
blocks in one array). Of small steps even the dense one's are 17% off. Of wide ones scans take 1.3
to 1.8 times as long as counted, the others are 5 to 13% off. What scans lack is laying rows out
anew for their chunks: one coefficient, of wide scans of even numbers, makes 28% of all kinds' wide
steps of odd numbers 12%, and, by their elementwise work's rate, 25% of v5p's 13% and 36% of v6e's
19%.

Six kinds: windows, latent attention, experts, Mamba-2, the gated delta rule, and a hybrid of
Mamba-2 and attention, and the dense one beside them, in bfloat16 for one chip, plain attention,
nothing run again. Shapes are drawn at random: six of a kind for the plan alone, of two to four
blocks; for the whole program, of one block (a hybrid of two), six small ones and six wide ones,
as wide and of as many rows as dense steps that presets are fitted to. What is missing in the counts
was looked for on those of even numbers; those of odd numbers were left out until the end. Experts
have as many rows as any, as they are counted, for XLA's `ragged_dot` multiplies all rows with every
expert in its weights' gradient. Scans of two wide shapes are compiled for v5p and v6e too, which
had no part in anything. Each is appended to tpu_blocks.csv; tpu_scores.csv is made of the rows.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
from pydantic import AwareDatetime, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from anybudget.experiments.blocks.tpu_shapes import (
    CHIP,
    N_SHAPES,
    OTHERS,
    SCANS,
    Key,
    design,
    drawn,
)
from anybudget.experiments.shared.coefficient import give_coefficient
from anybudget.objectives.cost.counts import flops_per_step, total
from anybudget.objectives.cost.execution import PLAIN
from anybudget.objectives.cost.features import CHUNKED
from anybudget.objectives.cost.memory import memory_bytes
from anybudget.objectives.cost.tiles import chunked_by_part
from anybudget.objectives.device import Device
from anybudget.presets.devices import load_device
from anybudget.validation.compiler.cache import versions
from anybudget.validation.compiler.compile import compiler_environment, read_program
from anybudget.validation.compiler.plan import dump_flags
from anybudget.validation.compiler.topology import parse_topology
from anybudget.validation.runs import Row, append_row, read_rows

HERE = Path(__file__).parent
ROWS, SCORES = HERE / "tpu_blocks.csv", HERE / "tpu_scores.csv"
TIMEOUT_S = 1500.0
TERMS = ("compute", "copies", "gathers", "others")


class BlockRow(Row):
    """What the compiler says of one step; terms and `step_time_s` only of those timed."""

    kind: str
    timed: bool
    number: NonNegativeInt
    topology: str
    d_model: PositiveInt
    n_layers: PositiveInt
    vocab_size: PositiveInt
    seq_len: PositiveInt
    batch_size: PositiveInt
    blocks: str
    memory_bytes: PositiveInt
    matmul_flops: PositiveInt
    traffic_bytes: NonNegativeInt
    step_time_s: PositiveFloat | None = None
    compute_s: NonNegativeFloat | None = None
    copies_s: NonNegativeFloat | None = None
    gathers_s: NonNegativeFloat | None = None
    others_s: NonNegativeFloat | None = None
    processor_s: PositiveFloat
    versions: str
    compiled: AwareDatetime

    @property
    def key(self) -> Key:
        """What the file holds once."""
        return Key(self.kind, self.timed, self.number, self.topology)


def compile_missing() -> None:
    """A row for each key that the file lacks."""
    done = {row.key for row in read_rows(ROWS, BlockRow)}
    for key in design():
        if key not in done:
            append_row(ROWS, row := compiled(key))
            print(f"{tuple(key)}: {row.memory_bytes / 1e9:.2f} GB, {row.step_time_s or 0:.4f} s, "
                  f"took {row.processor_s:.0f} s", flush=True)  # fmt: skip


def compiled(key: Key) -> BlockRow:
    """What the compiler, in a process of its own, says of one."""
    arch, chip = drawn(key), parse_topology(key.topology)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = compiler_environment(chip, name) | {"XLA_FLAGS": dump_flags(folder)}
        command = [sys.executable, __file__, "--child", name, json.dumps(key)]
        subprocess.run(command, env=environment, check=True, timeout=TIMEOUT_S, capture_output=True)
        answer = json.loads((folder / "answer.json").read_text(encoding="utf-8"))
        known = read_program(folder, answer, chip)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    time = known.get("time")
    seconds = {f"{term}_s": time.seconds[term] for term in TERMS} if time else {}
    return BlockRow(
        **key._asdict(),
        **{name: getattr(arch, name) for name in
           ("d_model", "n_layers", "vocab_size", "seq_len", "batch_size")},
        blocks=" ".join(map(str, dict.fromkeys(arch.pattern))),
        memory_bytes=answer["memory_bytes"],
        matmul_flops=known["matmul_flops"],
        traffic_bytes=known["traffic_bytes"],
        step_time_s=time and time.step_time_s,
        **seconds,
        processor_s=sum(after[:2]) - sum(before[:2]),
        versions=";".join(f"{name} {version}" for name, version in versions().items()),
        compiled=datetime.datetime.now(datetime.UTC),
    )  # fmt: skip


def child(name: str, key: Key) -> None:
    """In the compiler's process: write its answer and the program into a folder."""
    from anybudget.validation.compiler.step import compile_model
    from anybudget.validation.training.blocks import trainable
    from anybudget.validation.training.blocks.forms import Forms, balanced

    chip = parse_topology(key.topology)
    forms = Forms(grouped=balanced, stream="bfloat16")
    with mock.patch.object(trainable, "forms", return_value=forms):
        answer = compile_model(drawn(key), chip, PLAIN, Path(name), plan_only=not key.timed)
    (Path(name) / "answer.json").write_text(json.dumps(answer), encoding="utf-8")
    os._exit(0)  # a plan's compiler is still at work


def report(rows: list[BlockRow]) -> pd.DataFrame:
    """A row a step, compiled over counted, and each kind's extremes."""
    table = pd.DataFrame(map(scored, rows))
    table.to_csv(SCORES, index=False, float_format="%.4g")
    plans = table[~table.timed]
    for name, chosen in (("looked at", plans.number % 2 == 0), ("left out", plans.number % 2 == 1)):
        ratios = plans[chosen].groupby("kind", sort=False)[["flops", "memory"]]
        print(f"\nplans {name}:\n{ratios.agg(['min', 'max', 'count']).round(3).to_string()}")
        print(f"within 10%: {(plans[chosen].memory.sub(1).abs() <= 0.1).sum()} of {chosen.sum()}")
    timed = table[table.timed]
    print(f"\nsteps:\n{timed.drop(columns=['timed', 'memory']).round(3).to_string(index=False)}")
    here, wide, odd = timed.topology == CHIP, timed.number >= N_SHAPES, timed.number % 2 == 1
    for name, chosen in (
        ("small, looked at", here & ~wide & ~odd),
        ("small, left out", here & ~wide & odd),
        ("wide, looked at", here & wide & ~odd),
        ("wide, left out", here & wide & odd),
        *((chip, timed.topology == chip) for chip in OTHERS),
    ):
        part = timed[chosen]
        errors = np.expm1(np.log(part[["unchunked", "time"]]).abs())
        of_kinds = errors.groupby(part.kind, sort=False).mean()
        of_kinds.loc["all but full"] = errors[part.kind != "full"].mean()
        print(f"\n{name}, {len(part)} steps, mean error without and with what chunks cost:")
        print(of_kinds.round(3).T.to_string())
    return table


def scored(row: BlockRow) -> dict[str, Any]:
    """What the compiler has over what is counted.

    `time` is by what ships, `unchunked` by the preset of dense steps alone.
    """
    arch, model = drawn(row.key), preset(row.topology).step_time_model
    needed = memory_bytes(arch, bytes_per_element=2, kind="tpu")
    parts = model.step_time_by_part(arch, kind="tpu", features=[CHUNKED])
    step_s, counted_s = row.step_time_s or math.nan, model.step_time_s(arch, kind="tpu")
    return {
        **row.key._asdict(),
        "shape": f"{arch.d_model}×{arch.n_layers}",
        "tokens": f"{arch.batch_size}×{arch.seq_len}",
        "flops": row.matmul_flops / flops_per_step(arch),
        "memory": row.memory_bytes / needed,
        "step_ms": 1e3 * step_s,
        "unchunked": step_s / (counted_s - sum(parts.values())),
        "time": step_s / counted_s,
    }


def preset(topology: str) -> Device:
    """What ships for a chip."""
    return load_device(parse_topology(topology).device.name.removesuffix("-datasheet"))


def chunked_s(rows: list[BlockRow], table: pd.DataFrame) -> float:
    """Seconds of an element that goes in or out of chunks, of wide scans of even numbers alone."""
    of_scans = table.timed & table.kind.isin(SCANS) & (table.topology == CHIP)
    at = table.index[of_scans & (table.number >= N_SHAPES) & (table.number % 2 == 0)]
    units = [total(chunked_by_part(drawn(rows[i].key), PLAIN)) for i in at]
    step_s = table.step_ms[at].to_numpy() / 1e3
    x, y = np.array(units) / step_s, 1 - 1 / table.unchunked[at].to_numpy()
    return float(x @ y / (x @ x))


def ship(seconds: float) -> None:
    """Give each TPU's preset what chunks cost, other chips' by their elementwise work's rate."""
    own = preset(CHIP).step_time_model.seconds_per_unit["activations"]
    for chip in (CHIP, *OTHERS, "tpu7x:1x1x1"):
        device = preset(chip)
        rate = device.step_time_model.seconds_per_unit["activations"] / own
        give_coefficient(device.name, CHUNKED, seconds * rate)


def main() -> None:
    """Compile what is missing, then compare."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--report", action="store_true", help="compile nothing")
    parser.add_argument("--ship", action="store_true", help="give presets what chunks cost")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child[0], Key(*json.loads(options.child[1])))
    if not (options.report or options.ship):
        compile_missing()
    table = report(rows := read_rows(ROWS, BlockRow))
    print(f"\n{(seconds := chunked_s(rows, table)):.3g} s an element that goes in or out of chunks")
    if options.ship:
        ship(seconds)


if __name__ == "__main__":
    main()
