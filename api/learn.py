"""What a machine and a law are: calibrate, fit, and the lists of those that there are."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from .words import Jobs, Stage, engine_of, silent, start, writable

if TYPE_CHECKING:
    from ..objectives.device import Device
    from ..objectives.fit.report import Fitting, LawReport
    from ..objectives.law.loss_law import LossLaw
    from ..presets.anchored import Moved
    from ..validation.timing.calibrate import Calibration


def calibrate(
    *,
    quick: bool = False,
    cores: int | None = None,
    topology: str | None = None,
    timeout: float = 1800.0,
    steps: Path | str | None = None,
    device: str | None = None,
    basis: str = "published",
    seed: int = 0,
    out: Path | str | None = None,
    on_progress: Stage = silent,
    **jobs: Unpack[Jobs],
) -> Calibration:
    """Time unlike architectures on this machine and fit its step-time model.

    Args:
        quick: a minute instead of ten.
        cores: CPU cores to use; None: one, or all beside an accelerator.
        topology: a TPU chip that is not here, as `v5e:1x1`: by its compiler, in hours.
        timeout: seconds for each compilation, with `topology`.
        steps: a CSV of timed steps, yours or others'; needs `device`.
        device: what ran the `steps`: a name, or a TOML file.
        basis: who timed the `steps`: others, `published`; or you, `measured`.
        seed: of all randomness.
        out: the device file, see `calibration_path`.
        on_progress: called with the stage, what is newly done in it, and the stage's total.
        **jobs: see `Jobs`.

    Raises:
        ValueError: a word makes no sense, or too little could be timed.

    >>> calibrate(quick=True).device.basis  # doctest: +SKIP
    'measured'
    """
    from ..files.lock import held
    from ..validation.timing.step_rows import rows_path_of

    path = calibration_path(out, topology=topology, steps=steps)
    rows_path_of(path)
    if steps:
        with held(path):
            return _of_table(path, Path(steps), device, basis=basis, seed=seed)
    fit: Callable[..., Calibration]
    if topology:
        from ..validation.compiler.calibrate import DEFAULT, QUICK, calibrate_compiled

        engine = engine_of(jobs, cores)
        fit = functools.partial(calibrate_compiled, topology=topology, timeout_s=timeout)
    else:
        engine = start(jobs, cores)
        from ..validation.timing.calibrate import calibrate as fit
        from ..validation.timing.step_design import DEFAULT, QUICK

    effort = QUICK if quick else DEFAULT
    with held(path):
        return fit(path, effort=effort, seed=seed, engine=engine, on_progress=on_progress)


def calibration_path(
    out: Path | str | None = None,
    *,
    topology: str | None = None,
    steps: Path | str | None = None,
) -> Path:
    """Where `calibrate` writes the device: `out`, or where `find` looks, or after its source.

    >>> calibration_path(topology="v5e:1x1").name, calibration_path(steps="a/steps.csv").name
    ('v5e-1x1.toml', 'steps.toml')
    """
    from ..files.places import calibrated_device_path

    if out:
        return Path(out)
    if steps:
        return Path(f"{Path(steps).stem}.toml")
    return Path(f"{topology.replace(':', '-')}.toml") if topology else calibrated_device_path()


def _of_table(path: Path, steps: Path, device: str | None, *, basis: str, seed: int) -> Calibration:
    from ..presets.devices import load_device
    from ..validation.timing.calibrate_table import calibrate_table

    if device is None:
        raise ValueError(
            "--steps needs --device, what ran them: a name of `anybudget devices`, or a TOML file "
            "with peak_flops_per_s, bandwidth_bytes_per_s and memory_bytes"
        )
    return calibrate_table(path, steps, load_device(device), basis=basis, seed=seed)  # type: ignore[arg-type]


def fit(
    runs: Path | str,
    *,
    method: str = "varpro",
    form: str = "auto",
    kappa: float | None = None,
    copying: bool = True,
    n_convention: str | None = None,
    prior: str | None = None,
    huber_delta: float = 0.001,
    draws: int = 1000,
    columns: Mapping[str, str] | None = None,
    seed: int = 0,
    out: Path | str | None = None,
    on_progress: Stage = silent,
) -> LawReport | Moved:
    """Fit a loss law to training runs, with its uncertainty and its held-out error.

    Runs too few or too alike for a law of their own move the default law nearest to them in size.

    Args:
        runs: a CSV with `n_params`, `n_tokens`, `measured_loss`; a run's rows share `run`, `Name`.
        method: `varpro`, `linear` or `multi_start`.
        form: further terms: `none`, a form by name, or `auto`, kept if they pay, and copying too.
        kappa: power in the law; None: kept below 1 if it pays.
        copying: whether `auto` may find that runs learn to copy, where that pays.
        n_convention: N counts `total` or `non_embedding` parameters.
        prior: another data's law, by name or file, that the runs move, few or many.
        huber_delta: threshold on the log residual; 0: from the residuals' spread.
        draws: bootstrap draws.
        columns: names in the table by ours, as `{"n_params": "params"}`.
        seed: of all randomness.
        out: law file, `.toml`, as `find` takes it.
        on_progress: called with the stage, what is newly done in it, and the stage's total.

    Raises:
        ValueError: the table is none, there is no such law, or the runs cannot tell what was asked.

    >>> fit("my-runs.csv", form="none", draws=100).n_runs
    12
    """
    from ..objectives.fit.report import Fitting

    fitting = Fitting(
        method=method,  # type: ignore[arg-type]
        form=form,
        kappa=kappa,
        copying=copying,
        n_convention=n_convention,  # type: ignore[arg-type]
        huber_delta=huber_delta,
        n_draws=draws,
        seed=seed,
    )
    runs, out, columns = Path(runs), _law_file(out), dict(columns or {})
    name = (out or runs).stem
    if prior is None:
        return _saved(out, _fitted(runs, fitting, on_progress, name=name, columns=columns))
    _check_heeded(fitting)
    return _saved(out, _moved(runs, prior, name=name, columns=columns, seed=seed))


def _check_heeded(fitting: Fitting) -> None:
    """Raise ValueError where something is asked, the seed aside, that a moved law does not heed."""
    asked = [
        field.name.replace("n_draws", "draws").replace("_", "-")
        for field in dataclasses.fields(fitting)
        if field.name != "seed" and getattr(fitting, field.name) != field.default
    ]
    if asked:
        words = ", ".join(f"--{name}" for name in asked)
        raise ValueError(
            f"--prior moves a law that has its form, its N and its draws already; leave out {words}"
        )


def _fitted(
    runs: Path, fitting: Fitting, on_progress: Stage, *, name: str, columns: dict[str, str]
) -> LawReport | Moved:
    """A law of the runs alone; of too few, the default law nearest in size, moved by them."""
    from ..files.table import read_runs
    from ..objectives.fit.report import report_law
    from ..objectives.fit.runs import TooFewRunsError
    from ..presets.anchored import nearest_law

    table = read_runs(runs, columns)
    source = f"fitted to {runs.name} by anybudget fit"
    try:
        return report_law(table, name=name, source=source, fitting=fitting, on_progress=on_progress)
    except TooFewRunsError as too_few:
        if (fitting.method, fitting.form, fitting.kappa) != ("varpro", "auto", None):
            raise
        law, lack = nearest_law(table), too_few.lack
    try:
        moved = _moved(runs, law, name=name, columns=columns, seed=fitting.seed)
    except ValueError as wants:
        raise ValueError(f"{lack}; and to move {law} by them, {wants}") from None
    note = f"{lack}: they move {law}, the default law nearest in size (--prior takes another)"
    return dataclasses.replace(moved, warnings=(note, *moved.warnings))


def _moved(runs: Path, prior: str, *, name: str, columns: dict[str, str], seed: int) -> Moved:
    """Another data's law moved by the runs."""
    from ..presets.anchored import moved_by
    from ..presets.laws import known_law

    return moved_by(known_law(prior), runs, name=name, columns=columns, seed=seed)


