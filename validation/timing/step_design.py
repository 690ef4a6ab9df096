"""Which architectures to time, so that a step-time model can tell its features apart."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from ...objectives.cost.counts import flops_per_step, memcpys_per_step, n_params
from ...objectives.cost.memory import memory_bytes
from ...space.architecture import Architecture

POOL_SIZE = 600
MIN_STEP_S = 1e-3
MEMORY_SHARE = 0.25
# Of a CPU's models; an accelerator's are so many times as wide.
D_MODELS = (32, 64, 96, 128, 192, 256, 384, 512, 768)
ACCELERATOR_SCALE = 4
N_LAYERS = (1, 2, 3, 4, 6, 8, 12, 16)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Effort:
    """How much to measure.

    Attributes:
        n_architectures: to time.
        seconds: of timing for each in every pass.
        max_step_s: what a step may take at the machine's best rates; it will take longer.
        max_layers: deep models are slow to compile.
    """

    n_architectures: int
    seconds: float
    max_step_s: float
    max_layers: int


QUICK = Effort(n_architectures=14, seconds=0.3, max_step_s=0.03, max_layers=4)
DEFAULT = Effort(n_architectures=56, seconds=1.5, max_step_s=0.2, max_layers=16)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """What bounds the architectures on a machine: its best rates, its memory, its element."""

    peak_flops_per_s: float
    bandwidth_bytes_per_s: float
    memory_bytes: float
    bytes_per_element: int


def choose_architectures(
    effort: Effort, limits: Limits, *, seed: int, scale: int = 1
) -> list[Architecture]:
    """Unlike architectures whose step takes neither too long nor too short on a machine.

    From a random pool the one farthest from all chosen before is taken next, by the logarithms of
    what a step's time may depend on. The first is the most average one.

    Args:
        effort: how many, how large.
        limits: of the machine.
        seed: decides the pool.
        scale: how many times as wide as a CPU's models.
    """
    pool = list(_pool(effort, limits, np.random.default_rng(seed), scale))
    counts = np.log([spread_counts(arch) for arch in pool])
    places = (counts - counts.mean(axis=0)) / counts.std(axis=0)
    chosen = [int(np.argmin(np.sum(places**2, axis=1)))]
    distance = np.full(len(pool), np.inf)
    while len(chosen) < effort.n_architectures:
        latest = np.sum((places - places[chosen[-1]]) ** 2, axis=1)
        distance = np.minimum(distance, latest)
        chosen.append(int(np.argmax(distance)))
    return [pool[i] for i in chosen]


def spread_counts(arch: Architecture) -> tuple[float, ...]:
    """What a design spreads over."""
    rows = arch.tokens_per_step
    return (
        memcpys_per_step(arch),
        flops_per_step(arch),
        n_params(arch),
        arch.n_layers,
        arch.d_model,
        rows * arch.vocab_size,
        arch.n_layers * rows * arch.n_heads * arch.seq_len,
    )


def _pool(
    effort: Effort, limits: Limits, rng: np.random.Generator, scale: int
) -> Iterator[Architecture]:
    """Distinct random architectures within the limits of time and memory."""
    seen: set[Architecture] = set()
    while len(seen) < POOL_SIZE:
        arch = _random_architecture(rng, scale, effort.max_layers)
        at_best_s = flops_per_step(arch) / limits.peak_flops_per_s + (
            limits.bytes_per_element * memcpys_per_step(arch) / limits.bandwidth_bytes_per_s
        )
        needed = memory_bytes(arch, bytes_per_element=limits.bytes_per_element)
        in_limits = (
            MIN_STEP_S < at_best_s < effort.max_step_s
            and needed < MEMORY_SHARE * limits.memory_bytes
        )
        if in_limits and arch not in seen:
            seen.add(arch)
            yield arch


def _random_architecture(rng: np.random.Generator, scale: int, max_layers: int) -> Architecture:
    def one_of(*values: int) -> int:
        return int(rng.choice(values))

    d_model = scale * one_of(*D_MODELS)
    d_head = one_of(*(size for size in (32, 64, 128) if d_model % size == 0))
    n_heads = d_model // d_head
    return Architecture(
        d_model=d_model,
        n_layers=one_of(*(n for n in N_LAYERS if n <= max_layers)),
        n_heads=n_heads,
        n_kv_heads=n_heads // one_of(*(n for n in (1, 2, 4) if n_heads % n == 0)),
        d_head=d_head,
        d_ff=d_model * one_of(2, 3, 4, 6, 8),
        gated_mlp=bool(rng.integers(2)),
        vocab_size=one_of(512, 1024, 2048, 4096, 8192, 16384, 32768),
        tied_embeddings=bool(rng.integers(2)),
        seq_len=one_of(64, 128, 256, 512, 1024),
        batch_size=one_of(1, 2, 4, 8, 16, 32),
    )
