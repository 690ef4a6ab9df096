"""The models of one mesh that no other of their shape beats in both parameters and step time."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

import numpy as np

from ...objectives.cost.counts import n_params
from ...objectives.loss_at_time import LossAtTime
from ...space.architecture import ABOUT, FIELDS, Architecture

# In what the models of one group differ: more parameters and less time are all that counts then.
WITHIN_GROUP = tuple(name for name, about in ABOUT.items() if not about.loss_sees)


class Part(NamedTuple):
    """The unbeaten of one mesh: values by field, and the group of each among `keys`."""

    columns: dict[str, np.ndarray]
    group: np.ndarray
    keys: list[tuple]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Groups:
    """A mesh as a table with a row for each group, the models of a row in the scan's order.

    Attributes:
        mesh: the models.
        shape: of the mesh.
        across: the axes along which groups differ.
        within: the axes along which the models of a group differ.
        order: the places in each row by parameters, most first.
        start: for each place in that order, the first of those with equally many parameters.
    """

    mesh: Architecture
    shape: tuple[int, ...]
    across: tuple[int, ...]
    within: tuple[int, ...]
    order: np.ndarray
    start: np.ndarray

    @classmethod
    def of(cls, mesh: Architecture) -> Groups:
        """Sort each row of a mesh."""
        fields = mesh.as_dict()
        shape = np.broadcast_shapes(*map(np.shape, fields.values()))
        within = {
            axis for name in WITHIN_GROUP for axis, n in enumerate(np.shape(fields[name])) if n > 1
        }
        across = tuple(axis for axis in range(len(shape)) if axis not in within)
        table = _table(n_params(mesh), shape, across, tuple(sorted(within)))
        order = np.argsort(-table, axis=1, kind="stable")
        counts = np.take_along_axis(table, order, 1)
        new = np.diff(counts, axis=1, prepend=np.inf) != 0
        start = np.maximum.accumulate(np.where(new, np.arange(counts.shape[1]), 0), axis=1)
        return cls(
            mesh=mesh,
            shape=shape,
            across=across,
            within=tuple(sorted(within)),
            order=order,
            start=start,
        )

    def unbeaten(self, objective: LossAtTime) -> Part:
        """The models that fit and that none with more parameters is as fast as.

        Of those with equally many all stay: a budget may hold equally many of their steps.
        """
        cost = objective.cost(self.mesh)
        fits = cost.memory_bytes <= objective.device.room_bytes
        time = np.where(fits, cost.step_time_s, np.inf)
        time = _table(time, self.shape, self.across, self.within)
        time = np.take_along_axis(time, self.order, 1)
        fastest = np.minimum.accumulate(time, axis=1)
        # The least time among those with more parameters.
        fastest = np.insert(fastest[:, :-1], 0, np.inf, axis=1)
        group, place = np.nonzero(time < np.take_along_axis(fastest, self.start, 1))
        place = self.order[group, place]
        sizes = [[self.shape[axis] for axis in axes] for axes in (self.across, self.within)]
        at = (*np.unravel_index(group, sizes[0]), *np.unravel_index(place, sizes[1]))
        index = tuple(at[(*self.across, *self.within).index(axis)] for axis in range(len(at)))
        values = self.mesh.as_dict() | cost.columns()
        return Part(
            columns={name: self._pick(value, index) for name, value in values.items()},
            group=group,
            keys=self._keys(),
        )

    def _pick(self, value: Any, index: tuple[np.ndarray, ...]) -> np.ndarray:
        """A quantity of the mesh at some places; quickly, where it lies along one axis."""
        along = [axis for axis, size in enumerate(np.shape(value)) if size > 1]
        if len(along) > 1:
            return np.broadcast_to(value, self.shape)[index]
        if not along:
            return np.broadcast_to(np.ravel(value), index[0].shape)
        return np.ravel(value)[index[along[0]]]

    def _keys(self) -> list[tuple]:
        """What the models of each group share."""
        names = [name for name in FIELDS if name not in WITHIN_GROUP]
        first = [
            _table(getattr(self.mesh, name), self.shape, self.across, self.within)[:, 0].tolist()
            for name in names
        ]
        return list(zip(*first, strict=True))


def _table(
    value: Any, shape: tuple[int, ...], across: tuple[int, ...], within: tuple[int, ...]
) -> np.ndarray:
    grid = np.broadcast_to(value, shape).transpose(*across, *within)
    return grid.reshape(math.prod(shape[axis] for axis in across), -1)
