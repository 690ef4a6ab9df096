"""Devices and laws by name or file. The one module of this room that reads files.

A preset is a TOML file in `devices/` or `laws/` beside this module; a user's own file has the same
keys.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

from ..space.files import build, did_you_mean, read_toml
from .device import Device
from .loss_law import LossLaw

T = TypeVar("T")

HERE = Path(__file__).parent
DEFAULT_DEVICE = "tpu-v5e"
DEFAULT_LAW = "besiroglu-2024"


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
    if name_or_path is None:
        calibrated = calibrated_device_path()
        name_or_path = str(calibrated) if calibrated.exists() else DEFAULT_DEVICE
    return _load(name_or_path, "devices", Device)


def load_law(name_or_path: str = DEFAULT_LAW) -> LossLaw:
    """A loss law by preset name or TOML file.

    Raises:
        ValueError: no such name or file, or the file is not a valid law.
    """
    return _load(name_or_path, "laws", LossLaw)


def calibrated_device_path() -> Path:
    """Where `anybudget calibrate` leaves this machine's device, under the user's config folder."""
    config = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(config) / "anybudget" / "device.toml"


def _names(folder: str) -> list[str]:
    return sorted(path.stem for path in (HERE / folder).glob("*.toml"))


def _load(name_or_path: str, folder: str, cls: type[T]) -> T:
    path = HERE / folder / f"{name_or_path}.toml"
    if name_or_path not in _names(folder):
        path = Path(name_or_path)
        if path.suffix != ".toml":
            kind = folder.removesuffix("s")
            near = did_you_mean(name_or_path, _names(folder))
            raise ValueError(
                f"no {kind} is called {name_or_path!r}{near} (a file of your own ends in .toml)"
            )
    return build(cls, read_toml(path), str(path))
