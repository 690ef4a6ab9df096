"""One process at a time works in a folder, or at a file; the next is told who does, or waits."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from . import disk
from .disk import refusing

IN_USE = ".in-use"
# A holder that is about to end has a moment for it.
LEAST_WAIT_S = 0.5
# What is written in moments is waited for.
TURN_S = 60.0


@contextlib.contextmanager
def held(path: Path, *, wait_s: float = LEAST_WAIT_S) -> Iterator[None]:
    """Hold a folder or a file while inside; the system lets go of it however a process ends.

    Nothing of it is left. The lock's file goes while it is still locked: whoever has opened it by
    then sees that it has no name any more and makes a new one (filelock, from 3.21 on).

    Args:
        path: an existing folder, or a file in one.
        wait_s: for another process to end.

    Raises:
        ValueError: another process holds it.
    """
    holder = path / IN_USE if path.is_dir() else path.with_name(f".{path.name}{IN_USE}")
    lock_path = holder.with_name(f"{holder.name}.lock")
    lock = FileLock(lock_path)
    try:
        with refusing(path):
            lock.acquire(timeout=wait_s)
    except Timeout:
        raise ValueError(
            f"{path} is being written by {_said(holder)}: wait until it has ended, or name "
            "another --out"
        ) from None
    try:
        with refusing(path):
            disk.put(holder, f"process {os.getpid()} on {platform.node()}".encode())
        yield
    finally:
        try:
            with contextlib.suppress(OSError):
                disk.remove(holder)
                disk.remove(lock_path)
        finally:
            lock.release()


def _said(holder: Path) -> str:
    try:
        return holder.read_text(encoding="utf-8") or "another process"
    except OSError:  # it has just ended
        return "another process"
