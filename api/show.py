"""An answer for others: a page, and a config for another trainer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..machines.extras import need
from .words import answer_of, beside, writable

if TYPE_CHECKING:
    from ..search.answer import Answer
    from ..show.export.brief import Export


def report(folder: Path | str, *, out: Path | str | None = None) -> Path:
    """Write a search, and its confirmation, as one HTML page that needs no network.

    Args:
        folder: that `find` wrote to, confirmed or not.
        out: HTML file; default: `report.html` in the folder.

    Returns:
        The file.

    Raises:
        ValueError: the folder does not hold what `find` writes, or the file cannot be written.
    """
    need("report", "report", "plotly")
    from ..show.page.report import write_report

    return write_report(Path(folder), Path(out) if out else None)


def export(
    result: Answer | Path | str,
    *,
    to: str,
    candidate: int = 1,
    seed: int = 0,
    out: Path | str | None = None,
) -> Export:
    """Write a candidate of a result as a config for another trainer.

    Args:
        result: what `find` answered, or the folder that it was written to.
        to: `hf`, `levanter`, `litgpt`, `maxtext`, `nanogpt` or `torchtitan`.
        candidate: which of the result; the best is 1.
        seed: for the trainer.
        out: folder; default: `export/TRAINER` beside the result; of an answer that lies in no
            folder nothing is written.

    Raises:
        ValueError: there is no such trainer or candidate, or the trainer's model cannot have its
            shape.
    """
    from ..show.export.export import export, save_export

    exported = export(answer_of(result), to, candidate=candidate, seed=seed)
    if out or isinstance(result, str | Path):
        from ..files.lock import TURN_S, held

        folder = writable(beside(result, out, f"export/{to}"))
        with held(folder, wait_s=TURN_S):
            save_export(exported, folder)
    return exported
