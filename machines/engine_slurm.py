"""Jobs as a SLURM array, by submitit.

The cluster keeps them when the driver dies: their numbers are on disk, and the next driver waits
for those that still run. A preempted job is put back in the queue and takes up its checkpoint.
"""

from __future__ import annotations

import collections
import dataclasses
import getpass
import logging
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import submitit

from ..files.write import write_whole
from .job import MAX_RETRIES, Job, perform

if TYPE_CHECKING:
    from .engines import Engine

logger = logging.getLogger(__name__)

POLL_S = 1.0
# submitit's own is five minutes.
TIMEOUT_MIN = 24 * 60
# A shared folder may show a result later than the queue shows the end of its job.
GRACE_POLLS = 10


@dataclasses.dataclass(frozen=True)
class Task:
    """What a node runs."""

    job: Job
    folder: Path

    def __call__(self) -> None:
        """Do the job; its result is in the folder."""
        perform(self.job, self.folder)

    def checkpoint(self) -> submitit.helpers.DelayedSubmission:
        """What to run after a preemption: the same, for the job's own checkpoint is on disk."""
        return submitit.helpers.DelayedSubmission(self)


def perform_all(
    jobs: Sequence[Job], folder: Path, engine: Engine
) -> Iterator[tuple[Job, dict[str, Any]]]:
    """Yield each job with its result as it completes; see `engines`."""
    queue = _Queue(folder, engine)
    running = {job: number for job in jobs if (number := queue.number(job))}
    left = collections.deque(job for job in jobs if job not in running)
    n_lost, n_missed = collections.Counter(), collections.Counter()
    try:
        while left or running:
            room = min(len(left), queue.n_at_once - len(running))
            running |= queue.submit([left.popleft() for _ in range(room)])
            time.sleep(POLL_S)
            alive = queue.alive()
            for job, number in list(running.items()):
                n_missed[job] = 0 if number in alive else n_missed[job] + 1
                if (document := job.result(folder)) is None and n_missed[job] < GRACE_POLLS:
                    continue
                del running[job]
                queue.forget(job, number)
                if document is not None:
                    yield job, document
                elif n_lost[job] < MAX_RETRIES:
                    n_lost[job] += 1
                    left.append(job)
                    logger.warning("%s, number %s, is lost; submitted again", job.label, number)
                else:
                    yield job, {"error": f"lost by the cluster {1 + MAX_RETRIES} times"}
    finally:
        queue.close()


class _Queue:
    """The cluster's queue, and on disk the numbers of our jobs in it.

    Args:
        folder: of the jobs.
        engine: how many at once, and what each asks for; `cluster` is SLURM's unless it is asked
            to be submitit's `local`, for a try without one.
    """

    def __init__(self, folder: Path, engine: Engine) -> None:
        asked = {k: int(v) if v.isdecimal() else v for k, v in engine.requests.items()}
        cluster = str(asked.pop("cluster", "slurm"))
        common = {"timeout_min": TIMEOUT_MIN, "cpus_per_task": engine.n_cores or 1}
        if cluster == "slurm" and engine.n_workers:
            common["slurm_array_parallelism"] = engine.n_workers
        try:
            self._executor = submitit.AutoExecutor(folder / "submitit", cluster=cluster)
            self._executor.update_parameters(name="anybudget", **common | asked)
        except (RuntimeError, NameError, ValueError, TypeError, AssertionError) as error:
            raise ValueError(f"engine slurm: {error}") from None
        self._folder, self._is_slurm = folder, cluster == "slurm"
        self._handles: dict[str, submitit.Job] = {}
        self.n_at_once = sys.maxsize if self._is_slurm else engine.n_workers or 1

    def number(self, job: Job) -> str | None:
        """The number that an earlier driver, or this one, got for a job."""
        path = job.file(self._folder, "slurm")
        return path.read_text() if path.exists() else None

    def submit(self, jobs: list[Job]) -> dict[Job, str]:
        """Queue jobs as one array; their numbers."""
        if not jobs:
            return {}
        with self._executor.batch():
            handles = [self._executor.submit(Task(job, self._folder)) for job in jobs]
        for job, handle in zip(jobs, handles, strict=True):
            self._handles[handle.job_id] = handle
            if self._is_slurm:
                write_whole(job.file(self._folder, "slurm"), handle.job_id)
        return {job: handle.job_id for job, handle in zip(jobs, handles, strict=True)}

    def alive(self) -> set[str]:
        """Numbers of our user's jobs that are queued or running."""
        if not self._is_slurm:
            return {number for number, handle in self._handles.items() if not handle.done()}
        command = ["squeue", "--noheader", "--array", "--format=%i", f"--user={getpass.getuser()}"]
        listed = subprocess.run(command, capture_output=True, text=True, check=False)
        if listed.returncode:  # the controller restarts, perhaps: nobody is known to be dead
            logger.warning("squeue: %s", listed.stderr.strip())
            return set(self._handles) | {p.read_text() for p in self._folder.glob("*.slurm")}
        return set(listed.stdout.split())

    def forget(self, job: Job, number: str) -> None:
        """It has ended."""
        job.file(self._folder, "slurm").unlink(missing_ok=True)
        handle = self._handles.pop(number, None)
        while handle and not self._is_slurm and not handle.done():
            time.sleep(0.05)

    def close(self) -> None:
        """A cluster goes on with what is left, for the next driver; processes of ours do not."""
        for handle in [] if self._is_slurm else self._handles.values():
            handle.cancel()
        if not any(self._folder.glob("*.slurm")):
            shutil.rmtree(self._folder / "submitit", ignore_errors=True)
