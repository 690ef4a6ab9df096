"""Which execution a model is given: the fastest of those in which it fits.

Every way is tried on all models at once that it may be the fastest of. In one way, memory and time
only grow with a model's counts, so of two models of which one is at least as large in each count,
the smaller is never slower: it fits wherever the larger does. And a step only grows longer with
more passes and with more that runs again, so of ways that differ in passes alone the first that
fits is the fastest, and with more run again only fewer passes need a try. Not so in a pipeline,
which is the fuller the more passes it has: there every way is tried.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..space.architecture import altered
from ..space.decoder import Model
from ..space.mesh import covering, part_at, shape_of
from .cost.execution import Execution
from .cost.ways import Families, Family, chosen, one_by_one, passes_in, splits, that_split
from .device import Device
from .step_cost import step_memory_bytes, step_time_s

# Models times ways that are dealt with at once: more arithmetic takes longer than its calls.
AT_ONCE = 1 << 17
# Models of each batch, up to which all batches are tried in all passes: fewer calls.
A_FEW = 1 << 12
# Models times ways, from which on it pays to look first for which of them a sharding may win.
MANY = 1 << 14
# Memory is counted in whole bytes, cut off in two places, so that it may fall by one as it grows.
CUT_OFF_BYTES = 8


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


class _Best:
    """Of each model the fastest way so far, by its place among all, its seconds and its bytes."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.place = np.full(shape, -1)
        self.seconds, self.needed = np.full(shape, np.inf), np.full(shape, np.inf)

    def take(self, where: Any, place: Any, seconds: Any, needed: Any, index: Any = ...) -> None:
        """A way that is better for some models, of all or of those at an index."""
        self.place[index] = np.where(where, place, self.place[index])
        self.seconds[index] = np.where(where, seconds, self.seconds[index])
        self.needed[index] = np.where(where, needed, self.needed[index])


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
    best = _of_each_batch(device, arch, ways, micro_batch)
    return Chosen(
        execution=chosen(one_by_one(ways), best.place),
        step_time_s=_plain(best.seconds),
        memory_bytes=_plain(best.needed),
    )


def _of_each_batch(
    device: Device, arch: Model, ways: Sequence[Families], micro_batch: int | None
) -> _Best:
    """The best ways; in a large mesh of each batch by itself, which few of all passes split."""
    shape, batch_sizes = shape_of(arch), np.unique(arch.batch_size)
    few = len(batch_sizes) == 1 or math.prod(shape) <= A_FEW * len(batch_sizes)
    masks = [np.asarray(arch.batch_size == batch_size) for batch_size in batch_sizes]
    indices = [covering(mask) for mask in masks]
    if few or not all(mask[at].all() for mask, at in zip(masks, indices, strict=True)):
        return _of_all(device, arch, ways, micro_batch)
    best = _Best(shape)
    for batch_size, at in zip(batch_sizes, indices, strict=True):
        split, places = that_split(batch_size, ways, micro_batch)
        one = _of_all(device, part_at(arch, at), split, micro_batch)
        best.take(True, places[one.place], one.seconds, one.needed, at)
    return best


def _of_all(
    device: Device, arch: Model, ways: Sequence[Families], micro_batch: int | None
) -> _Best:
    """The best ways of all models."""
    best, n_before = _Best(shape_of(arch)), 0
    for of_sharding in ways:
        may_win = _may_win(device, arch, of_sharding, best.seconds, micro_batch)
        at = covering(may_win)
        part = part_at(arch, at)
        # Passes in which a model fits: with more run again, only fewer may be faster.
        fewest: Any = np.where(may_win[at], np.inf, 0)
        for family in of_sharding:
            piped = family[0].pipeline_parallel > 1
            find = _fastest_that_fits if piped else _first_that_fits
            place, needed = find(device, part, family, fewest, micro_batch)
            if np.any(fits := place >= 0):
                seconds = _seconds(device, part, family, place)
                best.take(seconds < best.seconds[at], n_before + place, seconds, needed, at)
                if not piped:
                    fewest = np.where(fits, passes_in(family)[place], fewest)
            n_before += len(family)
    if np.any(unfit := best.place < 0):
        _take_last(best, unfit, device, arch, ways, micro_batch)
    return best


