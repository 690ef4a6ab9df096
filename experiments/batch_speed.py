"""How much sooner is a plan of 96 certified searches than 96 `find` processes?

Command: python experiments/batch_speed.py [EVERY]
Wall time: 4 min on 2 cores with EVERY at 8, its default: `find` is timed on every eighth search of
the plan, all devices and both laws among them, and the sum scaled up; 1 times all 96.
Expected: at least 10 times by wall clock and by CPU time, the batch in under 60 s, and the winner
of each `find` the winner of the batch.

Each run of either is a fresh process; `find` as a user calls it, and with one Optuna trial, before
its polish. Rows are appended to batch_speed.csv.
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
PLAN = Path(__file__).parent / "plans" / "scaling.toml"
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
    every = int(sys.argv[1]) if len(sys.argv) > 1 else 8
    with tempfile.TemporaryDirectory() as folder:
        wall, cpu, text = timed("batch", str(PLAN), "--out", folder, "--json")
    searches = json.loads(text)["searches"]
    rows = [{"what": "batch", "n_timed": 1, "wall_s": wall, "cpu_s": cpu, "equal_winners": None}]
    # Each block of twelve budgets gives another one: all devices and both laws come in.
    asked = [one for at, one in enumerate(searches) if (at + at // 12) % every == 0]
    for what, options in (("find", ()), ("find --trials 1", ("--trials", "1"))):
        walls, cpus, n_equal = 0.0, 0.0, 0
        for one in asked:
            named = ("--device", one["device"], "--law", one["law"], "--json")
            wall, cpu, text = timed("find", one["budget"], *named, *options)
            best = json.loads(text)["candidates"][0]
            n_equal += all(best[name] == one[name] for name in WINNER)
            walls, cpus = walls + wall, cpus + cpu
        times = {"wall_s": walls / len(asked) * len(searches), "cpu_s": cpus / len(asked) * 96}
        rows.append(
            {"what": f"96 × {what}", "n_timed": len(asked), **times, "equal_winners": n_equal}
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
