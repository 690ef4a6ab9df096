"""What a user hands over in a file: read as data, checked key by key, never evaluated."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")

UNKNOWN_KEY = ("unexpected_keyword_argument", "extra_forbidden")


def read_text(path: Path) -> str:
    """A text file's contents.

    Raises:
        ValueError: the file is missing, unreadable or not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"cannot read {path}: it is not UTF-8 text") from None


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as a dict.

    Raises:
        ValueError: the file cannot be read or is not TOML.
    """
    try:
        return tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is not valid TOML: {error}") from None


def build(cls: type[T], data: Any, where: str) -> T:
    """An instance of a dataclass from plain data, each key checked and nothing converted.

    Raises:
        ValueError: one line naming `where`, the key, its value and what it must be; an unknown key
            comes with the nearest known ones.
    """
    try:
        # Strict by way of JSON, which has lists where the class has tuples: a quoted number is a
        # mistake, and so is `true` for 1.
        return TypeAdapter(cls).validate_json(json.dumps(data, default=str), strict=True)
    except ValidationError as error:
        # A misspelt key is unknown and leaves another missing: the spelling is the mistake.
        first = min(error.errors(), key=lambda found: found["type"] not in UNKNOWN_KEY)
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] in UNKNOWN_KEY:
            known = getattr(cls, "__dataclass_fields__", {})
            raise ValueError(f"{where}: unknown key `{key}`{did_you_mean(key, known)}") from None
        if first["type"].startswith("missing"):
            raise ValueError(f"{where}: `{key}` is missing") from None
        reason = first["msg"].removeprefix("Value error, ")
        at, got = (f"`{key}`: ", f" (got {first['input']!r})") if key else ("", "")
        raise ValueError(f"{where}: {at}{reason}{got}") from None


def did_you_mean(name: str, known: Iterable[str], *, cutoff: float = 0.4) -> str:
    """A clause with the nearest known names, or all of them when none is as near as the cutoff."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=cutoff)
    return f"; did you mean {' or '.join(near)}?" if near else f"; known: {', '.join(names)}"
