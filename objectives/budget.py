"""Time budgets as people write them."""

from __future__ import annotations

import re

# Longer than anything has been computed.
MOST_S = 1e15
SECONDS = {"d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0}


def parse_budget(text: str) -> float:
    """Seconds in a budget such as `90s`, `15m`, `3h`, `1h30m` or `2d`.

    Examples:
        3600 + 30 * 60, and 2 * 24 * 3600.

        >>> parse_budget("1h30m")
        5400.0
        >>> parse_budget("2d")
        172800.0

    Raises:
        ValueError: the text is not a budget, has no unit, or is not positive.
    """
    number = r"\d+(?:\.\d+)?"
    match = re.fullmatch("".join(f"(?:({number}){unit})?" for unit in SECONDS), text.strip())
    if not match or not text.strip():
        unit = " with a unit" if re.fullmatch(rf"-?{number}", text.strip()) else ""
        raise ValueError(
            f"a time budget must be a positive time{unit} such as 90s, 15m, 3h, 1h30m or 2d, "
            f"but got {text!r}"
        )
    seconds = sum(
        float(part or 0) * size for part, size in zip(match.groups(), SECONDS.values(), strict=True)
    )
    if seconds <= 0:
        raise ValueError(f"a time budget must be more than 0 seconds, but got {text!r}")
    if seconds > MOST_S:
        raise ValueError(f"a time budget must be at most {MOST_S / 86_400:,.0f}d, but got {text!r}")
    return seconds


def format_budget(seconds: float) -> str:
    """The shortest such text, to the whole second from a minute on.

    Examples:
        >>> format_budget(5400)
        '1h30m'
        >>> format_budget(0.5)
        '0.5s'
    """
    if seconds < 60:
        return f"{seconds:g}s"
    left, parts = round(seconds), []
    for unit, size in SECONDS.items():
        count, left = divmod(left, int(size))
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)
