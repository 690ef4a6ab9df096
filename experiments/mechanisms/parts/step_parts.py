"""Where does a core's step of experts and state spaces go: to its matmuls, or to what is between?

Command: python experiments/mechanisms/parts/step_parts.py
(needs the extra `bench`)
Processor time: three minutes of one core.
Expected: where PyTorch is nearly as fast, matmuls are most of the step in both, and of those of
experts and narrow heads both libraries do as many a second; how many rows of an expert are
multiplied at a time changes little.
Found: matmuls are 28 to 44% of our steps and take 1.2 to 1.4 times PyTorch's, the rest 0.55 to 0.76
of PyTorch's; blocks of 128 rows are 2 to 7% faster than those of 64 that ship.

Every matmul of the counts, forward and its two of the backward pass, is run alone in both libraries
as often as a step has it, the future's scores left out as far as a core's attention does; the rest
is the step less those. Steps are those of against_torch.csv's models, timed anew in the same turns.
Then an expert's rows in blocks of several sizes, forward and backward. Medians of processor seconds
in turns; step_parts.csv and grouped.csv are made anew.
"""
# ruff: noqa: E402

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from anybudget.machines import host

# Before anything starts its threads.
host.use_cores(1)
host.keep_freed_memory()

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import torch

from anybudget.experiments.mechanisms import training
from anybudget.experiments.mechanisms.against_torch import (
    SHAPES,
    tokens_of,
    torch_stepper,
)
from anybudget.experiments.mechanisms.models import decoder
from anybudget.experiments.mechanisms.torch_model import TorchDecoder
from anybudget.objectives.cost.blocks import mamba2
from anybudget.objectives.cost.blocks.matmul import Matmul
from anybudget.objectives.cost.counts import layer_matmuls, logits_matmul
from anybudget.objectives.cost.kernel import KERNELS, n_lengths, seen_share
from anybudget.objectives.cost.passes import ATTENDING
from anybudget.space.decoder import Decoder
from anybudget.validation.training.blocks.forms import ON_ONE_CPU
from anybudget.validation.training.cpu import grouped

HERE = Path(__file__).parent
N_TURNS, TURN_S = 5, 0.05
ROWS = (32, 64, 128, 256)
# The shapes of against_torch.py at which PyTorch is nearest.
NEAR = [("8 experts", SHAPES[0]), ("Mamba-2", SHAPES[2]), ("8 experts", SHAPES[2])]


