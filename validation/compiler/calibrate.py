"""`anybudget calibrate --topology`: fit a TPU chip's step-time model to its compiler's estimates.

No chip is needed and none has run: every step is compiled ahead of time, the minutes that it takes
are spent once, and a rerun goes on where the last one stopped.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...machines.engines import Engine
from ...objectives.cost.execution import PLAIN
from ...objectives.device import Device
from ...objectives.fit.step_time import StepTimeFit, compare_step_times, draw_coefficients
from ...presets.devices import KnownDevice, save_device
from ...space.architecture import Architecture
from ..runs import append_row, read_rows
from ..timing.calibrate import Calibration, Report, in_order, judgement
from ..timing.step_design import ACCELERATOR_SCALE, Effort, Limits, choose_architectures
from ..timing.step_rows import rows_path_of
from .compile import compile_for, require_compiler
from .rows import CompileRow, row_of, steps_of
from .topology import GENERATIONS, Topology, parse_topology

# Steps as deep and as many as compile within hours.
QUICK = Effort(n_architectures=12, seconds=0, max_step_s=0.003, max_layers=2)
DEFAULT = Effort(n_architectures=42, seconds=0, max_step_s=0.01, max_layers=4)
TIMEOUT_S = 1800.0


def calibrate_compiled(
    path: Path,
    topology: str,
    *,
    effort: Effort = DEFAULT,
    seed: int = 0,
    engine: Engine | None = None,
    timeout_s: float = TIMEOUT_S,
    on_progress: Report = lambda stage, done, total: None,
) -> Calibration:
    """Compile architectures for one chip, fit every step-time model, write the device of the best.

    Files as `calibrate` writes them. A step that does not compile in time has a row without a step
    time, and is not tried again.

    Args:
        path: of the device file, ending in `.toml`.
        topology: of one chip, as `v5e:1x1`.
        effort: how many steps, how large.
        seed: decides the architectures.
        engine: where each is compiled in a job of its own; one after the other when left out.
        timeout_s: for each.
        on_progress: called with a stage, the work done since the last call and the stage's work.

    Raises:
        ValueError: no such topology or of several chips, the compiler is not installed, the file
            cannot be written or its rows are of another topology, or no step compiled in time.
    """
    chip = parse_topology(topology)
    if chip.n_chips > 1:
        raise ValueError(f"--topology must be of one chip to calibrate it, but got {topology}")
    rows_path = rows_path_of(path)
    rows = _rows_of(rows_path, topology)
    done = {row.architecture for row in rows}
    design = design_for(chip, effort, seed)
    missing = [arch for arch in design if arch not in done]
    if missing:
        require_compiler()
    on_progress("compiled", len(done), len(done) + len(missing))
    what = {"topology": topology, "timeout_s": timeout_s}
    for row in _compiled(missing, engine, path.with_suffix(".jobs"), **what):
        append_row(rows_path, row)
        rows.append(row)
        on_progress("compiled", 1, len(done) + len(missing))
    timed = [row for row in in_order(rows, design) if row.step_time_s]
    if not timed:
        raise ValueError(
            f"no step compiled within {timeout_s:g} s; "
            f"remove {rows_path} and give more with --timeout"
        )
    device, fits, draws = _fitted(chip, timed, len(rows) - len(timed), rows_path.name, seed)
    save_device(path, KnownDevice(device=device, draws=draws))
    return Calibration(device=device, fits=fits, n_new=len(missing))


def _fitted(
    chip: Topology, timed: list[CompileRow], n_unfinished: int, rows_name: str, seed: int
) -> tuple[Device, list[StepTimeFit], np.ndarray]:
    """The chip with the best model of its compiled steps, all models, and draws of the best's."""
    steps = dataclasses.replace(steps_of(timed), prior=chip.prior)
    fits = compare_step_times(steps)
    if not fits[0].from_prior:
        steps = dataclasses.replace(steps, prior=None)
    moved = {"moved_from": GENERATIONS[chip.generation].like} if fits[0].from_prior else {}
    device = dataclasses.replace(
        chip.device,
        name=chip.device.name.removesuffix("-datasheet"),
        source=(
            f"{chip.device.source}; step times: estimates of its compiler, not measured, by "
            f"anybudget calibrate --topology {chip.name}, rows in {rows_name}"
        ),
        basis="compiled",
        step_time=fits[0].model,
        calibration={
            "topology": chip.name,
            "versions": timed[-1].versions,
            "date": max(row.compiled for row in timed).isoformat(timespec="seconds"),
            "n_architectures": len(timed),
            "n_unfinished": n_unfinished,
            **moved,
            **judgement(steps, fits),
        },
    )
    return device, fits, draw_coefficients(steps, fits[0].model, seed=seed)


def _rows_of(path: Path, topology: str) -> list[CompileRow]:
    """What a file holds already, all of this topology."""
    rows = read_rows(path, CompileRow)
    if other := next((row.topology for row in rows if row.topology != topology), None):
        raise ValueError(
            f"{path} holds steps compiled for {other}, not {topology}; "
            "remove that file or name another with --out"
        )
    return rows


def design_for(chip: Topology, effort: Effort, seed: int) -> list[Architecture]:
    """The architectures to compile for a chip."""
    limits = Limits(
        peak_flops_per_s=chip.device.peak_flops_per_s,
        bandwidth_bytes_per_s=chip.device.bandwidth_bytes_per_s,
        memory_bytes=chip.device.memory_bytes,
        bytes_per_element=chip.device.bytes_per_element,
    )
    return choose_architectures(effort, limits, seed=seed, scale=ACCELERATOR_SCALE)


def compile_job(*, arch: dict[str, Any], topology: str, timeout_s: float) -> dict[str, Any]:
    """Compile one architecture's unrolled training step; a `CompileRow` as plain data."""
    chip = parse_topology(topology)
    step = compile_for(Architecture(**arch), chip, PLAIN, timeout_s=timeout_s)
    return row_of(step, datetime.datetime.now(datetime.UTC)).model_dump(mode="json")


def _compiled(
    archs: list[Architecture], engine: Engine | None, folder: Path, **what: Any
) -> Iterator[CompileRow]:
    """Each as a row once it is compiled: here, or in a job on an engine."""
    if engine is None:
        answers = (compile_job(arch=arch.as_dict(), **what) for arch in archs)
    else:
        jobs = [
            engine.job(f"{arch.d_model}×{arch.n_layers}", compile_job, arch=arch.as_dict(), **what)
            for arch in archs
        ]
        answers = (answer for _, answer in engine.run(jobs, folder))
    return map(CompileRow.model_validate, answers)
