"""Reading back what `find` wrote: data checked key by key, predictions made anew."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

from ..files.read import build, read_text
from ..objectives.loss_at_time import LossAtTime
from ..space.architecture import ADDED, BOOL_FIELDS, FIELDS, Architecture
from ..space.search_space import SearchSpace
from .candidate import Candidate

FILE_NAME = "result.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """The answer of one search.

    Attributes:
        space: what was searched.
        objective: what was minimised.
        candidates: the best distinct architectures, best first.
    """

    space: SearchSpace
    objective: LossAtTime
    candidates: list[Candidate]


def load_result(path: Path) -> Result:
    """Read a result file.

    Args:
        path: the `result.json` of `find --out`, what `find --json` printed, or the folder.

    Raises:
        ValueError: there is no such file, it is not what `find` writes, or its predictions are not
            those of its own device, law and budget.
    """
    path = path / FILE_NAME if path.is_dir() else path
    data = read_document(path, made_by="`anybudget find BUDGET --out DIR`")
    names = [field.name for field in dataclasses.fields(LossAtTime)]
    objective = build(LossAtTime, {name: data[name] for name in names if name in data}, str(path))
    space = build(SearchSpace, _get(data, "space", dict, str(path)), f"{path}: space")
    rows = _get(data, "candidates", list, str(path))
    if not rows:
        raise ValueError(f"{path}: `candidates` must not be empty")
    return Result(
        space=space,
        objective=objective,
        candidates=[
            candidate_of(row, space, objective, f"{path}: candidates[{i}]")
            for i, row in enumerate(rows)
        ],
    )


def read_document(path: Path, *, made_by: str) -> dict[str, Any]:
    """A JSON file's object.

    Args:
        path: the file.
        made_by: the command that writes it, for those who have none.

    Raises:
        ValueError: there is no such file, or it holds no JSON object.
    """
    if not path.exists():
        raise ValueError(f"there is no {path}; {made_by} makes it")
    try:
        data = json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(data, dict):
        raise ValueError(f"{path} must hold the JSON object that {made_by} writes")
    return data


def candidate_of(row: Any, space: SearchSpace, objective: LossAtTime, where: str) -> Candidate:
    """The candidate of one row, predicted anew.

    Raises:
        ValueError: with `where`: a field is missing or of another type, the architecture is not in
            the space, or the recorded loss is not what the objective predicts.
    """
    if not isinstance(row, dict):
        raise ValueError(f"{where} must be a JSON object, but got {row!r}")
    row = ADDED | row
    fields = {name: _get(row, name, bool if name in BOOL_FIELDS else int, where) for name in FIELDS}
    recorded = _get(row, "predicted_loss", float, where)
    try:
        arch = Architecture(**fields)
        space.encode(arch)
        candidate = Candidate.of(arch, objective)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{where}: {error}") from None
    # The same numbers in another order of summation differ in the last digits.
    if not math.isclose(candidate.loss, recorded, rel_tol=1e-9):
        raise ValueError(
            f"{where}: `predicted_loss` must be what the file's own device, law and budget "
            f"predict, {candidate.loss:.6g}, but got {recorded:.6g}; run `anybudget find` again"
        )
    return candidate


def _get(data: dict[str, Any], key: str, kind: type, where: str) -> Any:
    """A value of exactly this type: `true` is no whole number."""
    names = {dict: "an object", list: "a list", int: "a whole number", float: "a number"}
    if key not in data:
        raise ValueError(f"{where}: `{key}` is missing")
    if type(data[key]) is not kind:
        kind_name = names.get(kind, "true or false")
        raise ValueError(f"{where}: `{key}` must be {kind_name}, but got {data[key]!r}")
    return data[key]