def _may_win(
    device: Device, arch: Model, of_sharding: Families, seconds: Any, micro_batch: int | None
) -> np.ndarray:
    """Whether a model may fit in some way of one sharding and then be faster than it is so far."""
    may = np.full(seconds.shape, True)
    first, last = of_sharding[0][0].in_passes(1), of_sharding[-1][0].in_passes(1)
    few = may.ndim < 2 or may.size * sum(map(len, of_sharding)) <= MANY
    if few or first.pipeline_parallel > 1:
        return may
    # One pass of the smallest micro-batch needs no more than any way.
    smallest = altered(arch, batch_size=last.n_split * (micro_batch or 1))
    may &= step_memory_bytes(device, smallest, last) <= device.room_bytes + CUT_OFF_BYTES
    known = seconds[at := covering(may)] < np.inf
    if np.any(may) and np.any(known):
        may[at] &= ~known | (step_time_s(device, part_at(arch, at), first) < seconds[at])
    return may


def _first_that_fits(
    device: Device, arch: Model, family: Family, below: Any, micro_batch: int | None
) -> tuple[Any, Any]:
    """Each model's first way of a family, by place, with fewer passes than `below`, and its bytes.

    The place is -1 where it fits in none.
    """
    left = np.array(below > family[0].n_accumulation)
    place, needed, start = np.full(left.shape, -1), np.full(left.shape, np.inf), 0
    while start < len(family) and np.any(left):
        at = covering(left)
        some = part_at(arch, at)
        passes = passes_in(family[start : start + max(AT_ONCE // left[at].size, 1)])
        # An axis of ways before those of the models.
        several = family[0].in_passes(passes[(..., *[None] * left.ndim)])
        tried = left[at] & (several.n_accumulation < below[at])
        tried = tried & splits(some.batch_size, several, micro_batch)
        if np.any(tried):
            in_each = step_memory_bytes(device, some, several)
            fits = tried & (in_each <= device.room_bytes)
            for one in reversed(np.flatnonzero(fits.reshape(len(fits), -1).any(axis=1)).tolist()):
                np.copyto(place[at], start + one, where=fits[one])
                np.copyto(needed[at], in_each[one], where=fits[one])
            left[at] &= place[at] < 0
        start += len(passes)
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
        passes = passes_in(family[start : start + at_once])
        yield start, family[0].in_passes(passes[(..., *[None] * len(shape))])


def _seconds(device: Device, arch: Model, family: Family, place: Any) -> Any:
    """Of a step of each model in its way of a family; infinite where it has none."""
    seconds = np.full(place.shape, np.inf)
    used = np.unique(place[place >= 0]).tolist()
    # An open mesh's arrays stay small where all is run in one way.
    for together in [used] if place.size <= AT_ONCE else [[one] for one in used]:
        where = (place >= together[0]) & (place <= together[-1])
        at = covering(where)
        way = family[together[-1]]
        if len(together) > 1:
            passes = np.where(where, passes_in(family)[place], way.n_accumulation)[at]
            way = way.in_passes(passes)
        np.copyto(seconds[at], step_time_s(device, part_at(arch, at), way), where=where[at])
    return seconds


def _take_last(
    best: _Best,
    unfit: Any,
    device: Device,
    arch: Model,
    ways: Sequence[Families],
    micro_batch: int | None,
) -> None:
    """The smallest micro-batch of the last family for models that fit in no way."""
    last = ways[-1][-1]
    at = covering(unfit)
    arch = part_at(arch, at)
    n_passes = np.asarray(arch.batch_size) // (last[0].n_split * (micro_batch or 1))
    # A batch that this way does not split is run as if in its most passes.
    passes = passes_in(last)
    place = np.minimum(np.searchsorted(passes, n_passes), len(passes) - 1)
    n_passes = passes[place]
    way = dataclasses.replace(
        last[0], n_accumulation=n_passes if np.ndim(n_passes) else n_passes.item()
    )
    best.take(
        unfit[at],
        len(one_by_one(ways)) - len(last) + place,
        step_time_s(device, arch, way),
        step_memory_bytes(device, arch, way),
        at,
    )


def _plain(value: Any) -> Any:
    return value if np.ndim(value) else value.item()
