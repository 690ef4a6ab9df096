"""The best rate of a plain matmul on the device that jax computes on."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from ..backend import step_clock

CPU_SIZES = (512, 1024, 2048)
ACCELERATOR_SIZES = (2048, 4096, 8192)
N_REPEATS = 5


@functools.cache
def peak_matmul_flops_per_s(dtype: str) -> float:
    """Measure square matmuls of a few sizes, and return the best rate of all, in FLOP/s.

    Takes about a second of one core, once in a process, by the clock of steps.
    """
    sizes = CPU_SIZES if jax.default_backend() == "cpu" else ACCELERATOR_SIZES
    return max(2 * size**3 / _best_time_s(size, dtype) for size in sizes)


def _best_time_s(size: int, dtype: str) -> float:
    matrix = jnp.full((size, size), 1 / size, dtype)
    # A CPU's matrix units are reached in no other way than its steps have: results in float32.
    wide = jnp.float32 if jax.default_backend() == "cpu" else dtype
    product = functools.partial(jnp.matmul, preferred_element_type=wide)
    multiply = jax.jit(product).lower(matrix, matrix).compile()
    multiply(matrix, matrix).block_until_ready()
    times_s, clock_s = [], step_clock()
    for _ in range(N_REPEATS):
        began = clock_s()
        multiply(matrix, matrix).block_until_ready()
        times_s.append(clock_s() - began)
    return min(times_s)
