"""The unit of work of every engine: a function's arguments in as JSON, its answer out as JSON.

    python -m anybudget.machines.job JOB.json RESULT.json

runs one job in this fresh process, for JAX holds its device until its process ends. The driver's
side is `perform`, which starts that command and starts it again when it is killed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import importlib.util
import inspect
import json
import logging
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from ..files.write import write_whole
from . import machine
from .host import keep_freed_memory, lease_cores

logger = logging.getLogger(__name__)

MAX_RETRIES = 2
# What the driver's JAX is told by its environment, a job's is told too.
FORWARDED = ("XLA_", "JAX_", "LIBTPU_")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """One call, to be made in a process of its own.

    Attributes:
        label: what it is called in messages; with the rest, what tells it from other jobs.
        function: `MODULE:NAME` or `FILE.py:NAME`, see `reference`.
        arguments: keyword arguments, plain data.
        scratch: a folder that is removed once the result is on disk.
        n_cores: CPU cores of its own; None: one, or beside an accelerator all that there are.
        environment: variables that its process has besides the engine's own.
    """

    label: str
    function: str
    arguments: dict[str, Any]
    scratch: str | None = None
    n_cores: int | None = None
    environment: dict[str, str] = dataclasses.field(
        default_factory=lambda: {k: v for k, v in os.environ.items() if k.startswith(FORWARDED)}
    )

    @property
    def text(self) -> str:
        """The job as a JSON document."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @property
    def digest(self) -> str:
        """Of what is to be done, and not of where."""
        what = json.dumps([self.label, self.function, self.arguments], sort_keys=True)
        return hashlib.blake2b(what.encode(), digest_size=8).hexdigest()

    def file(self, folder: Path, kind: str) -> Path:
        """Its `job.json`, `result.json` or `log` in a folder of jobs."""
        return folder / f"{self.digest}.{kind}"

    def result(self, folder: Path) -> dict[str, Any] | None:
        """What its process has left: `value` or `error`; None as long as there is nothing."""
        path = self.file(folder, "result.json")
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def reference(function: Callable[..., Any]) -> str:
    """A top-level function's name, as another process can find it.

    Raises:
        ValueError: the function is inside another, or a method.
    """
    module, name = function.__module__, function.__qualname__
    if not name.isidentifier():
        raise ValueError(f"a job's function must be at the top level of a file, but got {name}")
    ours = module.split(".")[0] == str(__package__).split(".")[0]
    return f"{module if ours else os.path.abspath(inspect.getfile(function))}:{name}"


def find_function(name: str) -> Callable[..., Any]:
    """The function of a `reference`."""
    home, _, function = name.rpartition(":")
    if not home.endswith(".py"):
        return getattr(importlib.import_module(home), function)
    spec = importlib.util.spec_from_file_location(Path(home).stem, home)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, function)


def perform(
    job: Job,
    folder: Path,
    *,
    environment: Mapping[str, str] | None = None,
    on_start: Callable[[subprocess.Popen], None] = lambda process: None,
) -> dict[str, Any]:
    """Run a job's command until it leaves a result, and again when it is killed.

    Args:
        job: what to do.
        folder: an existing one, for the command's files and its log.
        environment: further variables for its process.
        on_start: called with each process that is started.

    Returns:
        The result's document, which is in the folder too: `value`, or `error` with one line.
    """
    write_whole(job.file(folder, "job.json"), job.text)
    ended = ""
    for _ in range(1 + MAX_RETRIES):
        code = _run(job, folder, {**os.environ, **job.environment, **(environment or {})}, on_start)
        if code == 0:
            # Where it is the driver that waits for the file, it may be gone already.
            return job.result(folder) or {}
        ended = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        logger.warning("the process of %s ended with %s and no result", job.label, ended)
    document = {"error": f"its process ended with {ended}, {1 + MAX_RETRIES} times in a row"}
    _write(job.file(folder, "result.json"), document)
    return document


def _run(job: Job, folder: Path, environment: dict[str, str], on_start: Callable[..., None]) -> int:
    """Run the command once, to its end or to ours: it ends when our end of its stdin closes."""
    files = [str(job.file(folder, kind)) for kind in ("job.json", "result.json")]
    with job.file(folder, "log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", __spec__.name, *files],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,  # an interrupt at the terminal is for the driver
        )
    try:
        on_start(process)
        return process.wait()
    finally:
        process.kill()
        process.wait()
        assert process.stdin is not None
        process.stdin.close()


def main() -> None:
    """Do the job of the first file and write its result to the second.

    One process at a time works on a job; who comes second finds its result.
    """
    job_path, result_path = map(Path, sys.argv[1:])
    if stat.S_ISFIFO(os.fstat(0).st_mode):
        threading.Thread(target=_end_with_the_driver, daemon=True).start()
    with FileLock(job_path.with_name(job_path.name.replace(".job.json", ".lock"))):
        job = Job(**json.loads(job_path.read_text(encoding="utf-8")))
        if not result_path.exists():
            _write(result_path, _answer(job))
        if job.scratch:
            shutil.rmtree(job.scratch, ignore_errors=True)


def _answer(job: Job) -> dict[str, Any]:
    keep_freed_memory()
    try:
        with lease_cores(job.n_cores or machine.default_n_cores()):
            return {"value": find_function(job.function)(**job.arguments)}
    except ValueError as error:
        return {"error": str(error)}
    except Exception as error:
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}"}


def _write(path: Path, document: dict[str, Any]) -> None:
    write_whole(path, json.dumps(document) + "\n")


def _end_with_the_driver() -> None:
    """Whoever waits for us holds the other end of stdin, and so it ends with him."""
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    main()
