"""anybudget: the best decoder-only transformer for a time budget on a given machine.

The commands are functions as well, `anybudget.find("3h")` and its sisters, see `anybudget.api`.
"""

from typing import Any

__version__ = "0.1.0"
PUBLIC = (
    "ask",
    "batch",
    "calibrate",
    "compile",
    "confirm",
    "devices",
    "explore",
    "export",
    "find",
    "fit",
    "forecast",
    "forecasts",
    "front",
    "laws",
    "plot",
    "predict",
    "refine",
    "report",
    "save",
)


def __getattr__(name: str) -> Any:
    """One of the public functions, read when it is asked for."""
    if name not in PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.api"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *PUBLIC])
