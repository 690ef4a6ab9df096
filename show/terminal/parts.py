"""What texts for a terminal are made of: prose in 80 columns, plain tables, what is assumed."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from rich.markup import escape
from rich.table import Table

from ...objectives.loss_at_time import LossAtTime

Lines = Iterator[str | Table]
# As wide as a terminal is at least.
WIDTH = 80


def wrapped(text: str, first: str = "") -> str:
    """A paragraph in lines of at most `WIDTH`; what stands before the first is left free below."""
    indent = " " * len(first)
    return textwrap.fill(
        first + text,
        WIDTH,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def prose(text: str, first: str = "") -> str:
    """The same with nothing in it that `show` would read as a mark."""
    return escape(wrapped(text, first))


def plain_table(*columns: str) -> Table:
    """A table without lines, the first column to the left, the numbers to the right."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    for at, name in enumerate(columns):
        table.add_column(name, justify="right" if at else "left", no_wrap=True)
    return table


def show_warnings(warnings: list[str]) -> Lines:
    """One marked paragraph for each."""
    for warning in warnings:
        yield "[yellow]![/]" + prose(warning, "! ").removeprefix("!")


def assumptions(objective: LossAtTime, more: str = "", *, named: bool = True) -> str:
    """Device and law, if it is `named`, and what more there is, in a sentence."""
    times = f"{objective.n_chips} × " if objective.n_chips > 1 else ""
    attention = objective.mark
    law = f"; law {objective.law.name}" if named else ""
    return prose(f"Device {times}{objective.device.label}{attention}{law}{more}.")


def costs(objective: LossAtTime) -> str:
    """What the budget costs; nothing where no price is known."""
    device, n_chips = objective.device, objective.n_chips
    cost = device.cost_usd(n_chips, objective.time_budget_s)
    if cost is None:
        return ""
    times = f"{n_chips} × " if n_chips > 1 else ""
    return f"It costs ${cost:,.2f} at {times}${device.price_per_hour_usd:,.2f} an hour.\n"
