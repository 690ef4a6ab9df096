"""Predicted against measured: confirm, refine; and what a TPU's compiler says: compile."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

from ..machines.extras import need
from .words import (
    Jobs,
    Line,
    answer_of,
    beside,
    n_cores_of,
    silent,
    start,
    writable,
)

if TYPE_CHECKING:
    from ..machines.engines import Engine
    from ..search.answer import Answer
    from ..validation.compiler.compiled import Compiled
    from ..validation.confirm.choose import Choice
    from ..validation.confirm.confirm import Confirmation
    from ..validation.confirm.refine import Round
    from ..validation.confirm.train_all import Training

# What calibration does without.
OF_TRAINING = ("matplotlib", "orbax", "tokenizers", "zstandard")


class Trained(Jobs, total=False):
    """What a confirmation trains, and where.

    Attributes:
        device: a name, or a TOML file; None: the result's.
        top: candidates of the result to train.
        contrast: others, spread over predicted loss.
        seeds: runs of each model.
        corpus: `python`, `c4`, or a file or folder of text.
        seed: of the choice, and in `refine` of all randomness.
    """

    device: str | None
    top: int
    contrast: int
    seeds: int
    corpus: str
    seed: int


def confirm(
    result: Answer | Path | str,
    *,
    scale: float = 1.0,
    distributed: bool = False,
    out: Path | str | None = None,
    command: str = "anybudget.confirm",
    on_progress: Line = silent,
    **trained: Unpack[Trained],
) -> Confirmation | None:
    """Train the best of a result, and contrast, and set measured beside predicted.

    In this process, without an `engine`, it keeps to as many cores as the device was calibrated on.

    Args:
        result: what `find` answered, or the folder that it was written to.
        scale: share of the result's time budget.
        distributed: one of several processes.
        out: folder; default: `confirm` beside the result.
        command: what made it, for the records.
        on_progress: called with a line before anything that takes time.
        **trained: see `Trained`.

    Returns:
        The confirmation; None in a process that is not the first of several.

    Raises:
        ValueError: a word makes no sense, or the device is of another kind than this machine.

    >>> confirm("runs/2m", top=3).comparison  # doctest: +SKIP
    """
    need("confirm", "train", *OF_TRAINING)
    answer, folder = answer_of(result), beside(result, out, "confirm")
    choice = _choice(trained, scale=scale)
    device = (choice.device or answer.known.device).device
    engine = start(_jobs(trained), n_cores_of(device))
    if engine and distributed:
        raise ValueError("--distributed trains in these processes; leave out --engine")
    is_first = not distributed or _join()
    from ..files.lock import held
    from ..show.save import save_confirmation
    from ..validation.confirm.confirm import confirm

    with held(writable(folder)) if is_first else contextlib.nullcontext():
        confirmation = confirm(
            answer,
            folder,
            choice=choice,
            training=_training(trained, engine),
            on_progress=on_progress if is_first else silent,
        )
        if not is_first:
            return None
        save_confirmation(confirmation, folder, command=command)
    return confirmation


def refine(
    result: Answer | Path | str,
    *,
    runs: Iterable[Path | str] = (),
    rounds: int = 3,
    out: Path | str | None = None,
    command: str = "anybudget.refine",
    on_progress: Line = silent,
    **trained: Unpack[Trained],
) -> list[Round]:
    """Confirm a result, refit the law on all runs, search again; until nothing changes.

    Args:
        result: as for `confirm`.
        runs: CSVs of earlier runs.
        rounds: the most rounds to make.
        out: folder; default: `refine` beside the result.
        command: what made it, for the records.
        on_progress: called with a line before anything that takes time.
        **trained: see `Trained`.

    Raises:
        ValueError: as for `confirm` and `fit`.

    >>> len(refine("runs/2m", rounds=2))  # doctest: +SKIP
    2
    """
    need("refine", "train", *OF_TRAINING)
    answer, folder = answer_of(result), writable(beside(result, out, "refine"))
    choice = _choice(trained)
    engine = start(_jobs(trained), n_cores_of(answer.objective.device))
    from ..files.lock import held
    from ..show.save import draw_round
    from ..validation.confirm.refine import refine

    done = []
    with held(folder):
        for one in refine(
            answer,
            folder,
            runs=[Path(path) for path in runs],
            rounds=rounds,
            choice=choice,
            training=_training(trained, engine),
            command=command,
            on_progress=on_progress,
        ):
            draw_round(one, folder / f"round-{one.number}")
            done.append(one)
    return done


def compile(  # noqa: A001 - the command's name
    topology: str,
    *,
    result: Path | str | None = None,
    top: int = 3,
    remat: str | None = None,
    attention: str | None = None,
    scan: bool = False,
    sharding: Literal["data", "full"] | None = None,
    time: bool = True,
    timeout: float = 150.0,
    on_progress: Line = silent,
    **fields: Any,
) -> list[Compiled]:
    """Let a TPU's compiler judge a training step, without a TPU (extra `tpu`).

    Args:
        topology: TPU and its chips: `v5e:1x1`, `v5p:2x2x1`, `v6e:4x4`.
        result: the folder of a search: its best instead of one architecture.
        top: candidates of the result.
        remat: `none`, `dots` or `layer`; None: none, or the result's.
        attention: `plain`; or `fused`, whose memory alone is told; None: as the result's.
        scan: layers in a loop.
        sharding: chips share `data`, or in `full` also state; None: data, or the result's.
        time: step times; without, seconds, not minutes.
        timeout: seconds for each; then what is known by then.
        on_progress: called with a line before each.
        **fields: of one `Architecture`.

    Raises:
        ValueError: a word makes no sense, or the compiler is not installed.

    >>> compile("v5e:1x1", d_model=1024, n_layers=9)  # doctest: +SKIP
    """
    from ..validation.compiler.compile import compile_all

    how = {"remat": remat, "attention": attention, "sharding": sharding, "scan_layers": scan}
    return compile_all(
        topology,
        fields=fields,
        result=Path(result) if result else None,
        top=top,
        how={name: value for name, value in how.items() if value is not None},
        with_time=time,
        timeout_s=timeout,
        on_progress=on_progress,
    )


def _choice(trained: Trained, *, scale: float = 1.0) -> Choice:
    from ..presets.devices import known_device
    from ..validation.confirm.choose import Choice

    chosen = ("top", "contrast", "seed")
    given: dict[str, Any] = {name: value for name, value in trained.items() if name in chosen}
    name = trained.get("device")
    return Choice(device=None if name is None else known_device(name), scale=scale, **given)


def _training(trained: Trained, engine: Engine | None) -> Training:
    from ..validation.confirm.train_all import Training

    return Training(
        n_seeds=trained.get("seeds", 1), corpus=trained.get("corpus", "python"), engine=engine
    )


def _jobs(trained: Trained) -> Jobs:
    names = Jobs.__annotations__
    return Jobs(**{name: value for name, value in trained.items() if name in names})  # type: ignore[typeddict-item]


def _join() -> bool:
    """Wait for the other processes of a training; whether this one is the first of them."""
    from ..validation.training.hosts import is_first, join_processes

    join_processes()
    return is_first()
