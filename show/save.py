"""What commands leave in a folder: the record of an answer, and its figures."""

from __future__ import annotations

from pathlib import Path

from ..search.find import Found
from ..search.record import write_record
from ..validation.confirm.confirm import Confirmation
from ..validation.confirm.refine import CONFIRM_FOLDER, Round
from .pictures.confirmation import save_comparison


def save(found: Found, folder: Path, *, command: str, seed: int) -> None:
    """Write everything needed to reproduce a search and to train its candidates, with figures.

    Args:
        found: the result.
        folder: an existing folder.
        command: the command line that made it.
        seed: of the search.
    """
    write_record(found, folder, command=command, seed=seed)
    if found.certified:
        from .pictures.search import save_figures

        save_figures(found, folder)


def save_confirmation(confirmation: Confirmation, folder: Path, *, command: str) -> None:
    """Write `confirm.json`, `models.csv` and `confirm.png` beside `runs.csv`."""
    confirmation.save(folder, command=command)
    save_comparison(confirmation.comparison, folder / "confirm.png")


def draw_round(done: Round, folder: Path) -> None:
    """Draw the figures of one round of `refine` into its folder."""
    from .pictures.search import save_figures

    save_comparison(done.confirmation.comparison, folder / CONFIRM_FOLDER / "confirm.png")
    if done.found.certified:
        save_figures(done.found, folder)
