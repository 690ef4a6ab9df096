"""What a batch left in its folder, read back and checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pydantic

from ...files.read import read_json
from ...files.rows import Row, first_complaint, read_rows
from ...objectives.budget import MOST_S
from ...space.architecture import COUNT_FIELDS
from .row import AnswerRow, KeptRow

TABLE, MADE, KEPT = "batch.csv", "batch.json", "searches.csv"
# What every winner has, and what is known of it where there are draws.
POSITIVE = (
    *COUNT_FIELDS, "n_params", "n_tokens", "n_steps", "step_time_s", "memory_bytes",
    "memory_share", "predicted_loss",
)  # fmt: skip
RANGES = ("loss", "n_params")


class _Asked(Row):
    search: str
    device: str
    attention: str
    law: str
    space: str
    settings: str | None = None
    remat_asked: str
    data_limit_tokens: float | None = None
    critical_batch: bool
    extrapolate: bool
    seed: int
    budget: str
    time_budget_s: float = pydantic.Field(gt=0, le=MOST_S)


# The columns of `run_batch`'s table, in its order: what was asked, then the answer.
_FIELDS: dict[str, Any] = {
    name: (field.annotation, field) for name, field in AnswerRow.model_fields.items()
}
BatchRow: Any = pydantic.create_model("BatchRow", __base__=_Asked, **_FIELDS)


class Made(pydantic.BaseModel):
    """How a batch was made."""

    command: str
    anybudget: str
    date: str
    plan: str


class BatchRecord(NamedTuple):
    """What a batch left.

    Attributes:
        rows: of its table, in the plan's order.
        made: how it was made.
        losses: by the fingerprint of a search, its best shapes' widths, depths and losses.
    """

    rows: list[Any]
    made: Made
    losses: dict[str, list[tuple[int, int, float]]]


def is_batch(folder: Path) -> bool:
    """Whether `batch` wrote to a folder."""
    return (folder / MADE).is_file()


def read_batch(folder: Path) -> BatchRecord:
    """The table of a batch, how it was made, and the maps that were kept of its searches.

    Raises:
        ValueError: a file is missing, or does not hold what `batch` writes, with its line.
    """
    table, about = folder / TABLE, folder / MADE
    try:
        made = Made.model_validate(read_json(about))
    except pydantic.ValidationError as error:
        raise ValueError(f"{about}: {first_complaint(error)}; run the batch again") from None
    if not (rows := read_rows(table, BatchRow)):
        raise ValueError(f"{table} must have a row for each search, but has none; run it again")
    for number, row in enumerate(rows, start=2):
        if row.status == "certified" and (complaint := _complaint(row)):
            raise ValueError(f"{table}, line {number}: {complaint}; run the batch again")
    losses = {row.fingerprint: row.losses for row in read_rows(folder / KEPT, KeptRow)}
    return BatchRecord(rows, made, losses)


def _complaint(row: Any) -> str:
    """What a row says that no winner is like; empty where all is well."""
    values = row.model_dump()
    for name in POSITIVE:
        if values[name] is None or not values[name] > 0:
            return f"`{name}` must be above 0, but got {values[name]}"
    for name in RANGES:
        low, high = values[f"{name}_low"], values[f"{name}_high"]
        if (low, high) != (None, None) and not (low and high and 0 < low <= high):
            return f"`{name}_low` and `{name}_high` must be a range above 0, but got {low}, {high}"
    return ""
