"""An answer for others: a page, and a config for another trainer."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ..machines.extras import need
from .which import batch
from .words import Line, Stage, answer_of, beside, keep, silent, writable

if TYPE_CHECKING:
    from ..search.answer import Answer
    from ..search.batch.run import Batch
    from ..show.export.brief import Export
    from ..show.pictures.png import Figure

# What one chooses among for a start: machines that people rent, a law of runs that were cooled down
# and one of runs at a constant rate.
DEVICES = ("tpu-v5e", "tpu-v6e", "a100-80gb", "h100-sxm")
LAWS = ("gemstones-2025-cooldown", "gemstones-2025")
BUDGETS = ("1h", "3h", "8h", "1d", "2d", "4d", "7d", "14d")


def explore(
    *,
    device: Iterable[str] = (),
    law: Iterable[str] = (),
    budget: Iterable[str] = BUDGETS,
    chips: Iterable[int] = (1,),
    price: Iterable[float] = (),
    seed: int = 0,
    out: Path | str = "explore",
    command: str = "anybudget.explore",
    on_progress: Stage = silent,
    on_warning: Line = silent,
) -> Batch:
    """Make a page on which one chooses machine and law and drags the time budget.

    It is the report of a batch, whose plan, `plan.toml`, lies beside it to be copied and changed.

    Args:
        device: names or TOML files; none: four that people rent and, where it was calibrated, this
            machine.
        law: names or TOML files; none: by device, and with the four devices one more.
        budget: training times.
        chips: numbers of devices that split every batch.
        price: US dollars for an hour of each device, in their order; none: their files'.
        seed: of all randomness.
        out: folder for the page and the batch; what an earlier one found there is kept.
        command: what made it, for the records.
        on_progress: as for `find`.
        on_warning: as for `batch`.

    Returns:
        The batch, with `report.html` among its files.

    Raises:
        ValueError: a word makes no sense, there are not as many prices as devices, or the folder
            cannot be written.

    >>> explore(device=["h100-sxm"], budget=["3h", "1d"])  # doctest: +SKIP
    <Batch: 2 searches in explore>
    """
    need("explore", "report", "plotly")
    from ..files.write import write_whole

    text = _plan(list(device), list(law), list(price), budget=list(budget), chips=list(chips))
    plan = writable(out) / "plan.toml"
    write_whole(plan, text)
    done = batch(
        plan, seed=seed, out=out, command=command, on_progress=on_progress, on_warning=on_warning
    )
    return dataclasses.replace(done, files=[*done.files, report(out).name])


def _plan(
    device: list[str], law: list[str], price: list[float], **shared: list[str] | list[int]
) -> str:
    """The plan of an exploration."""
    from ..files.places import calibrated_device_path

    if price and len(price) != len(device):
        raise ValueError(
            "`price` must be given once for each `device`, in their order, but got "
            f"{len(price)} for {len(device)}"
        )
    machines = list(map(_place, device))
    laws = {"law": list(map(_place, law))} if law else {}
    searches: list[dict] = [
        {"device": machines or DEVICES} | (laws if device or law else {"law": LAWS})
    ]
    if price:
        searches = [
            {"device": one, "price": its} | laws for one, its in zip(machines, price, strict=True)
        ]
    if not device and calibrated_device_path().exists():
        searches.append(laws)
    lines = ["# Written by anybudget explore, anew each time: copy it to change it.", "[defaults]"]
    lines += [f"{key} = {json.dumps(values)}" for key, values in shared.items()]
    for search in searches:
        lines += ["", "[[search]]"]
        lines += [f"{key} = {json.dumps(values)}" for key, values in search.items()]
    return "\n".join(lines) + "\n"


def _place(name: str) -> str:
    """A name as it is, a file by its whole path: a plan's own begin at its folder."""
    return Path(name).resolve().as_posix() if name.endswith(".toml") else name


def report(folder: Path | str, *, out: Path | str | None = None) -> Path:
    """Write a search, or a batch, as one HTML page that needs no network.

    Args:
        folder: that `find` wrote to, confirmed or not; or `batch`.
        out: HTML file; default: `report.html` in the folder.

    Returns:
        The file.

    Raises:
        ValueError: the folder does not hold what `find` or `batch` writes, or the file cannot be
            written.

    >>> report("runs/3h")  # doctest: +SKIP
    PosixPath('runs/3h/report.html')
    """
    need("report", "report", "plotly")
    from ..show.page.report import write_report

    return write_report(Path(folder), Path(out) if out else None)


def plot(result: Answer | Batch | Path | str) -> Figure:
    """Draw a search as the map of its shapes, or a batch as its quantities against time.

    Args:
        result: what `find` or `batch` answered, or the folder of `find`.

    Returns:
        A figure of matplotlib, which a notebook shows.

    Raises:
        ValueError: matplotlib is missing, or a search has no map, for it is not certified.

    >>> answer = find("2m", device="cpu-core", set={"d_model": "64:256:64"}, trials=1)
    >>> plot(answer).axes[0].get_xlabel()
    'width, d_model'
    """
    need("plot", "figures", "matplotlib")
    from ..search.batch.run import Batch
    from ..show.pictures.png import figure_of

    if isinstance(result, Batch):
        from ..show.pictures.batch import batch_sheets

        return figure_of(next(iter(batch_sheets(result.questions, result.table).values())))
    from ..show.pictures.landscape import landscape

    answer = answer_of(result)
    if not answer.certified:
        raise ValueError(
            "a map has the best of every shape, but this answer is not certified: find it again "
            "with certify=True"
        )
    return figure_of(landscape(answer.shapes, answer.tied_shapes, answer.objective, answer.best))


def save(answer: Answer, folder: Path | str) -> Path:
    """Write an answer, as `find` with `out` does: for `confirm`, `report` and `export`.

    Args:
        answer: what `find` answered.
        folder: where to.

    Returns:
        The folder.

    Raises:
        ValueError: the folder cannot be written.

    >>> answer = find("2m", device="cpu-core", set={"d_model": "64:256:64"}, certify=False)
    >>> (save(answer, "kept") / "result.json").exists()
    True
    """
    folder = writable(folder)
    keep(answer_of(answer), folder, "anybudget.save")
    return folder


def export(
    result: Answer | Path | str,
    *,
    to: str,
    candidate: int = 1,
    seed: int = 0,
    out: Path | str | None = None,
) -> Export:
    """Write a candidate of a result as a config for another trainer.

    Args:
        result: what `find` answered, or the folder that it was written to.
        to: `hf`, `levanter`, `litgpt`, `maxtext`, `nanogpt` or `torchtitan`.
        candidate: which of the result; the best is 1.
        seed: for the trainer.
        out: folder; default: `export/TRAINER` beside the result; of an answer that lies in no
            folder nothing is written.

    Raises:
        ValueError: there is no such trainer or candidate, or the trainer's model cannot have its
            shape.

    >>> answer = find("2m", device="cpu-core", set={"d_model": "64:256:64"}, trials=1)
    >>> sorted(export(answer, to="hf").files)
    ['config.json', 'recipe.json', 'training_args.json']
    """
    from ..show.export.export import export, save_export

    exported = export(answer_of(result), to, candidate=candidate, seed=seed)
    if out or isinstance(result, str | Path):
        from ..files.lock import TURN_S, held

        folder = writable(beside(result, out, f"export/{to}"))
        with held(folder, wait_s=TURN_S):
            save_export(exported, folder)
    return exported
