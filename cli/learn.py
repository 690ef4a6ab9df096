"""What a machine and a law are: calibrate, fit, and the lists of those that there are."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from .options import Flag, Jobs, Json, Positive, Seconds, Seed
from .output import progress, show, show_json

if TYPE_CHECKING:
    from ..validation.timing.calibrate import Calibration

Sources = Annotated[Flag, Parameter(help="And where the numbers of each come from.")]


def calibrate(
    *,
    quick: Flag = False,
    cores: Positive | None = None,
    jobs: Jobs = Jobs(),
    topology: str | None = None,
    timeout: Seconds = 1800.0,
    steps: Path | None = None,
    device: str | None = None,
    basis: str = "published",
    seed: Seed = 0,
    out: Path | None = None,
    as_json: Json = False,
) -> None:
    """Time unlike architectures on this machine and fit its step-time model.

    Example: `anybudget calibrate --quick`

    Args:
        quick: A minute instead of ten.
        cores: CPU cores to use; default one, all beside an accelerator.
        topology: A TPU chip that is not here, as v5e:1x1: by its compiler, in hours.
        timeout: Seconds for each compilation, with --topology.
        steps: A CSV of timed steps, yours or others'; needs --device.
        device: What ran the --steps: a name, or a TOML file.
        basis: Who timed the --steps: others, published; or you, measured.
        out: Device file, .toml; default: where find looks; TOPOLOGY.toml, TABLE.toml.
    """
    from ..show.terminal.calibration import show_calibration

    if steps:
        path = out or Path(f"{steps.stem}.toml")
        found = _calibrate_table(path, steps, device, basis=basis, seed=seed)
    else:
        fit: Callable[..., Calibration]
        if topology:
            from ..validation.compiler.calibrate import DEFAULT, QUICK, calibrate_compiled

            engine = jobs.engine_of(cores)
            path = out or Path(f"{topology.replace(':', '-')}.toml")
            fit = functools.partial(calibrate_compiled, topology=topology, timeout_s=timeout)
        else:
            engine = jobs.start(cores)
            from ..files.places import calibrated_device_path
            from ..validation.timing.calibrate import calibrate as fit
            from ..validation.timing.step_design import DEFAULT, QUICK

            path = out or calibrated_device_path()
        effort = QUICK if quick else DEFAULT
        with progress() as report:
            found = fit(path, effort=effort, seed=seed, engine=engine, on_progress=report)
    if as_json:
        show_json(found.as_dict())
    else:
        show(show_calibration(found, path))


def fit(
    runs: Path,
    /,
    *,
    method: str = "varpro",
    form: str = "auto",
    kappa: float | None = None,
    copying: bool = True,
    n_convention: str | None = None,
    column: list[str] | None = None,
    prior: str | None = None,
    huber_delta: float = 0.001,
    draws: Annotated[int, Parameter(validator=Number(gte=100), help="Bootstrap draws.")] = 1000,
    seed: Seed = 0,
    out: Path | None = None,
    as_json: Json = False,
) -> None:
    """Fit a loss law to training runs, with its uncertainty and its held-out error.

    Example: `anybudget fit runs.csv --out mine.toml`

    Args:
        runs: A CSV with n_params, n_tokens, measured_loss; rows of one run share `run` or `Name`.
        method: varpro, linear or multi_start.
        form: Further terms: none, a form by name, or auto, kept if they pay, and copying too.
        kappa: Power in the law; default: kept below 1 if it pays.
        copying: Whether auto may find that runs learn to copy, where that pays.
        n_convention: N counts `total` or `non_embedding` parameters.
        prior: Another data's law, by name or file, that runs of yours move, as few as there are.
        column: A column under another name, as n_params=params; repeatable.
        huber_delta: Threshold on the log residual; 0: from the residuals' spread.
        out: Law file, .toml, as `find --law` takes it.
    """
    from ..files.table import read_runs
    from ..objectives.fit.report import report_law
    from ..presets.laws import KnownLaw, save_law
    from ..show.terminal.law import show_law

    _require_law_file(out)
    table = read_runs(runs, _renamed(column or []))
    if prior:
        return _anchor(table, prior, runs, out, seed=seed, as_json=as_json)
    with progress() as on_progress:
        report = report_law(
            table,
            name=out.stem if out else runs.stem,
            source=f"fitted to {runs.name} by anybudget fit",
            method=method,  # type: ignore[arg-type]
            form=form,
            kappa=kappa,
            copying=copying,
            n_convention=n_convention,  # type: ignore[arg-type]
            huber_delta=huber_delta,
            n_draws=draws,
            seed=seed,
            on_progress=on_progress,
        )
    if out:
        save_law(out, KnownLaw.of(report))
    return show_json(report.as_dict()) if as_json else show(show_law(report))


def _require_law_file(out: Path | None) -> None:
    if out and (out.suffix != ".toml" or not out.parent.is_dir()):
        raise ValueError(f"--out must be a .toml file in an existing folder, but got {str(out)!r}")


def _anchor(
    table: dict[str, Any], prior: str, runs: Path, out: Path | None, *, seed: int, as_json: bool
) -> None:
    """Move a law by a table of runs, save it and show it."""
    from ..objectives.fit.prior import anchor
    from ..objectives.fit.report import corpus_of
    from ..objectives.fit.runs import law_runs
    from ..presets.laws import KnownLaw, known_law, save_law
    from ..show.terminal.law import show_anchored

    known = known_law(prior)
    few = law_runs(table, n_convention=known.law.n_convention, few=True)
    anchored = anchor(known.law, known.draws, few, seed=seed)
    law = dataclasses.replace(
        anchored.law,
        name=out.stem if out else runs.stem,
        corpus=corpus_of(table),
        source=f"{known.law.name} moved by {few.n_runs} runs of {runs.name}, by anybudget fit",
    )
    anchored = dataclasses.replace(anchored, law=law)
    if out:
        save_law(out, KnownLaw(law=law, draws=anchored.draws))
    if as_json:
        show_json(anchored.as_dict())
    else:
        show(show_anchored(anchored, known.law, few.warnings))


def _renamed(columns: list[str]) -> dict[str, str]:
    """Names of columns in a user's table by ours."""
    pairs = dict(one.split("=", 1) for one in columns if "=" in one)
    if len(pairs) < len(columns):
        raise ValueError(f"--column must be ours=theirs, each once, but got {', '.join(columns)}")
    return pairs


