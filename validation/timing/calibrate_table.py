"""`anybudget calibrate --steps`: fit a device's step-time model to a table of timed steps."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ...objectives.device import Device
from ...objectives.fit.step_time import compare_step_times, draw_coefficients
from ...presets.devices import KnownDevice, save_device
from .calibrate import Calibration, judgement
from .step_rows import rows_path_of
from .step_table import StepTable, read_step_table

# Fewer shapes are few to judge by.
FEW_SHAPES = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class TableCalibration(Calibration):
    """What `calibrate_table` found, and what its table cannot tell."""

    @property
    def warnings(self) -> list[str]:
        """What a reader must know before believing it, a sentence each."""
        facts = self.device.calibration
        alike = [f"{name} ({n[0]})" for name, n in facts["varied"].items() if n[0] == n[-1]]
        warnings = []
        if moved := facts.get("moved_from"):
            warnings.append(
                f"{moved} moved by these steps: its level first, the rest as far as they tell"
            )
        if (n_shapes := facts["n_architectures"]) < FEW_SHAPES:
            warnings.append(
                f"{facts['n_timings']} steps of {n_shapes} shapes are few: the error held out is "
                f"uncertain itself; {FEW_SHAPES} shapes or more would tell"
            )
        if alike:
            warnings.append(
                f"not varied: {', '.join(alike)}; at other values a prediction is counted from the "
                "architecture, not fitted"
            )
        if n_beyond := facts["n_beyond_memory"]:
            warnings.append(
                f"{n_beyond} of {facts['n_timings']} steps ran, but by our count need more memory "
                f"than the {self.device.memory_bytes / 1e9:,.4g} GB of {self.device.name}: its "
                "predictions of memory are too high for this software"
            )
        if unused := facts["unused_columns"]:
            warnings.append(f"columns not read: {', '.join(unused)}")
        return warnings + super().warnings


def calibrate_table(
    path: Path,
    table_path: Path,
    hardware: Device,
    *,
    basis: Literal["published", "measured"] = "published",
    source: str = "",
    seed: int = 0,
) -> TableCalibration:
    """Fit every step-time model to a table and write the device with the best.

    Beside the device file stand draws of the coefficients (`.draws.csv`).

    Args:
        path: of the device file, ending in `.toml`.
        table_path: a CSV with the columns of `TimedStep`.
        hardware: on which the steps ran; its rates, memory and links are kept.
        basis: whether others published the timings or the user made them.
        source: where the timings stand, for the device's own.
        seed: of the draws.

    Raises:
        ValueError: the file cannot be written, the table is not one of steps, or its shapes are
            too few.
    """
    rows_path_of(path)
    if basis not in ("published", "measured"):
        raise ValueError(f"--basis must be published or measured, but got {basis!r}")
    table = read_step_table(table_path, hardware)
    try:
        steps = dataclasses.replace(table.steps, prior=hardware.step_time)
    except ValueError as error:
        raise ValueError(f"{table_path}: {error}") from None
    fits = compare_step_times(steps)
    if not fits[0].from_prior:
        steps = dataclasses.replace(steps, prior=None)
    device = dataclasses.replace(
        hardware,
        name=path.stem,
        basis=basis,
        utilisation=1.0,
        step_time=fits[0].model,
        source=f"{hardware.source}; step times: fitted by anybudget calibrate --steps to "
        f"{len(table.rows)} steps in {table_path.name}{f' ({source})' if source else ''}",
        calibration={
            "table": table_path.name,
            **_facts(table),
            **_trainers(table, fits[0].levels),
            **({"moved_from": hardware.name} if fits[0].from_prior else {}),
            "n_timings": len(table.rows),
            "n_architectures": int(steps.shape_index.max()) + 1,
            **judgement(steps, fits),
        },
    )
    draws = draw_coefficients(steps, fits[0].model, seed=seed)
    save_device(path, KnownDevice(device=device, draws=draws))
    return TableCalibration(device=device, fits=fits, n_new=len(table.rows))


def _facts(table: StepTable) -> dict[str, Any]:
    return {
        "software": "; ".join(table.software),
        "unused_columns": list(table.unused),
        "n_beyond_memory": table.n_beyond_memory,
        "varied": table.varied,
    }


def _trainers(table: StepTable, levels: np.ndarray) -> dict[str, Any]:
    """How much longer or shorter each trainer took than the mean of all; nothing of one alone."""
    if len(levels) == 1:
        return {}
    return {
        "trainers": dict(zip(table.software, levels.tolist(), strict=True)),
        "software_spread": float(np.std(np.log(levels), ddof=1)),
    }
