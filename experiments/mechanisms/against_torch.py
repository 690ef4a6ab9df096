"""How many tokens a second do experts and state spaces train at, beside plain PyTorch?

Command: python experiments/mechanisms/against_torch.py
(needs the extra `bench`)
Processor time: four minutes of one core, most of it compiling.
Expected: at least as many on every shape. Found: 1.03 to 1.42 times as many.

Both train the same decoder in one process on one core, from the same weights (their first losses
must agree), on steps that take turns; medians of processor seconds are compared. PyTorch is plain
(`torch_model.py`): eager, `scaled_dot_product_attention`, a loop over experts, chunks of 256 in a
scan, fused AdamW. Rows are added to against_torch.csv, and those that are there are kept.
"""
# ruff: noqa: E402

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from pathlib import Path

from anybudget.machines import host

# Before anything starts its threads.
host.use_cores(1)
host.keep_freed_memory()

import numpy as np
import torch
from pydantic import AwareDatetime, PositiveFloat, PositiveInt

from anybudget.experiments.mechanisms import training
from anybudget.experiments.mechanisms.models import decoder
from anybudget.experiments.mechanisms.torch_model import TorchDecoder
from anybudget.space.decoder import Decoder
from anybudget.validation.backend import machine_name
from anybudget.validation.runs import Row, append_row, finished, read_rows

ROWS = Path(__file__).with_suffix(".csv")
KINDS = ("8 experts", "Mamba-2")
# Width, layers, tokens of a sequence, sequences.
SHAPES = ((64, 4, 128, 8), (64, 4, 1024, 1), (128, 4, 128, 8))
N_TURNS, TURN_S = 9, 0.3


class SpeedRow(Row):
    """Processor seconds of one model's step, ours and PyTorch's, medians of turns."""

    kind: str
    d_model: PositiveInt
    n_layers: PositiveInt
    seq_len: PositiveInt
    batch_size: PositiveInt
    ours_s: PositiveFloat
    torch_s: PositiveFloat
    times_as_fast: PositiveFloat
    first_losses_differ: float
    machine: str
    measured: AwareDatetime


def tokens_of(arch: Decoder) -> np.ndarray:
    """A batch at random."""
    shape = (arch.batch_size, arch.seq_len + 1)
    return np.random.default_rng(0).integers(0, arch.vocab_size, shape, np.int32)


def torch_stepper(theirs: TorchDecoder, tokens: np.ndarray) -> Callable[[], float]:
    """One step of PyTorch's, which tells its processor seconds."""
    optimizer = torch.optim.AdamW(theirs.parameters(), lr=1e-4, fused=True)
    given = torch.tensor(tokens, dtype=torch.long)

    def step() -> float:
        began = time.process_time()
        optimizer.zero_grad()
        theirs(given).backward()
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
        optimizer.step()
        return time.process_time() - began

    return step


def compare(kind: str, *shape: int) -> SpeedRow:
    """Time one model in both."""
    arch = decoder(kind, *shape)
    state = training.compiled(arch).begin(0)
    theirs, tokens = TorchDecoder(arch, state[0]), tokens_of(arch)
    torch_step = torch_stepper(theirs, tokens)
    first = float(theirs(torch.tensor(tokens, dtype=torch.long)).detach())
    differ = first - float(training.lowered_loss(arch, state, tokens))
    n_each = 0
    times: dict[str, list[float]] = {"ours": [], "torch": []}
    for turn in range(N_TURNS + 1):
        took_s, state = training.processor_s(arch, state, n_each or 1)
        torch_s = [torch_step() for _ in range(n_each or 1)]
        n_each = n_each or max(1, round(TURN_S / took_s))
        if turn:  # the first warms caches
            times["ours"].append(took_s)
            times["torch"].append(float(np.mean(torch_s)))
    ours_s, torch_s = (float(np.median(times[name])) for name in ("ours", "torch"))
    return SpeedRow(
        kind=kind,
        **dict(zip(("d_model", "n_layers", "seq_len", "batch_size"), shape, strict=True)),
        ours_s=ours_s,
        torch_s=torch_s,
        times_as_fast=torch_s / ours_s,
        first_losses_differ=differ,
        machine=machine_name("cpu"),
        measured=datetime.datetime.now(datetime.UTC),
    )


def main() -> None:
    """Time what is not timed yet."""
    torch.set_num_threads(1)
    key = ("kind", "d_model", "n_layers", "seq_len", "batch_size")
    for shape in SHAPES:
        for kind in KINDS:
            if (kind, *shape) not in finished(ROWS, SpeedRow, key):
                append_row(ROWS, compare(kind, *shape))
    for row in read_rows(ROWS, SpeedRow):
        print(f"{row.kind:10} {row.d_model}×{row.n_layers}, {row.batch_size} × {row.seq_len}: "
              f"{row.times_as_fast:.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
