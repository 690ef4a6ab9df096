"""How fast is a training step beside plain PyTorch, in float32 and with bfloat16 operands?

Command: python experiments/training_speed/training_speed.py [n_cores] [shape ...]
(needs the extra `bench`; all shapes where none is named)
Wall time: about six minutes on a quiet core.
Expected (one core of a Xeon with AMX, family 6, model 167, busy with other work): in float32 0.9
(one sequence of 4,096) to 1.3 times (narrow) as fast as PyTorch, 1.0 on average; with operands in
bfloat16 1.1 to 2.0 times as fast as PyTorch under autocast, and 1.4 to 2.2 times as our float32.

Both train the same decoder in one process, with as many threads, from the same weights (their
first losses must agree), on steps that take turns; the fastest of each is compared, since what
else a machine does can only slow a step. On one core the time is the processor's. PyTorch is
plain: eager, `scaled_dot_product_attention`, fused AdamW; its bfloat16 is autocast. Ours has
bfloat16 operands in its products and float32 in all else. malloc keeps what is freed, as in
`anybudget confirm`, for all. Writes training_speed.csv, which names the processor;
rows of other processors and of shapes not named are kept.

older.c beside lets a process see a processor without AVX-512 and AMX, which XLA's, oneDNN's and
PyTorch's own switches do not do for each other's kernels.
"""
# ruff: noqa: E402

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from anybudget.machines import host
from anybudget.machines.machine import cpu_name, has_amx

# Before anything starts its threads.
N_CORES = int(sys.argv[1]) if len(sys.argv) > 1 else 1
NAMES = sys.argv[2:]
host.use_cores(N_CORES)
host.keep_freed_memory()

import jax
import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional

from anybudget.objectives.cost import counts
from anybudget.objectives.cost.execution import Execution
from anybudget.objectives.recipe import Recipe
from anybudget.space.architecture import Architecture
from anybudget.validation.backend import clock_name, step_clock
from anybudget.validation.training.model import Backend
from anybudget.validation.training.recipe import init_params
from anybudget.validation.training.step import CompiledTraining, compile_training

TEXT = {"vocab_size": 2048, "seq_len": 256, "batch_size": 8}
SHAPES = {
    "narrow": Architecture.from_shape(d_model=64, n_layers=8, **TEXT),
    "deep, gated": Architecture.from_shape(
        d_model=128, n_layers=16, d_ff=344, gated_mlp=True, **TEXT
    ),
    "wide": Architecture.from_shape(d_model=512, n_layers=2, **TEXT),
    "grouped, gated": Architecture.from_shape(
        d_model=256, n_layers=6, n_heads=8, n_kv_heads=2, d_ff=688, gated_mlp=True, **TEXT
    ),
    "long": Architecture.from_shape(
        d_model=256, n_layers=4, **TEXT | {"seq_len": 1024, "batch_size": 2}
    ),
    "vocabulary": Architecture.from_shape(d_model=256, n_layers=4, **TEXT | {"vocab_size": 8192}),
    "many heads": Architecture.from_shape(
        d_model=512, n_layers=2, n_heads=16, d_head=32, **TEXT | {"seq_len": 512, "batch_size": 4}
    ),
    "one sequence": Architecture.from_shape(
        d_model=256, n_layers=4, **TEXT | {"seq_len": 4096, "batch_size": 1}
    ),
}
# What PyTorch's own kernels use, by what CPUID tells it.
INSTRUCTIONS = torch.backends.cpu.get_cpu_capability()
IS_ON_AMX = has_amx() and INSTRUCTIONS == "AVX512"
DTYPES = ("float32", "bfloat16") if IS_ON_AMX else ("float32",)
N_STEPS, N_WARM_UP = 5, 1
FUSED = Execution(attention="fused")
RESULT = Path(__file__).with_suffix(".csv")
KEY = ("processor", "instructions", "n_cores", "shape", "dtype")


class Block(nn.Module):
    """A layer of the decoder, written as one writes it in PyTorch."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.arch = arch
        d_qkv = (arch.n_heads + 2 * arch.n_kv_heads) * arch.d_head
        self.attention_norm = nn.RMSNorm(arch.d_model, eps=1e-6)
        self.qkv = nn.Linear(arch.d_model, d_qkv, bias=False)
        self.attention_output = nn.Linear(arch.n_heads * arch.d_head, arch.d_model, bias=False)
        self.mlp_norm = nn.RMSNorm(arch.d_model, eps=1e-6)
        self.mlp_up = nn.Linear(arch.d_model, arch.d_ff, bias=False)
        self.mlp_down = nn.Linear(arch.d_ff, arch.d_model, bias=False)
        if arch.gated_mlp:
            self.mlp_gate = nn.Linear(arch.d_model, arch.d_ff, bias=False)

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        """(b, t, d_model) to the same."""
        arch, (b, t, _) = self.arch, x.shape
        heads = self.qkv(self.attention_norm(x)).view(b, t, -1, arch.d_head).transpose(1, 2)
        q, k, v = heads.split([arch.n_heads, arch.n_kv_heads, arch.n_kv_heads], dim=1)
        out = functional.scaled_dot_product_attention(
            _rotate(q, cos, sin),
            _rotate(k, cos, sin),
            v,
            is_causal=True,
            enable_gqa=arch.n_kv_heads < arch.n_heads,
        )
        x = x + self.attention_output(out.transpose(1, 2).reshape(b, t, -1))
        hidden = self.mlp_up(normed := self.mlp_norm(x))
        if arch.gated_mlp:
            hidden = functional.silu(self.mlp_gate(normed)) * hidden
        else:
            hidden = functional.gelu(hidden, approximate="tanh")
        return x + self.mlp_down(hidden)


def _rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)


class Decoder(nn.Module):
    """The decoder with its loss; embeddings are tied."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.embedding = nn.Embedding(arch.vocab_size, arch.d_model)
        self.layers = nn.ModuleList(Block(arch) for _ in range(arch.n_layers))
        self.final_norm = nn.RMSNorm(arch.d_model, eps=1e-6)
        half = arch.d_head // 2
        angle = torch.arange(arch.seq_len)[:, None] * 10_000.0 ** (-torch.arange(half) / half)
        self.cos, self.sin = angle.cos(), angle.sin()

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Mean loss of (batch_size, seq_len + 1) tokens."""
        x = self.embedding(tokens[:, :-1])
        for layer in self.layers:
            x = layer(x, self.cos, self.sin)
        logits = self.final_norm(x) @ self.embedding.weight.T
        return functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())

    def load(self, params: dict[str, Any]) -> None:
        """Take over our model's weights; `nn.Linear` has its outputs first."""
        own = dict(self.named_parameters())
        with torch.no_grad():
            own["embedding.weight"].copy_(torch.from_numpy(params["embedding"]))
            own["final_norm.weight"].copy_(torch.from_numpy(params["final_norm"]))
            for name, arrays in params["layers"].items():
                for i, array in enumerate(arrays):
                    keeps = name.endswith("norm") or name == "mlp_down"
                    weight = torch.from_numpy(array if keeps else array.T)
                    own[f"layers.{i}.{name}.weight"].copy_(weight)


