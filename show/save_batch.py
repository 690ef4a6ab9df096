"""A batch's results on disk: its tables, batch.json and the figures."""

from __future__ import annotations

import datetime
import io
from pathlib import Path

import pandas as pd

from .. import __version__
from ..files.write import csv_text, json_text, write_together
from ..machines.extras import is_there
from ..search.question import Question


def save_batch(
    questions: list[Question],
    table: pd.DataFrame,
    curves: pd.DataFrame,
    folder: Path,
    *,
    plan: Path,
    command: str,
) -> list[str]:
    """Write the tables, the figures and what is needed to make them again, as far as extras allow.

    Args:
        questions: of the plan.
        table: of `run_batch`.
        curves: of `fit_curves`.
        folder: an existing folder.
        plan: the file.
        command: the command line that made it.

    Returns:
        The names of the files.
    """
    provenance = {
        "command": command,
        "anybudget": __version__,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "plan": plan.read_text(encoding="utf-8"),
    }
    columns = io.BytesIO()
    if is_there("pyarrow"):
        table.to_parquet(columns, index=False)
    tables = {
        "batch.csv": csv_text(table),
        "batch.parquet": columns.getvalue() or None,  # an older one must not stay beside the new
        "curves.csv": csv_text(curves),
        "batch.json": json_text(provenance, indent=2) + "\n",
    }
    write_together({folder / name: content for name, content in tables.items()})
    names = [name for name, content in tables.items() if content]
    older = {*folder.glob("scaling-*.png"), folder / "money.png"}
    if is_there("matplotlib"):
        from .pictures.batch import batch_sheets
        from .pictures.png import save_png

        for name, sheet in batch_sheets(questions, table).items():
            save_png(sheet, folder / f"{name}.png")
            names.append(f"{name}.png")
    write_together(dict.fromkeys(older - {folder / name for name in names}))
    return names
