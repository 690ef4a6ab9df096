"""Which model: find, front, batch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from .options import Budget, Chain, Json, Natural, Out, Seed, Space, Whole, flattened
from .output import command, progress, show, show_json, show_written, tell, writable
from .question import put, warned


@flattened
@dataclass(frozen=True, kw_only=True)
class Study:
    """How the space is searched."""

    top: Whole = 10
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
    """Prove the optimum by enumeration."""


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
    from ..presets.spaces import default_space
    from ..search.explore.study import Exploring
    from ..search.find import find

    question = put(budget, chain, space, seed)
    folder = writable(out) if out else None
    exploring = Exploring(
        n_trials=study.trials,
        sampler=study.sampler,
        storage=study.storage,
        study_name=study.study,
    )
    with progress() as report:
        found = find(
            question,
            top=study.top,
            distinct=study.distinct,  # type: ignore[arg-type]
            exploring=exploring,
            certify=study.certify,
            on_progress=report,
        )
    if folder:
        from ..show.save import save

        save(found, folder, command=command())
    if as_json:
        show_json(found.as_dict())
        return
    from ..show.terminal.found import show_found

    show(show_found(found, space.space or default_space(question.objective.device.kind)))
    if folder:
        show_written(folder, sorted(path.name for path in folder.iterdir()))


def front(
    budget: Budget,
    against: Annotated[str, Parameter(help="time or memory.")],
    /,
    *,
    chain: Chain = Chain(),
    space: Space = Space(),
    trials: Whole = 2000,
    seed: Seed = 0,
    out: Annotated[Path | None, Parameter(help="Folder for front.csv.")] = None,
    as_json: Json = False,
) -> None:
    """Trade predicted loss against training time or memory: a Pareto front.

    Example: `anybudget front 3h memory --device h100-sxm`

    Args:
        trials: Architectures to try.
    """
    from ..search.front import front
    from ..show.terminal.found import show_front

    question = put(budget, chain, space, seed)
    folder = writable(out) if out else None
    frame = front(question, against=against, n_trials=trials)  # type: ignore[arg-type]
    if folder:
        frame.to_csv(folder / "front.csv", index=False)
    if as_json:
        print(frame.to_json(orient="records"))
        return
    show(show_front(frame, question.objective))
    if folder:
        show_written(folder, ["front.csv"])


def batch(
    plan: Path,
    /,
    *,
    seed: Natural | None = None,
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
    from ..search.batch.curves import fit_curves
    from ..search.batch.plan import load_plan
    from ..search.batch.run import run_batch
    from ..show.save_batch import save_batch
    from ..show.terminal.batch import show_batch

    questions = [warned(question) for question in load_plan(plan, seed=seed or 0)]
    folder = writable(out or plan.with_suffix(""))
    for warning in dict.fromkeys(warning for one in questions for warning in one.warnings):
        tell(f"! {warning}")
    with progress() as report:
        table = run_batch(questions, folder, on_progress=report)
    curves = fit_curves(questions, table)
    files = save_batch(questions, table, curves, folder, plan=plan, command=command())
    if as_json:
        tables = (("searches", table), ("curves", curves))
        rows = {name: one.astype(object).where(one.notna(), None) for name, one in tables}
        rows = {name: one.to_dict(orient="records") for name, one in rows.items()}
        show_json({"plan": str(plan), "folder": str(folder)} | rows)
        return
    show(show_batch(table, curves))
    show_written(folder, files)
