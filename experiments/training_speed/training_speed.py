"""How near is a training step to the machine's best matmul, and to plain PyTorch?

Command: python experiments/training_speed/training_speed.py [n_cores]   (needs the extra `bench`)
Wall time: about four minutes on a quiet core.
Expected (one Zen 5 core, jax 0.10, torch 2.13, float32): a step does 44 to 71% of the FLOP/s of
the best plain matmul, the less the narrower the model, and is 1.4 to 2.0 times as fast as PyTorch.
It gains least on the long sequence: PyTorch's attention skips what causality masks and keeps no
matrix of scores, where ours computes and keeps all of it.

Both train the same decoder in one process, with as many threads, from the same weights (their
first losses must agree), on steps that take turns; medians are compared. On one core the time is
the processor's, so that what else the machine does counts for neither. PyTorch is plain: eager,
`scaled_dot_product_attention`, fused AdamW. malloc keeps what is freed, as in `anybudget confirm`,
for both. Writes training_speed.csv.
"""
# ruff: noqa: E402

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from anybudget.machines import host

# Before anything starts its threads.
N_CORES = int(sys.argv[1]) if len(sys.argv) > 1 else 1
host.use_cores(N_CORES)
host.keep_freed_memory()

import jax
import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional

from anybudget.objectives.cost import counts
from anybudget.objectives.recipe import Recipe
from anybudget.space.architecture import Architecture
from anybudget.validation.timing.step_clock import clock_name
from anybudget.validation.training.peak import peak_matmul_flops_per_s
from anybudget.validation.training.recipe import init_params
from anybudget.validation.training.step import compile_training

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
}
N_STEPS, N_WARM_UP = 12, 2
RESULT = Path(__file__).with_suffix(".csv")


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


def our_step(arch: Architecture, tokens: np.ndarray) -> Callable[[], float]:
    """A function that makes one of our steps and returns the loss before it."""
    program = compile_training(arch, recipe=Recipe())
    state, placed = program.init(0), program.place(tokens)

    def step() -> float:
        nonlocal state
        state, loss = program.step(state, placed, 0.5, program.recipe)
        jax.block_until_ready(state)
        return float(loss)

    return step


def torch_step(arch: Architecture, tokens: np.ndarray) -> Callable[[], float]:
    """The same for PyTorch."""
    model = Decoder(arch)
    model.load(init_params(arch, Recipe(), seed=0))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    placed = torch.from_numpy(tokens.astype(np.int64))

    def step() -> float:
        optimizer.zero_grad()
        loss = model(placed)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.item()

    return step


def compare(arch: Architecture) -> dict[str, float]:
    """Median step times of both, their steps taking turns."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, arch.vocab_size, (arch.batch_size, arch.seq_len + 1), np.int32)
    steps = {"ours": our_step(arch, tokens), "torch": torch_step(arch, tokens)}
    times_s: dict[str, list[float]] = {name: [] for name in steps}
    losses: dict[str, list[float]] = {name: [] for name in steps}
    clock_s = time.process_time if clock_name() == "processor" else time.perf_counter
    for _ in range(N_WARM_UP + N_STEPS):
        for name, step in steps.items():
            began = clock_s()
            losses[name].append(step())
            times_s[name].append(clock_s() - began)
    np.testing.assert_allclose(losses["ours"][0], losses["torch"][0], rtol=1e-4)
    return {name: statistics.median(times[N_WARM_UP:]) for name, times in times_s.items()}


def main() -> None:
    """Measure every shape, print the table, and write it."""
    torch.set_num_threads(N_CORES)
    peak = peak_matmul_flops_per_s("float32")
    print(f"{N_CORES} core(s), {clock_name()} time, best matmul {peak / 1e9:.0f} GFLOP/s")
    rows = []
    for name, arch in SHAPES.items():
        step_time_s = compare(arch)
        flops_per_s = counts.flops_per_step(arch) / step_time_s["ours"]
        rows.append(
            {
                "shape": name,
                **arch.as_dict(),
                "step_time_s": step_time_s["ours"],
                "torch_step_time_s": step_time_s["torch"],
                "tokens_per_s": arch.tokens_per_step / step_time_s["ours"],
                "torch_tokens_per_s": arch.tokens_per_step / step_time_s["torch"],
                "speed_over_torch": step_time_s["torch"] / step_time_s["ours"],
                "share_of_best_matmul": flops_per_s / peak,
            }
        )
        print({key: rows[-1][key] for key in ("shape", "speed_over_torch", "share_of_best_matmul")})
    table = pd.DataFrame(rows)
    table.to_csv(RESULT, index=False, float_format="%.4g")
    print(table.drop(columns=list(arch.as_dict())).to_string(index=False))


if __name__ == "__main__":
    main()
