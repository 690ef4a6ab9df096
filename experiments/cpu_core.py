"""What can one CPU core do? Peak float32 matmul rate and copy bandwidth, for `cpu-core.toml`.

Command: python experiments/cpu_core.py
Wall time: 20 s.
Expected: some 100 GFLOP/s with AVX-512, some 10 GB/s; the best of the repeats counts, for whatever
else runs on the machine can only slow it.
"""

import os
import time

os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import jax
import jax.numpy as jnp
import numpy as np

SIZES = (256, 512, 1024, 2048)
REPEATS = 15
COPY_BYTES = 1 << 28


def peak_flops_per_s(size: int) -> float:
    """Best rate of a square float32 matmul."""
    matmul = jax.jit(lambda a, b: a @ b)
    a = jnp.asarray(np.random.default_rng(0).standard_normal((size, size), dtype=np.float32))
    return 2 * size**3 / best_time_s(lambda: matmul(a, a).block_until_ready())


def bandwidth_bytes_per_s() -> float:
    """Best rate of a copy, counting bytes read and bytes written."""
    source = np.ones(COPY_BYTES // 8)
    target = np.empty_like(source)
    return 2 * COPY_BYTES / best_time_s(lambda: np.copyto(target, source))


def best_time_s(work) -> float:
    """Seconds of the fastest of several repeats, after one to warm up."""
    times = []
    for _ in range(REPEATS + 1):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times[1:])


if __name__ == "__main__":
    for size in SIZES:
        print(f"matmul {size}: {peak_flops_per_s(size) / 1e9:.1f} GFLOP/s")
    print(f"copy: {bandwidth_bytes_per_s() / 1e9:.1f} GB/s")
