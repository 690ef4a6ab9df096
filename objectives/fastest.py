"""Which execution a model is given: the fastest of those in which it fits.

Every way is tried on all models at once. In one way, memory and time only grow with a model's
counts, so of two models of which one is at least as large in each count, the smaller is never
slower: it fits wherever the larger does. And a step only grows longer with more passes and with
more that runs again, so of ways that differ in passes alone the first that fits is the fastest, and
with more run again only fewer passes need a try.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..space.decoder import Model
from ..space.mesh import shape_of
from .cost.execution import FIELDS, Execution, Remat, Sharding
from .device import Device
from .step_cost import step_memory_bytes, step_time_s

# Ways that differ in their passes alone, the fewest first; and those of one sharding, of which each
# runs more again than the one before.
Family = Sequence[Execution]
Families = Sequence[Family]

# Chips among which a layer may be split within a host.
POWERS_OF_TWO = (1, 2, 4, 8, 16)
# Of a state shared on several hosts: each group tried is so many times the one before.
HOSTS_AT_LEAST = 8
# Models times ways that are dealt with at once: more arithmetic takes longer than its calls.
AT_ONCE = 1 << 17


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chosen:
    """How each model's step is run, and what it then costs.

    Attributes:
        execution: the fastest in which it fits, or else the last, with the smallest micro-batch.
        step_time_s: seconds of its step.
        memory_bytes: on each chip.
    """

    execution: Execution
    step_time_s: Any
    memory_bytes: Any


@dataclasses.dataclass
class _Best:
    """Of each model the fastest way so far, by its place among all, its seconds and its bytes."""

    place: Any = 0
    seconds: Any = np.inf
    needed: Any = np.inf

    def take(self, where: Any, place: Any, seconds: Any, needed: Any) -> None:
        self.place = np.where(where, place, self.place)
        self.seconds = np.where(where, seconds, self.seconds)
        self.needed = np.where(where, needed, self.needed)


def fastest(
    device: Device, arch: Model, ways: Sequence[Families], micro_batch: int | None = None
) -> Chosen:
    """The fastest way for each model, of those that split its batch into whole sequences.

    Args:
        device: each of the chips.
        arch: the model or models, with the batch of the whole step.
        ways: by sharding, by what runs again, and by passes.
        micro_batch: sequences of one pass on one chip, where not any number will do.
    """
    best = _Best()
    families = [family for of_sharding in ways for family in of_sharding]
    n_before = 0
    for of_sharding in ways:
        # Passes in which a model fits: with more run again, only fewer may be faster.
        fewest: Any = np.inf
        for family in of_sharding:
            place, needed = _first_that_fits(device, arch, family, fewest, micro_batch)
            if np.any(fits := place >= 0):
                seconds = _seconds(device, arch, family, place)
                best.take(fits & (seconds < best.seconds), n_before + place, seconds, needed)
                fewest = np.where(fits, _passes(family)[place], fewest)
            n_before += len(family)
    if np.any(unfit := best.seconds == np.inf):
        _take_last(best, unfit, device, arch, families, micro_batch)
    return Chosen(
        execution=chosen([way for family in families for way in family], best.place),
        step_time_s=_plain(best.seconds),
        memory_bytes=_plain(best.needed),
    )


@functools.lru_cache(maxsize=256)
def every_way(
    splits: tuple[Execution, ...], remats: tuple[Remat, ...], n_accumulations: tuple[int, ...]
) -> list[list[list[Execution]]]:
    """All ways by how chips split the work, by what runs again and by passes."""

    def way(split: Execution, **choices: Any) -> Execution:
        return dataclasses.replace(split, **choices)

    return [
        [[way(split, remat=r, n_accumulation=n) for n in n_accumulations] for r in remats]
        for split in splits
    ]


def every_split(
    simplest: Execution,
    shardings: tuple[Sharding, ...],
    tensor_parallels: Sequence[int] | None,
    chips_per_host: int,
) -> Iterator[Execution]:
    """How chips may split the work, each as the simplest in all else.

    On several hosts a state may be shared by the chips of one, of eight, of 64 and so on, each
    such group with a copy of its own, and layers may be split within a host.

    Args:
        simplest: with the chips and the stages of a pipeline.
        shardings: that are tried.
        tensor_parallels: chips among which a layer is split, the last of which is taken for what
            fits in no way; None: any power of two within a host, where there are several.
        chips_per_host: that share the faster links.

    Examples:
        >>> sharing = (Sharding.DATA, Sharding.FULL)
        >>> for way in every_split(Execution(n_chips=64), sharing, (2, 1), 8):
        ...     print(way.tensor_parallel, str(way.sharding), way.n_shares)
        2 data 1
        2 full 4
        2 full 32
        1 data 1
        1 full 8
        1 full 64
    """
    several_hosts = simplest.n_chips > chips_per_host
    if tensor_parallels is None:
        most = chips_per_host if several_hosts else 1
        tensor_parallels = [n for n in reversed(POWERS_OF_TWO) if most % n == 0]
    for n in tensor_parallels:
        within = dataclasses.replace(simplest, tensor_parallel=n)
        for sharding in shardings:
            shares = max(chips_per_host // n, 1)
            while several_hosts and sharding == Sharding.FULL and 1 < shares < within.n_split:
                if within.n_split % shares == 0:
                    n_replicas = within.n_split // shares
                    yield dataclasses.replace(within, sharding=sharding, n_replicas=n_replicas)
                shares *= HOSTS_AT_LEAST
            yield dataclasses.replace(within, sharding=sharding)


def by_batch_alone(ways: Sequence[Families]) -> list[Families]:
    """Those that split nothing but batch and state: how other blocks split is not counted.

    Raises:
        ValueError: there is none.
    """
    found = [group for group in ways if group[0][0].n_split == group[0][0].n_chips]
    if not found:
        raise ValueError("`tensor_parallel` and `pipeline_parallel` are for dense models only")
    return found


def passes_of(n_sequences: Any) -> tuple[int, ...]:
    """Numbers of passes into which some number of sequences, or one of several, can be cut.

    >>> passes_of(12)
    (1, 2, 3, 4, 6, 12)
    """
    return _passes_of(tuple(np.unique(n_sequences).astype(int).tolist()))


@functools.lru_cache(maxsize=64)
def _passes_of(each: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted({k for n in each for k in range(1, n + 1) if n % k == 0}))


def splits(batch_size: Any, way: Execution, micro_batch: int | None = None) -> Any:
    """Whether a way cuts a batch into whole sequences, and into micro-batches as asked."""
    if micro_batch is None:
        return way.divides(batch_size)
    return batch_size == micro_batch * way.n_split * way.n_accumulation


def chosen(ways: Sequence[Execution], places: Any) -> Execution:
    """The ways at some places as one execution; what all of these share stays one value."""
    if np.ndim(places) == 0:
        return ways[int(places)]
    used = np.unique(places).tolist()
    fields = {}
    for name in FIELDS:
        values = np.array([getattr(way, name) for way in ways])
        alike = np.all(values[used] == values[used[0]])
        fields[name] = getattr(ways[used[0]], name) if alike else values[places]
    return Execution(**fields)


def _first_that_fits(
    device: Device, arch: Model, family: Family, below: Any, micro_batch: int | None
) -> tuple[Any, Any]:
    """Each model's first way of a family, by place, with fewer passes than `below`, and its bytes.

    The place is -1 where it fits in none.
    """
    shape = shape_of(arch)
    place: Any = np.asarray(-1)
    needed: Any = np.inf
    at_once = max(AT_ONCE // max(math.prod(shape), 1), 1)
    for start in range(0, len(family), at_once):
        passes = _passes(family[start : start + at_once])
        # An axis of ways before those of the models.
        several = family[0].in_passes(passes[(..., *[None] * len(shape))])
        tried = (place < 0) & (several.n_accumulation < below)
        tried = tried & splits(arch.batch_size, several, micro_batch)
        if not np.any(tried):
            continue
        in_each = step_memory_bytes(device, arch, several)
        fits = tried & (in_each <= device.room_bytes)
        for at in reversed(range(len(fits))):
            place = np.where(fits[at], start + at, place)
            needed = np.where(fits[at], in_each[at], needed)
    return place, needed


def _seconds(device: Device, arch: Model, family: Family, place: Any) -> Any:
    """Of a step of each model in its way of a family; where it has none, in any."""
    used = np.unique(place[place >= 0]).tolist()
    if len(used) > 1 and place.size <= AT_ONCE:
        passes = np.where(place >= 0, _passes(family)[place], family[used[-1]].n_accumulation)
        return step_time_s(device, arch, family[0].in_passes(passes))
    seconds: Any = np.inf
    for at in used:
        # An open mesh's arrays stay small where all is run in one way.
        seconds = np.where(place == at, step_time_s(device, arch, family[at]), seconds)
    return seconds


def _passes(family: Family) -> np.ndarray:
    return np.array([way.n_accumulation for way in family])


def _take_last(
    best: _Best,
    unfit: Any,
    device: Device,
    arch: Model,
    families: Families,
    micro_batch: int | None,
) -> None:
    """The smallest micro-batch of the last family for models that fit in no way."""
    *others, last = families
    n_passes = np.asarray(arch.batch_size) // (last[0].n_split * (micro_batch or 1))
    place = np.searchsorted([way.n_accumulation for way in last], n_passes)
    way = dataclasses.replace(
        last[0], n_accumulation=n_passes if np.ndim(n_passes) else n_passes.item()
    )
    best.take(
        unfit,
        sum(map(len, others)) + place,
        step_time_s(device, arch, way),
        step_memory_bytes(device, arch, way),
    )


def _plain(value: Any) -> Any:
    return value if np.ndim(value) else value.item()
