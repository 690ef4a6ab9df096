"""The question that the options put."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from .options import Chain, Space

if TYPE_CHECKING:
    from ..search.question import Question
    from ..space.architecture import Architecture


def put(
    budget: str,
    chain: Chain,
    space: Space = Space(),
    seed: int = 0,
    arch: Architecture | None = None,
) -> Question:
    """The question, with what is to be known of this machine."""
    from ..search.question import Words, ask

    options = dataclasses.asdict(chain) | dataclasses.asdict(space)
    return warned(ask(Words(budget=budget, seed=seed, **options), arch))


def warned(question: Question) -> Question:
    """The question with a sentence where its device was calibrated on another machine."""
    from ..validation.backend import machine_warning

    if question.warnings or not (warning := machine_warning(question.objective.device)):
        return question
    return dataclasses.replace(question, warnings=(warning,))
