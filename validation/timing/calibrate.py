"""`anybudget calibrate`: time unlike architectures on this machine and fit its step-time model.

Architectures are timed in passes, each once a pass, so that a drifting machine shows as repeats
that disagree. Every timing is a row on disk before the next begins; a rerun skips what is there.
"""

from __future__ import annotations

import dataclasses
import datetime
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ...machines.engines import Engine
from ...objectives.device import Device
from ...objectives.fit.step_time import (
    Steps,
    StepTimeFit,
    compare_step_times,
    draw_coefficients,
    implied_rates,
    variance_explained_alone,
)
from ...presets.devices import KnownDevice, save_device
from ...space.architecture import Architecture
from ..runs import ArchitectureRow, append_row, read_rows
from .step_design import ACCELERATOR_SCALE, DEFAULT, Effort, Limits, choose_architectures
from .step_rows import DISAGREEMENT, StepRow, rows_path_of, steps_of, unsettled
from .timers import Survey, Timer, fan_out, one_by_one, survey, survey_job

PASSES, EXTRA_PASSES = 2, 2
# Less of the core, and another process is at work.
QUIET_SHARE = 0.95
SIDE_BY_SIDE = (
    "workers timed side by side on one CPU, where they share caches and memory: steps may be "
    "slower than alone; for a device that predicts training alone, calibrate with one worker"
)
# What all rows of a file share.
SETTING = ("machine", "n_cores", "dtype", "attention", "clock", "versions")
RATES = ("peak_flops_per_s", "bandwidth_bytes_per_s")

Report = Callable[[str, int, int], None]
T = TypeVar("T", bound=ArchitectureRow)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Calibration:
    """What `calibrate` found.

    Attributes:
        device: this machine with the best model.
        fits: every model, best first.
        n_new: rows made by this run.
        side_by_side: whether this run's timings were made by workers on one CPU.
    """

    device: Device
    fits: list[StepTimeFit]
    n_new: int
    side_by_side: bool = False

    @property
    def implied_rates(self) -> dict[str, float]:
        """Bandwidth and FLOP/s that the best model's coefficients amount to."""
        return implied_rates(self.fits[0].model, self.device.bytes_per_element)

    @property
    def warnings(self) -> list[str]:
        """What a reader must know before believing it, a sentence each."""
        facts, warnings = self.device.calibration, []
        if self.device.kind == "cpu" and facts.get("core_share", 1.0) < QUIET_SHARE:
            warnings.append(
                f"other processes had {1 - facts['core_share']:.0%} of the time of our core: "
                "while they run, training takes that much longer than predicted"
            )
        if self.device.kind == "cpu" and self.side_by_side:
            warnings.append(SIDE_BY_SIDE)
        if n_unsettled := facts.get("n_unsettled"):
            warnings.append(
                f"repeats of {n_unsettled} of {facts['n_architectures']} architectures disagree by "
                f"more than {DISAGREEMENT:.0%}: the machine is not quiet"
            )
        if n_unfinished := facts.get("n_unfinished"):
            warnings.append(
                f"{n_unfinished} architectures have no step time: they did not fit or did not "
                "compile in time; the model knows nothing of such steps"
            )
        if self.device.basis == "compiled":
            warnings.append("all times are the compiler's estimates: no chip has run these steps")
        for name, implied in self.implied_rates.items():
            if implied > (known := getattr(self.device, name)):
                warnings.append(
                    f"the model implies {name} {implied:.3g}, above the chip's {known:.3g}: "
                    "its coefficient is too small to be physical, and others carry its work"
                )
        if not self.n_new:
            warnings.append(
                f"every architecture was {self.device.basis} before; remove the rows to begin anew"
            )
        return warnings

    def as_dict(self) -> dict[str, Any]:
        """The answer as plain data."""
        return {
            "device": _device_data(self.device),
            "implied_rates": self.implied_rates,
            "n_new": self.n_new,
            "warnings": self.warnings,
        }


