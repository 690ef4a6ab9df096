"""An answer for others: a page, and a config for another trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from .options import Json, Result, Seed, Whole
from .output import show, show_json, show_written


def report(folder: Path, /, *, out: Path | None = None) -> None:
    """Write a search, or a batch, as one HTML page that needs no network.

    Example: `anybudget report found`

    Args:
        folder: DIR of `find --out DIR`, confirmed or not; or of `batch`.
        out: HTML file; default: report.html in the folder.
    """
    from rich.markup import escape

    from .. import api

    show([f"Written: {escape(str(api.report(folder, out=out)))}"])


def export(
    result: Result,
    /,
    *,
    to: Annotated[str, Parameter(help="hf, levanter, litgpt, maxtext, nanogpt or torchtitan.")],
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
    from .. import api
    from ..api.words import beside
    from ..show.export.export import export_as_dict
    from ..show.terminal.exported import show_export

    exported = api.export(result, to=to, candidate=candidate, seed=seed, out=out)
    folder = beside(result, out, f"export/{to}")
    if as_json:
        show_json(export_as_dict(exported, folder))
        return
    show(show_export(exported, folder))
    show_written(folder, exported.files)
