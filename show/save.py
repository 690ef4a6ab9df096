"""What commands leave in a folder: the record of an answer, and its figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..files.write import write_together
from ..machines.extras import is_there
from ..search.answer import Answer
from ..search.record import write_record
from ..space.sparse import is_sparse
from ..validation.confirm.confirmed import FILE_NAME, read_confirmed

if TYPE_CHECKING:  # they train
    from ..validation.confirm.confirm import Confirmation
    from ..validation.confirm.refine import Round


PICTURES = ("landscape", "loss_against_time", "loss_against_memory")


def save(found: Answer, folder: Path, *, command: str) -> None:
    """Write everything needed to reproduce a search and to train its candidates, with figures.

    Args:
        found: the result.
        folder: an existing folder.
        command: the command line that made it.
    """
    write_record(found, folder, command=command)
    if found.certified and is_there("matplotlib") and not is_sparse(found.space):
        _draw_search(found, folder)
    else:  # those of an earlier answer
        write_together({folder / f"{name}.png": None for name in PICTURES})


def save_confirmation(confirmation: Confirmation, folder: Path, *, command: str) -> None:
    """Write `confirm.json`, `models.csv` and `confirm.png` beside `runs.csv`."""
    confirmation.save(folder, command=command)
    _draw_confirmation(folder)


def draw_round(done: Round, folder: Path) -> None:
    """Draw the pictures of one round of `refine` into its folder."""
    from ..validation.confirm.refine import CONFIRM_FOLDER

    _draw_confirmation(folder / CONFIRM_FOLDER)
    if done.found.certified:
        _draw_search(done.found, folder)


def _draw_search(found: Answer, folder: Path) -> None:
    """The map of shapes, loss against time, loss against memory."""
    from ..search.certify.fronts import certain_memory_front
    from ..search.over_time import over_time
    from .pictures import memory
    from .pictures.landscape import landscape
    from .pictures.over_time import loss_over_time
    from .pictures.png import save_png

    space, objective = found.space, found.objective
    pictures = (
        landscape(found.shapes, found.tied_shapes, objective, found.best),
        loss_over_time(over_time(found.best, space, objective), found.standing, objective.machine),
        memory.memory_front(certain_memory_front(space, objective), objective),
    )
    for name, picture in zip(PICTURES, pictures, strict=True):
        save_png(picture, folder / f"{name}.png")


def _draw_confirmation(folder: Path) -> None:
    """Predicted against measured, of what was just written there."""
    from .pictures.confirmation import confirmation
    from .pictures.png import save_png

    confirmed = read_confirmed(folder / FILE_NAME)
    save_png(confirmation(confirmed), folder / "confirm.png")
