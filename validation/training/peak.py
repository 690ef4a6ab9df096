"""The best rate of a plain matmul on the device that jax computes on."""

from __future__ import annotations

import functools
import time

import jax
import jax.numpy as jnp

CPU_SIZES = (512, 1024, 2048)
ACCELERATOR_SIZES = (2048, 4096, 8192)
N_REPEATS = 5


@functools.cache
def peak_matmul_flops_per_s(dtype: str) -> float:
    """Measure square matmuls of a few sizes, and return the best rate of all, in FLOP/s.

    Takes about a second of one core, once in a process. What else the machine does lowers it.
    """
    sizes = CPU_SIZES if jax.default_backend() == "cpu" else ACCELERATOR_SIZES
    return max(2 * size**3 / _best_time_s(size, dtype) for size in sizes)


def _best_time_s(size: int, dtype: str) -> float:
    matrix = jnp.full((size, size), 1 / size, dtype)
    multiply = jax.jit(jnp.matmul).lower(matrix, matrix).compile()
    multiply(matrix, matrix).block_until_ready()
    times_s = []
    for _ in range(N_REPEATS):
        began = time.perf_counter()
        multiply(matrix, matrix).block_until_ready()
        times_s.append(time.perf_counter() - began)
    return min(times_s)
