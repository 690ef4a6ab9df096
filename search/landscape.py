"""The shape of the whole answer: the best of each width and depth, and loss against memory.

One more pass over the space, for the figures and for who wants to see more than a winner.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd

from ..objectives.loss_at_time import LossAtTime
from ..space.search_space import SearchSpace
from .candidate import Candidate, to_frame
from .exhaustive import evaluate


@dataclasses.dataclass(frozen=True, kw_only=True)
class Landscape:
    """A space seen through an objective.

    Attributes:
        shapes: the best candidate of each (d_model, n_layers), best first.
        memory_front: candidates of which none has both a lower loss and less memory, by memory.
    """

    shapes: list[Candidate]
    memory_front: list[Candidate]

    @property
    def frame(self) -> pd.DataFrame:
        """The shapes as a table."""
        return to_frame(self.shapes)


def landscape(space: SearchSpace, objective: LossAtTime) -> Landscape:
    """Evaluate every architecture and keep the best of each shape and the memory front."""
    shapes: dict[tuple[int, int], Candidate] = {}
    front: list[Candidate] = []
    for mesh, predicted, _ in evaluate(space.blocks(), objective):
        if predicted is None:
            continue
        losses = np.where(predicted.feasible, predicted.predicted_loss, np.inf)
        for index in _best_of_each_depth(losses, np.shape(mesh.n_layers)):
            found = Candidate.at(mesh, predicted, index)
            shape = (found.arch.d_model, found.arch.n_layers)
            if shape not in shapes or found.beats(shapes[shape]):
                shapes[shape] = found
        memory = np.broadcast_to(predicted.memory_bytes, losses.shape)
        front += [
            Candidate.at(mesh, predicted, np.unravel_index(i, losses.shape))
            for i in pareto_front(memory.ravel(), losses.ravel())
        ]
        memory, loss = zip(*[(c.prediction.memory_bytes, c.loss) for c in front], strict=True)
        front = [front[i] for i in pareto_front(np.array(memory), np.array(loss))]
    return Landscape(
        shapes=sorted(shapes.values(), key=lambda candidate: candidate.loss), memory_front=front
    )


def _best_of_each_depth(losses: np.ndarray, depth_shape: tuple) -> list[tuple]:
    """Index of the lowest finite loss at each position along the axis that depth varies on."""
    axis = int(np.argmax(depth_shape))
    rows = np.moveaxis(losses, axis, -1).reshape(-1, losses.shape[axis])
    others = losses.shape[:axis] + losses.shape[axis + 1 :]
    best = []
    for depth, at in enumerate(rows.argmin(axis=0)):
        if rows[at, depth] < np.inf:
            index = [int(i) for i in np.unravel_index(at, others)]
            best.append((*index[:axis], depth, *index[axis:]))
    return best


def pareto_front(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Indices of the points that no other point beats in both, ascending in `first`.

    Points whose second value is infinite are left out; of equal points one stays.
    """
    order = np.lexsort((second, first))
    lowest = np.minimum.accumulate(np.concatenate([[np.inf], second[order][:-1]]))
    return order[second[order] < lowest]
