"""A plan: many searches in one TOML file, checked as a whole before any of them runs.

Each `[[search]]` table gives a search's options, one value or a list; lists multiply. What a table
leaves out is as in the one it `extends`, then as in `[defaults]`, then as in `find`.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ...files.read import did_you_mean, read_text, read_toml
from ...objectives.cost.execution import SPLITS
from ...space.limits import MOST_SEED
from ..experts import refuse_sparse
from ..question import Question, QuestionMaker
from ..words import Words, settings_of

# A space is walked once for all of its searches, at some millions of architectures a second.
MAX_ARCHITECTURES = 500_000_000
# Each takes half a millisecond to check, before any is answered.
MAX_SEARCHES = 10_000
# In the order in which lists multiply, the last running fastest; what `Words` leave out, in TOML.
DEFAULTS: dict[str, Any] = {
    "device": None,
    "law": None,
    "anchor": None,
    "space": None,
    "set": {},
    "remat": "auto",
    "attention": "auto",
    "sharding": "auto",
    "tensor_parallel": None,
    "pipeline_parallel": 1,
    "virtual_stages": 1,
    "micro_batch_size": None,
    "data_limit_tokens": math.inf,
    "critical_batch": None,
    "extrapolate": False,
    "chips": 1,
    "price": None,
    "seed": 0,
    "budget": None,
}
NAMING = ("name", "extends")
TEXT = ("text", lambda value: isinstance(value, str) and bool(value.strip()))
KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    **dict.fromkeys(
        ("device", "law", "anchor", "space", "remat", "attention", "sharding", *NAMING), TEXT
    ),
    "budget": ("text such as '3h'", lambda value: type(value) in (str, int, float)),
    "set": ("a table of fields of the space", lambda value: isinstance(value, dict)),
    **dict.fromkeys(
        ("data_limit_tokens", "price"), ("a number", lambda value: type(value) in (int, float))
    ),
    **dict.fromkeys(
        ("critical_batch", "extrapolate"),
        ("true or false", lambda value: isinstance(value, bool)),
    ),
    **dict.fromkeys(
        (*SPLITS, "micro_batch_size", "chips"),
        ("a whole number >= 1", lambda value: type(value) is int and value >= 1),
    ),
    "seed": (
        f"a whole number from 0 to {MOST_SEED}",
        lambda value: type(value) is int and 0 <= value <= MOST_SEED,
    ),
}


class Option(NamedTuple):
    """A value of a plan, and where it stands."""

    value: Any
    place: str


Table = dict[str, Option]


def load_plan(
    path: Path,
    *,
    seed: int = 0,
    on_progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> list[Question]:
    """All searches of a plan, in its order.

    Args:
        path: the plan; relative paths in it start at its folder.
        seed: of the searches that the plan gives none.
        on_progress: called with the stage, what is newly done in it, and the stage's total.

    Raises:
        ValueError: the file is missing or no plan, or any search in it cannot be made; the message
            names the file, the table, the key, and the line where it can be told.
    """
    make = QuestionMaker(path.parent)
    asked: dict[str, str] = {}
    questions = []
    tables = list(_searches(path, DEFAULTS | {"seed": seed}))
    if (n_searches := sum(_n_searches(table) for _, table in tables)) > MAX_SEARCHES:
        raise ValueError(
            f"{path}: a plan must have at most {MAX_SEARCHES:,} searches, but its lists multiply "
            f"to {n_searches:,}; make several plans of it"
        )
    for label, table in tables:
        for options in _product(table):
            question = _question(make, label, options)
            if earlier := asked.get(question.fingerprint):
                raise ValueError(
                    f"{options['budget'].place}: a search must be asked once, but {question.title} "
                    f"was asked before, in {earlier}; leave one of them out"
                )
            asked[question.fingerprint] = label
            questions.append(question)
            on_progress("plan", 1, n_searches)
    return questions


def _question(make: QuestionMaker, name: str, options: Table) -> Question:
    """The question of one combination of options; a mistake in one is told with its place."""

    @contextmanager
    def blame(key: str) -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            said = str(error).removeprefix("--set: ")
            raise ValueError(f"{options[key].place}: {said}") from None

    values = {key: option.value for key, option in options.items()}
    settings = settings_of(values.pop("set"))
    if values["data_limit_tokens"] == math.inf:
        values["data_limit_tokens"] = None
    values["budget"] = str(values["budget"])
    question = make(Words(**values, settings=settings, name=name), blame=blame)
    with blame("set" if settings else "space"):
        refuse_sparse(question, "a plan")
        if (n_architectures := question.space.n_architectures) > MAX_ARCHITECTURES:
            raise ValueError(
                f"a space must have at most {MAX_ARCHITECTURES:,} architectures to be enumerated, "
                f"but has {n_architectures:,}; give its ranges wider steps"
            )
    return question


def _searches(path: Path, fallback: dict[str, Any]) -> Iterator[tuple[str, Table]]:
    """Each table of searches with its label, and all that it inherits."""
    data = read_toml(path)
    if unknown := sorted(set(data) - {"defaults", "search"}):
        near = did_you_mean(unknown[0], ("defaults", "search"))
        raise ValueError(f"{path}: unknown key `{unknown[0]}`{near}")
    searches, defaults = data.get("search", []), data.get("defaults", {})
    for name, kind, value in (
        ("search", "tables, each under [[search]]", searches),
        ("defaults", "a table, under [defaults]", [defaults]),
    ):
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            raise ValueError(f"{path}: `{name}` must be {kind}, but got {data[name]!r}")
    if not searches:
        raise ValueError(f"{path}: there is nothing to do; a plan has at least one [[search]]")
    place = _Places(path)
    shared = {key: Option(value, str(path)) for key, value in fallback.items()}
    shared |= _checked("defaults", defaults, place, set(DEFAULTS))
    tables, labels = {}, {}
    for number, data in enumerate(searches):
        table = _checked(f"search[{number}]", data, place, {*DEFAULTS, *NAMING})
        name = table["name"].value if "name" in table else f"search[{number}]"
        if name in tables:
            raise ValueError(
                f"{table['name'].place}: a name must be given once, but {name!r} is the name of "
                f"{labels[name]} too"
            )
        tables[name], labels[name] = table, f"search[{number}]"
    for name, table in tables.items():
        inherited = _inherited(table, tables)
        if "budget" not in inherited and shared["budget"].value is None:
            raise ValueError(
                f"{path}: {labels[name]}: `budget` is missing; give it there or in [defaults]"
            )
        yield name, shared | inherited


def _checked(label: str, data: dict[str, Any], place: _Places, known: set[str]) -> Table:
    """A table's options, their keys and kinds checked."""
    for key, value in data.items():
        where = place.of(label, key)
        if key not in known:
            raise ValueError(f"{place.of(label, key)}: unknown key{did_you_mean(key, known)}")
        if value == []:
            raise ValueError(f"{where}: a list must not be empty, or the product has no searches")
        kind, fits = KINDS[key]
        for one in value if isinstance(value, list) and key not in NAMING else [value]:
            if not fits(one):
                raise ValueError(f"{where} must be {kind}, but got {one!r}")
    return {key: Option(value, place.of(label, key)) for key, value in data.items()}


