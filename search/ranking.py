"""Which of the best candidates to train first, and how each stands among them."""

from __future__ import annotations

from ..objectives.uncertainty import Standing, rank
from .candidate import Candidate
from .question import Question


def standings_of(question: Question, ranked: list[Candidate]) -> list[Standing] | None:
    """How those that compete for P(best) stand; None where no draws are known."""
    if question.draws is None:
        return None
    archs, predictions = [c.arch for c in ranked], [c.prediction for c in ranked]
    return rank(question.objective, archs, predictions, question.draws, seed=question.seed)
