"""Which of the best candidates to train first, and how each stands among them.

The law's own best is certain, and flat: what uncertain numbers say of its neighbours is as good.
So those are ranked by the loss that is expected over the draws, and of those that nobody could tell
from the first the smallest is taken, which costs least to keep and to run.
"""

from __future__ import annotations

import numpy as np

from ..objectives.uncertainty import Standing, draw_losses, rank, stacked
from .candidate import Candidate
from .question import Question

# Nats per token of expected loss that are as good as none, a twelfth of what runs lie off the law
# (0.4% by `gemstones-2025-cooldown`).
AS_GOOD = 0.001
# How many of the lowest predicted loss may have the lowest expected loss.
N_FINALISTS = 50


def order(question: Question, finalists: list[Candidate]) -> np.ndarray:
    """Places of candidates, the one to train first and then by expected loss.

    Args:
        question: whose draws say what to expect; without draws all stay where they are.
        finalists: by predicted loss, lowest first.
    """
    if question.draws is None:
        return np.arange(len(finalists))
    columns = stacked([c.arch for c in finalists]), stacked([c.prediction for c in finalists])
    losses = draw_losses(
        question.objective, *columns, question.draws, alone=False, seed=question.seed
    )
    expected = losses.mean(axis=0)
    places = np.argsort(expected, kind="stable")
    as_good = places[expected[places] <= expected.min() + AS_GOOD]
    first = min(as_good, key=lambda place: finalists[place].prediction.n_params)
    return np.concatenate([[first], places[places != first]])


def in_order(question: Question, candidates: list[Candidate]) -> list[Candidate]:
    """Candidates by predicted loss, lowest first, as `order` has the first `N_FINALISTS`."""
    finalists = candidates[:N_FINALISTS]
    return [finalists[i] for i in order(question, finalists)] + candidates[N_FINALISTS:]


def standings_of(question: Question, ranked: list[Candidate]) -> list[Standing] | None:
    """How those that compete for P(best) stand; None where no draws are known."""
    if question.draws is None:
        return None
    archs, predictions = [c.arch for c in ranked], [c.prediction for c in ranked]
    return rank(question.objective, archs, predictions, question.draws, seed=question.seed)
