"""The architectures of a space that can win at all on a device, for any time budget and any law.

Of two models of one shape, the one with more parameters and no longer a step has the lower loss
whatever the budget and the law: N is larger and D no smaller. So the models that another one beats
in both are left out once, and a hundred searches share what remains, about a sixth of what fits.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from ...objectives.cost.execution import FIELDS as EXECUTION_FIELDS
from ...objectives.loss_at_time import LossAtTime, Prediction
from ...objectives.step_cost import Cost, take
from ...space.architecture import FIELDS, Architecture
from ...space.mesh import least, size_of
from ...space.search_space import SearchSpace
from .dominance import Groups, Part
from .scan import feasible_losses

# The best of several shapes, best first: one array a field.
Shapes = tuple[Architecture, Prediction]

# Neighbours in a segment; fewer bound more tightly, and are more to bound.
SEGMENT = 16
# What a power may lose to rounding, and far less than any two losses of unlike models differ by.
ROUNDING = 1e-12
MAX_LAYERS = 1 << 20
# Terms that, with a coefficient of this sign, leave the loss falling with steps and parameters.
GAIN_IF_POSITIVE = ("inverse_steps", "inverse_sqrt_steps", "size_log_embedding")
LOSE_IF_POSITIVE = ("tokens_log_size",)


def serves(objective: LossAtTime) -> bool:
    """Whether a loss falls with parameters and with steps, which a frontier rests on.

    A law with further terms in the number of steps or of parameters may say otherwise.
    """
    terms = objective.law.terms
    return all(terms.get(name, 0) >= 0 for name in GAIN_IF_POSITIVE) and not any(
        terms.get(name, 0) > 0 for name in LOSE_IF_POSITIVE
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Frontier:
    """The models of a space that can win on one device, in groups that differ in shape.

    A group is cut into segments of neighbours in parameters. A model with a segment's most
    parameters and its shortest step would beat all in it, so its loss bounds theirs from below,
    and a search looks into few segments.

    Attributes:
        arch: the models, one array a field; of several equally good, the first of a scan is first.
        cost: what they cost.
        starts: of the segments, and the end of the last.
        bound_arch, bound_cost: of a model that would beat each segment.
        group: of each segment.
    """

    arch: Architecture
    cost: Cost
    starts: np.ndarray
    bound_arch: Architecture
    bound_cost: Cost
    group: np.ndarray

    @classmethod
    def of(cls, arch: Architecture, cost: Cost, group: np.ndarray) -> Frontier:
        """Cut models, sorted by their group, into segments."""
        first = _first(group)
        sizes = np.diff(first, append=len(group))
        place = np.arange(len(group)) - np.repeat(first, sizes)
        starts = np.flatnonzero(place % SEGMENT == 0)
        bounds = {
            "n_params": np.maximum.reduceat(cost.n_params, starts),
            "n_active_params": np.maximum.reduceat(cost.n_active_params, starts),
            "n_params_non_embedding": np.maximum.reduceat(cost.n_params_non_embedding, starts),
            "step_time_s": np.minimum.reduceat(cost.step_time_s, starts),
        }
        return cls(
            arch=arch,
            cost=cost,
            starts=np.append(starts, len(group)),
            bound_arch=take(arch, starts),
            bound_cost=dataclasses.replace(take(cost, starts), **bounds),
            group=np.repeat(np.arange(len(first)), sizes)[starts],
        )

    def best_shapes(self, objective: LossAtTime, top: int) -> Shapes | None:
        """The best architecture of each of the `top` best widths and depths, best first.

        None where nothing is feasible.

        Args:
            objective: any on this device and with this rematerialisation that `serves`.
            top: how many; fewer where fewer are feasible.
        """
        bounds = feasible_losses(objective.predict(self.bound_arch, self.bound_cost))
        lowest = np.minimum.reduceat(bounds, _first(self.group))[self.group]
        models, losses, groups = self._best(objective, (bounds == lowest) & (bounds < np.inf))
        reached = np.full(self.group[-1] + 1, np.inf)
        reached[groups] = losses
        shapes = self._first_of_shapes(models, losses)[:top]
        if len(shapes) == top:
            reached = np.minimum(reached, losses[shapes[-1]])
        within = bounds <= reached[self.group] * (1 + ROUNDING)
        models, losses, _ = self._best(objective, within & (bounds < np.inf))
        if not len(models):
            return None
        models = models[self._first_of_shapes(models, losses)[:top]]
        arch = take(self.arch, models)
        return arch, objective.predict(arch, take(self.cost, models))

    def _best(
        self, objective: LossAtTime, chosen: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The feasible best of each group in the chosen segments: its place, loss and group."""
        sizes = np.diff(self.starts)[chosen]
        place = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        models = np.repeat(self.starts[:-1][chosen], sizes) + place
        group = np.repeat(self.group[chosen], sizes)
        arch, cost = take(self.arch, models), take(self.cost, models)
        losses = feasible_losses(objective.predict(arch, cost))
        starts = _first(group)
        lowest = np.minimum.reduceat(losses, starts) if len(starts) else losses
        lowest = np.repeat(lowest, np.diff(starts, append=len(group)))
        at = np.flatnonzero((losses == lowest) & (losses < np.inf))
        at = at[_first(group[at])]
        return models[at], losses[at], group[at]

    def _first_of_shapes(self, models: np.ndarray, losses: np.ndarray) -> np.ndarray:
        """Places of the best of each width and depth among some models, best first."""
        order = np.argsort(losses, kind="stable")
        arch = take(self.arch, models[order])
        shape = np.broadcast_to(arch.d_model * MAX_LAYERS + arch.n_layers, order.shape)
        return order[np.sort(np.unique(shape, return_index=True)[1])]


