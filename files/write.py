"""Files and folders that appear whole or not at all: the one way in which every command writes.

What is written stands beside its place under a hidden name until it is on disk; only then is it
named. A full disk or a kill leaves what was there before.
"""

from __future__ import annotations

import contextlib
import glob
import json
import math
import os
import platform
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import disk
from .disk import FAILING, refusing
from .mask import names_a_study

if TYPE_CHECKING:
    import pandas as pd

PROBE_BYTES = 1 << 16
# How an address begins, and no drive of Windows.
SCHEME = re.compile(r"[a-z][a-z0-9+.-]+:", re.IGNORECASE)
# Who may read a file: the user alone, or as the umask has it.
PRIVATE, SHARED = 0o600, 0o666
# What a spreadsheet takes for the beginning of a formula.
FORMULA = ("=", "+", "-", "@")


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file so that a kill leaves the old one or the new one; text as UTF-8.

    Raises:
        ValueError: the disk is full, or the folder does not take the file.
    """
    write_together({path: content})


def write_together(files: Mapping[Path, str | bytes | None]) -> None:
    """Write files that belong together: none is named before all are on disk.

    A kill between two names leaves some old and some new, so that whoever reads files of which one
    must fit the other lets them name each other, as laws and their draws do.

    Args:
        files: the content of each, named in this order; None: such a file is removed.

    Raises:
        ValueError: the disk is full, or a folder does not take a file.
    """
    with contextlib.ExitStack() as stack:
        places = {path: stack.enter_context(_beside(path)) for path in files}
        for path, content in files.items():
            if content is not None:
                raw = content.encode() if isinstance(content, str) else content
                mode = PRIVATE if names_a_study(raw) else SHARED
                with refusing(path):
                    disk.put(places[path], raw, mode)
                    disk.sync(places[path])
        for path, content in files.items():
            with refusing(path):
                if content is None:
                    disk.remove(path)
                else:
                    disk.name(places[path], path)


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` for a file or folder that appears at `path` once it is whole.

    After an error nothing is left; after a kill, at most a hidden `.partial` that the next writer
    removes.

    Raises:
        ValueError: the disk is full, or the folder does not take the file.
    """
    with refusing(path):
        disk.make_folder(path.parent)
    with _beside(path) as place:
        with refusing(path, FAILING):
            yield place
        with refusing(path):
            for file in [place, *place.rglob("*")]:
                disk.sync(file)
            try:
                disk.name(place, path)
            except OSError:
                # A folder cannot replace a folder, but whoever was first has written the same.
                if not (place.is_dir() and path.is_dir()):
                    raise


def csv_text(frame: pd.DataFrame) -> str:
    """A table as CSV, in which no text is taken for a formula (`harmless`)."""
    texts = frame.select_dtypes(exclude="number").columns
    return frame.assign(**{name: frame[name].map(harmless) for name in texts}).to_csv(index=False)


def harmless(cell: Any) -> Any:
    """A cell that a spreadsheet does not take for a formula, which would run: an apostrophe first.

    Examples:
        >>> harmless("=1+1"), harmless(-1.0), harmless("tpu-v5e")
        ("'=1+1", -1.0, 'tpu-v5e')
    """
    return f"'{cell}" if isinstance(cell, str) and _is_formula(cell) else cell


def as_it_was(cell: str) -> str:
    """A cell as it was before it was made `harmless`."""
    return cell[1:] if cell[:1] == "'" and _is_formula(cell) else cell


def _is_formula(cell: str) -> bool:
    return cell.lstrip("'").startswith(FORMULA)


def json_text(document: Any, indent: int | None = None) -> str:
    """A document as JSON, which has no word for what is not finite: there it is null."""
    return json.dumps(_finite(document), indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, list | tuple) else value


def check_writable(folder: Path) -> Path:
    """The folder, made where it is missing, or a refusal before any work is done.

    Raises:
        ValueError: the disk is full, or the folder cannot be made or does not take files, or is an
            address.
    """
    if folder.parts and SCHEME.fullmatch(folder.parts[0]):
        raise ValueError(
            "--out must be a path here, but got an address; copy the files there later"
        )
    with refusing(folder):
        disk.make_folder(folder)
        with _beside(folder / "probe") as probe:
            disk.put(probe, bytes(PROBE_BYTES))
    return folder


def check_room(path: Path, n_bytes: int) -> None:
    """Refuse a file or folder for which there is no room, before others write it.

    Raises:
        ValueError: the disk, or the user's share of it, is too full.
    """
    with refusing(path), _beside(path) as place:
        disk.reserve(place, n_bytes)


def _is_dead(pid: int) -> bool:
    import psutil  # a hundredth of a second, which a question without files need not wait

    return not psutil.pid_exists(pid)


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A hidden name in the same folder, of which nothing is left at the end."""
    start = f".{path.name}.{platform.node()}."
    place = path.with_name(f"{start}{os.getpid()}.partial")
    for other in path.parent.glob(f"{glob.escape(start)}*.partial"):
        pid = other.name.removeprefix(start).removesuffix(".partial")
        # Of a writer that was killed, perhaps in another container under our own number.
        if other == place or (pid.isdecimal() and _is_dead(int(pid))):
            with contextlib.suppress(OSError):
                disk.remove(other)
    try:
        yield place
    finally:
        with contextlib.suppress(OSError):
            disk.remove(place)
