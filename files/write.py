"""Files and folders that appear whole or not at all: the one way in which every command writes.

What is written stands beside its place under a hidden name until it is on disk; only then is it
named. A full disk or a kill leaves what was there before.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

# What a disk or a folder refuses, and no fault of ours.
REFUSALS = {
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EFBIG", "EIO", "EROFS", "EACCES", "EPERM", "EISDIR",
                 "ENOTDIR", "ENOENT", "ENAMETOOLONG", "ELOOP")
}  # fmt: skip


def write_whole(path: Path, text: str) -> None:
    """Write a text file, UTF-8, so that a kill leaves the old one or the new one.

    Raises:
        ValueError: the disk is full, or the folder does not take the file.
    """
    write_together({path: text})


def write_together(files: Mapping[Path, str | None]) -> None:
    """Write text files that belong together: none is named before all are on disk.

    A kill between two names leaves some old and some new, so that whoever reads files of which one
    must fit the other lets them name each other, as laws and their draws do.

    Args:
        files: the text of each, named in this order; None: such a file is removed.

    Raises:
        ValueError: the disk is full, or a folder does not take a file.
    """
    with contextlib.ExitStack() as stack:
        places = []
        for path, text in files.items():
            place = stack.enter_context(_beside(path))
            places.append((path, place, text))
            if text is not None:
                with refusing(path):
                    place.write_text(text, encoding="utf-8", newline="")
                    _sync(place)
        for path, place, text in places:
            with refusing(path):
                if text is None:
                    path.unlink(missing_ok=True)
                else:
                    os.replace(place, path)


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` for a file or folder that appears at `path` once it is whole.

    After an error nothing is left; after a kill, at most a hidden `.partial` that nothing reads.

    Raises:
        ValueError: the disk is full, or the folder does not take the file.
    """
    with refusing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with _beside(path) as place:
        with refusing(path):
            yield place
        with refusing(path):
            for file in [place, *place.rglob("*")]:
                _sync(file)
            try:
                os.replace(place, path)
            except OSError:
                # A folder cannot replace a folder, but whoever was first has written the same.
                if not (place.is_dir() and path.is_dir()):
                    raise


@contextlib.contextmanager
def refusing(path: Path) -> Iterator[None]:
    """What a disk refuses while a file is written is one line that names the file."""
    try:
        yield
    except OSError as error:
        if error.errno not in REFUSALS:
            raise
        remedy = (
            "free some space"
            if error.errno in (errno.ENOSPC, errno.EDQUOT)
            else "name another place"
        )
        raise ValueError(f"cannot write {path}: {error.strerror}; {remedy}") from error


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A hidden name in the same folder, of which nothing is left at the end."""
    place = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield place
    finally:
        if place.is_dir():
            shutil.rmtree(place)
        else:
            with contextlib.suppress(OSError):
                place.unlink()


def _sync(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
