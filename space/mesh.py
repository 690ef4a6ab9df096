"""A product of lists as open meshes: how a space is walked, part by part."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from .architecture import ABOUT, BOOL_FIELDS, FIELDS, Architecture
from .sparse import FIELD, is_sparse, model_of, names_of

Axes = dict[str, list]
T = TypeVar("T")
# An ellipsis and a range along each axis, so that what it takes of an array is a view of it.
Index = tuple[Any, ...]
ALL = (...,)
# One entry of a list is all three, for rules tie them together.
ATTENTION = ("n_heads", "n_kv_heads", "d_head")
# Models in a part, about: arrays of many more leave a core's caches.
MESH_SIZE = 1 << 17


def split(axes: Axes, max_size: int = MESH_SIZE) -> Iterator[Axes]:
    """The product of lists in parts of at most `max_size`, cut along the longest list."""
    longest = _to_cut(axes, max_size)
    if not longest:
        yield axes
        return
    for half in _halves(axes[longest]):
        yield from split(axes | {longest: half}, max_size)


def part_with(
    axes: Axes, entries: dict[str, Any], max_size: int = MESH_SIZE
) -> tuple[tuple[int, ...], Axes]:
    """The part of `split` that holds one entry of each list.

    Returns:
        Its place, which sorts as `split` yields parts, and the part.
    """
    place = []
    while longest := _to_cut(axes, max_size):
        halves = _halves(axes[longest])
        side = int(entries[longest] not in halves[0])
        place.append(side)
        axes = axes | {longest: halves[side]}
    return tuple(place), axes


def _to_cut(axes: Axes, max_size: int) -> str:
    """The list to cut in two; none where the product is small, or no list can be."""
    longest = max(axes, key=lambda name: len(axes[name]))
    small = math.prod(map(len, axes.values())) <= max_size or len(axes[longest]) == 1
    return "" if small else longest


def _halves(values: list) -> tuple[list, list]:
    return values[: len(values) // 2], values[len(values) // 2 :]


def around(at: int, values: list, radius: int, stride: float = 0.0) -> list:
    """Entries of a list within so many steps of one of them, itself included.

    Examples:
        >>> around(5, list(range(12)), 1), around(5, list(range(12)), 2, 0.25)
        ([4, 5, 6], [2, 5, 8, 11])

    Args:
        at: its place.
        values: the list.
        radius: how many steps.
        stride: the share of the list that a step goes along, at least an entry.
    """
    step = max(round(stride * len(values)), 1)
    first = at - min(radius, at // step) * step
    return values[first : at + radius * step + 1 : step]


def side_by_side(archs: Sequence[Architecture]) -> Architecture:
    """Several models as one array of them, of floats as in `open_mesh`."""
    return model_of(
        {
            name: np.array([getattr(arch, name) for arch in archs], dtype=dtype_of(name))
            for name in names_of(archs[0])
        }
    )


def flat(meshes: Sequence[Architecture]) -> Architecture:
    """The models of several meshes as one array of them, in the order in which each is walked."""
    shapes = [shape_of(mesh) for mesh in meshes]

    def joined(name: str) -> np.ndarray:
        values = (getattr(mesh, name) for mesh in meshes)
        return np.concatenate(
            [np.broadcast_to(of, shape).ravel() for of, shape in zip(values, shapes, strict=True)]
        )

    return model_of({name: joined(name) for name in names_of(meshes[0])})


def stacked(meshes: Sequence[Architecture]) -> Architecture:
    """Meshes of one shape as one, in the order of its first axis."""
    n_axes = len(shape_of(meshes[0]))

    def joined(name: str) -> np.ndarray:
        return np.stack([np.array(getattr(mesh, name), ndmin=n_axes) for mesh in meshes])

    return model_of({name: joined(name) for name in names_of(meshes[0])})


def shape_of(mesh: Any) -> tuple[int, ...]:
    """Of all that is said of a mesh, once broadcast; a decoder of any blocks is one model."""
    return np.broadcast_shapes(*(np.shape(vars(mesh).get(name, 1)) for name in (*FIELDS, FIELD)))


def size_of(mesh: Architecture) -> int:
    """Number of models in a mesh."""
    return math.prod(shape_of(mesh))


def covering(wanted: np.ndarray) -> Index:
    """The least range along each axis of a mesh, whose product holds all wanted models.

    It is the whole of a flat array, whose models are in any order, and of an axis that is open.

    >>> covering(np.array([[False, True, True], [False, False, False], [False, True, False]]))
    (Ellipsis, slice(0, 3, None), slice(1, 3, None))
    """
    if wanted.ndim < 2:
        return ALL
    ranges = []
    for size in wanted.shape:
        along = np.flatnonzero(wanted.reshape(size, -1).any(axis=1))
        first, end = (along[0].item(), along[-1].item() + 1) if len(along) else (0, 0)
        ranges.append(slice(None) if size == end == 1 else slice(first, end))
        wanted = np.logical_or.reduce(wanted)
    return ..., *ranges


def part_at(mesh: T, index: Index) -> T:
    """The models in a range along each axis of a mesh, as one that is as open."""
    if index == ALL:
        return mesh
    part = copy.copy(mesh)
    for name, value in vars(mesh).items():
        if isinstance(value, np.ndarray):
            own = index[len(index) - value.ndim :]
            ranges = (at if n > 1 else slice(None) for at, n in zip(own, value.shape, strict=True))
            vars(part)[name] = value[..., *ranges]
    return part


def dtype_of(name: str) -> type:
    """Of a field's values in arrays.

    Floats, since counts of large models overflow int64; whole numbers stay exact up to 2**53.
    """
    return np.bool_ if name in BOOL_FIELDS else np.float64


def open_mesh(d_model: int, axes: Axes) -> Architecture:
    """The product of lists as one `Architecture` of broadcasting arrays."""
    fields: dict[str, Any] = {"d_model": np.float64(d_model)}
    for axis, (name, values) in enumerate(axes.items()):
        shape = [1] * len(axes)
        shape[axis] = len(values)
        if name == "attention":
            columns = np.array(values, dtype=np.float64).T
            fields |= {n: c.reshape(shape) for n, c in zip(ATTENTION, columns, strict=True)}
        else:
            fields[name] = np.array(values, dtype=dtype_of(name)).reshape(shape)
    return model_of(fields)


def least(mesh: Architecture) -> Architecture:
    """A model that needs no more memory and time than any of a mesh (not always one of them)."""
    fields = {
        name: (np.max if about.cheaper else np.min)(getattr(mesh, name))
        for name, about in ABOUT.items()
    }
    fields |= {FIELD: np.min(mesh.as_dict()[FIELD])} if is_sparse(mesh) else {}
    return model_of(fields | {"n_kv_heads": 1})