def our_program(arch: Architecture, dtype: str) -> CompiledTraining:
    """Our step, compiled."""
    backend = Backend(dtype=dtype)
    return compile_training(arch, recipe=Recipe(), execution=FUSED, backend=backend)


def our_step(arch: Architecture, tokens: np.ndarray, dtype: str) -> Callable[[], float]:
    """A function that makes one of our steps and returns the loss before it.

    Args:
        arch: the model.
        tokens: a batch.
        dtype: of the matmuls.
    """
    program = our_program(arch, dtype)
    state, placed = program.init(0), program.place(tokens)

    def step() -> float:
        nonlocal state
        state, loss = program.step(state, placed, 0.5, program.recipe)
        jax.block_until_ready(state)
        return float(loss)

    return step


def torch_step(arch: Architecture, tokens: np.ndarray, dtype: str) -> Callable[[], float]:
    """The same for PyTorch."""
    model = Decoder(arch)
    model.load(init_params(arch, Recipe(), seed=0))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    placed, is_rounded = torch.from_numpy(tokens.astype(np.int64)), dtype == "bfloat16"

    def step() -> float:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16) if is_rounded else contextlib.nullcontext():
            loss = model(placed)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.item()

    return step


def compare(arch: Architecture) -> dict[tuple[str, str], float]:
    """The fastest step of ours and of PyTorch in each dtype, all taking turns."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, arch.vocab_size, (arch.batch_size, arch.seq_len + 1), np.int32)
    makers = {"ours": our_step, "torch": torch_step}
    steps = {
        (who, dtype): make(arch, tokens, dtype) for who, make in makers.items() for dtype in DTYPES
    }
    times_s: dict[tuple[str, str], list[float]] = {name: [] for name in steps}
    losses: dict[tuple[str, str], list[float]] = {name: [] for name in steps}
    clock_s = step_clock()
    for _ in range(N_WARM_UP + N_STEPS):
        for name, step in steps.items():
            began = clock_s()
            losses[name].append(step())
            times_s[name].append(clock_s() - began)
    for (_, dtype), of_steps in losses.items():
        rtol = 1e-4 if dtype == "float32" else 1e-2
        np.testing.assert_allclose(of_steps[0], losses["ours", "float32"][0], rtol=rtol)
    return {name: min(times[N_WARM_UP:]) for name, times in times_s.items()}


def write(rows: pd.DataFrame, path: Path = RESULT, key: Sequence[str] = KEY) -> None:
    """Put rows in place of those that are of the same."""
    earlier = [pd.read_csv(path)] if path.exists() else []
    table = pd.concat([*earlier, rows]).drop_duplicates(key, keep="last")
    table.to_csv(path, index=False, float_format="%.4g")


def main() -> None:
    """Measure the shapes, print the table, and write it as it grows."""
    torch.set_num_threads(N_CORES)
    print(f"{cpu_name()}, {INSTRUCTIONS}, {N_CORES} core(s), {clock_name()} time")
    rows = []
    for name in NAMES or SHAPES:
        arch = SHAPES[name]
        step_time_s = compare(arch)
        for dtype in DTYPES:
            ours, theirs = step_time_s["ours", dtype], step_time_s["torch", dtype]
            rows.append(
                {
                    "processor": cpu_name(),
                    "instructions": INSTRUCTIONS,
                    "n_cores": N_CORES,
                    "shape": name,
                    "dtype": dtype,
                    **arch.as_dict(),
                    "step_time_s": ours,
                    "torch_step_time_s": theirs,
                    "tokens_per_s": arch.tokens_per_step / ours,
                    "torch_tokens_per_s": arch.tokens_per_step / theirs,
                    "speed_over_torch": theirs / ours,
                    "flops_per_s": counts.flops_per_step(arch) / ours,
                }
            )
            shown = ("shape", "dtype", "step_time_s", "speed_over_torch")
            print({key: rows[-1][key] for key in shown}, flush=True)
        write(pd.DataFrame(rows))


if __name__ == "__main__":
    main()
