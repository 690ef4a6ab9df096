"""What a machine and a law are: calibrate, fit, and the lists of those that there are."""

from __future__ import annotations

import dataclasses
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from .options import Flag, Jobs, Json, Positive, Seconds, Seed, Whole
from .output import progress, show, show_json

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
    from .. import api
    from ..show.terminal.calibration import show_calibration

    path = api.calibration_path(out, topology=topology, steps=steps)
    with progress() as report:
        found = api.calibrate(
            quick=quick,
            cores=cores,
            topology=topology,
            timeout=timeout,
            steps=steps,
            device=device,
            basis=basis,
            seed=seed,
            out=path,
            on_progress=report,
            **asdict(jobs),
        )
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
    draws: Annotated[
        Whole, Parameter(validator=Number(gte=100, lte=100_000), help="Bootstrap draws.")
    ] = 1000,
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
    from .. import api
    from ..search.words import columns_of
    from ..show.terminal.law import show_law

    columns = columns_of(column or ())
    with progress() as on_progress:
        report = api.fit(
            runs,
            method=method,
            form=form,
            kappa=kappa,
            copying=copying,
            n_convention=n_convention,
            prior=prior,
            huber_delta=huber_delta,
            draws=draws,
            columns=columns,
            seed=seed,
            out=out,
            on_progress=on_progress,
        )
    return show_json(report.as_dict()) if as_json else show(show_law(report))


def devices(*, sources: Sources = False, as_json: Json = False) -> None:
    """List the devices, each in a line.

    Example: `anybudget devices --sources`
    """
    from .. import api
    from ..show.terminal.lists import show_devices

    rows = api.devices()
    if as_json:
        show_json([dataclasses.asdict(row) for row in rows])
    else:
        show(show_devices(rows, sources=sources))


def laws(*, sources: Sources = False, as_json: Json = False) -> None:
    """List the loss laws, each with its convention and range.

    Example: `anybudget laws --json`
    """
    from .. import api
    from ..show.terminal.lists import show_laws

    rows = api.laws()
    if as_json:
        show_json([dataclasses.asdict(row) for row in rows])
    else:
        show(show_laws(rows, sources=sources))
