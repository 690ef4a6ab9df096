"""The best of a space by branch and bound: as certain as a scan's, without looking at every model.

Boxes are bounded from below (`objectives/bounds`) and dropped once something better is known
than all that they may hold; the others are cut in two, the most promising first. What is left is
predicted and ordered as a scan does, so that both answers agree to the last digit.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable

import numpy as np

from ...objectives.bounds.losses import WITHIN_BOX, least_losses
from ...objectives.law.terms import TERMS
from ...objectives.loss_at_time import LossAtTime
from ...objectives.step_cost import take
from ...space.architecture import Architecture
from ...space.mesh import ATTENTION, part_with
from ...space.search_space import SearchSpace
from ..candidate import Candidate
from .boxes import Boxes, Families, of_family
from .scan import feasible_losses

# Boxes of so few models are not bounded but evaluated.
FEW = 8
# Depth is cut as if its ends were so many times as far apart, in logs, for what a shape's best must
# beat is known of one depth: of 1, 2, 4 and 8 the fastest by 2·10^9 models. Where terms of the law
# move with it, which over several depths are bounded apart, 16 takes half the boxes or as many.
HASTE, HASTE_OF_TERMS = 4.0, 16.0
# Ways of running a step of which the fastest is found as soon as a bound is.
FEW_WAYS = 24
# Boxes that are cut, bounded or evaluated at once.
AT_ONCE = 4096
# Families and boxes that are worth the time and the memory; more are not certified.
MAX_FAMILIES = 1_000_000
MAX_BOXES = 4_000_000
# What powers may lose in the last places; of models as good as equal all are kept.
ROUNDING = 1e-12


@dataclasses.dataclass(frozen=True, kw_only=True)
class Certificate:
    """What is certain of a space.

    Attributes:
        candidates: the best, best first: of each of the best shapes, or of all architectures.
        n_covered: architectures that the certificate speaks of, all of the space's.
        n_boxes: that were bounded for it.
    """

    candidates: list[Candidate]
    n_covered: int
    n_boxes: int


def certify(
    space: SearchSpace,
    objective: LossAtTime,
    *,
    top: int = 1,
    by_shape: bool = True,
    max_boxes: int | None = None,
    on_progress: Callable[[int], None] = lambda n: None,
) -> Certificate | None:
    """The candidates that a scan would find best, or None where that would take too long.

    Args:
        space: where to look.
        objective: what to minimise.
        top: how many candidates.
        by_shape: whether they are to differ in width or depth, the best of each; else in any field.
        max_boxes: that are bounded before it is given up; None: `MAX_BOXES`.
        on_progress: called with the number of architectures dealt with since the last call.
    """
    if _n_families(space) > MAX_FAMILIES:
        return None
    max_boxes = MAX_BOXES if max_boxes is None else max_boxes
    search = _Search(Families.of(space), objective, top, by_shape)
    n_left = space.n_architectures
    while len(search.pool.family):
        if search.n_boxes > max_boxes:
            return None
        search.step()
        on_progress(n_left - (n_left := int(search.pool.n_models.sum())))
    finalists = search.finalists()
    candidates = as_scanned(space, objective, finalists, by_shape=by_shape)
    return Certificate(
        candidates=candidates[:top],
        n_covered=space.n_architectures,
        n_boxes=search.n_boxes,
    )


def _n_families(space: SearchSpace) -> int:
    """How many there are, without making them."""
    return sum(
        len(axes["attention"]) * math.prod(map(len, of_family(axes).values()))
        for axes in space.widths.values()
    )


class _Search:
    """The boxes that are left and the best that is known."""

    def __init__(self, families: Families, objective: LossAtTime, top: int, by_shape: bool) -> None:
        self._families, self._objective = families, objective
        self._top, self._by_shape = top, by_shape
        # The lowest loss known of each width and depth; of each architecture, only finalists'.
        self._reached = np.full(len(families.values["n_layers"]), np.inf)
        self._limit = np.inf
        self._found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self.n_boxes = 0
        self.pool = families.boxes()
        needed = {column for name in objective.law.terms for column in TERMS[name].needs}
        self._haste = {"n_layers": HASTE_OF_TERMS if "n_layers" in needed else HASTE}
        self._batch_sizes = np.unique(families.values["batch_size"])
        ways = objective.ways(self._batch_sizes, dense=families.of_dense)
        self._few_ways = sum(map(len, itertools.chain.from_iterable(ways))) <= FEW_WAYS
        self._bounds = self._bounded(self.pool)

    def step(self) -> None:
        """Cut or evaluate the most promising boxes, and drop what cannot hold what is sought."""
        order = np.argsort(self._bounds, kind="stable")
        now, later = order[:AT_ONCE], order[AT_ONCE:]
        chosen, rest, bounds = self.pool.at(now), self.pool.at(later), self._bounds[later]
        few = chosen.n_models <= FEW
        if np.any(few):
            self._evaluate(chosen.at(few))
        if np.all(few):
            self._keep(rest, bounds)
            return
        halves = self._families.halves(chosen.at(~few), self._haste)
        halves_bounds = self._bounded(halves)
        self._try_middles(halves, halves_bounds)
        self._keep(Boxes.joined([rest, halves]), np.concatenate([bounds, halves_bounds]))

    def finalists(self) -> Architecture:
        """The models that may be among those sought, all that are as good as equal included."""
        if not self._found:
            return self._families.models(np.zeros(0, int), np.zeros((0, len(WITHIN_BOX)), int))
        losses, family, places = map(np.concatenate, zip(*self._found, strict=True))
        chosen = losses <= self._limits(family, places, places)
        return self._families.models(family[chosen], places[chosen])

    def _bounded(self, boxes: Boxes) -> np.ndarray:
        self.n_boxes += len(boxes.family)
        bounds = []
        for at in range(0, len(boxes.family), AT_ONCE):
            family, low, high = boxes.at(np.arange(at, min(at + AT_ONCE, len(boxes.family))))
            first, last = (self._families.models(family, places) for places in (low, high))
            bounds.append(least_losses(self._objective, first, last, self._batch_sizes))
        return np.concatenate(bounds)

    def _keep(self, boxes: Boxes, bounds: np.ndarray) -> None:
        kept = self._promise(boxes, bounds)
        self.pool, self._bounds = boxes.at(kept), bounds[kept]

    def _promise(self, boxes: Boxes, bounds: np.ndarray) -> np.ndarray:
        """Which boxes may hold what is sought, as far as is known."""
        limits = self._limits(boxes.family, boxes.low, boxes.high)
        return (bounds <= limits) & (bounds < np.inf)

    def _limits(self, family: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """What each box must be able to reach: the best of the last sought, and of its shape."""
        limits = np.full(len(family), self._limit)
        if self._by_shape:
            worst = _highest(self._reached, self._shape(family, low), self._shape(family, high))
            limits = np.minimum(limits, worst)
        return np.where(limits < np.inf, limits + ROUNDING * np.abs(limits), np.inf)

    def _shape(self, family: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Of each model: its width's list of depths is one of its own."""
        return self._families.start[family, 0] + places[:, 0]

    def _losses(self, family: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Of models; infinite where they are not among what is sought."""
        models = self._families.models(family, places)
        if self._few_ways:
            return feasible_losses(self._objective.predict(models))
        # A box of one model takes far less time than to try all ways of running its steps.
        least = least_losses(self._objective, models, models, self._batch_sizes)
        at = np.flatnonzero(least <= self._limits(family, places, places))
        losses = np.full(len(least), np.inf)
        if len(at):
            losses[at] = feasible_losses(self._objective.predict(take(models, at)))
        return losses

    def _try_middles(self, boxes: Boxes, bounds: np.ndarray) -> None:
        """Of each shape that of the most promising box; of architectures, what is kept counts."""
        at = np.flatnonzero(self._promise(boxes, bounds))
        if not self._by_shape or not len(at):
            return
        at = at[np.argsort(bounds[at], kind="stable")]
        places = (boxes.low + boxes.high) // 2
        at = at[np.unique(self._shape(boxes.family[at], places[at]), return_index=True)[1]]
        family, places = boxes.family[at], places[at]
        self._learn(family, places, self._losses(family, places))

    def _evaluate(self, boxes: Boxes) -> None:
        family, places = self._families.members(boxes)
        losses = self._losses(family, places)
        self._learn(family, places, losses)
        kept = (losses <= self._limits(family, places, places)) & (losses < np.inf)
        self._found.append((losses[kept], family[kept], places[kept]))
        if not self._by_shape:
            losses = np.concatenate([found[0] for found in self._found])
            self._limit = _nth(losses, self._top)

    def _learn(self, family: np.ndarray, places: np.ndarray, losses: np.ndarray) -> None:
        if self._by_shape:
            np.minimum.at(self._reached, self._shape(family, places), losses)
            self._limit = _nth(self._reached, self._top)


def _highest(values: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """The highest value of each range from first to last, both included.

    It is known of all ranges of a length that is a power of two; two of these cover any range.
    """
    known, found = values, np.empty(len(first))
    length, size = last - first + 1, 1
    while True:
        at = np.flatnonzero((length >= size) & (length < 2 * size))
        found[at] = np.maximum(known[first[at]], known[last[at] - size + 1])
        if not np.any(length >= 2 * size):
            return found
        known = np.maximum(known[:-size], known[size:])
        size *= 2


def _nth(values: np.ndarray, n: int) -> float:
    """The n-th lowest; infinite where there are fewer."""
    return float(np.partition(values, n - 1)[n - 1]) if len(values) >= n else np.inf


def as_scanned(
    space: SearchSpace, objective: LossAtTime, models: Architecture, *, by_shape: bool = False
) -> list[Candidate]:
    """Some models of a space, best first, and of equally good ones the first of a scan first.

    Args:
        space: where they are from.
        objective: predicts.
        models: a flat array of them.
        by_shape: whether the best of each width and depth are enough.
    """
    if not np.size(models.d_model):
        return []
    predicted = objective.predict(models)
    losses = feasible_losses(predicted)
    places = [_place(space, *entries) for entries in _entries(models)]
    feasible = np.flatnonzero(losses < np.inf).tolist()
    order = sorted(feasible, key=lambda one: (losses[one], places[one]))
    if by_shape:
        shapes = np.stack([models.d_model, models.n_layers], axis=1)
        first: dict[tuple, int] = {}
        for one in order:
            first.setdefault(tuple(shapes[one]), one)
        order = list(first.values())
    return Candidate.each(models, predicted, (np.array(order, dtype=int),))


def _place(space: SearchSpace, d_model: int, entries: dict) -> tuple:
    """Of one model in a scan: of its width, of its mesh there, and in that."""
    place, axes = part_with(space.widths[d_model], entries)
    at = tuple(axes[name].index(entries[name]) for name in axes)
    return list(space.widths).index(d_model), place, at


def _entries(models: Architecture) -> Iterable[tuple[int, dict]]:
    """Of each model its width, and its entry of each list of the space."""
    columns = {name: np.asarray(of).tolist() for name, of in models.as_dict().items()}
    for row in zip(*columns.values(), strict=True):
        entries = {
            name: value if isinstance(value, bool) else int(value)
            for name, value in zip(columns, row, strict=True)
        }
        yield (
            entries.pop("d_model"),
            entries | {"attention": tuple(entries.pop(name) for name in ATTENTION)},
        )
