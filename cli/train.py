"""Predicted against measured: confirm, refine, forecast."""

from __future__ import annotations

from dataclasses import asdict
from itertools import islice
from pathlib import Path

from .options import Flag, Jobs, Json, Out, Positive, Result, Seconds, Seed, Trained, Whole
from .output import command, show, show_json, show_written, tell


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
    from .. import api
    from ..api.words import beside
    from ..show.terminal.confirmation import show_confirmation

    if result is None:
        raise ValueError("confirm takes a result: `find BUDGET --out DIR`, then `confirm DIR`")
    confirmation = api.confirm(
        result,
        **asdict(trained),
        **asdict(jobs),
        scale=scale,
        distributed=distributed,
        seed=seed,
        out=out,
        command=command(),
        on_progress=tell,
    )
    if confirmation is None:
        return
    if as_json:
        show_json(confirmation.as_dict())
        return
    show(show_confirmation(confirmation))
    names = ["confirm.json", "confirm.png", "models.csv", "runs.csv"]
    show_written(beside(result, out, "confirm"), names)


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
    from .. import api
    from ..api.words import beside
    from ..show.terminal.rounds import show_rounds

    done = api.refine(
        result,
        **asdict(trained),
        **asdict(jobs),
        runs=runs,
        rounds=rounds,
        seed=seed,
        out=out,
        command=command(),
        on_progress=tell,
    )
    if as_json:
        show_json([one.as_dict() for one in done])
        return
    show(show_rounds(done))
    show_written(beside(result, out, "refine"), [f"round-{one.number}" for one in done])


def forecast(
    log: Path,
    /,
    *,
    result: Result,
    candidate: Whole = 1,
    schedule: str = "linear",
    tokens: Positive | None = None,
    watch: Flag = False,
    every: Seconds = 30.0,
    as_json: Json = False,
) -> None:
    """Foretell the final loss and the end of a run from its log so far.

    Example: `anybudget forecast log.csv --result found`

    Args:
        log: CSV or JSONL of step or tokens, loss, seconds; trainer_state.json.
        candidate: Which of the result is trained; the best is 1.
        schedule: Of its rate: constant, linear, cosine or cooldown.
        tokens: At its end; default: the result's.
        watch: Again whenever the log grows, until interrupted.
        every: Seconds between looks, with --watch.
    """
    from .. import api
    from ..show.terminal.forecast import show_forecast

    looks = api.forecasts(
        log, result, every_s=every, candidate=candidate, schedule=schedule, tokens=tokens
    )
    for one in looks if watch else islice(looks, 1):
        if as_json:
            show_json(one.as_dict())
        else:
            show(show_forecast(one))
