"""What a user hands over in a file: read as data, checked key by key, never evaluated."""

from __future__ import annotations

import difflib
import functools
import json
import re
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")

# Of tables, laws and results; a corpus is read in pieces.
MAX_BYTES = 1 << 28
# Control characters but for tabs and ends of lines, and what turns the direction of writing.
STEERS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
# Of a value in a message.
LONGEST_VALUE = 80
UNKNOWN_KEY = ("unexpected_keyword_argument", "extra_forbidden")


def read_text(path: Path) -> str:
    """A text file's contents, without a byte-order mark.

    Raises:
        ValueError: the file is missing, unreadable, too large or not UTF-8.
    """
    try:
        if path.is_file() and (n_bytes := path.stat().st_size) > MAX_BYTES:
            raise ValueError(f"{path} must be at most {MAX_BYTES:,} bytes, but has {n_bytes:,}")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"cannot read {path}: it is not UTF-8 text") from None


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as a dict.

    Raises:
        ValueError: the file cannot be read, is not TOML, or a text in it would steer a terminal.
    """
    return _parsed(path, tomllib.loads, "TOML")


def read_json(path: Path) -> Any:
    """A JSON file's document.

    Raises:
        ValueError: the file cannot be read, is not JSON, or a text in it would steer a terminal.
    """
    return _parsed(path, json.loads, "JSON")


def _parsed(path: Path, parse: Callable[[str], Any], kind: str) -> Any:
    text = read_text(path)
    try:
        data = parse(text)
    except RecursionError:
        raise ValueError(f"{path} is not valid {kind}: it is nested too deeply") from None
    except ValueError as error:
        # Python reads no whole number of thousands of digits.
        long = "set_int_max_str_digits" in str(error)
        reason = "a number in it has thousands of digits" if long else error
        raise ValueError(f"{path} is not valid {kind}: {reason}") from None
    _check_texts(data, path)
    return data


def _check_texts(data: Any, path: Path) -> None:
    """Names and texts are printed: none may hold what would steer a terminal; a name is a line."""
    if isinstance(data, dict):
        if isinstance(name := data.get("name"), str) and name.splitlines() != [name.strip()]:
            raise ValueError(f"{path}: a name must be a line of text, but got {name!r}")
        _check_texts([*data, *data.values()], path)
    elif isinstance(data, list):
        for one in data:
            _check_texts(one, path)
    elif isinstance(data, str):
        check_plain(data, path)


def check_plain(text: str, path: Path) -> str:
    """A text that is to be printed, without what would steer a terminal.

    Raises:
        ValueError: it holds a control character.
    """
    if found := STEERS.search(text):
        raise ValueError(f"{path} must have no control characters, but holds {found[0]!a}")
    return text


def build(cls: type[T], data: Any, where: str) -> T:
    """An instance of a dataclass from plain data, each key checked and nothing converted.

    Raises:
        ValueError: one line naming `where`, the key, its value and what it must be; an unknown key
            comes with the nearest known ones.
    """
    try:
        # Strict by way of JSON, which has lists where the class has tuples: a quoted number is a
        # mistake, and so is `true` for 1.
        return _checker(cls).validate_json(json.dumps(data, default=str), strict=True)
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
        value = repr(first["input"])
        short = value if len(value) <= LONGEST_VALUE else f"{value[:LONGEST_VALUE]}…"
        at, got = (f"`{key}`: ", f" (got {short})") if key else ("", "")
        raise ValueError(f"{where}: {at}{reason}{got}") from None


# Its making takes longer than most files.
_checker = functools.cache(TypeAdapter)


def did_you_mean(name: str, known: Iterable[str], *, cutoff: float = 0.4) -> str:
    """A clause with the known names that begin so, or the nearest, or all where none is as near."""
    names = sorted(known)
    begun = [one for one in names if name and one.startswith(name)][:3]
    near = begun or difflib.get_close_matches(name, names, n=3, cutoff=cutoff)
    return f"; did you mean {' or '.join(near)}?" if near else f"; known: {', '.join(names)}"
