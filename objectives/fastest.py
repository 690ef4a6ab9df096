"""Which execution a model is given: the fastest of those in which it fits.

Every way is tried on all models at once. In one way, memory and time only grow with a model's
counts, so of two models of which one is at least as large in each count, the smaller is never
slower: it fits wherever the larger does. And a step only grows longer with more passes and with
more that runs again, so of ways that differ in passes alone the first that fits is the fastest, and
with more run again only fewer passes need a try. Not so in a pipeline, which is the fuller the more
passes it has: there every way is tried.
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
from .cost.execution import FIELDS, Execution
from .cost.ways import Families, Family
from .device import Device
from .step_cost import step_memory_bytes, step_time_s

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
            piped = family[0].pipeline_parallel > 1
            find = _fastest_that_fits if piped else _first_that_fits
            place, needed = find(device, arch, family, fewest, micro_batch)
            if np.any(fits := place >= 0):
                seconds = _seconds(device, arch, family, place)
                best.take(fits & (seconds < best.seconds), n_before + place, seconds, needed)
                if not piped:
                    fewest = np.where(fits, _passes(family)[place], fewest)
            n_before += len(family)
    if np.any(unfit := best.seconds == np.inf):
        _take_last(best, unfit, device, arch, families, micro_batch)
    return Chosen(
        execution=chosen([way for family in families for way in family], best.place),
        step_time_s=_plain(best.seconds),
        memory_bytes=_plain(best.needed),
    )


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
    place: Any = np.asarray(-1)
    needed: Any = np.inf
    for start, several in _some_at_a_time(arch, family):
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


def _fastest_that_fits(
    device: Device, arch: Model, family: Family, below: Any, micro_batch: int | None
) -> tuple[Any, Any]:
    """Each model's fastest way of a family, by place, of all that fit, and its bytes; -1: none."""
    place, needed, seconds = np.asarray(-1), np.inf, np.inf
    for start, several in _some_at_a_time(arch, family):
        fits = (several.n_accumulation < below) & splits(arch.batch_size, several, micro_batch)
        if not np.any(fits):
            continue
        in_each = step_memory_bytes(device, arch, several)
        fits = fits & (in_each <= device.room_bytes)
        of_each = np.where(fits, step_time_s(device, arch, several), np.inf)
        for at in range(len(fits)):
            faster = of_each[at] < seconds
            place = np.where(faster, start + at, place)
            needed = np.where(faster, in_each[at], needed)
            seconds = np.where(faster, of_each[at], seconds)
    return place, needed


def _some_at_a_time(arch: Model, family: Family) -> Iterator[tuple[int, Execution]]:
    """The first place of each few ways, and these on an axis before those of the models."""
    shape = shape_of(arch)
    at_once = max(AT_ONCE // max(math.prod(shape), 1), 1)
    for start in range(0, len(family), at_once):
        passes = _passes(family[start : start + at_once])
        yield start, family[0].in_passes(passes[(..., *[None] * len(shape))])


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
