"""Reading back what `find` wrote: data checked key by key, predictions made anew."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from ..files.read import build, read_text
from ..objectives.loss_at_time import LossAtTime
from ..presets.devices import KnownDevice
from ..presets.drawn import read_draws
from ..presets.known import Known, shipped
from ..presets.laws import KnownLaw
from ..space.architecture import ADDED, BOOL_FIELDS, FIELDS, Architecture
from ..space.search_space import SearchSpace
from .candidate import Candidate
from .record import DRAWS_FILES

FILE_NAME = "result.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """The answer of one search.

    Attributes:
        space: what was searched.
        objective: what was minimised.
        candidates: the best distinct architectures, best first.
        law_draws: that the answer was judged by, as in `KnownLaw`.
        device_draws: likewise, as in `KnownDevice`.
    """

    space: SearchSpace
    objective: LossAtTime
    candidates: list[Candidate]
    law_draws: np.ndarray | None = None
    device_draws: np.ndarray | None = None

    @property
    def known(self) -> Known:
        """Its law and its device with their draws."""
        return Known(
            law=KnownLaw(law=self.objective.law, draws=self.law_draws),
            device=KnownDevice(device=self.objective.device, draws=self.device_draws),
        )


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
    known = _known(data, objective, path.parent)
    return Result(
        space=space,
        objective=objective,
        law_draws=known.law.draws,
        device_draws=known.device.draws,
        candidates=[
            candidate_of(row, space, objective, f"{path}: candidates[{i}]")
            for i, row in enumerate(rows)
        ],
    )


def _known(data: dict[str, Any], objective: LossAtTime, folder: Path) -> Known:
    """Law and device with the draws that lie in the result's folder.

    A result that was printed, or is older, names none: then what is shipped under their names.
    """
    if "draws" not in data:
        return shipped(objective)
    named = _get(data, "draws", dict, str(folder / FILE_NAME))
    law, device = KnownLaw(law=objective.law), KnownDevice(device=objective.device)
    law_draws, device_draws = (
        read_draws(folder / file, named.get(kind), one.names, one.fingerprint)
        for (kind, file), one in zip(DRAWS_FILES.items(), (law, device), strict=True)
    )
    return Known(
        law=dataclasses.replace(law, draws=law_draws),
        device=dataclasses.replace(device, draws=device_draws),
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
