"""The main job: the best architecture for a time budget, certified where the space allows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import pandas as pd

from ..objectives.flags import flags
from ..objectives.loss_at_time import LossAtTime
from ..objectives.uncertainty import Standing, rank
from ..space.search_space import SearchSpace
from .candidate import Candidate, to_frame
from .certify.scan import Scan, best_of_each_shape, n_to_scan, scan
from .explore.polish import polish
from .explore.study import Exploration, Exploring, explore
from .question import Question

# Enumeration certifies spaces up to this many architectures that may be feasible.
MAX_CERTIFIED = 20_000_000
# How many of the best compete for P(best).
MAX_RANKED = 300

Distinct = Literal["shape", "architecture"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Found:
    """The answer to one search.

    Attributes:
        question: what was asked.
        candidates: the best distinct architectures, best first; distinct in width and depth
            unless `find` was asked for every architecture.
        shapes: the best of each width and depth found, best first.
        standings: of each candidate, among the `MAX_RANKED` best of its kind; None where nothing
            is known of the law's uncertainty.
        tied: those of the ranked that are statistically tied with the best, itself included.
        certified: whether every architecture was evaluated, so that the first is the optimum.
        n_valid: valid architectures in the space; None where they were not enumerated.
        optuna_regret: loss of Optuna's best, after its polish, above the certified optimum, nats
            per token; None where nothing was certified, or nothing that Optuna tried was feasible.
        n_trials: distinct architectures that Optuna evaluated.
        warnings: what a reader must know before believing the answer.
    """

    question: Question
    candidates: list[Candidate]
    shapes: list[Candidate]
    standings: list[Standing] | None
    tied: list[Candidate]
    certified: bool
    n_valid: int | None
    optuna_regret: float | None
    n_trials: int
    warnings: list[str]

    @property
    def space(self) -> SearchSpace:
        """What was searched."""
        return self.question.space

    @property
    def objective(self) -> LossAtTime:
        """What was minimised."""
        return self.question.objective

    @property
    def best(self) -> Candidate:
        """The winner."""
        return self.candidates[0]

    @property
    def frame(self) -> pd.DataFrame:
        """The candidates as a table, with the loss of each behind the best and their standing."""
        frame = to_frame(self.candidates)
        if self.standings:
            standings = pd.DataFrame([dataclasses.asdict(one) for one in self.standings])
            frame = frame.join(standings)
        return frame

    def as_dict(self) -> dict[str, Any]:
        """The answer as one JSON object."""
        return {
            "time_budget_s": self.objective.time_budget_s,
            "device": dataclasses.asdict(self.objective.device),
            "law": dataclasses.asdict(self.objective.law),
            "remat": self.objective.remat,
            "data_limit_tokens": self.objective.data_limit_tokens,
            "critical_batch": self.objective.critical_batch,
            "n_chips": self.objective.n_chips,
            "attention": self.objective.attention,
            "cost_usd": self.question.cost_usd,
            "n_valid": self.n_valid,
            "certified": self.certified,
            "optuna_regret": self.optuna_regret,
            "n_trials": self.n_trials,
            "warnings": self.warnings,
            "tied_shapes": [list(candidate.shape) for candidate in self.tied],
            "space": dataclasses.asdict(self.space),
            "candidates": self.frame.to_dict(orient="records"),
        }


def find(
    question: Question,
    *,
    top: int = 10,
    distinct: Distinct = "shape",
    exploring: Exploring = Exploring(),  # noqa: B008
    certify: bool = True,
    on_progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> Found:
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
    candidates, shapes = explored.candidates, best_of_each_shape(explored.candidates)
    scanned = None
    if certify and n_to_scan(space, objective) <= MAX_CERTIFIED:
        total = space.n_architectures
        scanned = scan(
            space,
            objective,
            top=top if distinct == "shape" else max(top, MAX_RANKED),
            on_progress=lambda n: on_progress("certify", n, total),
        )
        candidates, shapes = scanned.candidates, scanned.shapes
    if not candidates:
        tried = f"{space.n_architectures if scanned else explored.n_trials:,} architectures"
        raise ValueError(
            f"none of {tried} {'in the space' if scanned else 'tried'} fits {objective.machine} "
            "and makes a step in the budget; allow smaller models, a smaller batch, or more time"
        )
    ranked = (shapes if distinct == "shape" else candidates)[: max(top, MAX_RANKED)]
    standings = _standings(question, ranked)
    return Found(
        question=question,
        candidates=ranked[:top],
        shapes=shapes,
        standings=standings and standings[:top],
        tied=[c for c, one in zip(ranked, standings or [], strict=False) if one.tied],
        certified=scanned is not None,
        n_valid=scanned and scanned.n_valid,
        optuna_regret=_regret(explored, scanned),
        n_trials=explored.n_trials,
        warnings=[
            *question.warnings,
            *answer_warnings(space, objective, candidates[0], certified=scanned is not None),
        ],
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


def answer_warnings(
    space: SearchSpace, objective: LossAtTime, best: Candidate, *, certified: bool
) -> list[str]:
    """Flags of the winner, and each bound it sits on."""
    warnings = flags(objective, best.arch, best.prediction)
    bounds = space.bounds(best.arch)
    warnings += [f"on a bound: {bound}" for bound in bounds]
    if bounds:
        warnings.append(
            f"{objective.law.name} sees only {_seen(objective)}: it cannot say whether the winner "
            "would gain beyond a bound, or loses before it; train to confirm"
        )
    pure = dataclasses.replace(objective, law=objective.law.without_terms())
    if pure.law != objective.law:
        other = polish(Candidate.of(best.arch, pure), space, pure)
        warnings.append(
            f"{objective.law.name} has further terms ({', '.join(objective.law.terms)}); the pure "
            f"law of the same runs would choose {other.shape[0]}×{other.shape[1]}"
        )
    if not certified:
        warnings.append("not certified: the best that Optuna found, not proved to be the optimum")
    return warnings


def _seen(objective: LossAtTime) -> str:
    law = objective.law
    seen = [name.replace("_", " ") for name in law.terms] + ["copying"] * bool(law.copying)
    if not seen:
        return "parameters and tokens, not shape"
    return f"{', '.join(['parameters', 'tokens', *seen[:-1]])} and {seen[-1]}"
