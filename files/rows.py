"""Rows of CSV that survive a kill: appended one by one, checked when read back."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Container, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pydantic

from . import disk
from .disk import refusing
from .write import as_it_was, harmless

logger = logging.getLogger(__name__)


class Row(pydantic.BaseModel):
    """One row of a CSV file; its fields, in order, are the columns.

    A field that may be None may be an empty cell. Numbers are finite.
    """

    model_config = pydantic.ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, str_min_length=1
    )


AnyRow = TypeVar("AnyRow", bound=Row)


def append_row(path: Path, row: Row) -> None:
    """Add one row to a CSV file, made with its header when missing, and wait until it is on disk.

    A kill leaves at most a torn last line: `read_rows` drops it and the next append removes it.
    One process at a time may append.

    Raises:
        ValueError: the file has other columns, or a text has a line break in it.
    """
    line = _csv_line(row.model_dump(mode="json").values())
    with refusing(path):
        disk.make_folder(path.parent)
        lines, n_bytes = _whole_lines(path, type(row)) if path.exists() else ([], 0)
        text = line if lines else _csv_line(type(row).model_fields) + line
        disk.extend(path, n_bytes, text.encode())
        disk.sync(path)


def read_rows(path: Path, row_type: type[AnyRow]) -> list[AnyRow]:
    """All rows of a CSV file that `append_row` wrote, save a torn last line; none without a file.

    A column that has a value as its default may be missing, for it came later than the file.

    Raises:
        ValueError: no file but a folder, other columns, or a cell that makes no sense, with its
            line.
    """
    if not path.exists():
        return []
    if not path.is_file():
        raise ValueError(f"{path} must be a CSV file, but is a folder")
    lines, _ = _whole_lines(path, row_type, may_lack=_added(row_type))
    columns = next(csv.reader(lines[:1]), [])
    rows = []
    for number, cells in enumerate(csv.reader(lines[1:]), start=2):
        if len(cells) != len(columns):
            raise ValueError(
                f"{path} must have {len(columns)} cells on every line, "
                f"but line {number} has {len(cells)}"
            )
        # An empty cell stands for a field left at None.
        known = {n: as_it_was(cell) for n, cell in zip(columns, cells, strict=True) if cell}
        try:
            rows.append(row_type.model_validate(known))
        except pydantic.ValidationError as error:
            raise ValueError(f"{path}, line {number}: {first_complaint(error)}") from error
    return rows


def finished(path: Path, row_type: type[Row], key_columns: Sequence[str]) -> set[tuple]:
    """The keys of the rows that a file holds already, none when there is no file."""
    return {tuple(getattr(row, name) for name in key_columns) for row in read_rows(path, row_type)}


def _csv_line(cells: Iterable[Any]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(map(harmless, cells))
    line = buffer.getvalue()
    if len(line.splitlines()) > 1:
        raise ValueError(f"a row must have no line break in it, but got {line!r}")
    return line


def _added(row_type: type[Row]) -> set[str]:
    """Columns that files from before them mean something by: the default, where it is a value."""
    fields = row_type.model_fields.items()
    return {name for name, field in fields if not (field.is_required() or field.default is None)}


def _whole_lines(
    path: Path, row_type: type[Row], *, may_lack: Container[str] = ()
) -> tuple[list[str], int]:
    """The lines that end in a line break, the header first, and the bytes up to there.

    There are none in an empty file and in one with a torn header.
    """
    content = path.read_bytes()
    n_bytes = content.rfind(b"\n") + 1
    try:
        lines = content[:n_bytes].decode().splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must be a CSV file, but it is not UTF-8 text") from error
    columns = list(row_type.model_fields)
    if not _csv_line(columns).encode().startswith(content):
        found = next(csv.reader(lines[:1]), [])
        if found != [name for name in columns if name in found or name not in may_lack]:
            raise ValueError(
                f"{path} must have the columns {','.join(columns)} in this order; "
                f"missing: {[name for name in columns if name not in found]}, "
                f"unknown: {[name for name in found if name not in columns]}"
            )
    if n_bytes < len(content):
        logger.warning("%s ends in a torn line, which is dropped", path)
    return lines, n_bytes


def first_complaint(error: pydantic.ValidationError) -> str:
    """What is wrong first in a row, with the column and what stands there."""
    first = error.errors()[0]
    column = "".join(f"{name}: " for name in first["loc"])
    got = f", but got {first['input']!r}" if first["type"] != "missing" and column else ""
    return f"{column}{first['msg'].removeprefix('Value error, ')}{got}"
