"""A search's answer on disk, with the draws that it was judged by, written and read back.

What is read is checked key by key, and every prediction is made anew.
"""

from __future__ import annotations

import csv
import dataclasses
import datetime
import io
import math
from pathlib import Path
from typing import Any

from ..files.read import build, check_plain, read_json, read_text
from ..files.write import csv_text, json_text, write_together
from ..objectives.loss_at_time import LossAtTime
from ..objectives.uncertainty import Standing
from ..presets.devices import KnownDevice
from ..presets.drawn import Reference, draws_text, read_draws
from ..presets.known import Known, shipped
from ..presets.laws import KnownLaw
from ..space.architecture import ADDED, BOOL_FIELDS, FIELDS
from ..space.block_spaces import SparseSpace
from ..space.search_space import SearchSpace
from ..space.sparse import FIELD as EXPERTS
from ..space.sparse import model_of
from .answer import Answer, Made
from .candidate import Candidate, to_rows
from .certify.scan import best_of_each_shape
from .question import Question

RESULT_FILE, SHAPES_FILE = "result.json", "shapes.csv"
# Of names that no law or device fitted into the folder bears.
DRAWS_FILES = {kind: f"result.{kind}.draws.csv" for kind in ("law", "device")}
MADE_BY = "`anybudget find BUDGET --out DIR`"


def write_record(answer: Answer, folder: Path, *, command: str) -> None:
    """Write everything needed to reproduce the search and to train its candidates.

    Args:
        answer: the result.
        folder: an existing folder.
        command: the command line that made it.
    """
    import pandas as pd

    provenance = {
        "command": command,
        "seed": answer.question.seed,
        "anybudget": answer.made.anybudget,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    known = answer.question.known
    draws = {
        kind: draws_text(one.draws, one.names, one.fingerprint)
        for kind, one in (vars(known) if known else {}).items()
        if one.draws is not None
    }
    named = {kind: dataclasses.asdict(Reference.of(text)) for kind, text in draws.items()}
    document = provenance | answer.as_dict() | {"draws": named}
    write_together(
        {
            **{folder / file: draws.get(kind) for kind, file in DRAWS_FILES.items()},
            folder / "candidates.csv": csv_text(answer.frame),
            folder / SHAPES_FILE: csv_text(pd.DataFrame(to_rows(answer.shapes))),
            folder / RESULT_FILE: json_text(document, indent=2) + "\n",
        }
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    """What a result file says of its search beside question and candidates; see `Answer`."""

    n_valid: int | None
    certified: bool
    optuna_regret: float | None
    n_trials: int
    warnings: list[str]
    tied_shapes: list[tuple[int, int]]


def read_record(path: Path, *, whole: bool = False) -> Answer:
    """Read an answer back.

    Args:
        path: the `result.json` of `find --out`, what `find --json` printed, or the folder.
        whole: with the best of every shape and where the answer comes from, which `find --json`
            does not print; else the shapes are those of the candidates.

    Raises:
        ValueError: there is no such file, it is not what `find` writes, or its predictions are not
            those of its own device, law and budget.
    """
    path = path / RESULT_FILE if path.is_dir() else path
    data = read_document(path, made_by=MADE_BY)
    question = _question(data, path, whole=whole)
    rows = _get(data, "candidates", list, str(path))
    if not rows:
        raise ValueError(f"{path}: `candidates` must not be empty")
    candidates = [
        candidate_of(row, question, f"{path}: candidates[{i}]") for i, row in enumerate(rows)
    ]
    if whole:
        for field in dataclasses.fields(Made):
            _get(data, field.name, str, str(path))
    return Answer(
        question=question,
        candidates=candidates,
        shapes=_shapes(path, question) if whole else best_of_each_shape(candidates),
        standings=_standings(rows, str(path)),
        **vars(build(Record, _part(data, Record), str(path))),
        made=build(Made, _part(data, Made), str(path)),
    )


def _question(data: dict[str, Any], path: Path, *, whole: bool) -> Question:
    objective = build(LossAtTime, _part(data, LossAtTime), str(path))
    fields = _get(data, "space", dict, str(path))
    space = build(SparseSpace if EXPERTS in fields else SearchSpace, fields, f"{path}: space")
    known = _known(data, objective, path)
    return Question(
        space=space,
        objective=objective,
        draws=known.draws(objective),
        known=known,
        seed=_get(data, "seed", int, str(path)) if whole or "seed" in data else 0,
    )


def _known(data: dict[str, Any], objective: LossAtTime, path: Path) -> Known:
    """Law and device with the draws that lie beside a result.

    A result that was printed, or is older, names none: then what is shipped under their names.
    """
    if "draws" not in data:
        return shipped(objective)
    named = _get(data, "draws", dict, str(path))
    law, device = KnownLaw(law=objective.law), KnownDevice(device=objective.device)
    files = {kind: path.parent / file for kind, file in DRAWS_FILES.items()}
    return Known(
        law=read_draws(files["law"], named.get("law"), law),
        device=read_draws(files["device"], named.get("device"), device),
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
    data = read_json(path)
    if not isinstance(data, dict):
        raise ValueError(f"{path} must hold the JSON object that {made_by} writes")
    return data


def candidate_of(row: Any, question: Question, where: str) -> Candidate:
    """The candidate of one row, predicted anew.

    Raises:
        ValueError: with `where`: a field is missing or of another type, the architecture is not in
            the space, or the recorded loss is not what the objective predicts.
    """
    if not isinstance(row, dict):
        raise ValueError(f"{where} must be a JSON object, but got {row!r}")
    row = ADDED | row
    names = (*FIELDS, EXPERTS) if isinstance(question.space, SparseSpace) else FIELDS
    fields = {name: _get(row, name, bool if name in BOOL_FIELDS else int, where) for name in names}
    recorded = _get(row, "predicted_loss", float, where)
    try:
        arch = model_of(fields)
        question.space.encode(arch)
        candidate = Candidate.of(arch, question.objective)
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
    names = {
        dict: "an object",
        list: "a list",
        str: "a text",
        int: "a whole number",
        float: "a number",
    }
    if key not in data:
        raise ValueError(f"{where}: `{key}` is missing")
    if type(data[key]) is not kind:
        kind_name = names.get(kind, "true or false")
        raise ValueError(f"{where}: `{key}` must be {kind_name}, but got {data[key]!r}")
    return data[key]


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


def _shapes(path: Path, question: Question) -> list[Candidate]:
    """The rows of the file of shapes beside a result, each predicted anew."""
    path = path.parent / SHAPES_FILE
    if not path.exists():
        raise ValueError(f"there is no {path}; {MADE_BY} makes it: search again")
    table = csv.DictReader(io.StringIO(check_plain(read_text(path), path)))
    shapes = []
    for row in table:
        wanted = (*FIELDS, EXPERTS, "predicted_loss")
        values = {name: _plain(row[name]) for name in wanted if name in row}
        where = f"{path}, line {table.line_num}"
        shapes.append(candidate_of(values, question, where))
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