def calibrate(
    path: Path,
    *,
    effort: Effort = DEFAULT,
    seed: int = 0,
    engine: Engine | None = None,
    on_progress: Report = lambda stage, done, total: None,
) -> Calibration:
    """Time architectures, fit every step-time model and write the device with the best.

    Beside the device file stand its rows (`.csv`), to which a rerun adds what is missing, and
    draws of the coefficients (`.draws.csv`).

    Args:
        path: of the device file, ending in `.toml`.
        effort: how much to measure.
        seed: decides the architectures.
        engine: where a fresh process times each; in this process when left out.
        on_progress: called with a stage, the work done since the last call and the stage's work.

    Raises:
        ValueError: the file cannot be written, or its rows are of another machine or not rows.
    """
    rows_path = rows_path_of(path)
    rows = list({row.key: row for row in read_rows(rows_path, StepRow)}.values())  # each once
    rates = {name: getattr(rows[0], name) for name in RATES} if rows else None
    jobs_folder = path.with_suffix(".jobs")
    on_progress("survey", 0, 1)
    if engine:
        here = Survey(**engine.call(jobs_folder, "survey", survey_job, rates=rates))
    else:
        here = survey(rates)
    on_progress("survey", 1, 1)
    _check_setting(rows_path, rows, here.setting)
    design = design_for(here, effort, seed)
    if engine:
        timer = fan_out(engine, jobs_folder, here, effort.seconds)
    else:
        timer = one_by_one(here, effort.seconds)
    n_earlier = len(rows)
    for row in time_all(rows, here, design, timer, on_progress):
        append_row(rows_path, row)
        rows.append(row)
    rows = sorted(in_order(rows, design), key=lambda row: row.pass_index)
    steps = steps_of(rows)
    fits = compare_step_times(steps)
    device = _device(rows, steps, fits, here, rows_path.name)
    draws = draw_coefficients(steps, fits[0].model, seed=seed)
    save_device(path, KnownDevice(device=device, draws=draws))
    n_new = len(rows) - n_earlier
    side_by_side = bool(n_new and engine and engine.shares_a_cpu)
    return Calibration(device=device, fits=fits, n_new=n_new, side_by_side=side_by_side)


def design_for(here: Survey, effort: Effort, seed: int) -> list[Architecture]:
    """The architectures to time on a machine."""
    is_cpu = here.kind == "cpu"
    limits = Limits(
        **here.rates, memory_bytes=here.memory_bytes, bytes_per_element=4 if is_cpu else 2
    )
    scale = 1 if is_cpu else ACCELERATOR_SCALE
    return choose_architectures(effort, limits, seed=seed, scale=scale)


def time_all(
    rows: list[StepRow],
    here: Survey,
    design: list[Architecture],
    timer: Timer,
    on_progress: Report,
) -> Iterator[StepRow]:
    """Rows that are missing, pass by pass; extra passes are for repeats that disagree.

    The caller adds each row to `rows` before it asks for the next.
    """
    for pass_index in range(PASSES + EXTRA_PASSES):
        again = unsettled(rows)
        todo = [arch for arch in design if pass_index < PASSES or arch in again]
        done = {row.key for row in rows}
        missing = [arch for arch in todo if (arch, pass_index) not in done]
        stage = f"pass {pass_index + 1}"
        on_progress(stage, len(todo) - len(missing), len(todo))
        for arch, timing in timer(missing, pass_index):
            yield StepRow(
                **arch.as_dict(),
                **dataclasses.asdict(timing),
                **here.rates,
                **here.setting,
                pass_index=pass_index,
                measured=datetime.datetime.now(datetime.UTC),
            )
            on_progress(stage, 1, len(todo))


def in_order(rows: list[T], design: list[Architecture]) -> list[T]:
    """Rows as the design has their architectures, whichever came first."""
    place = {arch: at for at, arch in enumerate(design)}
    return sorted(rows, key=lambda row: place.get(row.architecture, len(design)))


def _check_setting(rows_path: Path, rows: list[StepRow], setting: dict[str, Any]) -> None:
    for name in SETTING:
        for row in rows:
            if (theirs := getattr(row, name)) != setting[name]:
                raise ValueError(
                    f"{rows_path} holds timings with {name} {theirs!r}, but here it is "
                    f"{setting[name]!r}; remove that file or name another with --out"
                )


def _device(
    rows: list[StepRow], steps: Steps, fits: list[StepTimeFit], here: Survey, rows_name: str
) -> Device:
    first, best = rows[0], fits[0]
    name = f"{first.machine} {first.n_cores} core{'s' if first.n_cores > 1 else ''}"
    dtype: Any = first.dtype
    return Device(
        name=re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-"),
        kind=here.kind,
        peak_flops_per_s=first.peak_flops_per_s,
        bandwidth_bytes_per_s=first.bandwidth_bytes_per_s,
        memory_bytes=here.memory_bytes,
        dtype=dtype,
        source=f"measured by anybudget calibrate, rows in {rows_name}",
        basis="measured",
        step_time=best.model,
        calibration={
            **{name: getattr(first, name) for name in SETTING},
            "date": max(row.measured for row in rows).isoformat(timespec="seconds"),
            "n_architectures": len(steps.measured_s),
            "n_timings": len(rows),
            "n_unsettled": len(unsettled(rows)),
            "core_share": float(np.median([row.core_share for row in rows])),
            **judgement(steps, fits),
        },
    )


def judgement(steps: Steps, fits: list[StepTimeFit]) -> dict[str, Any]:
    """How well models of step time, best first, predict shapes that they have not seen."""
    return {
        "actual_over_predicted_95": list(fits[0].ratio_95),
        "variance_explained_alone": variance_explained_alone(steps),
        "heldout": {fit.label: {"r2": fit.r2, "mape": fit.mape} for fit in fits},
    }


def _device_data(device: Device) -> dict[str, Any]:
    """Without the keys that are None, for which TOML has no word."""
    return {name: value for name, value in dataclasses.asdict(device).items() if value is not None}
