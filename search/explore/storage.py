"""Where a study is kept: a journal file, a database by URL, or a proxy in front of one."""

from __future__ import annotations

import contextlib
import importlib.util
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import optuna

from ...files.mask import masked
from .journal import open_journal

# Seconds after which a server that does not answer is given up.
CONNECT_TIMEOUT_S = 10
# Seconds that one SQLite writer waits for the others.
LOCK_TIMEOUT_S = 60
# Attempts at a schema that other processes make at the same time: each that fails has met what
# another has just made, and the next begins behind it. There are a dozen tables.
SCHEMA_ATTEMPTS = 20
DEFAULT_PORT = 13000


def open_storage(url_or_path: str) -> optuna.storages.BaseStorage:
    """A storage by URL, as in docs/storage.md, or by the path of a journal file.

    Any number of processes may open one at once, a new one too.

    Raises:
        ValueError: the URL is not one, its driver is missing, its server does not answer or
            refuses, or the file cannot be used.
    """
    if "://" not in url_or_path:
        return open_journal(url_or_path)
    try:
        with storage_failures(url_or_path, "cannot open"):
            if url_or_path.startswith("grpc://"):
                return _open_proxy(url_or_path)
            return _open_database(url_or_path)
    except (ImportError, LookupError, RuntimeError) as error:
        raise _failure(url_or_path, "cannot open", error) from None


def close_storage(storage: optuna.storages.BaseStorage) -> None:
    """Close its connections."""
    if isinstance(storage, optuna.storages.RDBStorage):
        storage.remove_session()  # after an error it still holds one
        storage.engine.dispose()
    elif isinstance(storage, optuna.storages.GrpcStorageProxy):
        storage.close()


def serve(url: str, host: str, port: int, on_ready: Callable[[str], None]) -> None:
    """Serve a database's studies by Optuna's proxy, to any number of processes, for ever.

    It asks for no password and encrypts nothing.

    Raises:
        ValueError: the database cannot be opened or is none, or the port cannot be had.
    """
    if "://" not in url or url.startswith("grpc://"):
        raise ValueError(f"a proxy serves a database by its URL, but got {url!r}")
    try:
        _require("grpc", "grpc")
        storage = open_storage(url)
        on_ready(f"serving {without_password(url)} at grpc://{host}:{port}; Ctrl-C ends it")
        with _experimental():
            cached = optuna.storages.get_storage(storage)
            optuna.storages.run_grpc_proxy_server(cached, host=host, port=port)
    except (ImportError, RuntimeError) as error:
        raise ValueError(f"cannot serve at {host}:{port}: {error}") from None


@contextlib.contextmanager
def storage_failures(url_or_path: str, what: str = "lost") -> Iterator[None]:
    """Turn what goes wrong in a storage into a `ValueError` of one line, without a password."""
    import sqlalchemy.exc

    kinds = [sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError, OSError]
    if grpc := sys.modules.get("grpc"):
        kinds.append(grpc.RpcError)
    try:
        yield
    except tuple(kinds) as error:
        raise _failure(url_or_path, what, error) from None


def without_password(url_or_path: str) -> str:
    """A URL as it may be shown."""
    return masked(url_or_path)


def _failure(url_or_path: str, what: str, error: BaseException) -> ValueError:
    cause = error.__cause__ if isinstance(error, optuna.exceptions.StorageInternalError) else error
    cause = getattr(cause, "orig", None) or cause  # the driver's own words, without the SQL
    details = getattr(cause, "details", None)  # gRPC's
    said = " ".join(str(details() if callable(details) else cause).split())
    reason = masked(said, [url_or_path])
    return ValueError(f"{what} the storage {without_password(url_or_path)!r}: {reason}")


def _require(module: str, extra: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise ImportError(f"its driver is not installed; pip install 'anybudget[{extra}]'")


@contextlib.contextmanager
def _experimental() -> Iterator[None]:
    """Without Optuna's warning that its proxy may change."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


def _open_proxy(url: str) -> optuna.storages.BaseStorage:
    parts = urlsplit(url)
    if not parts.hostname:
        raise RuntimeError("a proxy is given as grpc://host:port")
    _require("grpc", "grpc")
    with _experimental():
        proxy = optuna.storages.GrpcStorageProxy(
            host=parts.hostname, port=parts.port or DEFAULT_PORT
        )
    try:
        proxy.wait_server_ready(timeout=CONNECT_TIMEOUT_S)
    except ConnectionError:
        raise RuntimeError(
            f"no proxy answered within {CONNECT_TIMEOUT_S} s; start one with `anybudget proxy`"
        ) from None
    return proxy


def _open_database(url: str) -> optuna.storages.BaseStorage:
    import sqlalchemy as sql

    url = re.sub("^postgres(ql)?://", "postgresql+psycopg://", url)
    try:
        parts = sql.engine.make_url(url)
    except ValueError as error:  # a port that is no number
        raise RuntimeError(str(error)) from None
    connect_args: dict[str, int] = {}
    match parts.drivername:
        case "postgresql+psycopg":
            _require("psycopg", "postgres")
            if "connect_timeout" not in parts.query:
                connect_args["connect_timeout"] = CONNECT_TIMEOUT_S
        case "sqlite":
            if parts.database in (None, "", ":memory:"):
                raise RuntimeError("it has no file to keep a study in; use sqlite:///study.db")
            connect_args["timeout"] = LOCK_TIMEOUT_S
    storage = _make_schema(url, connect_args)
    if parts.drivername == "sqlite":
        _speed_up_sqlite(storage)
    return storage


def _make_schema(url: str, connect_args: dict[str, int]) -> optuna.storages.RDBStorage:
    """Open a database and make Optuna's tables, which other processes may be making as well."""
    import sqlalchemy.exc

    for attempt in range(1, SCHEMA_ATTEMPTS + 1):
        # A storage that cannot be made leaves no engine to dispose of, so the connections are ours.
        pool = sqlalchemy.create_engine(url, connect_args=connect_args).pool
        try:
            return optuna.storages.RDBStorage(url, engine_kwargs={"pool": pool})
        except BaseException as error:
            pool.dispose()
            if not _raced(error) or attempt == SCHEMA_ATTEMPTS:
                raise
    raise AssertionError("unreachable")


def _raced(error: BaseException) -> bool:
    """Whether another process was making Optuna's tables just then."""
    import sqlalchemy.exc

    match error:
        case sqlalchemy.exc.IntegrityError():  # a row, or a name in PostgreSQL's catalogue, exists
            return True
        # SQLite's word, and PostgreSQL's, for a table that exists; or a server is not there.
        case sqlalchemy.exc.OperationalError() | sqlalchemy.exc.ProgrammingError():
            return "already exists" in str(error.orig)
        case _:
            return False


def _speed_up_sqlite(storage: optuna.storages.RDBStorage) -> None:
    """A write-ahead log, flushed at its checkpoints: no commit waits for the disk.

    A crash of the machine, though not of a process, may cost the last commits.
    References: https://www.sqlite.org/wal.html#performance_considerations
    """
    import sqlite3

    from sqlalchemy import event

    def set_pragmas(connection, record) -> None:
        # While another process writes, SQLite refuses at once: a later connection asks again.
        with contextlib.suppress(sqlite3.OperationalError):
            connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")

    event.listen(storage.engine, "connect", set_pragmas)
    storage.engine.dispose()  # the connections made before
