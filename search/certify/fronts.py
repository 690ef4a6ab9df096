"""What loss costs, for certain: by enumeration, or at several limits by bounds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Literal

import numpy as np

from ...objectives.loss_at_time import LossAtTime
from ...space.search_space import SearchSpace
from ..candidate import Candidate
from .bounds import certify
from .scan import MAX_SCANNED, evaluate, feasible_losses

Limit = Literal["time_budget_s", "memory_bytes"]
# Limits at which a front is known, from this share of time or memory to all of it.
LEAST_SHARE, N_LIMITS = 1 / 64, 25


def best_at_limits(
    space: SearchSpace,
    objective: LossAtTime,
    limit: Limit,
    on_progress: Callable[[int], None] = lambda n: None,
) -> list[tuple[LossAtTime, Candidate]]:
    """The best of a space at each of several limits, those with nothing feasible left out.

    As a looser limit only adds models and steps, what is best between two limits lies between
    theirs under any law that falls with steps.

    Args:
        space: where to look.
        objective: what to minimise at the loosest limit; of memory, its device's.
        limit: the time of training, or the memory into which a chosen execution has to fit.
        on_progress: called with the number of limits dealt with since the last call.

    Raises:
        ValueError: the space is too large to be certified.
    """
    found = []
    for share in np.geomspace(LEAST_SHARE, 1, N_LIMITS).tolist():
        if limit == "memory_bytes":
            device = objective.device
            device = dataclasses.replace(device, memory_bytes=share * device.memory_bytes)
            limited = dataclasses.replace(objective, device=device)
        else:
            time_budget_s = share * objective.time_budget_s
            limited = dataclasses.replace(objective, time_budget_s=time_budget_s)
        proof = certify(space, limited)
        if proof is None:
            raise ValueError(
                f"a front of {space.n_architectures:,} architectures takes too long to certify; "
                "give ranges wider steps, or explore it with --no-certify"
            )
        found += [(limited, candidate) for candidate in proof.candidates]
        on_progress(1)
    return found


def certain_memory_front(space: SearchSpace, objective: LossAtTime) -> list[Candidate]:
    """The front of loss against memory: all of it, or of a large space at several limits."""
    if space.n_architectures <= MAX_SCANNED:
        return memory_front(space, objective)
    at_limits = [one for _, one in best_at_limits(space, objective, "memory_bytes")]
    memory, losses = np.array([(c.prediction.memory_bytes, c.loss) for c in at_limits]).T
    return [at_limits[i] for i in unbeaten(memory, losses)]


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
