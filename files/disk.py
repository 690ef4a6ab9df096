"""What is done to the disk: every change that a command makes to its files is one of these.

They are few, so that a test can let each of them fail, or a kill come before it.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# What a disk refuses in the middle of writing.
FAILING = FULL | {errno.EIO, errno.EROFS}
# What a disk or a folder refuses, and no fault of ours.
REFUSALS = FAILING | {
    getattr(errno, name)
    for name in ("EACCES", "EPERM", "EISDIR", "ENOTDIR", "ENOENT", "EEXIST", "ENAMETOOLONG",
                 "ELOOP", "ENOTEMPTY")
}  # fmt: skip


def put(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Write a file; the mode is that of a new one."""
    with open(path, "wb", opener=functools.partial(os.open, mode=mode)) as file:
        file.write(content)


def extend(path: Path, at: int, content: bytes) -> None:
    """Write content behind the first so many bytes of a file, made where it is missing."""
    with path.open("r+b" if path.exists() else "wb") as file:
        file.truncate(at)
        file.seek(at)
        file.write(content)


def reserve(path: Path, n_bytes: int) -> None:
    """Make a file that takes so much of the disk, with nothing in it."""
    if not hasattr(os, "posix_fallocate"):
        if shutil.disk_usage(path.parent).free < n_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, n_bytes)


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


@contextlib.contextmanager
def refusing(path: Path, refusals: set[int] = REFUSALS) -> Iterator[None]:
    """What a disk refuses while a file is written is one line that names the file."""
    try:
        yield
    except OSError as error:
        if error.errno not in refusals:
            raise
        remedy = "free some space" if error.errno in FULL else "name another place"
        raise ValueError(f"{path} cannot be written: {error.strerror}; {remedy}") from error
