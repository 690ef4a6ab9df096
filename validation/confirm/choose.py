"""Choosing what to train of what `find` found: its best, and contrast."""

from __future__ import annotations

import dataclasses

import numpy as np

from ...objectives.budget import format_budget
from ...objectives.loss_at_time import LossAtTime
from ...presets.devices import KnownDevice
from ...presets.known import Known
from ...search.answer import Answer
from ...search.candidate import Candidate
from ...search.explore.polish import polish
from ...search.question import Question
from ...space.search_space import COORDINATES, SearchSpace
from ...space.sparse import FIELD as EXPERTS
from .compare import labels

# Fewer steps than this are no training: the schedule alone needs them.
MIN_STEPS = 10
# Contrast makes more, for a prediction may be several times off where nothing is calibrated.
MIN_CONTRAST_STEPS = 100
# Shapes drawn from the space for contrast to be chosen from.
N_DRAWN = 500


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """A model to train, and why."""

    label: str
    role: str
    candidate: Candidate


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choice:
    """What of an answer to train, and what beside it.

    Attributes:
        top: how many of its candidates.
        contrast: how many others, at equal quantiles of predicted loss, no two of one shape.
        scale: share of the answer's time budget to train for.
        device: to predict for; None: the answer's.
        seed: decides which shapes the contrast is chosen from.

    Raises:
        ValueError: a number is out of range.
    """

    top: int = 3
    contrast: int = 5
    scale: float = 1.0
    device: KnownDevice | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("top", 1), ("contrast", 0)):
            if (value := getattr(self, name)) < least:
                raise ValueError(f"`{name}` must be at least {least}, but got {value}")
        if not 0 < self.scale <= 1:
            raise ValueError(f"`scale` must be above 0 and at most 1, but got {self.scale}")


def choose(answer: Answer, choice: Choice) -> tuple[Question, list[Entry]]:
    """What to train: the best of an answer, and models of its space spread over predicted loss.

    All have the winner's vocabulary, length and batch, for losses of others do not compare. When
    the time or the device is another than the answer's, every prediction is made anew and the
    answer's winner, moved to the best near it for that time, is trained too.

    Returns:
        The question at that time and on that device, and the entries, the answer's candidates
        first.

    Raises:
        ValueError: a model would make fewer than `MIN_STEPS` steps.
    """
    known = Known(law=answer.known.law, device=choice.device or answer.known.device)
    question = answer.question.under(known, time_share=choice.scale)
    objective = question.objective
    best = [
        Candidate.of(candidate.arch, objective) for candidate in answer.candidates[: choice.top]
    ]
    space = _same_text(answer.space, best)
    roles = dict.fromkeys(best, "top")
    if objective != answer.objective:
        role = f"best in {format_budget(objective.time_budget_s)}"
        roles.setdefault(polish(best[0], space, objective), role)
    for candidate in roles:
        _check_steps(candidate, objective)
    taken = {candidate.shape for candidate in roles}
    roles |= dict.fromkeys(_spread(space, objective, choice, taken), "contrast")
    names = labels([candidate.arch for candidate in roles])
    return question, [
        Entry(label=label, role=role, candidate=candidate)
        for label, (candidate, role) in zip(names, roles.items(), strict=True)
    ]


def _same_text(space: SearchSpace, candidates: list[Candidate]) -> SearchSpace:
    """The part of a space whose losses compare with those of the candidates."""
    fixed = {}
    for name in ("vocab_size", "seq_len", "batch_size"):
        values = sorted({getattr(candidate.arch, name) for candidate in candidates})
        if len(values) > 1:
            raise ValueError(
                f"models to compare must have one `{name}`, but the result's best have {values}; "
                f"confirm with --top 1, or fix it with `find --set {name}={values[0]}`"
            )
        fixed[name] = tuple(values)
    return dataclasses.replace(space, **fixed)


def _check_steps(candidate: Candidate, objective: LossAtTime) -> None:
    if candidate.prediction.n_steps < MIN_STEPS:
        arch, step_time_s = candidate.arch, candidate.prediction.step_time_s
        raise ValueError(
            f"a time budget must hold at least {MIN_STEPS} steps, but "
            f"{format_budget(objective.time_budget_s)} hold {candidate.prediction.n_steps:.0f} of "
            f"{arch.d_model}×{arch.n_layers} at {step_time_s:.3g} s each; take more time"
        )


def _spread(
    space: SearchSpace,
    objective: LossAtTime,
    choice: Choice,
    taken: set[tuple[int, int]],
) -> list[Candidate]:
    """Feasible models at the middles of equal shares of the shapes, by predicted loss."""
    count, seed = choice.contrast, choice.seed
    rng, n_drawn = np.random.default_rng(seed), N_DRAWN if count else 0
    # A dense space does not look at the last.
    names = (*COORDINATES, EXPERTS)
    positions = np.hstack([rng.random((n_drawn, len(COORDINATES))), rng.random((n_drawn, 1))])
    of_shape: dict[tuple[int, int], Candidate] = {}
    for position in positions:
        arch = space.decode(dict(zip(names, position, strict=True)))
        candidate = Candidate.of(arch, objective)
        prediction = candidate.prediction
        if prediction.feasible and prediction.n_steps >= MIN_CONTRAST_STEPS:
            of_shape.setdefault(candidate.shape, candidate)
    others = [candidate for shape, candidate in of_shape.items() if shape not in taken]
    others.sort(key=lambda candidate: candidate.loss)
    if len(others) <= count:
        return others
    return [others[int((i + 0.5) / count * len(others))] for i in range(count)]
