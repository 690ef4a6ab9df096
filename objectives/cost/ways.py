"""The ways of running a step that there are: how chips split it, what runs again, its passes."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .execution import FIELDS, Execution, Remat, Sharding

# Ways that differ in their passes alone, the fewest first; and those of one sharding, of which each
# runs more again than the one before.
Family = Sequence[Execution]
Families = Sequence[Family]

# Of a state shared on several hosts: each group tried is so many times the one before.
HOSTS_AT_LEAST = 8


@functools.lru_cache(maxsize=256)
def every_way(
    splits: tuple[Execution, ...], remats: tuple[Remat, ...], n_accumulations: tuple[int, ...]
) -> list[list[list[Execution]]]:
    """All ways by how chips split the work, by what runs again and by passes."""
    return [
        [[replace(split, remat=r, n_accumulation=n) for n in n_accumulations] for r in remats]
        for split in splits
    ]


def every_split(
    simplest: Execution,
    sharding: Sharding | None,
    tensor_parallels: Sequence[int],
    chips_per_host: int,
) -> Iterator[Execution]:
    """How chips may split the work, each as the simplest in all else.

    On several hosts a state may be shared by the chips of one, of eight, of 64 and so on, each
    such group with a copy of its own.

    Args:
        simplest: with the chips and the stages of a pipeline.
        sharding: None: any, in pipelines `OPTIMIZER` too, as their trainers have it.
        tensor_parallels: chips among which a layer is split, the last of which is taken for what
            fits in no way.
        chips_per_host: that share the faster links.

    Examples:
        >>> for way in every_split(Execution(n_chips=64), None, (2, 1), 8):
        ...     print(way.tensor_parallel, str(way.sharding), way.n_shares)
        2 data 1
        2 full 4
        2 full 32
        1 data 1
        1 full 8
        1 full 64
    """
    piped = simplest.pipeline_parallel > 1
    usual = (Sharding.DATA, *[Sharding.OPTIMIZER] * piped, Sharding.FULL)
    several_hosts = simplest.n_chips > chips_per_host
    for n in tensor_parallels:
        within = replace(simplest, tensor_parallel=n)
        for one in usual if sharding is None else (sharding,):
            shares = max(chips_per_host // n, 1)
            while several_hosts and one == Sharding.FULL and 1 < shares < within.n_split:
                if within.n_split % shares == 0:
                    n_replicas = within.n_split // shares
                    yield replace(within, sharding=one, n_replicas=n_replicas)
                shares *= HOSTS_AT_LEAST
            yield replace(within, sharding=one)


def by_batch_alone(ways: Sequence[Families]) -> list[Families]:
    """Those that split nothing but batch and state: how other blocks split is not counted.

    Raises:
        ValueError: there is none.
    """
    found = [group for group in ways if group[0][0].n_split == group[0][0].n_chips]
    if not found:
        raise ValueError(
            "other models than dense ones split their batch alone: `batch_size` must be a multiple "
            f"of the {ways[0][0][0].n_chips} chips, `tensor_parallel` and `pipeline_parallel` 1"
        )
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


def that_split(
    batch_size: Any, ways: Sequence[Families], micro_batch: int | None
) -> tuple[Sequence[Families], np.ndarray]:
    """The ways that cut one batch as asked, and their places among all."""
    split = [bool(splits(batch_size, way, micro_batch)) for way in one_by_one(ways)]
    left = iter(split)
    kept = [[[way for way in family if next(left)] for family in group] for group in ways]
    # Where chips do not split it, no family of theirs does.
    return [group for group in kept if group[0]], np.flatnonzero(split)


def one_by_one(ways: Sequence[Families]) -> list[Execution]:
    """All ways in their order."""
    return [way for families in ways for family in families for way in family]


def passes_in(family: Family) -> np.ndarray:
    """How many passes each way of a family takes."""
    return np.array([way.n_accumulation for way in family])
