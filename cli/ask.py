"""Which model: find, front, batch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from .options import Budget, Chain, Json, Out, Seed, SeedNumber, Space, Whole, asked, flattened
from .output import beware, command, progress, show, show_json, show_written


@flattened
@dataclass(frozen=True, kw_only=True)
class Study:
    """How the space is searched."""

    top: Whole = 5
    """Candidates to show."""
    distinct: str = "shape"
    """Candidates differ in `shape` (width, depth) or `architecture`."""
    trials: Whole = 300
    """Distinct architectures for Optuna to try."""
    sampler: str = "auto"
    """auto, tpe, cma, nsga2, qmc or random."""
    storage: str | None = None
    """Keep the study, alone or with others: a journal file, or a URL."""
    study: str = "anybudget"
    """Name of the kept study."""
    certify: bool = True
    """Prove the optimum, by enumeration or by bounds."""


def find(
    budget: Budget,
    /,
    *,
    chain: Chain = Chain(),
    space: Space = Space(),
    study: Study = Study(),
    seed: Seed = 0,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Find the architecture with the lowest predicted loss for a time budget.

    Example: `anybudget find 3h --device h100-sxm --out found`
    """
    from .. import api
    from ..api.unranked import SIZES
    from ..machines.extras import left_out
    from ..search.answer import Answer
    from ..show.terminal.found import show_found
    from ..show.terminal.sizes import show_sizes
    from ..show.terminal.training import show_training

    with progress() as report:
        answer = api.find(
            budget,
            **dataclasses.asdict(study),
            **asked(chain, space, seed),
            out=out,
            command=command(),
            on_progress=report,
        )
    if as_json:
        show_json(answer.as_dict())
        return
    if not isinstance(answer, Answer):
        show(show_sizes(answer))
        if out:
            show_written(out, [SIZES])
        return
    show(show_found(answer, answer.question.space_name))
    show(show_training(answer.best, answer.objective, out))
    if out:
        show_written(out, sorted(path.name for path in out.iterdir()))
        for note in left_out("figures", "figures", "matplotlib") if answer.certified else ():
            beware(note)


def front(
    budget: Budget,
    against: Annotated[str, Parameter(help="time, memory or money.")],
    /,
    *,
    chain: Chain = Chain(),
    space: Space = Space(),
    certify: bool = True,
    trials: Whole = 2000,
    seed: Seed = 0,
    out: Annotated[Path | None, Parameter(help="Folder for front.csv.")] = None,
    as_json: Json = False,
) -> None:
    """Trade predicted loss against training time, memory or money: a Pareto front.

    Example: `anybudget front 3h memory --device h100-sxm`

    Args:
        certify: Prove the lowest loss at each of several limits.
        trials: Architectures that NSGA-II tries where nothing is to be proved.
    """
    from .. import api
    from ..show.terminal.found import show_front

    question = api.ask(budget, **asked(chain, space, seed))
    with progress() as report:
        frame = api.front(
            question,
            against,  # type: ignore[arg-type]
            certify=certify,
            trials=trials,
            out=out,
            on_progress=report,
        )
    if as_json:
        print(frame.to_json(orient="records"))
        return
    show(show_front(frame, question, certified=certify))
    if out:
        show_written(out, ["front.csv"])


def batch(
    plan: Path,
    /,
    *,
    seed: SeedNumber | None = None,
    out: Path | None = None,
    as_json: Json = False,
) -> None:
    """Make many searches, those on one space at the price of a few; take up where stopped.

    Example: `anybudget batch plan.toml`

    Args:
        plan: A TOML file of searches; see docs/batch.md.
        seed: Of all randomness, where the plan says nothing.
        out: Folder for results; default: the plan's name, beside it.
    """
    from .. import api
    from ..show.terminal.batch import show_batch

    with progress() as report:
        done = api.batch(
            plan,
            seed=seed,
            out=out,
            command=command(),
            on_progress=report,
            on_warning=beware,
        )
    if as_json:
        show_json({"plan": str(plan), "folder": str(done.folder)} | done.as_dict())
        return
    show(show_batch(done.table, done.curves))
    show_written(done.folder, done.files)
