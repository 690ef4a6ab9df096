"""An answer for others: a page, and a config for another trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from .options import Json, Result, Seed, Whole
from .output import show, show_json, show_written, writable


def report(folder: Path, /, *, out: Path | None = None) -> None:
    """Write a search, and its confirmation, as one HTML page that needs no network.

    Example: `anybudget report found`

    Args:
        folder: DIR of `find --out DIR`, confirmed or not.
        out: HTML file; default: report.html in the folder.
    """
    from rich.markup import escape

    from ..show.page.report import write_report

    show([f"Written: {escape(str(write_report(folder, out)))}"])


def export(
    result: Result,
    /,
    *,
    to: Annotated[str, Parameter(help="hf, maxtext, nanogpt or levanter.")],
    candidate: Whole = 1,
    seed: Seed = 0,
    out: Path | None = None,
    as_json: Json = False,
) -> None:
    """Write a candidate of a result as a config for another trainer.

    Example: `anybudget export found --to hf`

    Args:
        candidate: Which of the result; the best is 1.
        out: Folder; default: export/TRAINER beside the result.
    """
    from ..search.record import read_record
    from ..show.export.export import export, export_as_dict, save_export
    from ..show.terminal.exported import show_export

    exported = export(read_record(result), to, candidate=candidate, seed=seed)
    beside = result if result.is_dir() else result.parent
    folder = writable(out or beside / "export" / to)
    save_export(exported, folder)
    if as_json:
        show_json(export_as_dict(exported, folder))
        return
    show(show_export(exported, folder))
    show_written(folder, exported.files)
