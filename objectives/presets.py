"""Devices and laws by name or file. The one module of this room that reads files.

A preset is a TOML file in `devices/` or `laws/` beside this module; a user's own file has the same
keys. What a file says is data: it is checked key by key and never evaluated.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

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


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as a dict.

    Raises:
        ValueError: the file is missing, unreadable or not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ValueError(f"cannot read {path}: {reason}") from None
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is not valid TOML: {error}") from None


def build(cls: type[T], data: Any, where: str) -> T:
    """An instance of a dataclass from plain data, each key checked.

    Raises:
        ValueError: one line naming `where`, the key, its value and what it must be; an unknown key
            comes with the nearest known ones.
    """
    try:
        return TypeAdapter(cls).validate_python(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
            known = getattr(cls, "__dataclass_fields__", {})
            raise ValueError(f"{where}: unknown key `{key}`{did_you_mean(key, known)}") from None
        if first["type"] in ("missing", "missing_argument", "missing_keyword_only_argument"):
            raise ValueError(f"{where}: `{key}` is missing") from None
        reason = first["msg"].removeprefix("Value error, ")
        at = f"`{key}`: " if key else ""
        got = f" (got {first['input']!r})" if key else ""
        raise ValueError(f"{where}: {at}{reason}{got}") from None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A clause with the nearest known names, or all of them when none is near."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
    return f"; did you mean {' or '.join(near)}?" if near else f"; known: {', '.join(names)}"


def _names(folder: str) -> list[str]:
    return sorted(path.stem for path in (HERE / folder).glob("*.toml"))


def _load(name_or_path: str, folder: str, cls: type[T]) -> T:
    path = HERE / folder / f"{name_or_path}.toml"
    if name_or_path not in _names(folder):
        path = Path(name_or_path)
        if not path.suffix == ".toml":
            kind = folder.removesuffix("s")
            near = did_you_mean(name_or_path, _names(folder))
            raise ValueError(
                f"no {kind} is called {name_or_path!r}{near} (a file of your own ends in .toml)"
            )
    return build(cls, read_toml(path), str(path))
