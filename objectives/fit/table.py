"""A table of runs, ours or anyone's, looked through before it is believed.

What would mislead a fit in silence is set right with a sentence, where it is clear what is meant,
and refused in one line where it is not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...space.limits import MOST_COUNT

Columns = dict[str, np.ndarray]

# Names of the column that says which run a row is of: ours, then W&B's and others'.
RUN_COLUMNS = ("run", "run_id", "run_name", "Name", "name", "id", "ID")
STATUS_COLUMNS = ("status", "State", "state", "Status")
FINISHED = ("ok", "finished", "completed", "complete", "success", "done")
# Losses compare only among runs that agree in these.
SAME_IN_ALL = (
    "vocab_size", "tokenizer", "corpus", "corpus_fingerprint", "dataset", "schedule",
    "lr_schedule",
)  # fmt: skip
# What people sweep at one size and one amount of tokens.
SWEPT = (
    "learning_rate", "lr", "peak_lr", "max_lr", "batch_size", "global_batch_size", "weight_decay",
    "warmup_steps", "warmup", "dropout", "beta1", "beta2",
)  # fmt: skip
# No model has fewer parameters and no run fewer tokens: such numbers are in other units.
FEWEST = 1e4
# Nats per token that no text leaves to be learnt.
LEAST_NATS = 1e-6
# Nats per token that no trained model has, and models from this size on do not.
MOST_NATS, LARGE_PARAMS, MOST_NATS_OF_LARGE = 15.0, 1e8, 6.5


def looked_through(columns: Columns, names: tuple[str, str, str]) -> tuple[Columns, list[str]]:
    """The rows that a law can be fitted to, and a sentence on each matter that was set right.

    Args:
        columns: by name, of one length.
        names: of parameters, tokens and loss.

    Raises:
        ValueError: a unit is not that of its column, or the runs differ in what makes losses
            compare.
    """
    columns, unfinished = _finished(columns)
    for name in SAME_IN_ALL:
        _require_one_value(name, columns)
    columns, twice = _once(columns)
    counts = {name: positive(name, columns[name]) for name in names}
    _require_units(counts, names)
    columns, swept = _best_of_sweeps(columns, counts, names)
    return columns, [*unfinished, *twice, *swept]


def run_of_rows(columns: Mapping[str, np.ndarray], n_rows: int) -> np.ndarray:
    """The training run of each row, counted from 0: each its own where no column says."""
    for name in RUN_COLUMNS:
        if name in columns:
            return np.unique(columns[name].astype(str), return_inverse=True)[1]
    return np.arange(n_rows)


def positive(name: str, column: np.ndarray) -> np.ndarray:
    """A column as numbers.

    Raises:
        ValueError: one is not positive and finite.
    """
    numbers = np.array([_number(value) for value in column.tolist()], dtype=float)
    wrong = np.flatnonzero(~(np.isfinite(numbers) & (numbers > 0)))
    if wrong.size:
        raise ValueError(
            f"`{name}` must be a positive number, but {wrong.size} of {len(column)} rows are not, "
            f"first row {wrong[0] + 1}: {column[wrong[0]]}; complete them or leave them out"
        )
    return numbers


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def _rows(columns: Columns, kept: np.ndarray) -> Columns:
    return {name: column[kept] for name, column in columns.items()}


def _finished(columns: Columns) -> tuple[Columns, list[str]]:
    """The rows of finished runs, and a sentence about the others."""
    name = next((one for one in STATUS_COLUMNS if one in columns), None)
    if name is None:
        return columns, []
    words = columns[name].astype(str)
    ok = np.array([word.strip().lower() in FINISHED for word in words], dtype=bool)
    others = sorted(set(words[~ok]))
    said = [f"left out {(~ok).sum()} rows with {name} {', '.join(others)}"] if others else []
    return _rows(columns, ok), said


def _require_one_value(name: str, columns: Columns) -> None:
    values = list(dict.fromkeys(columns.get(name, np.empty(0)).tolist()))
    if len(values) > 1:
        raise ValueError(
            f"all runs must have one `{name}`, for losses compare only then, but got "
            f"{', '.join(map(str, values[:4]))}; fit each of them alone"
        )


def _once(columns: Columns) -> tuple[Columns, list[str]]:
    """Each row once, and how many stood there again."""
    first: dict[tuple, int] = {}
    for at, row in enumerate(zip(*(column.tolist() for column in columns.values()), strict=True)):
        first.setdefault(row, at)
    n_rows = len(next(iter(columns.values())))
    if len(first) == n_rows:
        return columns, []
    kept = np.array(sorted(first.values()))
    return _rows(columns, kept), [f"{n_rows - len(first)} rows stand twice: each is counted once"]


def _require_units(counts: Columns, names: tuple[str, str, str]) -> None:
    params, tokens, loss = names
    for name in (params, tokens):
        if len(counts[name]) and (most := counts[name].max()) < FEWEST:
            unit = "billions" if most < 1000 else "thousands or millions"
            raise ValueError(
                f"`{name}` must be a count, but its largest value is {most:.4g}: in {unit}, it "
                "seems; write the whole number"
            )
        if len(counts[name]) and counts[name].max() > MOST_COUNT:
            raise ValueError(
                f"`{name}` must be a count below 2^63, but its largest value is "
                f"{counts[name].max():.4g}"
            )
    losses = counts[loss]
    if len(losses) and losses.min() < LEAST_NATS:
        raise ValueError(
            f"`{loss}` must be nats per token, at least {LEAST_NATS:g}, but its least is "
            f"{losses.min():.4g}"
        )
    large = losses[counts[params] >= LARGE_PARAMS]
    if (losses > MOST_NATS).any() or (large.size and large.min() > MOST_NATS_OF_LARGE):
        raise ValueError(
            f"`{loss}` must be nats per token, but goes from {losses.min():.4g} to "
            f"{losses.max():.4g}: perplexities, it seems; take their natural logarithm"
        )


def _best_of_sweeps(
    columns: Columns, counts: Columns, names: tuple[str, str, str]
) -> tuple[Columns, list[str]]:
    """Of rows of one size and amount of tokens that differ in what people sweep, the best setting.

    Rows that differ in less, such as a seed, all stay.
    """
    params, tokens, loss = names
    keys = [counts[params], counts[tokens]]
    keys += [columns[name] for name in ("d_model", "n_layers") if name in columns]
    group = np.unique(np.column_stack([_codes(key) for key in keys]), axis=0, return_inverse=True)
    group = group[1].ravel()
    swept = [n for n in SWEPT if n in columns and _varies_within(_codes(columns[n]), group)]
    if not swept:
        return columns, []
    setting = np.column_stack([group, *(_codes(columns[name]) for name in swept)])
    setting = np.unique(setting, axis=0, return_inverse=True)[1].ravel()
    mean = np.bincount(setting, counts[loss]) / np.bincount(setting)
    best = np.full(group.max() + 1, np.inf)
    np.minimum.at(best, group, mean[setting])
    kept = mean[setting] == best[group]
    apart = (mean[setting] / best[group]).max() - 1
    return _rows(columns, kept), [
        f"{len(group)} rows share {group.max() + 1} pairs of size and tokens and differ in "
        f"{', '.join(swept)}, their losses by up to {apart:.0%}: kept each pair's best, "
        f"{kept.sum()} rows"
    ]


def _codes(column: np.ndarray) -> np.ndarray:
    return np.unique(column.astype(str), return_inverse=True)[1].ravel()


def _varies_within(codes: np.ndarray, group: np.ndarray) -> bool:
    pairs = np.unique(np.column_stack([group, codes]), axis=0)
    return len(pairs) > group.max() + 1
