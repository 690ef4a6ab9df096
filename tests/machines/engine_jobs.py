"""Functions for jobs of the tests: quick to import, and they leave traces."""

import os
import signal
import time


def square(*, x, trace, delay_s=0.0):
    """Its process, after a line in a file."""
    time.sleep(delay_s)
    with open(trace, "a") as file:
        file.write(f"{x}\n")
    return {"square": x * x, "pid": os.getpid(), "cores": sorted(os.sched_getaffinity(0))}


def killed(*, trace, n_times):
    """Kill its own process so many times, and then answer."""
    with open(trace, "a") as file:
        file.write("begun\n")
    with open(trace) as file:
        if len(file.readlines()) <= n_times:
            os.kill(os.getpid(), signal.SIGKILL)
    return "survived"


def mistaken(*, x):
    """Never answer."""
    raise ValueError(f"x must be right, but got {x}")


def survey(*, rates):
    """A quiet machine."""
    setting = {"machine": "toy", "n_cores": 1, "dtype": "float32", "attention": "plain"}
    setting |= {"clock": "wall", "versions": "1"}
    rates = rates or {"peak_flops_per_s": 1e11, "bandwidth_bytes_per_s": 1e10}
    return {"setting": setting, "kind": "cpu", "memory_bytes": 2e10, "rates": rates}


def timing(*, arch, dtype, attention, seconds):
    """What a simple model says, on the machine of `survey`."""
    step_time_s = 1e-4 + 1e-8 * arch["d_model"] ** 2 * arch["n_layers"]
    timing = {"step_time_s": step_time_s, "step_time_spread": 0.01, "core_share": 1, "n_steps": 9}
    return {"timing": timing, "setting": survey(rates=None)["setting"]}