def devices(*, sources: Sources = False, as_json: Json = False) -> None:
    """List the devices, each in a line.

    Example: `anybudget devices --sources`
    """
    from ..presets.devices import device_names, load_device
    from ..show.terminal.found import show_devices

    rows = [load_device(name) for name in device_names()]
    if as_json:
        show_json([dataclasses.asdict(row) for row in rows])
    else:
        show(show_devices(rows, sources=sources))


def laws(*, sources: Sources = False, as_json: Json = False) -> None:
    """List the loss laws, each with its convention and range.

    Example: `anybudget laws --json`
    """
    from ..presets.laws import law_names, load_law
    from ..show.terminal.found import show_laws

    rows = [load_law(name) for name in law_names()]
    if as_json:
        show_json([dataclasses.asdict(row) for row in rows])
    else:
        show(show_laws(rows, sources=sources))


def _calibrate_table(
    path: Path, steps: Path, device: str | None, *, basis: str, seed: int
) -> Calibration:
    from ..presets.devices import load_device
    from ..validation.timing.calibrate_table import calibrate_table

    if device is None:
        raise ValueError(
            "--steps needs --device, what ran them: a name of `anybudget devices`, or a TOML file "
            "with peak_flops_per_s, bandwidth_bytes_per_s and memory_bytes"
        )
    return calibrate_table(path, steps, load_device(device), basis=basis, seed=seed)  # type: ignore[arg-type]
