"""`anybudget calibrate`: time unlike architectures on this machine and fit its step-time model.

Architectures are timed in passes, each once a pass, so that a drifting machine shows as repeats
that disagree. Every timing is a row on disk before the next begins; a rerun skips what is there.
"""

from __future__ import annotations

import dataclasses
import datetime
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tomli_w
from pydantic import AwareDatetime, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from ..objectives.counts import flops_per_step, memcpys_per_step, n_params
from ..objectives.device import Device
from ..objectives.fit_step_time import (
    Steps,
    StepTimeFit,
    compare_step_times,
    draw_coefficients,
    implied_rates,
    variance_explained_alone,
)
from ..objectives.memory import memory_bytes
from ..objectives.step_time import MODELS
from ..space.architecture import FIELDS, Architecture
from .corpus import written_whole
from .machine import count_cores, machine_name
from .model import Execution
from .peak import peak_matmul_flops_per_s
from .runs import ArchitectureRow, append_row, read_rows
from .step_clock import CompiledStep, clock_name, copy_bytes_per_s

POOL_SIZE = 600
# Repeats that differ by more are marked, and repeated in up to so many further passes.
DISAGREEMENT = 0.15
PASSES, EXTRA_PASSES = 2, 2
MIN_STEP_S = 1e-3
MEMORY_SHARE = 0.25
# Less of the core, and another process is at work.
QUIET_SHARE = 0.95
# What a model implies, and what of the device that must not exceed.
RATES = {"bandwidth_bytes_per_s": "bandwidth_bytes_per_s", "flops_per_s": "peak_flops_per_s"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Effort:
    """How much to measure: how many architectures, how long each in a pass, how large they are."""

    n_architectures: int
    seconds: float
    max_step_s: float
    max_layers: int


QUICK = Effort(n_architectures=12, seconds=0.3, max_step_s=0.06, max_layers=4)
DEFAULT = Effort(n_architectures=64, seconds=1.5, max_step_s=0.3, max_layers=16)


class StepRow(ArchitectureRow):
    """One timing: of which architecture, in which pass, on which machine.

    Attributes:
        step_time_s: median of groups of steps, in seconds of the clock.
        step_time_spread: interquartile range of the groups over their median.
        core_share: processor time over wall time.
        clock: `processor` on one CPU core, where other processes' turns do not count; else `wall`.
        peak_flops_per_s: best rate of a plain matmul, measured when the file was begun.
        bandwidth_bytes_per_s: best rate of a copy, likewise.
    """

    pass_index: NonNegativeInt
    step_time_s: PositiveFloat
    step_time_spread: NonNegativeFloat
    core_share: NonNegativeFloat
    n_steps: PositiveInt
    clock: str
    peak_flops_per_s: PositiveFloat
    bandwidth_bytes_per_s: PositiveFloat
    machine: str
    n_cores: PositiveInt
    dtype: str
    versions: str
    measured: AwareDatetime

    @property
    def key(self) -> tuple[Architecture, int]:
        """What a file holds once."""
        return self.architecture, self.pass_index


SETTING = ("machine", "n_cores", "dtype", "clock", "versions")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Calibration:
    """What `calibrate` found.

    Attributes:
        device: this machine with the best model.
        fits: every model, best first.
        alone: share of variance that memory copies and FLOPs each explain.
        rates: bandwidth and FLOP/s that the best model implies.
        n_unsettled: architectures whose repeats still disagree.
        core_share: of all timings, the median.
        n_architectures: timed.
        n_new: timings made by this run.
    """

    device: Device
    fits: list[StepTimeFit]
    alone: dict[str, float]
    rates: dict[str, float]
    n_unsettled: int
    core_share: float
    n_architectures: int
    n_new: int

    @property
    def warnings(self) -> list[str]:
        """What a reader must know before believing it, a sentence each."""
        warnings = []
        if self.core_share < QUIET_SHARE and self.device.kind == "cpu":
            warnings.append(
                f"other processes had {1 - self.core_share:.0%} of the time of our cores: "
                "training takes that much longer while they run"
            )
        if self.n_unsettled:
            warnings.append(
                f"repeats of {self.n_unsettled} of {self.n_architectures} architectures disagree "
                f"by more than {DISAGREEMENT:.0%}: the machine is not quiet"
            )
        for name, ours in self.rates.items():
            if ours > (best := getattr(self.device, RATES[name])):
                warnings.append(
                    f"the model implies {ours:.3g} {name}, above the {best:.3g} measured: "
                    "that coefficient is too small to be physical, and others carry its work"
                )
        if not self.n_new:
            warnings.append("all of it was timed before; remove the rows to time it anew")
        return warnings

    def as_dict(self) -> dict[str, Any]:
        """The answer as plain data."""
        return {
            "device": _plain(dataclasses.asdict(self.device)),
            "implied_rates": self.rates,
            "warnings": self.warnings,
        }


def calibrate(
    path: Path,
    *,
    effort: Effort = DEFAULT,
    seed: int = 0,
    on_progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> Calibration:
    """Time architectures, fit every step-time model and write the device with the best.

    Beside the device file stand its rows (`.csv`), to which a rerun adds what is missing, and
    draws of the coefficients (`.draws.csv`).

    Args:
        path: of the device file, ending in `.toml`.
        effort: how much to measure.
        seed: decides the architectures.
        on_progress: called with a stage, the work done since the last call and the stage's work.

    Raises:
        ValueError: the file cannot be written, or its rows are of another machine or not rows.
    """
    rows_path = _rows_path(path)
    setting = this_setting()
    rows = _earlier_rows(rows_path, setting)
    n_earlier = len(rows)
    if not rows:
        on_progress("this machine's best", 0, 1)
    rates = (
        (rows[0].peak_flops_per_s, rows[0].bandwidth_bytes_per_s)
        if rows
        else (peak_matmul_flops_per_s(setting["dtype"]), copy_bytes_per_s())
    )
    design = choose_architectures(effort, rates, seed=seed)
    for row in _time_all(design, rows, rates, setting, effort, on_progress):
        append_row(rows_path, row)
        rows.append(row)
    return _save(path, rows, n_new=len(rows) - n_earlier)


def choose_architectures(
    effort: Effort, rates: tuple[float, float], *, seed: int
) -> list[Architecture]:
    """Unlike architectures whose step takes neither too long nor too short on a machine.

    From a random pool the one farthest from all chosen before is taken next, by the logarithms of
    what a step's time may depend on.
    """
    pool = list(_pool(effort, rates, np.random.default_rng(seed)))
    counts = np.log([_spread_counts(arch) for arch in pool])
    places = (counts - counts.mean(axis=0)) / counts.std(axis=0)
    distance = np.sum(places**2, axis=1)
    chosen = [int(np.argmin(distance))]
    distance = np.full(len(pool), np.inf)
    while len(chosen) < effort.n_architectures:
        latest = np.sum((places - places[chosen[-1]]) ** 2, axis=1)
        distance = np.minimum(distance, latest)
        chosen.append(int(np.argmax(distance)))
    return [pool[i] for i in chosen]


def _spread_counts(arch: Architecture) -> tuple[float, ...]:
    rows = arch.tokens_per_step
    return (
        memcpys_per_step(arch),
        flops_per_step(arch),
        n_params(arch),
        arch.n_layers,
        rows * arch.vocab_size,
        arch.n_layers * rows * arch.n_heads * arch.seq_len,
        arch.d_model,
    )


def _pool(
    effort: Effort, rates: tuple[float, float], rng: np.random.Generator
) -> Iterator[Architecture]:
    """Distinct random architectures within the limits of time and memory."""
    element_bytes, scale = (4, 1) if jax.default_backend() == "cpu" else (2, 4)
    seen: set[Architecture] = set()

    def one_of(*values: int) -> int:
        return int(rng.choice(values))

    while len(seen) < POOL_SIZE:
        d_model = scale * one_of(32, 64, 96, 128, 192, 256, 384, 512, 768)
        d_head = one_of(*(size for size in (32, 64, 128) if d_model % size == 0))
        n_heads = d_model // d_head
        arch = Architecture(
            d_model=d_model,
            n_layers=one_of(*(n for n in (1, 2, 3, 4, 6, 8, 12, 16) if n <= effort.max_layers)),
            n_heads=n_heads,
            n_kv_heads=n_heads // one_of(*(n for n in (1, 2, 4) if n_heads % n == 0)),
            d_head=d_head,
            d_ff=d_model * one_of(2, 3, 4, 6, 8),
            gated_mlp=bool(rng.integers(2)),
            vocab_size=one_of(512, 1024, 2048, 4096, 8192, 16384, 32768),
            tied_embeddings=bool(rng.integers(2)),
            seq_len=one_of(64, 128, 256, 512, 1024),
            batch_size=one_of(1, 2, 4, 8, 16, 32),
        )
        at_best_s = flops_per_step(arch) / rates[0] + (
            element_bytes * memcpys_per_step(arch) / rates[1]
        )
        fits = memory_bytes(arch, bytes_per_element=element_bytes) < MEMORY_SHARE * _memory_bytes()
        if MIN_STEP_S < at_best_s < effort.max_step_s and fits and arch not in seen:
            seen.add(arch)
            yield arch


def _time_all(
    design: list[Architecture],
    rows: list[StepRow],
    rates: tuple[float, float],
    setting: dict[str, Any],
    effort: Effort,
    on_progress: Callable[[str, int, int], None],
) -> Iterator[StepRow]:
    """Rows that are missing, pass by pass; extra passes are for repeats that disagree.

    The caller appends each row to `rows` before it asks for the next.
    """
    execution = Execution(dtype=setting["dtype"])
    programs: dict[Architecture, CompiledStep] = {}
    for pass_index in range(PASSES + EXTRA_PASSES):
        again = unsettled(rows)
        todo = [arch for arch in design if pass_index < PASSES or arch in again]
        stage = f"pass {pass_index + 1}" if pass_index < PASSES else "repeats that disagree"
        done = {row.key for row in rows}
        for arch in todo:
            if (arch, pass_index) not in done:
                if arch not in programs:
                    programs[arch] = CompiledStep(arch, execution)
                timing = programs[arch].time(effort.seconds)
                yield StepRow(
                    **arch.as_dict(),
                    **dataclasses.asdict(timing),
                    **setting,
                    pass_index=pass_index,
                    peak_flops_per_s=rates[0],
                    bandwidth_bytes_per_s=rates[1],
                    measured=datetime.datetime.now(datetime.UTC),
                )
            on_progress(stage, 1, len(todo))


def step_times_s(rows: list[StepRow]) -> dict[Architecture, float]:
    """Each architecture's step time: the fastest pass, for what else runs can only slow it."""
    return {arch: min(times) for arch, times in _repeats(rows).items()}


def unsettled(rows: list[StepRow]) -> set[Architecture]:
    """Architectures whose two fastest passes disagree by more than `DISAGREEMENT`."""
    fastest = {arch: sorted(times)[:2] for arch, times in _repeats(rows).items()}
    return {arch for arch, two in fastest.items() if two[-1] > (1 + DISAGREEMENT) * two[0]}


def _repeats(rows: list[StepRow]) -> dict[Architecture, list[float]]:
    repeats: dict[Architecture, list[float]] = {}
    for row in rows:
        repeats.setdefault(row.architecture, []).append(row.step_time_s)
    return repeats


def steps_of(rows: list[StepRow]) -> Steps:
    """Rows as the fit takes them, one step for each architecture."""
    times = step_times_s(rows)
    fields = {name: np.array([getattr(arch, name) for arch in times]) for name in FIELDS}
    return Steps(arch=Architecture(**fields), measured_s=np.array(list(times.values())))


def this_setting() -> dict[str, Any]:
    """What all rows of a file must share."""
    kind = jax.default_backend()
    return {
        "machine": machine_name(kind),
        "n_cores": count_cores(),
        "dtype": "float32" if kind == "cpu" else "bfloat16",
        "clock": clock_name(),
        "versions": f"jax {jax.__version__}",
    }


def _rows_path(path: Path) -> Path:
    """The file of the rows, after a check that a device file can be written beside it."""
    if path.suffix != ".toml":
        raise ValueError(f"--out must end in .toml, but got {path}")
    rows_path = path.with_suffix(".csv")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        existed = rows_path.exists()
        rows_path.open("ab").close()
        if not existed:
            rows_path.unlink()
        if path.is_dir():
            raise IsADirectoryError(0, "it is a folder")
    except OSError as error:
        raise ValueError(f"--out {path} cannot be written: {error.strerror}") from None
    return rows_path


def _earlier_rows(rows_path: Path, setting: dict[str, Any]) -> list[StepRow]:
    rows = read_rows(rows_path, StepRow) if rows_path.exists() else []
    for name in SETTING:
        for row in rows:
            if (theirs := getattr(row, name)) != setting[name]:
                raise ValueError(
                    f"{rows_path} holds timings with {name} {theirs!r}, but here it is "
                    f"{setting[name]!r}; remove that file or name another with --out"
                )
    return rows


def _save(path: Path, rows: list[StepRow], *, n_new: int) -> Calibration:
    """Fit the rows and write the device file and the draws."""
    steps = steps_of(rows)
    fits = compare_step_times(steps)
    best, first = fits[0], rows[0]
    n_unsettled = len(unsettled(rows))
    core_share = float(np.median([row.core_share for row in rows]))
    alone = variance_explained_alone(steps)
    device = Device(
        name=re.sub(r"[^a-z0-9]+", "-", f"{first.machine} {first.n_cores} core".lower()).strip("-"),
        kind=_kind(),
        peak_flops_per_s=first.peak_flops_per_s,
        bandwidth_bytes_per_s=first.bandwidth_bytes_per_s,
        memory_bytes=_memory_bytes(),
        dtype=first.dtype,  # type: ignore[arg-type]
        source=f"measured by anybudget calibrate, rows in {path.with_suffix('.csv').name}",
        basis="measured",
        step_time=best.model,
        calibration={
            **{name: getattr(first, name) for name in SETTING},
            "date": max(row.measured for row in rows).isoformat(timespec="seconds"),
            "n_architectures": len(steps.measured_s),
            "n_timings": len(rows),
            "n_unsettled": n_unsettled,
            "core_share": core_share,
            "measured_over_predicted_95": list(best.ratio_95),
            "variance_explained_alone": alone,
            "heldout": {fit.model.name: {"r2": fit.r2, "mape": fit.mape} for fit in fits},
        },
    )
    with written_whole(path) as partial:
        partial.write_text(tomli_w.dumps(_plain(dataclasses.asdict(device))))
    draws = draw_coefficients(steps, best.model)
    with written_whole(path.with_suffix(".draws.csv")) as partial:
        header = ",".join(MODELS[best.model.name])
        np.savetxt(partial, draws, fmt="%.6g", delimiter=",", header=header, comments="")
    return Calibration(
        device=device,
        fits=fits,
        alone=alone,
        rates=implied_rates(best.model, device.bytes_per_element),
        n_unsettled=n_unsettled,
        core_share=core_share,
        n_architectures=len(steps.measured_s),
        n_new=n_new,
    )


def _kind() -> Any:
    return jax.default_backend()


def _memory_bytes() -> float:
    """Of this device, or of the host where it is a CPU."""
    stats = jax.devices()[0].memory_stats() or {}
    return float(
        stats.get("bytes_limit") or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    )


def _plain(value: Any) -> Any:
    """Without the keys that are None, for which TOML has no word."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items() if item is not None}
    return value
