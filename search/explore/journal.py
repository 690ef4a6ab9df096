"""A study kept in a journal file: opened, refused where it is none, mended where it was torn."""

from __future__ import annotations

import contextlib
import functools
import json
import os
from pathlib import Path
from typing import Any

import optuna
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.storages.journal._storage import JournalOperation

# A lock older than this is a dead process's: a line is written in milliseconds.
LOCK_GRACE_S = 10
# The codes of a journal's lines.
OPERATIONS = set(map(int, JournalOperation))
# How every line of Optuna's journal begins.
LINE_START = b'{"op_code"'


class WholeLines(JournalFileBackend):
    """A journal that drops what a full disk left of a line, lest the next one is glued to it."""

    def __init__(self, path: Path, lock: JournalFileSymlinkLock) -> None:
        super().__init__(str(path), lock_obj=lock)
        self._drop = functools.partial(_drop_torn_line, path, lock)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write lines, all of them or none of the last."""
        try:
            super().append_logs(logs)
        except OSError:
            with contextlib.suppress(OSError):
                self._drop()
            raise


# What Optuna raises where a journal's lines are JSON, and no trials.
UNREADABLE = (
    ValueError,
    LookupError,
    ArithmeticError,
    TypeError,
    AssertionError,
    AttributeError,
    RecursionError,
)


def open_journal(path_given: str) -> optuna.storages.BaseStorage:
    """The storage in a journal file, which is made where it is missing.

    Raises:
        ValueError: the path cannot be written, or the file there is not a journal (it is left as
            it was).
    """
    path = Path(path_given).absolute()
    if path.is_dir() or not path.parent.is_dir():
        raise ValueError(
            f"a journal is a file in an existing folder, but got {path_given!r}; "
            "a database is given as a URL such as sqlite:///study.db"
        )
    try:
        # Absolute, since the lock is a link to the path as it is given here.
        lock = JournalFileSymlinkLock(str(path), grace_period=LOCK_GRACE_S)
        backend = WholeLines(path, lock)
        _check_journal(path)
        _drop_torn_line(path, lock)
        return optuna.storages.JournalStorage(backend)
    except OSError as error:
        raise ValueError(f"cannot keep a study in {path}: {error.strerror}") from None
    except UNREADABLE:
        raise ValueError(_what_is_wrong(path)) from None


def _what_is_wrong(path: Path) -> str:
    """Why Optuna does not read a journal: no journal, a line in it torn, or not one of Optuna's."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            where = f"{path}, line {number}"
            try:
                operation = json.loads(line)["op_code"]
            except (ValueError, LookupError, TypeError, RecursionError):
                if number == 1:
                    break
                return f"{where} is torn: remove that line to keep the trials of the others"
            if operation not in OPERATIONS:
                return f"{where} has the operation {operation!r}, which this Optuna does not know"
        else:
            return (
                f"{path} is a study's journal, but its trials do not fit together; choose another"
            )
    return f"{path} is not a study's journal; choose another file"


def _check_journal(path: Path) -> None:
    """Refuse a file of another kind before anything is cut from it or added to it."""
    with path.open("rb") as file:
        start = file.read(len(LINE_START))
    if start != LINE_START[: len(start)]:
        raise ValueError("not a journal")


def _drop_torn_line(path: Path, lock: JournalFileSymlinkLock) -> None:
    """Cut what a killed writer left of a line, or the next append would be glued to it."""
    with path.open("rb+") as file:
        if not path.stat().st_size:
            return
        file.seek(-1, os.SEEK_END)
        if file.read(1) == b"\n":
            return
        lock.acquire()
        try:
            whole = path.read_bytes()
            file.truncate(whole.rfind(b"\n") + 1)
        finally:
            lock.release()