def _inherited(table: Table, tables: dict[str, Table]) -> Table:
    """A table over those that it extends, the nearest first."""
    chain, names = [table], []
    while parent := chain[-1].get("extends"):
        if parent.value not in tables:
            near = did_you_mean(parent.value, tables)
            raise ValueError(f"{parent.place}: no search is called {parent.value!r}{near}")
        if parent.value in names:
            circle = " extends ".join([*names[names.index(parent.value) :], parent.value])
            raise ValueError(f"{parent.place} must end somewhere, but {circle}")
        names.append(parent.value)
        chain.append(tables[parent.value])
    return {key: option for one in reversed(chain) for key, option in one.items()}


def _n_searches(table: Table) -> int:
    return math.prod(len(value) for value, _ in table.values() if isinstance(value, list))


def _product(table: Table) -> Iterator[dict[str, Option]]:
    """Every combination of a table's values."""
    choices = [
        [Option(one, place) for one in (value if isinstance(value, list) else [value])]
        for value, place in (table[key] for key in DEFAULTS)
    ]
    for combination in itertools.product(*choices):
        yield dict(zip(DEFAULTS, combination, strict=True))


class _Places:
    """Where a key stands in a plan's text, for messages: the parser keeps no lines."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: dict[tuple[str, str], int] = {}
        label, n_searches = "", 0
        for number, line in enumerate(read_text(path).splitlines(), start=1):
            if re.match(r"\s*\[\[\s*search\s*\]\]", line):
                label, n_searches = f"search[{n_searches}]", n_searches + 1
            elif re.match(r"\s*\[\s*defaults\s*\]", line):
                label = "defaults"
            elif match := re.match(r"\s*(?:\[\s*(?:defaults|search)\s*\.\s*)?(\w+)\s*[=\]]", line):
                self.lines.setdefault((label, match[1]), number)

    def of(self, label: str, key: str | None = None) -> str:
        """The file, the line where the text shows it, the table and the key."""
        line = self.lines.get((label, key)) if key else None
        at = f", line {line}" if line else ""
        return f"{self.path}{at}: {label}" + (f": `{key}`" if key else "")
