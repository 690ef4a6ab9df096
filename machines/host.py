"""Settings of this process on its host that a CPU's training speed depends on; without jax.

`keep_freed_memory` and `use_cores` take full effect only before jax starts its threads: call them
first of all.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator

# Options of glibc's mallopt, from malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8
# How long a core may take to become free.
PATIENCE_S = 60.0


def keep_freed_memory() -> bool:
    """Let malloc keep what is freed, where the C library is glibc.

    XLA's CPU backend allocates all of a step's temporaries anew, and by default every step gets
    them as fresh pages from the kernel and gives them back. Kept, a step of a 1M-parameter model
    took 149 ms instead of 237 (one Zen 5 core, glibc 2.36, jax 0.10). In return the process holds
    on to the most memory that it ever used.

    Returns:
        Whether it was done.
    """
    mallopt = _c_function("mallopt")
    # One arena, since the others map what is large whatever is set; no mapping; no trimming.
    options = {M_ARENA_MAX: 1, M_MMAP_MAX: 0, M_TRIM_THRESHOLD: -1}
    return mallopt is not None and all(mallopt(*option) == 1 for option in options.items())


def use_cores(n_cores: int) -> None:
    """Confine this process, and so jax's threads, to some of the cores that it may use.

    Raises:
        ValueError: there are not so many, or the system cannot confine a process.
    """
    if not hasattr(os, "sched_setaffinity"):
        raise ValueError(f"a process cannot be confined to {n_cores} cores on {sys.platform}")
    cores = sorted(os.sched_getaffinity(0))
    if not 1 <= n_cores <= len(cores):
        raise ValueError(f"`n_cores` must be from 1 to {len(cores)} here, but got {n_cores}")
    os.sched_setaffinity(0, cores[-n_cores:])


@contextlib.contextmanager
def lease_cores(n_cores: int | None) -> Iterator[None]:
    """Confine this process to cores that no other such process on this host has, while inside.

    A core is held by the name of a socket, which the kernel gives back however a process ends.

    Args:
        n_cores: how many; None, or on a system that cannot confine a process: all, shared.

    Raises:
        ValueError: there are not so many, or they have not become free for a minute.
    """
    if n_cores is None or not sys.platform.startswith("linux"):
        yield
        return
    cores = sorted(os.sched_getaffinity(0), reverse=True)
    if not 1 <= n_cores <= len(cores):
        raise ValueError(f"`n_cores` must be from 1 to {len(cores)} here, but got {n_cores}")
    held, deadline = {}, time.monotonic() + PATIENCE_S
    with contextlib.ExitStack() as stack:
        while True:
            for core in cores:
                if core not in held and len(held) < n_cores and (name := _name_core(core)):
                    held[core] = stack.enter_context(name)
            if len(held) == n_cores:
                break
            if time.monotonic() > deadline:
                raise ValueError(
                    f"a job needs {n_cores} cores of its own, but other jobs hold all but "
                    f"{len(held)} of {len(cores)}; wait for them, or take fewer workers"
                )
            time.sleep(0.05)
        os.sched_setaffinity(0, held)
        yield


def give_back_freed_memory() -> None:
    """Let the system have what malloc keeps, where it is glibc's."""
    if malloc_trim := _c_function("malloc_trim"):
        malloc_trim(0)


def available_memory_bytes() -> int:
    """Memory that this process could still get, of which is what malloc keeps."""
    give_back_freed_memory()
    import psutil  # a hundredth of a second, which a question need not wait

    return psutil.virtual_memory().available


def _name_core(core: int) -> socket.socket | None:
    """A socket with a core's name, unless another process has one."""
    name = socket.socket(socket.AF_UNIX)
    try:
        name.bind(f"\0anybudget-core-{core}")
    except OSError:
        name.close()
        return None
    return name


def _c_function(name: str) -> Callable[..., int] | None:
    """A function of the C library that this process runs with, where it has it."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
