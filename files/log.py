"""A training log as other programs write it: points of tokens or steps, loss and seconds.

CSV and JSONL with names as below, W&B's and TensorBoard's CSV exports, and Hugging Face's
trainer_state.json. Lines without a loss, as of evaluations, are passed over.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .read import did_you_mean, read_text

# What a column may be called, in lower case; the first that is there counts.
NAMES = {
    "tokens": ("tokens", "n_tokens", "tokens_seen", "num_tokens", "num_input_tokens_seen"),
    "step": ("step", "_step", "global_step", "n_steps", "steps", "iter", "iteration"),
    "loss": ("loss", "train_loss", "training_loss", "measured_loss", "value"),
    "seconds": (
        "seconds", "elapsed_s", "time_s", "_runtime", "runtime", "relative time (process)",
        "relative time (wall)", "wall time", "wall_time", "_timestamp", "timestamp",
    ),
}  # fmt: skip
# No tokens, steps or seconds are more; a loss of so much is that of a run that failed.
MOST, FAILED = 1e18, 1e9
# What W&B adds to each column.
ADDED = ("__MIN", "__MAX")
Rows = Iterator[tuple[str, Mapping[str, Any], bool]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Log:
    """Points in the order of the file.

    Attributes:
        unit: `tokens` or `step`, what `at` counts.
        at: of each point.
        loss: nats per token; not finite where the run failed.
        seconds: since some start; None where a point has none.
        truncated: whether the file ends within a line.
    """

    unit: str
    at: tuple[float, ...]
    loss: tuple[float, ...]
    seconds: tuple[float, ...] | None
    truncated: bool


def read_log(path: Path) -> Log:
    """Read a log, whatever its kind.

    Raises:
        ValueError: one line: the file cannot be read, is no log, has no loss or nothing to order
            it by, or a value is no number.
    """
    text = read_text(path).lstrip("\ufeff")
    if not text.strip():
        raise ValueError(f"{path} must be a training log, but is empty")
    rows = list(_json_rows(path, text) if text.lstrip()[0] in "{[" else _csv_rows(path, text))
    if not rows:
        raise ValueError(f"{path} must have a line for each logged step, but has none")
    names = dict.fromkeys(name for _, row, _ in rows for name in row)
    loss = _column(path, names, "loss")
    order = _column(path, names, "tokens", needed=False) or _column(path, names, "step")
    unit = "tokens" if _kind(order) == "tokens" else "step"
    clock = _column(path, names, "seconds", needed=False)
    points, cut = [], any(is_cut for _, _, is_cut in rows)
    for where, row, is_cut in rows:
        try:
            value = _number(where, row, loss)
            if value is None:
                continue
            value = value if value < FAILED else math.inf
            if (at := _number(where, row, order)) is None:
                raise ValueError(f"{where}: `{order}` is missing beside a loss")
            _check(where, loss, value, order, at)
            points.append((at, value, _seconds(where, row, clock)))
        except ValueError:
            if not is_cut:
                raise
    if not points:
        raise ValueError(f"{path} must have a loss somewhere in `{loss}`, but has none")
    seconds = tuple(point[2] for point in points)
    return Log(
        unit=unit,
        at=tuple(point[0] for point in points),
        loss=tuple(point[1] for point in points),
        seconds=None if None in seconds else seconds,  # type: ignore[arg-type]
        truncated=cut,
    )


def follow(path: Path, every_s: float) -> Iterator[Log]:
    """The log now, and again whenever the file has changed; without an end."""
    before = None
    while True:
        log = read_log(path)
        if log != before:
            yield log
            before = log
        time.sleep(every_s)


def _csv_rows(path: Path, text: str) -> Rows:
    reader = csv.reader(text.splitlines())
    header = [name.strip() for name in next(reader)]
    if twice := next((name for name in header if header.count(name) > 1), None):
        raise ValueError(f"{path} must have each column once, but has {twice!r} twice")
    lines = [(reader.line_num, cells) for cells in reader if any(cells)]
    torn = not text.endswith("\n")
    for number, cells in lines:
        is_last = number == lines[-1][0]
        is_cut = is_last and torn and len(cells) < len(header)
        if len(cells) != len(header) and not is_cut:
            raise ValueError(
                f"{path}, line {number}: must have {len(header)} cells, as the header has, but has "
                f"{len(cells)}"
            )
        row = {} if is_cut else dict(zip(header, map(str.strip, cells), strict=True))
        yield f"{path}, line {number}", row, is_cut


def _json_rows(path: Path, text: str) -> Rows:
    if (state := _whole(text)) is not None:
        rows = state.get("log_history", [state]) if isinstance(state, dict) else state
        if not (isinstance(rows, list) and all(isinstance(row, dict) for row in rows)):
            raise ValueError(f"{path}: `log_history` must be a list of objects")
        yield from ((f"{path}, entry {i}", row, False) for i, row in enumerate(rows))
        return
    lines = [(i, line) for i, line in enumerate(text.splitlines(), start=1) if line.strip()]
    if lines[0][1].strip() in "{[" or (len(lines) == 1 and _whole(lines[0][1]) is None):
        raise ValueError(f"{path} is not valid JSON: it was cut or is damaged; copy it once more")
    for number, line in lines:
        row = _whole(line)
        is_cut = row is None and number == lines[-1][0] and not text.endswith("\n")
        if not is_cut and not isinstance(row, dict):
            raise ValueError(f"{path}, line {number}: must be a JSON object, but got {line[:40]!r}")
        yield f"{path}, line {number}", row or {}, is_cut


def _whole(text: str) -> Any:
    """What a JSON text says; None where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # a number of thousands of digits is no JSON either
        return None


