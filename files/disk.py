"""What is done to the disk: every change that a command makes to its files is one of these.

They are few, so that a test can let each of them fail, or a kill come before it.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def put(path: Path, content: bytes) -> None:
    """Write a file."""
    path.write_bytes(content)


def extend(path: Path, at: int, content: bytes) -> None:
    """Write content behind the first so many bytes of a file, made where it is missing."""
    with path.open("r+b" if path.exists() else "wb") as file:
        file.truncate(at)
        file.seek(at)
        file.write(content)


def sync(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def name(place: Path, path: Path) -> None:
    """Give what lies at a place its name, and take it from what bore it."""
    os.replace(place, path)


def remove(path: Path) -> None:
    """Remove a file or a folder, where there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """Make a folder and those above it, where they are missing."""
    path.mkdir(parents=True, exist_ok=True)
