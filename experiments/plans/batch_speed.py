"""How much sooner is a plan of 96 certified searches than 96 `find` processes?

Command: python experiments/plans/batch_speed.py [EVERY]
Wall time: 6 min on 2 cores. EVERY, 1 by default, times `find` on every such search of the plan, all
devices and both laws among them, and scales the sum up.
Expected: at least 10 times by wall clock and by CPU time, the batch in under 60 s, and the winner
of each `find` the winner of the batch.

Each run of either is a fresh process, called as a user would. Rows are appended to batch_speed.csv;
its first ones also have `find` with a single Optuna trial, which took a quarter longer.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

CSV = Path(__file__).with_suffix(".csv")
PLAN = Path(__file__).with_name("scaling.toml")
ANYBUDGET = [sys.executable, "-m", "anybudget"]
WINNER = ["d_model", "n_layers", "n_heads", "n_kv_heads", "d_head", "d_ff", "gated_mlp"]


def timed(*args: str) -> tuple[float, float, str]:
    """Wall and CPU seconds of one process, and what it printed."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([*ANYBUDGET, *args], check=True, capture_output=True, text=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return wall, cpu, done.stdout


def main() -> None:
    """Time the batch, then a share of its searches one by one, both ways; print the ratios."""
    every = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    with tempfile.TemporaryDirectory() as folder:
        wall, cpu, text = timed("batch", str(PLAN), "--out", folder, "--json")
    searches = json.loads(text)["searches"]
    rows = [{"what": "batch", "n_timed": 1, "wall_s": wall, "cpu_s": cpu, "equal_winners": None}]
    # Each block of twelve budgets gives another one: all devices and both laws come in.
    asked = [one for at, one in enumerate(searches) if (at + at // 12) % every == 0]
    wall_s, cpu_s, n_equal = 0.0, 0.0, 0
    for one in asked:
        named = ("--device", one["device"], "--law", one["law"], "--json")
        wall, cpu, text = timed("find", one["budget"], *named)
        best = json.loads(text)["candidates"][0]
        n_equal += all(best[name] == one[name] for name in WINNER)
        wall_s, cpu_s = wall_s + wall, cpu_s + cpu
    scale = len(searches) / len(asked)
    rows.append(
        {
            "what": f"{len(searches)} × find",
            "n_timed": len(asked),
            "wall_s": scale * wall_s,
            "cpu_s": scale * cpu_s,
            "equal_winners": n_equal,
        }
    )
    table = pd.DataFrame(rows)
    table["wall_ratio"] = table.wall_s / table.wall_s[0]
    table["cpu_ratio"] = table.cpu_s / table.cpu_s[0]
    table["load_1m"] = os.getloadavg()[0]
    table["n_cores"] = len(os.sched_getaffinity(0))
    table["date"] = time.strftime("%Y-%m-%d")
    table.round(2).to_csv(CSV, mode="a", header=not CSV.exists(), index=False)
    print(table.round(2).to_string(index=False))


if __name__ == "__main__":
    main()
