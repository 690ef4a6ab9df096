"""An answer for others: a page, and a config for another trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from .options import Json, Positive, Repeatable, Result, Seed, Whole
from .output import beware, command, progress, show, show_json, show_written


def report(folder: Path, /, *, out: Path | None = None) -> None:
    """Write a search, or a batch, as one HTML page that needs no network.

    Example: `anybudget report found`

    Args:
        folder: DIR of `find --out DIR`, confirmed or not; or of `batch`.
        out: HTML file; default: report.html in the folder.
    """
    from rich.markup import escape

    from .. import api

    show([f"Written: {escape(str(api.report(folder, out=out)))}"])


def explore(
    *,
    device: Annotated[tuple[str, ...], Repeatable] = (),
    law: Annotated[tuple[str, ...], Repeatable] = (),
    budget: Annotated[tuple[str, ...], Repeatable] = (),
    chips: Annotated[tuple[Positive, ...], Repeatable] = (),
    price: Annotated[tuple[float, ...], Repeatable] = (),
    seed: Seed = 0,
    out: Path = Path("explore"),
    as_json: Json = False,
) -> None:
    """Make a page on which one chooses machine and law and drags the time budget.

    Example: `anybudget explore --device h100-sxm --device tpu-v6e`

    Args:
        device: A name of `anybudget devices`, or a TOML file; default: four, and this machine
            where it was calibrated. Repeatable.
        law: A name of `anybudget laws`, or a TOML file; default: by device. Repeatable.
        budget: Training time; default: eight from 1h to 14d. Repeatable.
        chips: Devices that split every batch; default: 1. Repeatable.
        price: US dollars for an hour of a device, in the devices' order; default: their files'.
            Repeatable.
        out: Folder for the page and the batch that it shows.
    """
    from rich.markup import escape

    from .. import api

    lists = {"device": device, "law": law, "budget": budget, "chips": chips, "price": price}
    with progress() as told:
        done = api.explore(
            **{name: values for name, values in lists.items() if values},  # type: ignore[arg-type]
            seed=seed,
            out=out,
            command=command(),
            on_progress=told,
            on_warning=beware,
        )
    page = done.folder / done.files[-1]
    if as_json:
        show_json({"page": str(page)} | done.as_dict())
    else:
        show([f"Written: {escape(str(page))}, to be opened in a browser"])


def export(
    result: Result,
    /,
    *,
    to: Annotated[str, Parameter(help="hf, levanter, litgpt, maxtext, nanogpt or torchtitan.")],
    candidate: Whole = 1,
    seed: Seed = 0,
    out: Path | None = None,
    as_json: Json = False,
) -> None:
    """Write a candidate of a result as a config for another trainer.

    Example: `anybudget export found --to hf`

    Args:
        candidate: Which of the result; the best is 1.
        out: Folder; default: export/TRAINER beside the result.
    """
    from .. import api
    from ..api.words import beside
    from ..show.export.export import export_as_dict
    from ..show.terminal.exported import show_export

    exported = api.export(result, to=to, candidate=candidate, seed=seed, out=out)
    folder = beside(result, out, f"export/{to}")
    if as_json:
        show_json(export_as_dict(exported, folder))
        return
    show(show_export(exported, folder))
    show_written(folder, exported.files)
