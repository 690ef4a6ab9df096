"""Memory and time of every kind of block, as counted and as a TPU's compiler has them.

    python experiments/blocks/tpu_blocks.py             # compile what is missing, then report
    python experiments/blocks/tpu_blocks.py --report    # from the rows alone, 5 s

Processor time: five seconds a plan and one to three minutes a timed step on one core;
36 of each, which may be stopped and run again (extra `tpu`).
Expected (written before the first run): FLOPs within 1%; memory within 10% of the compiler's plan
for 30 of 36; step times, by the preset that was fitted to dense steps alone, within 12% for windows
and latent attention, too short for scans, whose decays are elementwise work of chunks squared.
Found: FLOPs and memory held, for 36 of 36; steps by the preset 21% off (twelve of them),
Mamba-2 1.5 times as long; with each kind's level from its other shape 9% off.

Six kinds: windows, latent attention, experts, Mamba-2, the gated delta rule, and a hybrid of
Mamba-2 and attention, in bfloat16 for one v5e, plain attention, nothing run again. Shapes are drawn
at random, six of a kind for the plan alone, of two to four blocks, and six for the whole program,
of one block (a hybrid of two). What is missing in the counts was looked for on those of even
numbers; those of odd numbers were left out until the end. Experts have as many rows as any, as they
are counted, for XLA's `ragged_dot` multiplies all rows with every expert in its weights' gradient.
Each is appended to tpu_blocks.csv; tpu_scores.csv is made of the rows.
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
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import pandas as pd
from pydantic import AwareDatetime, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from anybudget.objectives.cost.counts import flops_per_step
from anybudget.objectives.cost.execution import PLAIN
from anybudget.objectives.cost.memory import memory_bytes
from anybudget.presets.devices import load_device
from anybudget.space.blocks import Attention, Experts, GatedDelta, LatentAttention, Mamba2, Mlp
from anybudget.space.decoder import Block, Decoder
from anybudget.validation.compiler.cache import versions
from anybudget.validation.compiler.compile import compiler_environment, read_program
from anybudget.validation.compiler.plan import dump_flags
from anybudget.validation.compiler.topology import parse_topology
from anybudget.validation.runs import Row, append_row, read_rows

HERE = Path(__file__).parent
ROWS, SCORES = HERE / "tpu_blocks.csv", HERE / "tpu_scores.csv"
PRESET = "tpu-v5e"
CHIP = parse_topology("v5e:1x1")
KINDS = ("window", "latent", "experts", "mamba2", "delta", "hybrid")
N_SHAPES, TIMEOUT_S = 6, 1500.0
TERMS = ("compute", "copies", "gathers", "others")


class Key(NamedTuple):
    """One of the design: a kind, whether its whole program is made, and its number."""

    kind: str
    timed: bool
    number: int


class BlockRow(Row):
    """What the compiler says of one step; terms and `step_time_s` only of those timed."""

    kind: str
    timed: bool
    number: NonNegativeInt
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
        return Key(self.kind, self.timed, self.number)


def design() -> list[Key]:
    """Plans first; of each number all kinds, so that a run that is cut short has all of them."""
    return [Key(kind, timed, i) for timed in (False, True) for i in range(N_SHAPES)
            for kind in KINDS]  # fmt: skip


def drawn(key: Key) -> Decoder:
    """The shape of a key, always the same."""
    rng = np.random.default_rng([KINDS.index(key.kind), key.timed, key.number, 24])

    def one(*values: int) -> int:
        return int(rng.choice(values))

    if key.timed:
        d_model, seq_len = one(256, 384, 512, 768), one(256, 512, 1024)
        n_blocks, rows, vocab_size = 1, one(2048, 4096, 8192), one(1024, 2048, 4096)
    else:
        d_model, seq_len = one(512, 768, 1024, 1536), one(512, 1024)
        n_blocks, rows, vocab_size = one(2, 3, 4), one(8192, 16384), one(4096, 8192, 16384)
    seq_len = min(seq_len, 512) if key.kind == "delta" else seq_len  # its chunks are unrolled
    pattern = tuple(_blocks(key.kind, d_model, seq_len, one)) * n_blocks
    return Decoder(d_model=d_model, pattern=pattern, vocab_size=vocab_size, tied_embeddings=True,
                   seq_len=seq_len, batch_size=rows // seq_len)  # fmt: skip


def _blocks(kind: str, d_model: int, seq_len: int, one: Any) -> Iterator[Block]:
    """One block of a kind, or a hybrid's two."""
    d_head = one(64, 128)
    h = d_model // d_head
    full = Attention(n_heads=h, n_kv_heads=h // one(1, h), d_head=d_head)
    mlp = Mlp(d_ff=d_model * one(2, 3, 4), gated=bool(one(0, 1)))
    scan = Mamba2(n_heads=2 * d_model // 64, d_head=64, d_state=one(64, 128), n_groups=one(1, 2),
                  d_conv=4)  # fmt: skip
    if kind == "window":
        local = Attention(n_heads=h, n_kv_heads=h, d_head=d_head, window=seq_len // one(2, 4))
        yield Block(mixer=local, feed_forward=mlp)
    elif kind == "latent":
        ranks = {"query_rank": one(0, d_model // 2) or None, "kv_rank": one(128, 256)}
        latent = LatentAttention(n_heads=h, **ranks, d_nope=d_head, d_rope=64, d_value=d_head)
        yield Block(mixer=latent, feed_forward=mlp)
    elif kind == "experts":
        n, met, d_expert = one(4, 8, 16), one(1, 2, 4), d_model * one(1, 2)
        fed = Experts(n_experts=n, n_per_token=met, d_expert=d_expert, gated=bool(one(0, 1)),
                      d_shared=one(0, d_expert))  # fmt: skip
        yield Block(mixer=full, feed_forward=fed)
    elif kind == "mamba2":
        yield Block(mixer=scan, feed_forward=None)
    elif kind == "delta":
        n = max(d_model // 256, 1)
        delta = GatedDelta(n_key_heads=n, n_value_heads=n * one(1, 2), d_key=128, d_value=128,
                           d_conv=4)  # fmt: skip
        yield Block(mixer=delta, feed_forward=mlp)
    else:
        yield Block(mixer=scan, feed_forward=mlp)
        yield Block(mixer=full, feed_forward=mlp)


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
    arch = drawn(key)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = compiler_environment(CHIP, name) | {"XLA_FLAGS": dump_flags(folder)}
        command = [sys.executable, __file__, "--child", name, json.dumps(key)]
        subprocess.run(command, env=environment, check=True, timeout=TIMEOUT_S, capture_output=True)
        answer = json.loads((folder / "answer.json").read_text(encoding="utf-8"))
        known = read_program(folder, answer, CHIP)
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

    forms = Forms(grouped=balanced, stream="bfloat16")
    with mock.patch.object(trainable, "forms", return_value=forms):
        answer = compile_model(drawn(key), CHIP, PLAIN, Path(name), plan_only=not key.timed)
    (Path(name) / "answer.json").write_text(json.dumps(answer), encoding="utf-8")
    os._exit(0)  # a plan's compiler is still at work


def report(rows: list[BlockRow]) -> None:
    """A row a step, compiled over counted, and each kind's extremes."""
    table = pd.DataFrame(map(scored, rows))
    table["time_left_out"] = left_out(table)
    table.to_csv(SCORES, index=False, float_format="%.4g")
    plans = table[~table.timed]
    for name, chosen in (("looked at", plans.number % 2 == 0), ("left out", plans.number % 2 == 1)):
        ratios = plans[chosen].groupby("kind", sort=False)[["flops", "memory"]]
        print(f"\nplans {name}:\n{ratios.agg(['min', 'max', 'count']).round(3).to_string()}")
        print(f"within 10%: {(plans[chosen].memory.sub(1).abs() <= 0.1).sum()} of {chosen.sum()}")
    timed = table[table.timed]
    print(f"\nsteps:\n{timed.drop(columns=['timed', 'memory']).round(3).to_string(index=False)}")
    for name in ("time", "time_left_out"):
        known = timed[name].dropna()
        error = np.expm1(np.abs(np.log(known))).mean()
        print(f"{name}: {len(known)} steps, mean error {error:.1%}, {known.min():.2f} to "
              f"{known.max():.2f}")  # fmt: skip


def scored(row: BlockRow) -> dict[str, Any]:
    """What the compiler has over what is counted; `time` by the preset of dense steps alone."""
    arch, device = drawn(row.key), load_device(PRESET)
    needed = memory_bytes(arch, bytes_per_element=2, kind="tpu")
    step_s = device.step_time_model.step_time_s(arch, kind="tpu")
    return {
        **row.key._asdict(),
        "shape": f"{arch.d_model}×{arch.n_layers}",
        "tokens": f"{arch.batch_size}×{arch.seq_len}",
        "flops": row.matmul_flops / flops_per_step(arch),
        "memory": row.memory_bytes / needed,
        "step_ms": 1e3 * (row.step_time_s or math.nan),
        "time": (row.step_time_s or math.nan) / step_s,
    }


def left_out(table: pd.DataFrame) -> pd.Series:
    """`time` over the mean of other shapes of the same kind, where there are any."""
    logs = np.log(table.time).groupby(table.kind)
    others = (logs.transform("sum") - np.log(table.time)) / (logs.transform("count") - 1)
    return table.time / np.exp(others.where(logs.transform("count") > 1))


def main() -> None:
    """Compile what is missing, then compare."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--report", action="store_true", help="compile nothing")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child[0], Key(*json.loads(options.child[1])))
    if not options.report:
        compile_missing()
    report(read_rows(ROWS, BlockRow))


if __name__ == "__main__":
    main()
