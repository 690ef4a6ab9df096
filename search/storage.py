"""Where a study is kept: a journal file, or a database by URL."""

from __future__ import annotations

import os
from pathlib import Path

import optuna
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

# A lock older than this is a dead process's: a batch is written in milliseconds.
LOCK_GRACE_S = 10
# How every line of Optuna's journal begins.
LINE_START = b'{"op_code"'


def open_storage(url_or_path: str) -> optuna.storages.BaseStorage:
    """A storage by URL (`sqlite:///study.db`, ...) or by the path of a journal file.

    Raises:
        ValueError: the URL is not one, its driver is missing, the path cannot be written, or the
            file there is not a journal (it is left as it was).
    """
    if "://" in url_or_path:
        return _open_database(url_or_path)
    path = Path(url_or_path).absolute()
    if path.is_dir() or not path.parent.is_dir():
        raise ValueError(
            f"a journal is a file in an existing folder, but got {url_or_path!r}; "
            "a database is given as a URL such as sqlite:///study.db"
        )
    try:
        # Absolute, since the lock is a link to the path as it is given here.
        lock = JournalFileSymlinkLock(str(path), grace_period=LOCK_GRACE_S)
        backend = JournalFileBackend(str(path), lock_obj=lock)
        _check_journal(path)
        _drop_torn_line(path, lock)
        return optuna.storages.JournalStorage(backend)
    except OSError as error:
        raise ValueError(f"cannot keep a study in {path}: {error.strerror}") from None
    except (ValueError, KeyError):
        raise ValueError(f"{path} is not a study's journal; choose another file") from None


def _open_database(url: str) -> optuna.storages.BaseStorage:
    import sqlalchemy.exc

    try:
        return optuna.storages.RDBStorage(url)
    except (sqlalchemy.exc.SQLAlchemyError, ImportError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"cannot open the storage {url!r}: {reason}") from None


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
