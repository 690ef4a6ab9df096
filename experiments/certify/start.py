"""CPU seconds of whole commands of `find`, beside those of importing the libraries they use.

    python -m anybudget.experiments.certify.start

Runs each command 12 times in turn, every run a process of its own, writes `start.csv` and prints
medians and their ratio to the bare imports. Takes a minute or two. Expected: `find 3h`, with
certificate, P(best) and valley, takes at most 1.5 times what the imports alone take.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd

HERE = Path(__file__).parent
N_TIMES = 12
IMPORTS = "imports"
COMMANDS = {
    IMPORTS: ["-c", "import optuna, pandas, scipy.optimize"],
    "find 3h": ["-m", "anybudget", "find", "3h"],
    "find 24h --device h100-sxm": ["-m", "anybudget", "find", "24h", "--device", "h100-sxm"],
}


def cpu_s(words: list[str]) -> float:
    """User and system seconds of one Python process."""
    before = os.times()
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    spent = (after.children_user - before.children_user, after.children_system)
    return spent[0] + spent[1] - before.children_system


def main() -> None:
    """Time all in turn, the first time for nothing: it fills caches."""
    for words in COMMANDS.values():
        cpu_s(words)
    rows = [
        {"time": i, "command": name, "cpu_s": round(cpu_s(words), 3)}
        for i in range(N_TIMES)
        for name, words in COMMANDS.items()
    ]
    table = pd.DataFrame(rows)
    table.to_csv(HERE / "start.csv", index=False)
    by_command = table.pivot(index="time", columns="command", values="cpu_s")
    ratios = by_command.div(by_command[IMPORTS], axis=0)
    for name in COMMANDS:
        print(f"{name:28} {by_command[name].median():.2f} s, {ratios[name].median():.2f} times")


if __name__ == "__main__":
    main()
