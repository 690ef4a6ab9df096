"""A law and a device together, each with its draws: all that predictions rest on."""

from __future__ import annotations

import dataclasses

from ..objectives.loss_at_time import LossAtTime
from ..objectives.uncertainty import Draws, joint_draws
from .devices import KnownDevice, known_device, shipped_device
from .laws import KnownLaw, default_law, known_law, shipped_law


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Known:
    """A law and a device, each with its draws."""

    law: KnownLaw
    device: KnownDevice

    def draws(self, objective: LossAtTime) -> Draws | None:
        """What is not known of an objective on this device under this law; see `joint_draws`."""
        return joint_draws(objective, self.law.draws, self.device.draws)


def known(device: str | None = None, law: str | None = None) -> Known:
    """What two names, or files, stand for.

    Args:
        device: None: this machine's calibrated one, or else the default.
        law: None: the default for the device.

    Raises:
        ValueError: see `known_device` and `known_law`.
    """
    machine = known_device(device)
    return Known(device=machine, law=known_law(law or default_law(machine.device)))


def shipped(objective: LossAtTime) -> Known:
    """An objective's law and device, with draws where they are shipped under these names."""
    return Known(law=shipped_law(objective.law), device=shipped_device(objective.device))
