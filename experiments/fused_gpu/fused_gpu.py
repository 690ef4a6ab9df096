"""What does fused attention cost on a GPU, and is our training step as fast as PyTorch's?

Command: python experiments/fused_gpu/fused_gpu.py OUT     (PyTorch in the environment for its half)
         anybudget calibrate --steps OUT/jax.csv --device h100-sxm-datasheet --basis measured
Wall time: under 8 minutes on one H100; `--toy` runs all of it at toy size on a CPU in 20 s.
Expected: the kernel at 0.3 to 0.6 of the peak forward and less backward, heads of 64 slower than of
128, and lengths from 2,048 on alike; our step within a quarter of PyTorch's. Not run on a GPU yet.

OUT/kernels.csv has the kernel alone, forward and with its backward pass; OUT/jax.csv and
OUT/torch.csv whole training steps, as `calibrate --steps` reads them. Both have one model:
RMSNorm, rotary positions, no biases, Adam, matmuls in bfloat16 and master weights in float32.
PyTorch's attention is `scaled_dot_product_attention`, compiled by `torch.compile` with the rest.
"""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pandas as pd

from anybudget.objectives.cost.execution import Attention, Execution
from anybudget.space.architecture import Architecture
from anybudget.validation.timing.step_clock import CompiledStep
from anybudget.validation.training.model import Backend

D_HEADS, LENGTHS = (64, 128), (1024, 2048, 4096, 8192, 16_384)
WIDTH, TOKENS, VOCAB_SIZE = 2048, 32_768, 50_304
# Width, depth and length; each step has as many tokens as fit beside the largest.
STEPS = ((512, 8, 1024), (1024, 12, 1024), (1024, 12, 4096), (2048, 8, 2048), (2048, 8, 8192),
         (3072, 6, 2048))  # fmt: skip
STEP_TOKENS, SECONDS = 16_384, 3.0
TOY: dict[str, Any] = {
    "LENGTHS": (128, 256), "WIDTH": 128, "TOKENS": 256, "VOCAB_SIZE": 256, "STEP_TOKENS": 256,
    "STEPS": ((128, 1, 128), (128, 2, 128), (256, 1, 128)), "SECONDS": 0.05,
}  # fmt: skip


def per_call_s(run: Callable[[], object], seconds: float) -> float:
    """Seconds of one call, over as many as fit in some seconds, after two to warm up."""
    run(), run()
    began, n_calls = time.perf_counter(), 0
    while (spent := time.perf_counter() - began) < seconds or not n_calls:
        run()
        n_calls += 1
    return spent / n_calls


def _finished(run: Callable[..., Any], *operands: jax.Array) -> None:
    jax.block_until_ready(run(*operands))


def kernels(backend: str) -> Iterator[dict[str, Any]]:
    """The kernel alone: seconds and share of FLOP/s that are counted, half of the scores masked."""
    implementation = "cudnn" if backend == "gpu" else "xla"
    attend = functools.partial(
        jax.nn.dot_product_attention, is_causal=True, implementation=implementation
    )
    forward = jax.jit(attend)
    backward = jax.jit(
        jax.grad(lambda q, k, v: attend(q, k, v).astype(jnp.float32).sum(), (0, 1, 2))
    )
    for d_head in D_HEADS:
        for seq_len in LENGTHS:
            shape = (max(TOKENS // seq_len, 1), seq_len, WIDTH // d_head, d_head)
            operands = [jnp.ones(shape, jnp.bfloat16)] * 3
            matmul = shape[0] * shape[2] * 2 * seq_len**2 * d_head / 2
            for passes, run, n_matmuls in (("forward", forward, 2), ("both", backward, 7)):
                call = functools.partial(_finished, run, *operands)
                seconds = per_call_s(call, SECONDS / 10)
                yield {
                    "d_head": d_head, "seq_len": seq_len, "passes": passes, "seconds": seconds,
                    "flops_per_s": n_matmuls * matmul / seconds,
                }  # fmt: skip


def architectures() -> Iterator[Architecture]:
    """The models of the whole steps."""
    for d_model, n_layers, seq_len in STEPS:
        yield Architecture.from_shape(
            d_model=d_model, n_layers=n_layers, d_head=128 if d_model > 512 else 64,
            seq_len=seq_len, batch_size=max(STEP_TOKENS // seq_len, 1), vocab_size=VOCAB_SIZE,
        )  # fmt: skip


def row(arch: Architecture, seconds: float, software: str, attention: str) -> dict[str, Any]:
    """A timed step as `calibrate --steps` reads it."""
    return arch.as_dict() | {
        "attention": attention, "precision": "bfloat16", "step_time_s": seconds,
        "software": software,
    }  # fmt: skip


def ours(arch: Architecture, backend: str) -> dict[str, Any]:
    """Our training step; on a CPU, which has no kernel, with plain attention."""
    attention = Attention.FUSED if backend == "gpu" else Attention.PLAIN
    execution = Execution(attention=attention)
    step = CompiledStep(arch, Backend(kind=backend, dtype="bfloat16"), execution)
    return row(arch, step.time(SECONDS).step_time_s, f"jax {jax.__version__}", str(attention))


def main() -> None:
    """Time the kernel and the steps, write three tables and print both steps side by side."""
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--toy", action="store_true")
    given = parser.parse_args()
    if given.toy:
        globals().update(TOY)
    given.out.mkdir(parents=True, exist_ok=True)
    backend = jax.default_backend()
    tables = {"kernels": pd.DataFrame(kernels(backend))}
    tables["jax"] = pd.DataFrame(ours(arch, backend) for arch in architectures())
    try:
        from torch_step import torch_step_s, version
    except ImportError as missing:
        print(f"without PyTorch's half: {missing}")
    else:
        times_s = (torch_step_s(arch, SECONDS, toy=given.toy) for arch in architectures())
        tables["torch"] = pd.DataFrame(
            row(arch, seconds, version(), "fused")
            for arch, seconds in zip(architectures(), times_s, strict=True)
        )
    for name, table in tables.items():
        table.to_csv(given.out / f"{name}.csv", index=False, float_format="%.6g")
    print(tables["kernels"].to_string(index=False))
    steps = tables["jax"][["d_model", "n_layers", "seq_len", "step_time_s"]]
    if "torch" in tables:
        steps = steps.assign(torch_s=tables["torch"].step_time_s)
        steps = steps.assign(ours_over_torch=steps.step_time_s / steps.torch_s)
    print(steps.to_string(index=False))


if __name__ == "__main__":
    main()
