"""Timings of training steps as rows of a CSV file, and what several of one architecture say."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import AwareDatetime, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from ...files.write import check_writable
from ...objectives.cost.execution import Execution
from ...objectives.fit.step_time import Steps
from ...space.architecture import FIELDS, Architecture
from ..runs import ArchitectureRow

# Repeats that differ by more are repeated again, and marked if they still do.
DISAGREEMENT = 0.15


class StepRow(ArchitectureRow):
    """One timing: of which architecture, in which pass, on which machine.

    Attributes:
        step_time_s: median of groups of steps, in seconds of the clock.
        step_time_spread: interquartile range of the groups over their median.
        core_share: processor time over wall time.
        attention: of the steps; on a CPU `fused` is in blocks, see `training.cpu`.
        clock: `processor` on one CPU core, where other processes' turns do not count; else `wall`.
        peak_flops_per_s: best rate of a plain matmul, measured when the file was begun.
        bandwidth_bytes_per_s: best rate of a copy, likewise.
    """

    pass_index: NonNegativeInt
    step_time_s: PositiveFloat
    step_time_spread: NonNegativeFloat
    core_share: NonNegativeFloat
    n_steps: PositiveInt
    peak_flops_per_s: PositiveFloat
    bandwidth_bytes_per_s: PositiveFloat
    machine: str
    n_cores: PositiveInt
    dtype: str
    attention: Literal["plain", "fused"] = "plain"
    clock: str
    versions: str
    measured: AwareDatetime

    @property
    def key(self) -> tuple[Architecture, int]:
        """What a file holds once."""
        return self.architecture, self.pass_index


def rows_path_of(path: Path) -> Path:
    """The file of the rows, after a check that files can be written beside the device's.

    Raises:
        ValueError: they cannot, or the device's is not named as one.
    """
    if path.suffix != ".toml":
        raise ValueError(f"--out must end in .toml, but got {path}")
    if path.is_dir():
        raise ValueError(f"--out {path} cannot be written: it is a folder")
    rows_path = path.with_suffix(".csv")
    check_writable(path.parent)
    return rows_path


def steps_of(rows: list[StepRow]) -> Steps:
    """Rows as the fit takes them, one step for each architecture.

    Its fastest pass counts, for whatever else runs on a machine can only slow it.
    """
    times = {arch: min(repeats) for arch, repeats in _repeats(rows).items()}
    fields = {name: np.array([getattr(arch, name) for arch in times]) for name in FIELDS}
    execution = Execution(attention=rows[0].attention)
    return Steps(
        arch=Architecture(**fields), measured_s=np.array(list(times.values())), execution=execution
    )


def unsettled(rows: list[StepRow]) -> set[Architecture]:
    """Architectures whose two fastest passes disagree by more than `DISAGREEMENT`."""
    fastest = {arch: sorted(repeats)[:2] for arch, repeats in _repeats(rows).items()}
    return {arch for arch, two in fastest.items() if two[-1] > (1 + DISAGREEMENT) * two[0]}


def _repeats(rows: list[StepRow]) -> dict[Architecture, list[float]]:
    repeats: dict[Architecture, list[float]] = {}
    for row in rows:
        repeats.setdefault(row.architecture, []).append(row.step_time_s)
    return repeats
