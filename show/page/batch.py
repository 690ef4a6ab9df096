"""A batch as one page: choose a machine and a law, drag the time budget, see the winner.

Every text on it is made here, from the batch's table; the page's script only chooses among them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...search.batch.curves import CURVE
from ...search.batch.record import read_batch
from ...space.architecture import FIELDS, Architecture
from ..words import advice, gigabytes, milliseconds, short_count, time_text
from .batch_pictures import Losses, Valleys, over_time
from .page import Column, Page, Section, Table, render

MOST_BYTES = 6_000_000
UNKNOWN = "–"
# What is chosen even where there is but one.
ALWAYS = ("device", "law")
CALLED = {
    "device": "machine", "law": "loss law", "settings": "fields of the space",
    "remat_asked": "rematerialisation", "data_limit_tokens": "unique tokens",
    "critical_batch": "critical batch", "extrapolate": "beyond the law's reach",
    "search": "search of the plan", "place": "place in the plan",
}  # fmt: skip
# Name, unit, the value in the batch's table, and the words for a row that has one.
FACTS: tuple[tuple[str, str, str, Callable[[Any], str]], ...] = (
    ("shape", "width × depth", "d_model", lambda row: f"{row.d_model}×{row.n_layers}"),
    ("loss", "nats", "predicted_loss", lambda row: f"{row.predicted_loss:.4f}"),
    ("loss", "95%", "loss_low", lambda row: f"{row.loss_low:.3f} to {row.loss_high:.3f}"),
    ("parameters", "", "n_params", lambda row: short_count(row.n_params)),
    ("tokens", "", "n_tokens", lambda row: short_count(row.n_tokens)),
    ("batch", "sequences × tokens", "batch_size",
     lambda row: f"{row.batch_size:,} × {row.seq_len:,}"),
    ("steps", "", "n_steps", lambda row: f"{row.n_steps:,}"),
    ("step", "ms", "step_time_s", lambda row: milliseconds(row.step_time_s)),
    ("memory", "GB and share", "memory_bytes",
     lambda row: f"{gigabytes(row.memory_bytes)}, {row.memory_share:.0%}"),
    ("cost", "US dollars", "cost_usd", lambda row: f"${row.cost_usd:,.2f}"),
    ("P(best)", "%", "p_best", lambda row: f"{100 * row.p_best:.1f}"),
    ("tied shapes", "with itself", "n_tied", lambda row: f"{row.n_tied:,}"),
    ("parameters", "95% of the draws", "n_params_low",
     lambda row: f"{short_count(row.n_params_low)} to {short_count(row.n_params_high)}"),
)  # fmt: skip
# Of them the first are columns of the tables too.
N_COLUMNS = 10


def batch_page(folder: Path) -> str:
    """A batch's page, as HTML.

    Args:
        folder: that `batch` wrote to.

    Raises:
        ValueError: the folder does not hold what `batch` writes, or more than one page may.
    """
    rows, made, losses = read_batch(folder)
    valleys = Valleys([losses.get(row.fingerprint, ()) for row in rows])
    choices = choices_of(rows, valleys, losses)
    certified = [row for row in rows if row.status == "certified"]
    chosen = {pick["name"] for pick in choices["picks"]}
    text = render(
        Page(
            title=f"{folder.resolve().name}: {len(rows)} searches",
            question=f"The plan “{folder.resolve().name}”: {len(rows)} searches.",
            answer="",
            basis=(),
            warnings=(),
            sections=[
                *([valleys.section()] if valleys else []),
                *([over_time(certified)] if certified else []),
                *_tables(),
            ],
            assumptions=[
                (_called(name), ", ".join(dict.fromkeys(_text(getattr(row, name)) for row in rows)))
                for name in CURVE
                if name not in chosen
            ],
            commands=[made.command],
            made_by=[
                ("anybudget", made.anybudget),
                ("Date", made.date),
                ("Certified", f"{len(certified)} of {len(rows)} searches"),
            ],
        ),
        choices=choices,
    )
    if (n_bytes := len(text.encode())) > MOST_BYTES:
        raise ValueError(
            f"a page must be at most {MOST_BYTES / 1e6:g} MB, but the {len(rows):,} searches of "
            f"{folder} take {n_bytes / 1e6:.1f}; make several plans of it"
        )
    return text


def choices_of(
    rows: Sequence[Any], valleys: Valleys, losses: Mapping[str, Losses]
) -> dict[str, Any]:
    """All that the page's script chooses among.

    Args:
        rows: of the batch's table.
        valleys: the axes of all maps.
        losses: the maps, by the fingerprint of a search.

    Returns:
        `picks`, a name, a label and values each; `facts`, a name and unit each; `warnings`; `axes`
        of the maps, None where there is none; and `curves`, each with the place of its value in
        every pick and its `rows` by budget.
    """
    names, keys = _keys(rows)
    kept = _chosen(names, keys)
    values = [list(dict.fromkeys(key[at] for key in keys)) for at in kept]
    warnings: dict[str, int] = {}
    curves: dict[tuple[int, ...], list[dict[str, Any]]] = {}
    for row, key in zip(rows, keys, strict=True):
        picked = tuple(known.index(key[at]) for at, known in zip(kept, values, strict=True))
        valley = {"valley": valleys.of(losses.get(row.fingerprint, ()))} if valleys else {}
        curves.setdefault(picked, []).append(_row(row, warnings) | valley)
    return {
        "picks": [
            {"name": names[at], "label": _called(names[at]), "values": known}
            for at, known in zip(kept, values, strict=True)
        ],
        "facts": [[name, unit] for name, unit, *_ in FACTS],
        "n_columns": N_COLUMNS,
        "axes": valleys.axes() if valleys else None,
        "curves": [
            {"picked": picked, "rows": sorted(found, key=lambda row: row["time_budget_s"])}
            for picked, found in curves.items()
        ],
        "warnings": list(warnings),
    }


def _keys(rows: Sequence[Any]) -> tuple[list[str], list[tuple[str, ...]]]:
    """What tells the rows of one budget apart: what makes a curve and, where it must, more."""
    keys = [tuple(_text(getattr(row, name)) for name in CURVE) for row in rows]
    names: list[str] = list(CURVE)
    for name in ("search", "place"):
        asked = [(key, row.time_budget_s) for key, row in zip(keys, rows, strict=True)]
        if len(set(asked)) == len(rows):
            break
        seen: Counter[Any] = Counter()
        for at, one in enumerate(asked):
            seen[one] += 1
            keys[at] += (rows[at].search if name == "search" else str(seen[one]),)
        names.append(name)
    return names, keys


def _chosen(names: Sequence[str], keys: Sequence[tuple[str, ...]]) -> list[int]:
    """The places of what one chooses: what those chosen before it do not determine."""
    kept: list[int] = []
    for at, name in enumerate(names):
        before = {tuple(key[one] for one in kept) for key in keys}
        after = {tuple(key[one] for one in (*kept, at)) for key in keys}
        if name in ALWAYS or len(after) > len(before):
            kept.append(at)
    return kept


def _row(row: Any, warnings: dict[str, int]) -> dict[str, Any]:
    """One search in words, and the numbers that pictures and sorted tables need."""
    found = {"time_budget_s": row.time_budget_s, "budget": time_text(row.time_budget_s)}
    fields = f"; {row.settings}" if row.settings else ""
    space = f"all {row.n_architectures:,} architectures of the space {row.space}{fields},"
    if row.status != "certified":
        return found | {
            "answer": "No model of the space fits the device and makes a step in the budget.",
            "basis": f"Certified: of {space} none does.",
            "facts": [[UNKNOWN, None]] * len(FACTS),
            "ranges": [None] * 4,
            "warnings": [],
        }
    arch = Architecture(**{name: getattr(row, name) for name in FIELDS})
    interval = None if row.loss_low is None else (row.loss_low, row.loss_high)
    told = row.warnings.split("; ") if row.warnings else []
    basis = f"Certified: of {space} none is better."
    if row.valley:
        basis += f" The valley: {row.valley}"
    if interval is None:
        basis += f" How sure that is, is not known, for {row.law} comes without draws."
    return found | {
        "shape": [row.d_model, row.n_layers],
        "answer": advice(arch, row.n_params, row.n_tokens, row.predicted_loss, interval),
        "basis": basis,
        "facts": [_fact(row, getattr(row, name), words) for _, _, name, words in FACTS],
        "ranges": [row.loss_low, row.loss_high, row.n_params_low, row.n_params_high],
        "warnings": [warnings.setdefault(text, len(warnings)) for text in told],
    }


def _fact(row: Any, value: Any, words: Callable[[Any], str]) -> list[Any]:
    return [UNKNOWN, None] if value is None else [words(row), value]


def _text(value: Any) -> str:
    """A value of the plan as one chooses it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return short_count(value)
    return "none" if value is None else str(value)


def _called(name: str) -> str:
    return CALLED.get(name, name)


def _tables() -> list[Section]:
    """Two tables, whose rows the script writes."""
    columns = [Column(name=name, unit=unit) for name, unit, *_ in FACTS[:N_COLUMNS]]
    return [
        Section(
            finding="Other times on this machine",
            text="The winner of each budget; what was chosen is marked. A click on a column's "
            "name sorts.",
            table=Table(columns=[Column(name="budget"), *columns], rows=()),
        ),
        Section(
            finding="Other machines in this time",
            text="The same question on every machine of the plan.",
            table=Table(columns=[Column(name="machine", number=False), *columns], rows=()),
        ),
    ]
