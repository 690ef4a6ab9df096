"""A page of findings: pictures, tables and sentences as one HTML file that needs nothing else.

Everything that comes from a file or a command line is escaped, and the page's own policy lets no
other script run and nothing be fetched.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from ...files.write import json_text
from ..pictures.picture import Picture
from .interactive import interactive

HERE = Path(__file__).parent / "web"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Column:
    """A table's column: its name, its unit, and whether it holds numbers."""

    name: str
    unit: str = ""
    number: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class Interval:
    """Where a value and its interval lie in a strip, in percent of its width, and zero with them.

    Attributes:
        low: the interval's lower end.
        value: the value.
        high: the interval's upper end.
        zero: what the column's values are counted from.
    """

    low: float
    value: float
    high: float
    zero: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cell:
    """A table's cell: its text, what it is sorted by (None: comes last), its interval's strip."""

    text: str
    sort: float | str | None
    interval: Interval | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of cells under columns; the first row is marked as the answer."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Section:
    """One finding: what it is, how to read it, and what shows it."""

    finding: str
    text: str
    pictures: Sequence[Picture] = ()
    table: Table | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Page:
    """A report.

    Attributes:
        title: of the browser's tab.
        question: what was asked.
        answer: one sentence.
        basis: sentences on how sure the answer is.
        warnings: what a reader must know before believing it.
        sections: findings, in order.
        assumptions: name and text of all that the answer rests on.
        commands: the command lines that made it.
        made_by: name and text of what else reproduces it.
    """

    title: str
    question: str
    answer: str
    basis: Sequence[str]
    warnings: Sequence[str]
    sections: Sequence[Section]
    assumptions: Sequence[tuple[str, str]]
    commands: Sequence[str]
    made_by: Sequence[tuple[str, str]]


def render(page: Page, *, choices: dict[str, Any] | None = None) -> str:
    """The page as HTML.

    Args:
        page: what it says.
        choices: of a page with answers to choose among, all that its script shows.
    """
    names = ["report"] if choices is None else ["report", "batch"]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    styles, scripts = ([_web(f"{name}.{kind}") for name in names] for kind in ("css", "js"))
    scripts = [get_plotlyjs(), *scripts]
    return environment.get_template(f"{names[-1]}.html").render(
        page=page,
        choices=choices,
        style=Markup("\n".join(styles)),
        scripts=[Markup(script) for script in scripts],
        policy=" ".join(_hash(script) for script in scripts),
        picture_json=lambda picture: embedded(str(interactive(picture).to_json())),
        data_json=lambda data: embedded(json_text(data)),
    )


def embedded(text: str) -> Markup:
    """JSON that cannot end the element that holds it."""
    return Markup(text.replace("<", "\\u003c"))


def _web(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
