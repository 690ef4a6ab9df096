"""A space as boxes: families of models that differ in few fields alone, `WITHIN_BOX`, in parts.

A box is a range of places in each of a family's lists.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any, NamedTuple, Self

import numpy as np

from ...objectives.bounds.losses import WITHIN_BOX
from ...space.architecture import Architecture
from ...space.mesh import ATTENTION, Axes, dtype_of
from ...space.search_space import SearchSpace
from ...space.sparse import FIELD, model_of

HEADS = tuple(name for name in ATTENTION if name not in WITHIN_BOX)


class Boxes(NamedTuple):
    """Some boxes.

    Attributes:
        family: of each, shape (n,).
        low: the places of its least values, by `WITHIN_BOX`, shape (n, 4).
        high: of its greatest.
    """

    family: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def n_models(self) -> np.ndarray:
        """In each."""
        return np.prod(self.high - self.low + 1, axis=1)

    def at(self, chosen: np.ndarray) -> Self:
        """Some of them."""
        return self._make(column[chosen] for column in self)

    @classmethod
    def joined(cls, several: list[Self]) -> Self:
        """All of several."""
        return cls(*map(np.concatenate, zip(*several, strict=True)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Families:
    """The families of a space.

    Attributes:
        fields: what the models of each share, arrays of one length.
        values: the lists of all widths one after the other, by field.
        start: where each family's lists begin in those, by `WITHIN_BOX`, shape (n, 4).
        count: how many values are in them.
    """

    fields: dict[str, np.ndarray]
    values: dict[str, np.ndarray]
    start: np.ndarray
    count: np.ndarray

    @property
    def of_dense(self) -> bool:
        """Whether no model has experts."""
        return FIELD not in self.fields

    @classmethod
    def of(cls, space: SearchSpace) -> Families:
        """Those of a space, by width."""
        rows: list[tuple] = []
        lists: dict[str, list] = {name: [] for name in WITHIN_BOX}
        places = []
        shared: Axes = {}
        for d_model, axes in space.widths.items():
            at = {name: _append(lists[name], axes[name]) for name in WITHIN_BOX if name in axes}
            shared = of_family(axes)
            for heads, n_kv_heads in _key_heads(axes["attention"]).items():
                at["n_kv_heads"] = _append(lists["n_kv_heads"], n_kv_heads)
                for free in itertools.product(*shared.values()):
                    rows.append((d_model, *heads, *free))
                    places.append([at[name] for name in WITHIN_BOX])
        columns = zip(*rows, strict=True)
        named = zip(("d_model", *HEADS, *shared), columns, strict=True)
        start, count = np.moveaxis(np.array(places), 2, 0)
        return cls(
            fields={name: np.array(of, dtype=dtype_of(name)) for name, of in named},
            values={name: np.array(of, dtype=np.float64) for name, of in lists.items()},
            start=start,
            count=count,
        )

    def boxes(self) -> Boxes:
        """One for each family."""
        return Boxes(np.arange(len(self.count)), np.zeros_like(self.count), self.count - 1)

    def models(self, family: np.ndarray, places: np.ndarray) -> Architecture:
        """The models at some places of some families' lists."""
        at = (self.start[family] + places).T
        fields: dict[str, Any] = {name: of[family] for name, of in self.fields.items()}
        fields |= {name: self.values[name][i] for name, i in zip(WITHIN_BOX, at, strict=True)}
        return model_of(fields)

    def halves(self, boxes: Boxes, haste: dict[str, float]) -> Boxes:
        """Each box cut in two where its ends are furthest apart, but in what it holds one of.

        Args:
            boxes: that are cut.
            haste: by field, as if its ends were so many times as far apart in logs.
        """
        ends = [self._sizes(boxes.family, places) for places in (boxes.low, boxes.high)]
        powers = [haste.get(name, 1.0) for name in WITHIN_BOX]
        axis = np.argmax((ends[1] / ends[0]) ** powers, axis=1)
        row = np.arange(len(axis))
        middle = (boxes.low[row, axis] + boxes.high[row, axis]) // 2
        lower_high, upper_low = boxes.high.copy(), boxes.low.copy()
        lower_high[row, axis], upper_low[row, axis] = middle, middle + 1
        return Boxes.joined([boxes._replace(high=lower_high), boxes._replace(low=upper_low)])

    def members(self, boxes: Boxes) -> tuple[np.ndarray, np.ndarray]:
        """All models of some boxes: their families and places."""
        shape = boxes.high - boxes.low + 1
        n = boxes.n_models
        row = np.repeat(np.arange(len(n)), n)
        rest = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)
        places = boxes.low[row]
        for axis in range(len(WITHIN_BOX)):
            places[:, axis] += rest % shape[row, axis]
            rest = rest // shape[row, axis]
        return boxes.family[row], places

    def _sizes(self, family: np.ndarray, places: np.ndarray) -> np.ndarray:
        """What parameters and time go with, by `WITHIN_BOX`: key heads stand beside the queries."""
        at = (self.start[family] + places).T
        columns = {name: self.values[name][i] for name, i in zip(WITHIN_BOX, at, strict=True)}
        columns["n_kv_heads"] = self.fields["n_heads"][family] + 2 * columns["n_kv_heads"]
        return np.stack(list(columns.values()), axis=1)


def of_family(axes: Axes) -> Axes:
    """The lists of a width of what the models of a family share besides, but for its heads."""
    return {name: of for name, of in axes.items() if name not in (*WITHIN_BOX, "attention")}


def _append(values: list, more: list) -> tuple[int, int]:
    """Where more values then stand, and how many they are."""
    place = len(values), len(more)
    values += more
    return place


def _key_heads(attention: list[tuple]) -> dict[tuple, list[int]]:
    """Numbers of key heads, ascending, by the rest of an attention's shape."""
    of: dict[tuple, list[int]] = {}
    for n_heads, n_kv_heads, d_head in attention:
        of.setdefault((n_heads, d_head), []).append(n_kv_heads)
    return of
