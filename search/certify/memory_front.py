"""The exact front of loss against memory, by enumeration."""

from __future__ import annotations

import numpy as np

from ...objectives.loss_at_time import LossAtTime
from ...space.search_space import SearchSpace
from ..candidate import Candidate
from .scan import evaluate, feasible_losses


def memory_front(space: SearchSpace, objective: LossAtTime) -> list[Candidate]:
    """By enumeration: the candidates that none has less memory than at as low a loss, by memory."""
    front: list[Candidate] = []
    for mesh, predicted, _ in evaluate(space.blocks(), objective):
        if predicted is None:
            continue
        losses = feasible_losses(predicted)
        memory = np.broadcast_to(predicted.memory_bytes, losses.shape)
        front += [
            Candidate.at(mesh, predicted, np.unravel_index(i, losses.shape))
            for i in unbeaten(memory.ravel(), losses.ravel())
        ]
        costs, losses = (
            np.array([(c.prediction.memory_bytes, c.loss) for c in front]).reshape(-1, 2).T
        )
        front = [front[i] for i in unbeaten(costs, losses)]
    return front


def unbeaten(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Indices of the points that no other point beats in both, ascending in `first`.

    Points whose second value is infinite are left out; of equal points one stays.
    """
    order = np.lexsort((second, first))
    lowest = np.minimum.accumulate(np.concatenate([[np.inf], second[order][:-1]]))
    return order[second[order] < lowest]
