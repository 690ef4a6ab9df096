"""One process at a time works in a folder; the next is told who does."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from . import disk
from .write import refusing

LOCK_FILE, HOLDER_FILE = ".in-use.lock", ".in-use"


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder while inside; the system lets go of it however a process ends.

    Raises:
        ValueError: another process holds it.
    """
    lock, holder = FileLock(folder / LOCK_FILE), folder / HOLDER_FILE
    try:
        with refusing(folder):
            disk.make_folder(folder)
            lock.acquire(timeout=0)
    except Timeout:
        who = holder.read_text(encoding="utf-8") if holder.exists() else "another process"
        raise ValueError(
            f"{folder} is being written by {who}: wait until it has ended, or name another --out"
        ) from None
    try:
        with refusing(holder):
            disk.put(holder, f"process {os.getpid()} on {platform.node()}".encode())
        yield
    finally:
        with contextlib.suppress(OSError):
            disk.remove(holder)
        lock.release()  # its file stays: another process may have opened it already
