"""Several processes that train one model together, each with the chips of its host.

All run the same program on the same data, so that nothing needs to be sent but what XLA sends.
What depends on a clock is the first process's word, or they would part ways.
"""

from __future__ import annotations

import os

import jax
import numpy as np
from jax.experimental import multihost_utils

NEEDS = "JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID"


def join_processes() -> None:
    """Wait for the other processes; before anything else is asked of jax.

    Their number, this one's and the first one's address are found under SLURM, Open MPI and on
    Cloud TPU, and are read elsewhere from the environment.

    Raises:
        ValueError: they are not to be found, or a variable is not a number.
    """
    try:
        number, count = (
            int(os.environ[name]) if name in os.environ else None
            for name in ("JAX_PROCESS_ID", "JAX_NUM_PROCESSES")
        )
        told = None not in (number, count) and "JAX_COORDINATOR_ADDRESS" in os.environ
        # Where all is told, nothing is searched for: not even a metadata server.
        search = "deactivate" if told else None
        jax.distributed.initialize(
            process_id=number, num_processes=count, cluster_detection_method=search
        )
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"--distributed needs SLURM, Open MPI, Cloud TPU, or {NEEDS}: {error}"
        ) from None


def is_first() -> bool:
    """Whether this process writes files and talks to the user."""
    return jax.process_index() == 0


def agreed(value: float) -> float:
    """The first process's value, to the last bit; every process must ask."""
    if jax.process_count() == 1:
        return value
    words = np.float64(value).reshape(1).view(np.uint32)
    return float(np.asarray(multihost_utils.broadcast_one_to_all(words)).view(np.float64)[0])
