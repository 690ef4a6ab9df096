"""What is to be known of an answer with experts: what its law saw, what was timed, the dense."""

from __future__ import annotations

from ..space.block_spaces import SparseSpace
from ..space.sparse import N_PER_TOKEN
from .candidate import Candidate
from .certify.bounds import certify
from .question import Question
from .unranked.costed import EXPERTS_ON_GPU

NOT_TIMED = (
    "experts were counted, not timed: their grouped matmuls at the rate of others, each expert "
    "with as many tokens as any, none dropped"
)


def experts_warnings(question: Question, best: Candidate) -> list[str]:
    """Sentences on the winner of a space of models with experts; none of a dense space."""
    space, objective = question.space, question.objective
    if not isinstance(space, SparseSpace) or not objective.law.experts:
        return []
    low, high = objective.law.experts.n_experts_range
    dense = certify(space.dense, objective)
    if dense is None:
        told = "what is best without experts took too long to say"
    elif not dense.candidates:
        told = "none without experts fits"
    else:
        other = dense.candidates[0]
        width, depth = other.shape
        told = (
            f"without experts the same law's best is {width}×{depth} at {other.loss:.4f}, "
            f"{other.loss - best.loss:+.4f}"
        )
    return [
        told,
        f"what {objective.law.name} saw of experts is {N_PER_TOKEN} a token of a dense MLP's "
        f"width, {low} (dense) to {high} of them; of finer, shared or more a token it says nothing",
        NOT_TIMED + EXPERTS_ON_GPU * (objective.device.kind == "gpu"),
    ]


def refuse_sparse(question: Question, what: str) -> None:
    """Raise ValueError where a question is of models with experts.

    Args:
        question: any.
        what: that knows dense models alone, for a sentence.
    """
    if isinstance(question.space, SparseSpace):
        raise ValueError(f"{what} knows dense models alone; leave experts (`n_experts`) out")
