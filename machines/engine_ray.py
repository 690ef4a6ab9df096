"""Jobs as tasks of Ray Core, on a running cluster or on one of our own for the while."""

from __future__ import annotations

import itertools
import logging
import os
import secrets
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .job import MAX_RETRIES, Job, perform
from .machine import count_cores

if TYPE_CHECKING:
    from .engines import Engine


def perform_all(
    jobs: Sequence[Job], folder: Path, engine: Engine
) -> Iterator[tuple[Job, dict[str, Any]]]:
    """Yield each job with its result as it completes; see `engines`.

    A worker that dies, or its node, is Ray's to replace; a job's own process is `perform`'s.
    """
    amounts = _amounts(engine.requests)
    address = engine.address or os.environ.get("RAY_ADDRESS")
    if not address and "ray" not in sys.modules:
        # Ray listens on all interfaces, so a cluster of our own takes only our token. It is in
        # no file, where a later cluster would find and refuse it, and is read by the import.
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    if not address:
        os.environ.setdefault("RAY_worker_niceness", "0")  # 15, and whatever else runs goes first
    import ray

    connected = ray.is_initialized()
    if not connected:
        _connect(engine, address)
    task = ray.remote(max_calls=1, max_retries=MAX_RETRIES)(_perform)
    waiting: dict[Any, Job] = {}
    left = iter(jobs)
    try:
        while True:
            room = engine.n_workers and engine.n_workers - len(waiting)
            for job in itertools.islice(left, room):
                options = amounts | {"runtime_env": {"env_vars": job.environment}}
                options |= {"num_cpus": job.n_cores or 1, "name": job.label}
                waiting[task.options(**options).remote(job, str(folder))] = job
            if not waiting:
                return
            [done], _ = ray.wait(list(waiting), num_returns=1)
            yield waiting.pop(done), _document(done)
    finally:
        for reference in waiting:
            ray.cancel(reference, force=True)
        if not connected:
            ray.shutdown()  # of a cluster that was there before, only our connection ends


def _connect(engine: Engine, address: str | None) -> None:
    """To a running cluster, or to one that is started here."""
    import ray
    from ray.exceptions import RayError

    options: dict[str, Any] = {"address": address}
    if not address:
        n_cpus = (engine.n_workers or count_cores()) * (engine.n_cores or 1)
        options = {"num_cpus": n_cpus, "include_dashboard": False}
    try:
        ray.init(**options, log_to_driver=False, logging_level=logging.WARNING)
    except (ConnectionError, RuntimeError, RayError) as error:
        where = f"no Ray cluster answers at {address}" if address else "Ray did not start"
        raise ValueError(f"{where}: {error}") from None


def _perform(job: Job, folder: str) -> dict[str, Any]:
    """Do a job on whichever node this is, in a folder of its own where none is shared."""
    if Path(folder).exists():
        return perform(job, Path(folder))
    with tempfile.TemporaryDirectory() as own:
        return perform(job, Path(own))


def _document(done: Any) -> dict[str, Any]:
    import ray
    from ray.exceptions import RayError

    try:
        return ray.get(done)
    except RayError as error:
        return {"error": " ".join(str(error).split())}


def _amounts(requests: dict[str, str]) -> dict[str, Any]:
    """Ray's options for what a job asks, as num_gpus or by the name of a resource."""
    try:
        resources = {name: float(amount) for name, amount in requests.items()}
    except ValueError:
        raise ValueError(f"`request` of ray takes amounts, as TPU=4, but got {requests}") from None
    gpus = resources.pop("GPU", None)
    options = {"resources": resources} if resources else {}
    return options if gpus is None else options | {"num_gpus": gpus}
