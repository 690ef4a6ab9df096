"""Devices by name or file, each with the draws of its step-time model."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from ..files.places import calibrated_device_path
from ..files.read import build
from ..objectives.device import Device
from .drawn import Drawn, fingerprint, read_pair, save_pair, with_draws_of
from .named import names_in, path_of

DEFAULT_DEVICE = "tpu-v5e"
# Stands for the shipped core that is nearest to this machine's.
THIS_CPU = "cpu"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class KnownDevice(Drawn):
    """A device and what is not known of its step time.

    Attributes:
        device: with its step-time model.
        draws: seconds per unit of each feature of that model that its timings could as well have
            given, (draws, features); None where nothing is known of them.
    """

    device: Device

    @property
    def names(self) -> list[str]:
        """Of the numbers that are drawn."""
        return list(self.device.step_time_model.seconds_per_unit)

    @property
    def fingerprint(self) -> str:
        """Of the numbers that were drawn, and of their form."""
        model = self.device.step_time_model
        return fingerprint(model.name, model.seconds_per_unit)

    def can_be(self, draws: np.ndarray) -> np.ndarray:
        """Whether nothing takes less than no time, and not all of it none."""
        return np.asarray((draws >= 0).all(axis=1) & (draws > 0).any(axis=1))


def device_names() -> list[str]:
    """Names of the shipped devices."""
    return names_in("devices")


def known_device(name_or_path: str | None = None) -> KnownDevice:
    """A device by preset name or TOML file, with its draws.

    None stands for this machine's calibrated device, or else the default; `cpu` for the shipped
    core that multiplies with what this machine's processor has.

    Raises:
        ValueError: no such name or file, or it is not a valid device with its own draws.
    """
    name = core_like_ours() if name_or_path == THIS_CPU else name_or_path
    path = path_of(_default_device() if name is None else name, "devices")
    return read_pair(path, lambda data: KnownDevice(device=build(Device, data, str(path))))


def core_like_ours() -> str:
    """The shipped core that multiplies with what this machine's processor has."""
    from ..machines.machine import has_amx, has_avx512

    if has_amx():
        return "cpu-core-amx"
    return "cpu-core-avx512" if has_avx512() else "cpu-core"


def load_device(name_or_path: str | None = None) -> Device:
    """The device alone; see `known_device`."""
    return known_device(name_or_path).device


def shipped_device(device: Device) -> KnownDevice:
    """A device with the draws shipped under its name, if it is that device; else without."""
    of_that_name = known_device(device.name) if device.name in device_names() else None
    return with_draws_of(KnownDevice(device=device), of_that_name)


def save_device(path: Path, known: KnownDevice) -> None:
    """Write a device and its draws as `known_device` reads them."""
    save_pair(path, dataclasses.asdict(known.device), known)


def _default_device() -> str:
    calibrated = calibrated_device_path()
    return str(calibrated) if calibrated.exists() else DEFAULT_DEVICE