def _law_file(out: Path | str | None) -> Path | None:
    path = Path(out) if out else None
    if path and (path.suffix != ".toml" or not path.parent.is_dir()):
        raise ValueError(f"--out must be a .toml file in an existing folder, but got {str(path)!r}")
    if path:
        writable(path.parent)
    return path


def _saved(path: Path | None, made: LawReport | Moved) -> LawReport | Moved:
    """The law, written if anywhere with its draws, once whoever else writes there has ended."""
    if path is None:
        return made
    from ..files.lock import TURN_S, held
    from ..presets.anchored import Moved
    from ..presets.laws import KnownLaw, save_law

    with held(path, wait_s=TURN_S):
        save_law(path, made.known if isinstance(made, Moved) else KnownLaw.of(made))
    return made


def devices() -> list[Device]:
    """The devices that there are, each with where its numbers come from.

    >>> [device.dtype for device in devices() if device.name == "cpu-core"]
    ['float32']
    """
    from ..presets.devices import device_names, load_device

    return [load_device(name) for name in device_names()]


def laws() -> list[LossLaw]:
    """The loss laws that there are, each with its convention, range and source.

    >>> [law.n_convention for law in laws() if law.name == "hoffmann-2022"]
    ['total']
    """
    from ..presets.laws import law_names, load_law

    return [load_law(name) for name in law_names()]
