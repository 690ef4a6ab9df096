"""A law or a device with the draws of its numbers: two files that name each other.

`NAME.toml` holds the thing and, where there are draws, a table `[draws]` with their `count` and the
`sha256` of the file beside it, `NAME.draws.csv`. That one begins with the fingerprint of the
numbers that were drawn, then their names, then a draw a line. So neither is taken for another's,
nor is a file that was cut short.
"""

from __future__ import annotations

import abc
import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import tomli_w

from ..files.read import build, read_text, read_toml
from ..files.write import write_together

FINGERPRINT = "# fingerprint "
AGAIN = "fit or calibrate again, or remove the draws and the table `[draws]` that names them"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Drawn(abc.ABC):
    """A thing with numbers that were fitted, and what is not known of them.

    Attributes:
        draws: numbers that the runs could as well have given, (draws, numbers); None where nothing
            is known of them.
    """

    draws: np.ndarray | None = None

    @property
    @abc.abstractmethod
    def names(self) -> list[str]:
        """Of the numbers that are drawn."""

    @property
    @abc.abstractmethod
    def fingerprint(self) -> str:
        """Of the numbers that were drawn, and of their form."""

    @abc.abstractmethod
    def can_be(self, draws: np.ndarray) -> np.ndarray:
        """Whether each draw's numbers are such as it may have, (draws,)."""


OneDrawn = TypeVar("OneDrawn", bound=Drawn)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reference:
    """What names a file of draws: how many there are, and the checksum of the file."""

    count: int
    sha256: str

    @classmethod
    def of(cls, text: str) -> Reference:
        """The reference to a file of this text."""
        return cls(count=text.count("\n") - 2, sha256=hashlib.sha256(text.encode()).hexdigest())


def fingerprint(*numbers: Any) -> str:
    """Of the numbers that were drawn and of the form that they belong to."""
    return hashlib.sha256(json.dumps(numbers).encode()).hexdigest()[:16]


def draws_path(path: Path) -> Path:
    """Where the draws of a law or device lie."""
    return path.with_suffix(".draws.csv")


def draws_text(draws: np.ndarray, names: Sequence[str], mark: str) -> str:
    """A file of draws, (draws, numbers), under the fingerprint of what was drawn."""
    lines = [",".join(map(_shortest, row)) for row in draws.tolist()]
    return "\n".join([FINGERPRINT + mark, ",".join(names), *lines]) + "\n"


def read_draws(path: Path, data: Any, drawn: OneDrawn) -> OneDrawn:
    """A thing with the draws that a table `[draws]` names.

    Args:
        path: of the draws.
        data: the table; None: there is none, and so there are no draws.
        drawn: the thing, without draws.

    Raises:
        ValueError: the file is missing, cut, edited, of another law or device, or not named.
    """
    if data is None:
        if path.exists():
            raise ValueError(
                f"{path} is not named by what it lies beside, so it may be another fit's; "
                "fit or calibrate again, or remove it"
            )
        return drawn
    reference = build(Reference, data, f"{path}: its reference `draws`")
    if not path.exists():
        raise ValueError(f"there is no {path} of {reference.count} draws; keep the two together")
    text = read_text(path)
    if Reference.of(text) != reference:
        raise ValueError(
            f"{path} must be the {reference.count} draws with the checksum that was noted, but "
            f"holds {max(Reference.of(text).count, 0)} or others; {AGAIN}"
        )
    first, header, *rows = text.splitlines()
    if first != FINGERPRINT + drawn.fingerprint or header != ",".join(drawn.names):
        raise ValueError(f"{path} holds draws of other numbers than those beside it; {AGAIN}")
    try:
        table = np.array([[float(cell) for cell in row.split(",")] for row in rows])
    except ValueError:
        table = np.array([])
    if table.shape != (reference.count, len(drawn.names)) or not np.isfinite(table).all():
        raise ValueError(f"{path}: every row must hold {len(drawn.names)} finite numbers")
    if len(wrong := np.flatnonzero(~drawn.can_be(table))):
        raise ValueError(
            f"{path}, line {wrong[0] + 3}: a draw must be such numbers as it is drawn for, none of "
            f"them below 0, but is {rows[wrong[0]]}"
        )
    return dataclasses.replace(drawn, draws=table)


def read_pair(path: Path, made_of: Callable[[dict[str, Any]], OneDrawn]) -> OneDrawn:
    """A law or device from its file, with the draws that lie beside it.

    Args:
        path: of the TOML.
        made_of: builds it from what the file holds, without draws.

    Raises:
        ValueError: the file is not valid, or its draws are not its own.
    """
    data = read_toml(path)
    named = data.pop("draws", None)
    return read_draws(draws_path(path), named, made_of(data))


def with_draws_of(known: OneDrawn, other: OneDrawn | None) -> OneDrawn:
    """A law or device with another's draws where both have the same numbers; else as it is."""
    if other is None or other.fingerprint != known.fingerprint:
        return known
    return dataclasses.replace(known, draws=other.draws)


def save_pair(path: Path, fields: Mapping[str, Any], known: Drawn) -> None:
    """Write a law or device and its draws, to six digits; without draws, old ones are removed.

    Args:
        path: of the TOML.
        fields: what the TOML holds.
        known: whose draws they are.
    """
    data = {name: value for name, value in fields.items() if value is not None}
    if known.draws is None:
        write_together({path: tomli_w.dumps(data), draws_path(path): None})
        return
    text = draws_text(_rounded(known.draws), known.names, known.fingerprint)
    data["draws"] = dataclasses.asdict(Reference.of(text))
    write_together({draws_path(path): text, path: tomli_w.dumps(data)})


def _shortest(value: float) -> str:
    """A number so that it is read back as it was, in six digits where they do."""
    short = f"{value:.6g}"
    return short if float(short) == value else repr(value)


def _rounded(draws: np.ndarray) -> np.ndarray:
    return np.array([[float(f"{value:.6g}") for value in row] for row in draws.tolist()])