def turns_s(functions: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Median processor seconds of each, all in turns."""
    many = dict.fromkeys(functions, 1)
    found: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(N_TURNS + 2):
        for name, run in functions.items():
            began = time.process_time()
            for _ in range(many[name]):
                run()
            each_s = (time.process_time() - began) / many[name]
            if turn < 2:  # the first compiles, the second says how many make a turn
                many[name] = max(1, round(TURN_S / max(each_s, 1e-6))) if turn else 1
            else:
                found[name].append(each_s)
    return {name: float(np.median(times)) for name, times in found.items()}


def products(arch: Decoder, chunk: int) -> list[tuple[float, Matmul]]:
    """The matmuls of a step's forward pass, and how often it runs each batch of them."""
    with mock.patch.object(mamba2, "CHUNK", chunk):
        of_blocks = layer_matmuls(arch)
    in_blocks = n_lengths(arch.seq_len) > 1
    share = seen_share(KERNELS["cpu"], arch.seq_len) if in_blocks else 1.0
    times = [mm.n_layers * (share if mm.part in ATTENDING else 1.0) for mm in of_blocks]
    return [*zip(times, of_blocks, strict=True), (1.0, logits_matmul(arch))]


def sides(mm: Matmul) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A matmul's two sides, and a gradient of its result."""
    rng, n, m = np.random.default_rng(0), int(mm.count), int(mm.m)
    shapes = ((n, m, int(mm.k)), (n, int(mm.k), int(mm.n)), (n, m, int(mm.n)))
    a, b, c = (rng.normal(size=shape[n == 1 :]).astype(np.float32) for shape in shapes)
    return a, b, c


def in_jax(mm: Matmul) -> Callable[[], Any]:
    """Forward and backward of one batch of matmuls, as XLA has them."""

    @jax.jit
    def run(x: jax.Array, w: jax.Array, g: jax.Array) -> Any:
        return x @ w, g @ jnp.swapaxes(w, -1, -2), jnp.swapaxes(x, -1, -2) @ g

    given = [jnp.asarray(array) for array in sides(mm)]
    return lambda: jax.block_until_ready(run(*given))


def in_torch(mm: Matmul) -> Callable[[], Any]:
    """The same in PyTorch."""
    x, w, g = (torch.tensor(array) for array in sides(mm))
    return lambda: (x @ w, g @ w.mT, x.mT @ g)


def profiled(kind: str, shape: tuple[int, ...]) -> dict[str, Any]:
    """A row: the step and its matmuls, in both."""
    arch = decoder(kind, *shape)
    state = training.compiled(arch).begin(0)
    torch_step = torch_stepper(TorchDecoder(arch, state[0]), tokens_of(arch))

    def ours() -> None:
        nonlocal state
        state = training.processor_s(arch, state, 1)[1]

    step_s = turns_s({"ours": ours, "torch": torch_step})
    matmuls_s = {"ours": 0.0, "torch": 0.0}
    for name, chunk, made in (("ours", ON_ONE_CPU.chunk, in_jax), ("torch", 256, in_torch)):
        runs = {str(i): (times, made(mm)) for i, (times, mm) in enumerate(products(arch, chunk))}
        took_s = turns_s({i: run for i, (_, run) in runs.items()})
        matmuls_s[name] = sum(times * took_s[i] for i, (times, _) in runs.items())
    return {
        "kind": kind,
        **dict(zip(("d_model", "n_layers", "seq_len", "batch_size"), shape, strict=True)),
        **{f"{name}_step_ms": 1e3 * step_s[name] for name in step_s},
        **{f"{name}_matmuls_ms": 1e3 * matmuls_s[name] for name in step_s},
        **{f"{name}_rest_ms": 1e3 * (step_s[name] - matmuls_s[name]) for name in step_s},
        "times_as_fast": step_s["torch"] / step_s["ours"],
    }


def grouping(d_model: int, d_expert: int, n_experts: int, n_rows: int) -> dict[str, Any]:
    """Processor time of experts' rows forward and backward, by rows of a block."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(n_rows, d_model)), jnp.float32)
    w = jnp.asarray(rng.normal(size=(n_experts, d_model, d_expert)), jnp.float32)
    sizes = jnp.bincount(jnp.asarray(rng.integers(0, n_experts, n_rows)), length=n_experts)
    runs = {}
    for rows in ROWS:
        with mock.patch.object(grouped, "ROWS", rows):

            def loss(x: jax.Array, w: jax.Array) -> jax.Array:
                return jnp.sum(jnp.square(grouped.by_expert(x, w, sizes)))

            run = jax.jit(jax.grad(loss, argnums=(0, 1))).lower(x, w).compile()
        runs[f"rows_{rows}_ms"] = lambda run=run: jax.block_until_ready(run(x, w))
    took_s = turns_s(runs)
    return {"d_model": d_model, "d_expert": d_expert, "n_experts": n_experts, "n_rows": n_rows,
            **{name: 1e3 * seconds for name, seconds in took_s.items()}}  # fmt: skip


def main() -> None:
    """Both tables."""
    torch.set_num_threads(1)
    blocks = pd.DataFrame([grouping(64, 96, 8, 2048), grouping(128, 160, 8, 2048),
                           grouping(128, 160, 4, 2048)])  # fmt: skip
    blocks.to_csv(HERE / "grouped.csv", index=False, float_format="%.4g")
    print(blocks.round(3).to_string(index=False), flush=True)
    rows = []
    for near in NEAR:
        rows.append(profiled(*near))
        print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    table.to_csv(HERE / "step_parts.csv", index=False, float_format="%.4g")
    print(table.round(2).to_string(index=False))


if __name__ == "__main__":
    main()
