"""A batch's answers as text for a terminal: a table a device and law, then the exponents."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from rich.markup import escape

from ...search.batch.curves import CURVE
from ...space.architecture import marks, marks_mean
from ..words import REMAT_MARKS, remat_means, short_count
from .parts import Lines, plain_table, prose

# Rows on a terminal; batch.csv has all.
MOST_ROWS = 200
SYMBOLS = {
    "n_params": "N*",
    "n_tokens": "D*",
    "loss_above_E": "loss - E",
}


def show_batch(table: pd.DataFrame, curves: pd.DataFrame) -> Lines:
    """The winners by budget, what could not be answered, and how the winners grow with time."""
    shown = table.head(MOST_ROWS)
    for _, rows in shown.groupby(list(CURVE), sort=False, dropna=False):
        yield _heading(rows.iloc[0].to_dict())
        yield _winners(rows.to_dict(orient="records"))
        yield ""
    if len(table) > len(shown):
        yield f"{len(table) - len(shown)} more searches in batch.csv.\n"
    n_certified = list(table["status"]).count("certified")
    yield f"{n_certified} of {len(table)} searches certified: the lowest loss of all in the space."
    if n_certified < len(table):
        yield "In the others no model fits the device and makes a step in the budget."
    yield from _marks(table)
    if len(curves):
        yield _exponents(curves)
        yield (
            "[dim]Exponents of time T (theory in brackets), of winners that memory does not "
            "limit;\ngamma: the exponent of a token's time in N; n: budgets fitted[/]"
        )


def _heading(row: dict[str, Any]) -> str:
    """What the rows of one table share, as far as it is not what `find` does anyway."""
    parts = [f"{row['device']}, {row['law']}, space {row['space']}"]
    if row["settings"]:
        parts.append(row["settings"])
    if row["attention"] != "plain":
        parts.append(f"{row['attention']} attention")
    if row["remat_asked"] != "auto":
        parts.append(f"remat {row['remat_asked']}")
    if pd.notna(row["data_limit_tokens"]):
        parts.append(f"{short_count(row['data_limit_tokens'])} unique tokens")
    if row["critical_batch"]:
        parts.append("critical batch")
    if row["seed"]:
        parts.append(f"seed {row['seed']}")
    return f"[bold]{prose('; '.join(parts))}[/]"


def _winners(rows: list[dict[str, Any]]) -> Any:
    priced = any(pd.notna(row["cost_usd"]) for row in rows)
    sure = any(pd.notna(row["loss_low"]) for row in rows)
    # Beside what is not known, and a price, there is no room in 80 columns for all.
    roomy = not (sure or priced)
    table = plain_table(
        "budget", "shape", *([] if priced else ["heads"]), "d_ff", "params",
        *(["moves"] if sure else []), "tokens", *(["D/N"] if roomy else []),
        "loss", *(["95%"] if sure else []), *(["cost"] if priced else []),
    )  # fmt: skip
    for row in rows:
        if row["status"] != "certified":
            table.add_row(row["budget"], "none")
            continue
        moves = (
            f"{short_count(row['n_params_low'])}..{short_count(row['n_params_high'])}",
            f"{row['loss_low']:.3f}..{row['loss_high']:.3f}",
        ) if sure else ()  # fmt: skip
        table.add_row(
            row["budget"],
            f"{row['d_model']}×{row['n_layers']}" + REMAT_MARKS[row["remat"]],
            *([] if priced else [f"{row['n_heads']}×{row['d_head']}"]),
            f"{row['d_ff']}{marks(row)}",
            short_count(row["n_params"]),
            *moves[:1],
            short_count(row["n_tokens"]),
            *([f"{row['tokens_per_param']:.3g}"] if roomy else []),
            f"{row['predicted_loss']:.4f}",
            *moves[1:],
            *([f"${row['cost_usd']:,.2f}"] if priced else []),
        )
    return table


def _marks(table: pd.DataFrame) -> Lines:
    """What the marks in the tables stand for."""
    table = pd.DataFrame(table[table["status"] == "certified"])
    there = {
        **dict.fromkeys(marks_mean(table.to_dict(orient="records")), True),
        **dict.fromkeys(remat_means(set(table["remat"])), True),
        "moves: parameters of 95% of the draws' winners": not np.all(table["loss_low"].isna()),
    }
    if shown := "; ".join(mark for mark, is_there in there.items() if is_there):
        yield f"[dim]{prose(shown)}[/]\n"


def _exponents(curves: pd.DataFrame) -> Any:
    """A line a curve: each exponent, and theory's in brackets."""
    table = plain_table("device", "law", "gamma", *SYMBOLS.values(), "n")
    differs = curves["attention"].nunique() > 1
    for _, rows in curves.groupby(list(CURVE), sort=False, dropna=False):
        by_quantity = rows.set_index("quantity").to_dict(orient="index")
        first = rows.iloc[0]
        table.add_row(
            escape(first["device"]) + f", {first['attention']}" * differs,
            escape(str(first["law"])),
            f"{first['gamma']:.2f}",
            *(
                f"{by_quantity[name]['exponent']:.2f} ({by_quantity[name]['theory']:.2f})"
                for name in SYMBOLS
            ),
            str(first["n_budgets"]),
        )
    return table
