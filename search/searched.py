"""All that `find --out DIR` left in a folder, for those who tell of it."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from pathlib import Path
from typing import Any

from ..files.read import build, read_text
from ..objectives.uncertainty import Standing
from ..space.architecture import FIELDS
from .candidate import Candidate
from .record import SHAPES_FILE
from .result import FILE_NAME, Result, candidate_of, load_result, read_document

MADE_BY = "`anybudget find BUDGET --out DIR`"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    """What a result file says of its search besides question and answer; see `Found`.

    Attributes:
        command: the command line that made it.
        anybudget: the version that ran.
        date: when, in ISO 8601.
    """

    command: str
    seed: int
    anybudget: str
    date: str
    n_valid: int | None
    certified: bool
    optuna_regret: float | None
    n_trials: int
    warnings: list[str]
    tied_shapes: list[tuple[int, int]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Searched:
    """A search read back whole.

    Attributes:
        result: question and answer.
        record: how it was found, and what to beware of.
        standings: of each candidate; None where nothing is known of the law's uncertainty.
        shapes: the best of each width and depth found, best first.
    """

    result: Result
    record: Record
    standings: list[Standing] | None
    shapes: list[Candidate]


def load_searched(folder: Path) -> Searched:
    """Read what `find --out` wrote.

    Raises:
        ValueError: a file is missing, or is not what `find` writes.
    """
    result = load_result(folder)
    path = folder / FILE_NAME
    data = read_document(path, made_by=MADE_BY)
    return Searched(
        result=result,
        record=build(Record, _part(data, Record), str(path)),
        standings=_standings(data["candidates"], str(path)),
        shapes=_shapes(folder / SHAPES_FILE, result),
    )


def _standings(rows: list[dict[str, Any]], path: str) -> list[Standing] | None:
    names = [field.name for field in dataclasses.fields(Standing)]
    if not any(name in row for row in rows for name in names):
        return None
    standings = []
    for i, row in enumerate(rows):
        where = f"{path}: candidates[{i}]"
        standing = build(Standing, _part(row, Standing), where)
        for name in names:
            if not math.isfinite(value := getattr(standing, name)):
                raise ValueError(f"{where}: `{name}` must be finite, but got {value}")
        standings.append(standing)
    return standings


def _shapes(path: Path, result: Result) -> list[Candidate]:
    """The rows of a file of shapes, each predicted anew."""
    if not path.exists():
        raise ValueError(f"there is no {path}; {MADE_BY} makes it: search again")
    table = csv.DictReader(io.StringIO(read_text(path)))
    shapes = []
    for row in table:
        wanted = (*FIELDS, "predicted_loss")
        values = {name: _plain(row[name]) for name in wanted if name in row}
        where = f"{path}, line {table.line_num}"
        shapes.append(candidate_of(values, result.space, result.objective, where))
    if not shapes:
        raise ValueError(f"{path} must have a row for each shape, but has none")
    return sorted(shapes, key=lambda candidate: candidate.loss)


def _part(data: dict[str, Any], cls: type) -> dict[str, Any]:
    """Those keys that a dataclass has."""
    names = [field.name for field in dataclasses.fields(cls)]
    return {name: data[name] for name in names if name in data}


def _plain(cell: str | None) -> Any:
    """What a cell of a CSV file says: true or false, a whole number, a number, or a text."""
    if cell in ("True", "False"):
        return cell == "True"
    for kind in (int, float):
        try:
            return kind(cell or "")
        except ValueError:
            continue
    return cell
