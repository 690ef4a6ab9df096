"""How much processor time does a first answer take beside importing what it stands on?

Command: python experiments/cold_start/cold_start.py [PAIRS]
Wall time: two minutes on a quiet core; the medians are printed.
Expected: at most 1.5 times either import.

Fresh processes in turn: one imports Optuna and pandas, one scipy.optimize too, and one runs
`anybudget find 3h`; each has been run once before, so that all bytecode is there. Processor time
of user and system.
"""

import os
import resource
import statistics
import subprocess
import sys

PAIRS = 15
IMPORTS = ("import optuna, pandas", "import optuna, pandas, scipy.optimize")
COMMANDS = {
    **{line: ["-c", line] for line in IMPORTS},
    "find 3h": ["-m", "anybudget", "find", "3h"],
}


def cpu_s(arguments: list[str]) -> float:
    """Processor seconds of a fresh interpreter."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": ""}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Time all in turn."""
    n_pairs = int(sys.argv[1]) if len(sys.argv) > 1 else PAIRS
    took: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for at in range(n_pairs + 1):
        for name, arguments in COMMANDS.items():
            seconds = cpu_s(arguments)
            if at:  # the first round writes bytecode
                took[name].append(seconds)
    for name, seconds in took.items():
        print(f"{name}: median {statistics.median(seconds):.3f} s of CPU, least {min(seconds):.3f}")
    *_, ours = took.values()
    for line in IMPORTS:
        ratios = [one / other for one, other in zip(ours, took[line], strict=True)]
        ends = f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(f"over {line}: median {statistics.median(ratios):.2f}, {ends}")


if __name__ == "__main__":
    main()
