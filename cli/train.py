"""Predicted against measured: confirm, refine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .options import Flag, Jobs, Json, Out, Result, Seed, Trained, Whole
from .output import command, show, show_json, show_written, tell, writable

if TYPE_CHECKING:
    from ..objectives.device import Device


def confirm(
    result: Result | None = None,
    /,
    *,
    trained: Trained = Trained(),
    scale: float = 1.0,
    jobs: Jobs = Jobs(),
    distributed: Flag = False,
    seed: Seed = 0,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Train the best of a result, and contrast, and set measured beside predicted.

    Example: `anybudget confirm found --top 1 --contrast 2`

    Args:
        scale: Share of the result's time budget.
        distributed: One of several processes; see docs/chips.md.
    """
    from ..presets.devices import known_device
    from ..search.record import read_record

    if result is None:
        raise ValueError("confirm takes a result: `find BUDGET --out DIR`, then `confirm DIR`")
    found = read_record(result)
    machine = known_device(trained.device) if trained.device else found.known.device
    folder = out or _beside(result, "confirm")
    engine = jobs.start(_n_cores_of(machine.device))
    if engine and distributed:
        raise ValueError("--distributed trains in these processes; leave out --engine")
    is_first = not distributed or _join()
    if is_first:
        writable(folder)
    from ..show.save import save_confirmation
    from ..show.terminal.confirmation import show_confirmation
    from ..validation.confirm.confirm import confirm

    confirmation = confirm(
        found,
        folder,
        n_seeds=trained.seeds,
        corpus=trained.corpus,
        engine=engine,
        on_progress=tell if is_first else lambda line: None,
        device=machine,
        top=trained.top,
        contrast=trained.contrast,
        scale=scale,
        seed=seed,
    )
    if not is_first:
        return
    save_confirmation(confirmation, folder, command=command())
    if as_json:
        show_json(confirmation.as_dict())
        return
    show(show_confirmation(confirmation))
    show_written(folder, ["confirm.json", "confirm.png", "models.csv", "runs.csv"])


def refine(
    result: Result,
    /,
    *,
    runs: tuple[Path, ...] = (),
    rounds: Whole = 3,
    trained: Trained = Trained(),
    jobs: Jobs = Jobs(),
    seed: Seed = 0,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Confirm a result, refit the law on all runs, search again; until nothing changes.

    Example: `anybudget refine found --rounds 2`

    Args:
        runs: CSV of earlier runs. Repeatable.
        rounds: The most rounds to make.
    """
    from ..presets.devices import known_device
    from ..search.record import read_record

    found = read_record(result)
    folder = writable(out or _beside(result, "refine"))
    engine = jobs.start(_n_cores_of(found.objective.device))
    from ..show.save import draw_round
    from ..show.terminal.rounds import show_rounds
    from ..validation.confirm.refine import refine

    done = refine(
        found,
        folder,
        runs=runs,
        rounds=rounds,
        device=known_device(trained.device) if trained.device else None,
        seed=seed,
        command=command(),
        on_progress=tell,
        on_round=draw_round,
        n_seeds=trained.seeds,
        corpus=trained.corpus,
        engine=engine,
        top=trained.top,
        contrast=trained.contrast,
    )
    if as_json:
        show_json([one.as_dict() for one in done])
        return
    show(show_rounds(done))
    show_written(folder, [f"round-{one.number}" for one in done])


def _beside(result: Path, name: str) -> Path:
    """A folder in that of a result."""
    return (result if result.is_dir() else result.parent) / name


def _join() -> bool:
    """Wait for the other processes of a training; whether this one is the first of them."""
    from ..validation.training.hosts import is_first, join_processes

    join_processes()
    return is_first()


def _n_cores_of(device: Device) -> int | None:
    """As many cores as a device was calibrated on, as far as this machine has them."""
    from ..machines.machine import count_cores

    n_cores = device.calibration.get("n_cores")
    return min(n_cores, count_cores()) if isinstance(n_cores, int) else None
