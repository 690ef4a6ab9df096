"""Engines: run jobs in processes of their own, on this machine or on many.

An engine is a module `engine_NAME.py` with one function, `perform_all(jobs, folder, engine)`, that
yields each job with its result's document as it completes, in any order. What is common to all is
here: results that an earlier driver did not live to read, failures, and removal of what is done.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import itertools
import logging
import os
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

from ..files import disk
from ..files.disk import refusing
from ..files.read import did_you_mean
from .job import Job, reference
from .machine import count_cores, default_n_cores

logger = logging.getLogger(__name__)

# Each engine with the package that it needs, which is also the name of the extra, or not.
PACKAGES = {"local": None, "ray": "ray", "slurm": "submitit"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Engine:
    """Where jobs run, and what each of them gets there.

    Attributes:
        name: `local`, `ray` or `slurm`.
        n_workers: jobs at once, at most. None: `local` takes one for each accelerator, or one on a
            CPU; `ray` and `slurm` take as many as the cluster has room for.
        n_cores: CPU cores of each job; None: one, or beside an accelerator all that there are.
        address: of a running Ray cluster; None: RAY_ADDRESS, or one of our own for the while.
        requests: what each job asks of the cluster. `ray`: amounts of its resources, as
            {"TPU": "4"}; `slurm`: parameters of submitit, as {"slurm_partition": "gpu"}.

    Raises:
        ValueError: no such engine, its package is not installed, or it does not take an option.
    """

    name: str = "local"
    n_workers: int | None = None
    n_cores: int | None = None
    address: str | None = None
    requests: dict[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.name not in PACKAGES:
            hint = did_you_mean(self.name, PACKAGES)
            raise ValueError(f"`engine` must be local, ray or slurm, but got {self.name!r}{hint}")
        package = PACKAGES[self.name]
        if package and importlib.util.find_spec(package) is None:
            raise ValueError(
                f"engine {self.name} needs the package {package}: "
                f"pip install 'anybudget[{self.name}]'"
            )
        if self.n_workers is not None and self.n_workers < 1:
            raise ValueError(f"`workers` must be at least 1, but got {self.n_workers}")
        if self.address and self.name != "ray":
            raise ValueError(f"`address` is of a Ray cluster, but the engine is {self.name}")
        if self.requests and self.name == "local":
            raise ValueError("`request` is for ray and slurm, but the engine is local")

    def job(self, label: str, function: Callable[..., Any], **arguments: Any) -> Job:
        """A call of a top-level function, with plain data, in a process of this engine's size."""
        return Job(
            label=label,
            function=reference(function),
            arguments=arguments,
            n_cores=self.n_cores,
        )

    def run(self, jobs: Sequence[Job], folder: Path) -> Generator[tuple[Job, Any], None, None]:
        """Run jobs, and yield each with its function's answer as it completes.

        Every job runs once, whatever is killed: a killed process is replaced, at most twice, and
        an answer whose driver was killed is here when the same jobs are run in the same folder
        again. Once the caller asks for the next, the answer before is removed.

        Args:
            jobs: what to do.
            folder: for the jobs' files and logs; of its own, made where missing. On a cluster,
                one that all nodes share, or else an interrupted job begins anew.

        Raises:
            ValueError: at the end, if jobs failed, with what they said.
        """
        folder = folder.absolute()
        with refusing(folder):
            disk.make_folder(folder)
        kept, left, failed = [], [], []
        for job in jobs:
            document = job.result(folder)
            if document and "value" in document:
                kept.append((job, document))
            else:
                job.file(folder, "result.json").unlink(missing_ok=True)
                left.append(job)
        if left:
            perform_all = importlib.import_module(f".engine_{self.name}", __package__).perform_all
            kept = itertools.chain(kept, perform_all(left, folder, self))
        for job, document in kept:
            if "error" in document:
                failed.append(f"{job.label}: {document['error']}")
                logger.warning("%s failed; see %s", job.label, job.file(folder, "log"))
            else:
                yield job, document["value"]
                job.file(folder, "log").unlink(missing_ok=True)
            for kind in ("job.json", "result.json", "lock"):
                job.file(folder, kind).unlink(missing_ok=True)
        if failed:
            raise ValueError(
                f"{len(failed)} of {len(jobs)} jobs failed, the others are kept; "
                f"logs are in {folder}; {'; '.join(failed)}"
            )
        _remove_empty(folder)

    def call(self, folder: Path, label: str, function: Callable[..., Any], **arguments: Any) -> Any:
        """The answer of one function, called in a job."""
        [(_, value)] = self.run([self.job(label, function, **arguments)], folder)
        return value

    @property
    def shares_a_cpu(self) -> bool:
        """Whether jobs run side by side on one host's CPU, as far as we know."""
        at_once = self.n_workers or (1 if self.name == "local" else 2)
        return self.name != "slurm" and not self.address and at_once > 1


def slots(engine: Engine, visible: list[dict[str, str]]) -> list[dict[str, str]]:
    """The variables of each worker on this machine: with accelerators, one that it may see.

    Args:
        engine: how many workers, of how many cores.
        visible: what makes a process see one accelerator, for each that there is.

    Raises:
        ValueError: there are fewer accelerators, or fewer cores.
    """
    if visible:
        n_workers = engine.n_workers or len(visible)
        if n_workers > len(visible):
            raise ValueError(
                f"a worker needs an accelerator of its own, but there are {len(visible)} "
                f"for {n_workers} workers"
            )
        return visible[:n_workers]
    n_workers, n_cores = engine.n_workers or 1, engine.n_cores or default_n_cores()
    if n_cores and n_workers * n_cores > count_cores():
        raise ValueError(
            f"a worker needs {n_cores} cores of its own, but there are {count_cores()} "
            f"for {n_workers} workers"
        )
    return [{}] * n_workers


def _remove_empty(folder: Path) -> None:
    if not os.listdir(folder):
        folder.rmdir()
