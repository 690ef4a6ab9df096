"""Devices and laws by name or file. The one module of this room that reads files.

A preset is a TOML file in `devices/` or `laws/` beside this module; a user's own file has the same
keys.
"""

from __future__ import annotations

import dataclasses
import io
import math
from pathlib import Path
from typing import TypeVar

import numpy as np
import tomli_w

from ..files.places import calibrated_device_path
from ..files.read import build, did_you_mean, read_text, read_toml
from ..objectives.device import Device
from ..objectives.law.loss_law import LossLaw
from ..objectives.loss_at_time import LossAtTime
from ..objectives.uncertainty import DATASHEET_RESIDUAL, Draws, compiled_draws, datasheet_draws

T = TypeVar("T")

HERE = Path(__file__).parent
DEFAULT_DEVICE = "tpu-v5e"
# Of models of real size, and it knows shape.
DEFAULT_LAW = "gemstones-2025-cooldown"
# Of the small models that a CPU trains in minutes to hours.
CPU_LAW = "python-source"
# What to do where no preset will do.
OWN_FILE = {
    "devices": (
        "another card is described in a file of your own that ends in .toml: name, kind, "
        "peak_flops_per_s, bandwidth_bytes_per_s, memory_bytes, dtype and source"
    ),
    "laws": "a file of your own ends in .toml",
}
# Standard deviations from the middle to the end of a 95% interval.
NORMAL_95 = 1.96


def device_names() -> list[str]:
    """Names of the shipped devices."""
    return _names("devices")


def law_names() -> list[str]:
    """Names of the shipped laws."""
    return _names("laws")


def load_device(name_or_path: str | None = None) -> Device:
    """A device by preset name or TOML file; None: this machine's calibrated one, else the default.

    Raises:
        ValueError: no such name or file, or the file is not a valid device.
    """
    return _load(name_or_path or _default_device(), "devices", Device)


def load_law(name_or_path: str) -> LossLaw:
    """A loss law by preset name or TOML file.

    Raises:
        ValueError: no such name or file, or the file is not a valid law.
    """
    return _load(name_or_path, "laws", LossLaw)


def default_law(device: Device) -> str:
    """Name of the law for a device of which no law is asked: by the size of what it can train."""
    return CPU_LAW if device.kind == "cpu" else DEFAULT_LAW


def save_law(path: Path, law: LossLaw, draws: np.ndarray | None = None) -> None:
    """Write a law as `load_law` reads it, and its draws beside it."""
    fields = {name: value for name, value in dataclasses.asdict(law).items() if value is not None}
    path.write_text(tomli_w.dumps(fields), encoding="utf-8")
    if draws is not None:
        header = ",".join(law.numbers)
        np.savetxt(
            path.with_suffix(".draws.csv"), draws, fmt="%.6g", delimiter=",", header=header,
            comments="",
        )  # fmt: skip


def read_runs(path: Path) -> dict[str, np.ndarray]:
    """A CSV of training runs, ours or anyone's, as columns by name.

    Raises:
        ValueError: the file cannot be read, or is not a table.
    """
    import pandas as pd

    try:
        table = pd.read_csv(io.StringIO(read_text(path)), comment="#")
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ValueError(f"{path} is not a CSV of runs: {error}") from None
    return {name: table[name].to_numpy() for name in table.columns}


def load_draws(objective: LossAtTime, device: str | None, law: str) -> Draws | None:
    """What is not known of an objective's law and device, from the files beside theirs.

    `NAME.draws.csv` beside `NAME.toml` holds one draw a row under the names of its numbers. A
    device from its datasheet has none, and stated assumptions instead (`datasheet_draws`).

    Args:
        objective: whose law and device were loaded by the two names.
        device: as given to `load_device`.
        law: as given to `load_law`.

    Returns:
        The draws; None where the law has none, for then nothing can be said.

    Raises:
        ValueError: a file of draws does not fit its law or device.
    """
    laws = _read_draws(_path(law, "laws"), list(objective.law.numbers))
    if laws is None:
        return None
    machine = objective.device
    if machine.basis == "datasheet":
        seconds, time_residual = datasheet_draws(machine), DATASHEET_RESIDUAL
    else:
        own = machine.step_time_model.seconds_per_unit
        drawn = _read_draws(_path(device or _default_device(), "devices"), list(own))
        seconds = np.array([list(own.values())]) if drawn is None else drawn
        if machine.basis == "compiled":
            seconds = compiled_draws(seconds)
        time_residual = _scatter(machine)
    return Draws(
        laws=laws,
        law_residual=objective.law.residual_std,
        seconds_per_unit=seconds,
        time_residual=time_residual,
    )


def _scatter(device: Device) -> float:
    """Relative standard deviation of a shape's step time about a calibrated model."""
    match device.calibration.get("actual_over_predicted_95", (1.0, 1.0)):
        case [float(low), float(high)] if 0 < low <= high < math.inf:
            return math.log(high / low) / (2 * NORMAL_95)
        case other:
            raise ValueError(
                f"device {device.name!r}: `actual_over_predicted_95` must be two numbers, "
                f"0 < low <= high, but got {other!r}"
            )


def _default_device() -> str:
    calibrated = calibrated_device_path()
    return str(calibrated) if calibrated.exists() else DEFAULT_DEVICE


def _read_draws(beside: Path, names: list[str]) -> np.ndarray | None:
    path = beside.with_suffix(".draws.csv")
    if not path.exists():
        return None
    header, *rows = read_text(path).splitlines()
    try:
        table = np.array([[float(cell) for cell in row.split(",")] for row in rows])
    except ValueError:
        raise ValueError(f"{path}: every row must hold {len(names)} numbers") from None
    if header.split(",") != names or table.shape[1:] != (len(names),):
        raise ValueError(
            f"{path}: the columns must be {','.join(names)}, but are {header}; fit or calibrate "
            "again, or remove that file"
        )
    return table


def _names(folder: str) -> list[str]:
    return sorted(_shipped(folder))


def _shipped(folder: str) -> dict[str, Path]:
    return {path.stem: path for path in (HERE / folder).rglob("*.toml")}


def _path(name_or_path: str, folder: str) -> Path:
    if shipped := _shipped(folder).get(name_or_path):
        return shipped
    path = Path(name_or_path)
    if path.suffix != ".toml":
        near = did_you_mean(name_or_path, _names(folder))
        raise ValueError(
            f"no {folder.removesuffix('s')} is called {name_or_path!r}{near} ({OWN_FILE[folder]})"
        )
    return path


def _load(name_or_path: str, folder: str, cls: type[T]) -> T:
    path = _path(name_or_path, folder)
    return build(cls, read_toml(path), str(path))
