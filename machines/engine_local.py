"""Jobs on this machine: threads of `concurrent.futures`, a fresh process for each job.

The threads only wait. A pool of processes would break as a whole when one of them is killed.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from .engines import slots
from .job import Job, perform

if TYPE_CHECKING:
    from .engines import Engine

# Files of devices, with the variables that make a process see one of them.
VISIBLE = {
    r"nvidia\d+": lambda i: {"CUDA_VISIBLE_DEVICES": str(i)},
    r"accel\d+|vfio/\d+": lambda i: {
        "TPU_VISIBLE_CHIPS": str(i),
        "TPU_CHIPS_PER_PROCESS_BOUNDS": "1,1,1",
        "TPU_PROCESS_BOUNDS": "1,1,1",
    },
}


def perform_all(
    jobs: Sequence[Job], folder: Path, engine: Engine
) -> Iterator[tuple[Job, dict[str, Any]]]:
    """Yield each job with its result as it completes; see `engines`."""
    free: SimpleQueue[dict[str, str]] = SimpleQueue()
    workers = slots(engine, accelerators())
    for slot in workers:
        free.put(slot)
    running: set[subprocess.Popen] = set()
    stopped = False

    def note(process: subprocess.Popen) -> None:
        running.add(process)
        if stopped:  # what we have killed is not to be started again
            raise InterruptedError

    def work(job: Job) -> dict[str, Any]:
        slot = free.get()
        try:
            return perform(job, folder, environment=slot, on_start=note)
        finally:
            free.put(slot)

    with ThreadPoolExecutor(len(workers)) as pool:
        futures = {pool.submit(work, job): job for job in jobs}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            stopped = True
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(running):
                process.kill()


def accelerators(devices: Path = Path("/dev")) -> list[dict[str, str]]:
    """For each accelerator of this machine, the variables that make a process see only it."""
    names = [str(path.relative_to(devices)) for path in devices.glob("*")]
    names += [str(path.relative_to(devices)) for path in devices.glob("vfio/*")]
    for pattern, variables in VISIBLE.items():
        if found := [name for name in names if re.fullmatch(pattern, name)]:
            return [variables(i) for i in range(len(found))]
    return []
