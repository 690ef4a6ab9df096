"""The main job: the best architecture for a time budget, and the proof that it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from .answer import Answer, answer_warnings
from .certify import bounds
from .certify.bounds import Certificate
from .certify.scan import MAX_SCANNED, Scan, best_of_each_shape, scan
from .explore.study import Exploration, Exploring, explore, keep_answer
from .question import Question
from .ranking import in_order, standings_of

# Where bounds give up, for too many models are as good as equal, spaces of so many are enumerated.
MAX_SCANNED_AT_LAST = 100_000_000
# How many of the best compete for P(best).
MAX_RANKED = 300

Distinct = Literal["shape", "architecture"]


def find(
    question: Question,
    *,
    top: int = 5,
    distinct: Distinct = "shape",
    exploring: Exploring = Exploring(),  # noqa: B008
    certify: bool = True,
    on_progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> Answer:
    """Search a space with Optuna, then certify the answer by enumeration or by bounds.

    Args:
        question: where to look, what to minimise, and what is not known of it.
        top: candidates to return.
        distinct: in what candidates must differ: `shape`, the width or the depth, or any field of
            the `architecture`; the best of these differ by little more than a few units of d_ff.
        exploring: how Optuna explores, and where that is kept.
        certify: whether to prove the answer.
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
    proof = None
    if certify:
        total = space.n_architectures
        told: Callable[[int], None] = lambda n: on_progress("certify", n, total)  # noqa: E731
        proof = _prove(question, top, distinct, told)
    candidates = (proof or explored).candidates
    shapes = proof.shapes if isinstance(proof, Scan) else best_of_each_shape(candidates)
    if not candidates:
        tried = f"{space.n_architectures if proof else explored.n_trials:,} architectures"
        raise ValueError(
            f"none of {tried} {'in the space' if proof else 'tried'} fits {objective.machine} "
            "and makes a step in the budget; allow smaller models, a smaller batch, or more time"
        )
    ranked = (shapes if distinct == "shape" else candidates)[: max(top, MAX_RANKED)]
    ranked = in_order(question, ranked)
    standings = standings_of(question, ranked)
    warnings = answer_warnings(question, ranked[0], certified=proof is not None)
    lacks = keep_answer(question, exploring, candidates[0])
    return Answer(
        question=question,
        candidates=ranked[:top],
        shapes=shapes,
        standings=standings and standings[:top],
        tied_shapes=[c.shape for c, one in zip(ranked, standings or [], strict=False) if one.tied],
        certified=proof is not None,
        n_valid=proof.n_valid if isinstance(proof, Scan) else None,
        optuna_regret=_regret(explored, proof),
        n_trials=explored.n_trials,
        warnings=[*question.warnings, *warnings, *([lacks] if lacks else [])],
    )


def _prove(
    question: Question, top: int, distinct: Distinct, on_progress: Callable[[int], None]
) -> Scan | Certificate | None:
    """The best of all for certain; None where neither way is worth its time."""
    space, objective = question.space, question.objective
    by_shape, n_ranked = distinct == "shape", max(top, MAX_RANKED)
    if space.n_architectures > MAX_SCANNED:
        proof = bounds.certify(
            space, objective, top=n_ranked, by_shape=by_shape, on_progress=on_progress
        )
        if proof or space.n_architectures > MAX_SCANNED_AT_LAST:
            return proof
        on_progress = _silent  # all were told already, or nearly
    n_kept = top if by_shape else n_ranked
    return scan(space, objective, top=n_kept, on_progress=on_progress)


def _silent(n: int) -> None:
    """Tell nothing."""


def _regret(explored: Exploration, proof: Scan | Certificate | None) -> float | None:
    """Loss of Optuna's best above the certified optimum, where there are both."""
    if proof is None or not explored.candidates:
        return None
    # Alone or in a mesh, a model's prediction may differ in the last place.
    return max(round(explored.best.loss - proof.candidates[0].loss, 12), 0.0)
