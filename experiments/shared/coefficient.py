"""One coefficient of a shipped preset, found by an experiment beside the fit of the others."""

from __future__ import annotations

import dataclasses

import numpy as np

from anybudget.presets.devices import KnownDevice, known_device, save_device
from anybudget.presets.named import path_of


def give_coefficient(name: str, feature: str, seconds_per_unit: float) -> None:
    """Write it into a preset, the same in all draws.

    Args:
        name: of the device.
        feature: one of `features.BESIDES`.
        seconds_per_unit: its coefficient.
    """
    known = known_device(name)
    assert known.device.step_time
    assert known.draws is not None
    model = known.device.step_time
    model = dataclasses.replace(
        model, seconds_per_unit=model.seconds_per_unit | {feature: seconds_per_unit}
    )
    columns = dict(zip(known.names, known.draws.T, strict=True))
    columns[feature] = np.full(len(known.draws), seconds_per_unit)
    device = dataclasses.replace(known.device, step_time=model)
    draws = np.column_stack([columns[each] for each in model.features])
    save_device(path_of(name, "devices"), KnownDevice(device=device, draws=draws))