def _kind(name: str) -> str | None:
    """Which of `NAMES` a column is, W&B's `run - train/loss` too."""
    last = name.rpartition(" - ")[2].rpartition("/")[2].strip().lower()
    return next((kind for kind, names in NAMES.items() if last in names), None)


def _column(path: Path, names: Mapping[str, Any], kind: str, *, needed: bool = True) -> str:
    """The column of a kind; empty where there is none and none is needed."""
    known = NAMES[kind]
    found = [n for n in names if not n.endswith(ADDED) and "eval" not in n and _kind(n) == kind]
    # Of `train/loss` and `loss` beside each other the plain one.
    found.sort(key=lambda name: (name.lower() not in known, name != name.lower()))
    plain = [name for name in found if name.lower() in known]
    if kind == "loss" and len(found) > 1 and not plain:
        raise ValueError(
            f"{path} must have the loss of one run, but has {', '.join(found)}; keep one of them"
        )
    if found or not needed:
        return found[0] if found else ""
    wanted = "step or tokens" if kind == "step" else kind
    near = did_you_mean(kind, names)
    raise ValueError(f"{path} must have a column {wanted}, but has none{near}")


def _number(where: str, row: Mapping[str, Any], name: str) -> float | None:
    """The number of a cell; None where it is empty."""
    value = row.get(name)
    if value is None or value == "":
        return None
    try:
        if isinstance(value, bool):
            raise TypeError
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{where}: `{name}` must be a number, but got {value!r}") from None


def _seconds(where: str, row: Mapping[str, Any], name: str) -> float | None:
    """The clock at a point; None where there is none, or it was not running."""
    seconds = _number(where, row, name) if name else None
    if seconds is None or math.isnan(seconds):
        return None
    if abs(seconds) > MOST:
        raise ValueError(f"{where}: `{name}` must be seconds, but got {seconds:g}")
    return seconds


def _check(where: str, loss: str, value: float, order: str, at: float) -> None:
    if not 0 <= at <= MOST:
        raise ValueError(f"{where}: `{order}` must be from 0 to {MOST:g}, but got {at:g}")
    if value <= 0:
        raise ValueError(f"{where}: `{loss}` must be above 0 nats per token, but got {value:g}")
