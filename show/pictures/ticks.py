"""Ticks of logarithmic axes: values, and what people write for them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from ...objectives.budget import format_budget
from ..words import short_count

MINUTE, HOUR, DAY = 60, 3600, 86_400
FEW_TIMES = (1, 10, MINUTE, 10 * MINUTE, HOUR, 6 * HOUR, DAY, 7 * DAY, 30 * DAY, 365 * DAY)
TIMES = (
    *(1, 2, 5, 10, 20, 30),
    *(minutes * MINUTE for minutes in (1, 2, 5, 10, 20, 30)),
    *(hours * HOUR for hours in (1, 3, 6, 12)),
    *(days * DAY for days in (1, 2, 4, 7, 14, 30, 90, 180, 365)),
)
SOME_TIMES = (
    *(1, 5, 15, MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 3 * HOUR, 12 * HOUR),
    *(days * DAY for days in (1, 3, 7, 30, 90, 365)),
)
MOST = 8
Ticks = list[tuple[float, str]]
Span = tuple[float, float]


def span_of(values: Iterable[float], margin: float = 0.05) -> Span:
    """From the lowest to the highest, and a share of the way between them beside each."""
    low, high = min(known := list(values)), max(known)
    room = margin * (high - low) or 0.05 * abs(high) or 1.0
    return low - room, high + room


def log_span_of(values: Iterable[float], margin: float = 0.05) -> Span:
    """The same where steps are equal factors."""
    low, high = span_of(map(math.log, values), margin)
    return math.exp(low), math.exp(high)


def time_ticks(span: Span) -> Ticks:
    """Seconds as time budgets are written, 5m or 6h."""
    return _within(span, (TIMES, SOME_TIMES, FEW_TIMES), format_budget)


def count_ticks(span: Span) -> Ticks:
    """Counts such as 200k or 1.5B."""
    return _within(span, _decades(span), short_count)


def width_ticks(span: Span) -> Ticks:
    """Widths: powers of two."""
    exponents = range(math.ceil(math.log2(span[0])), math.floor(math.log2(span[1])) + 1)
    choices = [[2.0**e for e in exponents], [2.0**e for e in exponents if not e % 2]]
    if len(choices[0]) < 2:
        return count_ticks(span)
    return _within(span, choices, lambda width: f"{width:g}")


def number_ticks(span: Span, prefix: str = "") -> Ticks:
    """Plain numbers, with what stands before each."""
    return _within(span, _decades(span), lambda value: f"{prefix}{value:,.10g}")


def _decades(span: Span) -> list[list[float]]:
    """Tenths, then 1, 2 and 5, then powers of ten alone: the finest first."""
    exponents = range(math.floor(math.log10(span[0])), math.ceil(math.log10(span[1])) + 1)
    steps = ((1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9), (1, 1.5, 2, 3, 4, 5, 6, 8), (1, 2, 5))
    fine = [[step * 10.0**e for e in exponents for step in some] for some in steps]
    return [*fine, [10.0**e for e in exponents], [10.0**e for e in exponents if not e % 2]]


def _within(span: Span, choices: Sequence[Sequence[float]], text: Callable[[float], str]) -> Ticks:
    """The finest choice that is not crowded."""
    kept = [[value for value in values if span[0] <= value <= span[1]] for values in choices]
    fitting = next((values for values in kept if len(values) <= MOST), kept[-1])
    return [(value, text(value)) for value in (fitting if len(fitting) > 1 else _even(span))]


def _even(span: Span) -> list[float]:
    """Some values with an even step, for a span in which even the finest choice has none."""
    least = (span[1] - span[0]) / 5
    power = 10.0 ** math.floor(math.log10(least))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least)
    first, last = math.ceil(span[0] / step), math.floor(span[1] / step)
    return [round(at * step, 12) for at in range(first, last + 1)]