def _first(group: np.ndarray) -> np.ndarray:
    """Where each group begins, of sorted groups."""
    return np.flatnonzero(np.diff(group, prepend=-1))


def find_frontiers(
    space: SearchSpace,
    objectives: Sequence[LossAtTime],
    on_progress: Callable[[int], None] = lambda n: None,
) -> list[Frontier | None]:
    """The frontier of each device in one walk through a space, None where nothing fits.

    Args:
        space: where to look.
        objectives: give device and rematerialisation; their budgets and laws are of no matter.
        on_progress: called with the number of architectures dealt with since the last call.
    """
    parts: list[list[Part]] = [[] for _ in objectives]
    for mesh in space.blocks():
        fit = [_fits(least(mesh), objective) for objective in objectives]
        if any(fit):
            groups = Groups.of(mesh)
            for found, objective, fits in zip(parts, objectives, fit, strict=True):
                if fits:
                    found.append(groups.unbeaten(objective))
        on_progress(size_of(mesh))
    return [_join(found) for found in parts]


def _fits(arch: Architecture, objective: LossAtTime) -> bool:
    return bool(objective.cost(arch).memory_bytes <= objective.device.room_bytes)


def _join(parts: list[Part]) -> Frontier | None:
    """One frontier of those of all meshes; a group that lies in several becomes one."""
    if not parts:
        return None
    ids: dict[tuple, int] = {}
    group = np.concatenate(
        [
            np.array([ids.setdefault(key, len(ids)) for key in part.keys])[part.group]
            for part in parts
        ]
    )
    order = np.argsort(group, kind="stable")
    columns = {}
    for name in list(parts[0].columns):
        column = np.concatenate([part.columns.pop(name) for part in parts])
        if name in (*FIELDS, *EXECUTION_FIELDS) and np.all(column == column[0]):
            columns[name] = column[:1] if name in FIELDS else column[0].item()
        else:
            columns[name] = column[order]
    arch = Architecture(**{name: columns.pop(name) for name in FIELDS})
    return Frontier.of(arch, Cost.of_columns(columns), group[order])
