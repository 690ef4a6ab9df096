"""The main job: the best architecture for a time budget, certified where the space allows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from ..objectives.uncertainty import Standing, rank
from .answer import Answer, answer_warnings
from .candidate import Candidate
from .certify.scan import Scan, best_of_each_shape, n_to_scan, scan
from .explore.study import Exploration, Exploring, explore
from .question import Question

# Enumeration certifies spaces up to this many architectures that may be feasible.
MAX_CERTIFIED = 20_000_000
# How many of the best compete for P(best).
MAX_RANKED = 300

Distinct = Literal["shape", "architecture"]


def find(
    question: Question,
    *,
    top: int = 10,
    distinct: Distinct = "shape",
    exploring: Exploring = Exploring(),  # noqa: B008
    certify: bool = True,
    on_progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> Answer:
    """Search a space with Optuna, then certify the answer by enumeration.

    Args:
        question: where to look, what to minimise, and what is not known of it.
        top: candidates to return.
        distinct: in what candidates must differ: `shape`, the width or the depth, or any field of
            the `architecture`; the best of these differ by little more than a few units of d_ff.
        exploring: how Optuna explores, and where that is kept.
        certify: whether to enumerate spaces of up to `MAX_CERTIFIED` architectures.
        on_progress: called with the stage, what is newly done in it, and the stage's total.

    Raises:
        ValueError: `top` or the number of trials is not positive, or nothing in the space is
            feasible.
    """
    if top < 1:
        raise ValueError(f"`top` must be at least 1, but got {top}")
    if distinct not in ("shape", "architecture"):
        raise ValueError(f"`distinct` must be shape or architecture, but got {distinct!r}")
    space, objective = question.space, question.objective
    explored = explore(question, exploring, lambda n: on_progress("Optuna", n, exploring.n_trials))
    scanned = None
    if certify and n_to_scan(space, objective) <= MAX_CERTIFIED:
        n_kept, total = top if distinct == "shape" else max(top, MAX_RANKED), space.n_architectures
        told: Callable[[int], None] = lambda n: on_progress("certify", n, total)  # noqa: E731
        scanned = scan(space, objective, top=n_kept, on_progress=told)
    candidates = (scanned or explored).candidates
    shapes = scanned.shapes if scanned else best_of_each_shape(candidates)
    if not candidates:
        tried = f"{space.n_architectures if scanned else explored.n_trials:,} architectures"
        raise ValueError(
            f"none of {tried} {'in the space' if scanned else 'tried'} fits {objective.machine} "
            "and makes a step in the budget; allow smaller models, a smaller batch, or more time"
        )
    ranked = (shapes if distinct == "shape" else candidates)[: max(top, MAX_RANKED)]
    standings = _standings(question, ranked)
    warnings = answer_warnings(question, candidates[0], certified=scanned is not None)
    return Answer(
        question=question,
        candidates=ranked[:top],
        shapes=shapes,
        standings=standings and standings[:top],
        tied_shapes=[c.shape for c, one in zip(ranked, standings or [], strict=False) if one.tied],
        certified=scanned is not None,
        n_valid=scanned and scanned.n_valid,
        optuna_regret=_regret(explored, scanned),
        n_trials=explored.n_trials,
        warnings=[*question.warnings, *warnings],
    )


def _standings(question: Question, ranked: list[Candidate]) -> list[Standing] | None:
    """How those that compete for P(best) stand; None where no draws are known."""
    if question.draws is None:
        return None
    archs, predictions = [c.arch for c in ranked], [c.prediction for c in ranked]
    return rank(question.objective, archs, predictions, question.draws, seed=question.seed)


def _regret(explored: Exploration, scanned: Scan | None) -> float | None:
    """Loss of Optuna's best above the certified optimum, where there are both."""
    if scanned is None or not explored.candidates:
        return None
    # Alone or in a mesh, a model's prediction may differ in the last place.
    return max(round(explored.best.loss - scanned.candidates[0].loss, 12), 0.0)
