"""Devices by name or file, each with the draws of its step-time model."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from ..files.places import calibrated_device_path
from ..files.read import build, read_toml
from ..objectives.device import Device
from .drawn import draws_path, fingerprint, read_draws, save_pair
from .named import names_in, path_of

DEFAULT_DEVICE = "tpu-v5e"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class KnownDevice:
    """A device and what is not known of its step time.

    Attributes:
        device: with its step-time model.
        draws: seconds per unit of each feature of that model that its timings could as well have
            given, (draws, features); None where nothing is known of them.
    """

    device: Device
    draws: np.ndarray | None = None

    @property
    def names(self) -> list[str]:
        """Of the numbers that are drawn."""
        return list(self.device.step_time_model.seconds_per_unit)

    @property
    def fingerprint(self) -> str:
        """Of the step-time model, whose numbers were drawn."""
        model = self.device.step_time_model
        return fingerprint(model.name, model.seconds_per_unit)


def device_names() -> list[str]:
    """Names of the shipped devices."""
    return names_in("devices")


def known_device(name_or_path: str | None = None) -> KnownDevice:
    """A device by preset name or TOML file, with its draws.

    None stands for this machine's calibrated device, or else the default.

    Raises:
        ValueError: no such name or file, or it is not a valid device with its own draws.
    """
    path = path_of(_default_device() if name_or_path is None else name_or_path, "devices")
    data = read_toml(path)
    named = data.pop("draws", None)
    known = KnownDevice(device=build(Device, data, str(path)))
    draws = read_draws(draws_path(path), named, known.names, known.fingerprint)
    return dataclasses.replace(known, draws=draws)


def load_device(name_or_path: str | None = None) -> Device:
    """The device alone; see `known_device`."""
    return known_device(name_or_path).device


def shipped_device(device: Device) -> KnownDevice:
    """A device with the draws shipped under its name, if it is that device; else without."""
    known = KnownDevice(device=device)
    if device.name not in device_names():
        return known
    of_that_name = known_device(device.name)
    same = of_that_name.fingerprint == known.fingerprint
    return dataclasses.replace(known, draws=of_that_name.draws) if same else known


def save_device(path: Path, known: KnownDevice) -> None:
    """Write a device and its draws as `known_device` reads them."""
    fields = dataclasses.asdict(known.device)
    save_pair(path, fields, known.draws, known.names, known.fingerprint)


def _default_device() -> str:
    calibrated = calibrated_device_path()
    return str(calibrated) if calibrated.exists() else DEFAULT_DEVICE
