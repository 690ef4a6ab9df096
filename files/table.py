"""A table that a user hands over as CSV: columns by name in any order, each cell checked."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
import pydantic

from .read import check_plain, did_you_mean, read_text
from .rows import Row, first_complaint

logger = logging.getLogger(__name__)

# What tells a file of our own training runs, where a row is one run, from others' tables.
OF_A_RUN = {"seed", "started", "corpus_fingerprint", "time_budget_s"}
# Its columns that two trainings of the same differ in.
CAME_OUT = {
    "status", "n_steps", "n_tokens", "step_time_s", "step_time_spread", "tokens_per_s", "mfu",
    "measured_loss", "bits_per_byte", "started",
}  # fmt: skip
AnyRow = TypeVar("AnyRow", bound=Row)


def read_table(
    path: Path, row_type: type[AnyRow]
) -> tuple[list[tuple[int, AnyRow]], tuple[str, ...]]:
    """The rows of a CSV file, each with the number of its line, and the columns that are not used.

    An empty cell stands for a column left out. Lines that begin with `#` are comments.

    Raises:
        ValueError: one line: no such file, no CSV text, no rows, a column missing, twice there or
            misspelt, or a cell that makes no sense, with its line.
    """
    lines = _lines(path)
    header = next(lines, (0, []))[1]
    known = row_type.model_fields
    unused = _unused(path, header, known)
    required = [name for name, field in known.items() if field.is_required()]
    if missing := [name for name in required if name not in header]:
        raise ValueError(
            f"{path} must have the columns {', '.join(required)}, but lacks {', '.join(missing)}"
        )
    rows = []
    for number, cells in lines:
        if len(cells) != len(header):
            raise ValueError(
                f"{path}, line {number}: must have {len(header)} cells, as the header has, "
                f"but has {len(cells)}"
            )
        found = dict(zip(header, map(str.strip, cells), strict=True))
        given = {name: cell for name, cell in found.items() if cell and name in known}
        try:
            rows.append((number, row_type.model_validate(given)))
        except pydantic.ValidationError as error:
            raise ValueError(f"{path}, line {number}: {first_complaint(error)}") from None
    if not rows:
        raise ValueError(f"{path} has no rows below its header")
    return rows, unused


def read_runs(path: Path, names: Mapping[str, str] | None = None) -> dict[str, np.ndarray]:
    """A CSV of training runs, ours or anyone's, as columns by name.

    A line that begins with `#` is a comment.

    Args:
        path: of the file.
        names: what a column is called there, by its name here.

    Raises:
        ValueError: the file cannot be read, is not a table, has a column twice, or lacks one of
            `names`.
    """
    import pandas as pd

    lines = check_plain(read_text(path), path).splitlines(keepends=True)
    text = "".join(line for line in lines if not line.lstrip().startswith("#"))
    try:
        header = pd.read_csv(io.StringIO(text), header=None, nrows=1, dtype=str).iloc[0]
        table = pd.read_csv(io.StringIO(text), skipinitialspace=True)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ValueError(f"{path} is not a CSV of runs: {error}") from None
    titles = [str(title).strip() for title in header]
    if twice := next((title for title in titles if titles.count(title) > 1), None):
        raise ValueError(f"{path} must have each column once, but has {twice!r} twice")
    columns = {title: table.iloc[:, place].to_numpy() for place, title in enumerate(titles)}
    for own, theirs in (names or {}).items():
        if theirs not in columns:
            raise ValueError(f"{path} has no column {theirs!r}{did_you_mean(theirs, titles)}")
        columns[own] = columns.pop(theirs)
    return _each_once(path, columns) if columns.keys() >= OF_A_RUN else columns


def _each_once(path: Path, columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Runs that a file of ours holds once each: of one that was trained twice, the first."""
    asked = [column.tolist() for name, column in columns.items() if name not in CAME_OUT]
    places = {repr(row): place for place, row in reversed([*enumerate(zip(*asked, strict=True))])}
    n_rows = len(next(iter(columns.values())))
    if n_twice := n_rows - len(places):
        logger.warning("%s holds %d runs twice, which count once", path, n_twice)
    chosen = sorted(places.values())
    return {name: column[chosen] for name, column in columns.items()}


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The cells of each line with its number, the header's first."""
    reader = csv.reader(check_plain(read_text(path), path).splitlines(), strict=True)
    try:
        for cells in reader:
            if any(cells) and not cells[0].lstrip().startswith("#"):
                yield reader.line_num, cells
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: is not CSV: {error}") from None


def _unused(path: Path, header: list[str], known: Iterable[str]) -> tuple[str, ...]:
    """Columns that no field bears the name of, after a check that none was meant to."""
    header[:] = [name.strip() for name in header]
    if twice := next((name for name in header if header.count(name) > 1), None):
        raise ValueError(f"{path} must have each column once, but has {twice!r} twice")
    unused = tuple(name for name in header if name not in known)
    for name in unused:
        left_out = [each for each in known if each not in header]
        if "did you mean" in (meant := did_you_mean(name, left_out, cutoff=0.8)):
            raise ValueError(f"{path} has an unknown column `{name}`{meant}")
    return unused
