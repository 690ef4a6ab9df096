"""The winner of a search as a config for the trainers that people use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...files.read import did_you_mean
from ...files.write import write_together
from ...search.answer import Answer
from ...search.experts import refuse_sparse
from ...space.architecture import ADDED, Architecture
from .brief import Brief, Export, refuse
from .hf import to_hf
from .levanter import to_levanter
from .litgpt import to_litgpt
from .maxtext import to_maxtext
from .nanogpt import to_nanogpt
from .torchtitan import to_torchtitan

TRAINERS: dict[str, Callable[[Brief], Export]] = {
    "hf": to_hf,
    "levanter": to_levanter,
    "litgpt": to_litgpt,
    "maxtext": to_maxtext,
    "nanogpt": to_nanogpt,
    "torchtitan": to_torchtitan,
}


def export(result: Answer, trainer: str, *, candidate: int = 1, seed: int = 0) -> Export:
    """A candidate of a result as a config, with the recipe's steps, batch and learning rate.

    Args:
        result: of `find`.
        trainer: a name of `TRAINERS`.
        candidate: its place in the result, the best is 1.
        seed: for the trainer.

    Raises:
        ValueError: there is no such trainer or candidate, or the trainer's model cannot have the
            candidate's shape.
    """
    if trainer not in TRAINERS:
        near = did_you_mean(trainer, TRAINERS)
        raise ValueError(f"--to must be a trainer that is known, but got {trainer!r}{near}")
    if not 1 <= candidate <= len(result.candidates):
        raise ValueError(
            f"`candidate` must be from 1 to {len(result.candidates)}, "
            f"the number in the result, but got {candidate}; `find --top` keeps more"
        )
    refuse_sparse(result.question, f"export --to {trainer}")
    chosen = result.candidates[candidate - 1]
    refuse(trainer, _unsaid(chosen.arch))
    return TRAINERS[trainer](Brief(candidate=chosen, objective=result.objective, seed=seed))


def _unsaid(arch: Architecture) -> dict[str, str]:
    """Fields that came after the exporters were written, and are not what they take for granted."""
    others = {name: value for name, value in ADDED.items() if getattr(arch, name) != value}
    return {f"{name}={getattr(arch, name)}": f"{name}={value}" for name, value in others.items()}


def save_export(exported: Export, folder: Path) -> None:
    """Write the files of an export into an existing folder."""
    write_together({folder / name: text for name, text in exported.files.items()})


def export_as_dict(exported: Export, folder: Path) -> dict[str, Any]:
    """The machine-readable form: where it was written, the settings, notes and command."""
    return {
        "files": [str(folder / name) for name in exported.files],
        "config": exported.config,
        "notes": exported.notes,
        "command": exported.command_in(folder),
    }
