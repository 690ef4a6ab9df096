"""A batch's results on disk: batch.csv, batch.parquet, curves.csv, batch.json and the figures."""

from __future__ import annotations

import datetime
import io
from pathlib import Path

import pandas as pd

from .. import __version__
from ..files.write import csv_text, json_text, write_together
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
    """Write the tables, the figures and what is needed to make them again.

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
    parquet = io.BytesIO()
    table.to_parquet(parquet, index=False)
    write_together(
        {
            folder / "batch.csv": csv_text(table),
            folder / "curves.csv": csv_text(curves),
            folder / "batch.json": json_text(provenance, indent=2) + "\n",
            folder / "batch.parquet": parquet.getvalue(),
        }
    )
    from .pictures.batch import batch_sheets
    from .pictures.png import save_png

    sheets = batch_sheets(questions, table)
    for name, sheet in sheets.items():
        save_png(sheet, folder / f"{name}.png")
    pictures = [f"{name}.png" for name in sheets]
    return ["batch.csv", "batch.parquet", "curves.csv", "batch.json", *pictures]
