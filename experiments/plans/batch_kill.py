"""Is a batch that is killed over and over, and run again, the batch that nothing disturbed?

Command: python experiments/plans/batch_kill.py [PLAN]
Wall time: 4 min on 2 cores; rows are appended to batch_kill.csv.
Expected: after ten kills at random moments the table equals the undisturbed one byte for byte, but
for the column `searched_at`, and no search was made twice.

The process gets SIGKILL at a moment drawn evenly over the time that the undisturbed run took, and
is run again, until ten were killed; a batch that is done by then is compared, and another begins.
"""

import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from anybudget.files.rows import read_rows
from anybudget.search.batch.row import AnswerRow
from anybudget.search.batch.run import KEPT

CSV = Path(__file__).with_suffix(".csv")
PLAN = Path(__file__).with_name("scaling.toml")
N_KILLS = 10


def start(plan: Path, folder: Path) -> subprocess.Popen:
    """The batch in a process of its own."""
    command = [sys.executable, "-m", "anybudget", "batch", str(plan), "--out", str(folder)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def table(folder: Path) -> str:
    """The final table without its column of times."""
    cells = pd.read_csv(folder / "batch.csv", dtype=str, keep_default_na=False)
    return cells.drop(columns="searched_at").to_csv(index=False)


def state(folder: Path, whole: Path) -> dict:
    """Searches that are kept, and kept twice; whether a final table is the undisturbed one."""
    rows = read_rows(folder / KEPT, AnswerRow)
    n_twice = len(rows) - len({row.fingerprint for row in rows})
    done = (folder / "batch.csv").exists()
    return {
        "n_kept": len(rows),
        "n_twice": n_twice,
        "equal": table(folder) == table(whole) if done else None,
    }


def main() -> None:
    """Run it undisturbed, then with kills; compare."""
    plan = Path(sys.argv[1]) if len(sys.argv) > 1 else PLAN
    rng, rows, n_kills, number = random.Random(0), [], 0, 1
    with tempfile.TemporaryDirectory() as temporary:
        whole = Path(temporary) / "whole"
        begin = time.perf_counter()
        if start(plan, whole).wait():
            raise RuntimeError("the undisturbed batch failed")
        whole_s = time.perf_counter() - begin
        while n_kills < N_KILLS or rows[-1]["ended"] == "killed":
            folder = Path(temporary) / str(number)
            process, ended = start(plan, folder), "done"
            after_s = rng.uniform(0, whole_s) if n_kills < N_KILLS else None
            try:
                process.wait(after_s)
            except subprocess.TimeoutExpired:
                process.kill()
                ended = "killed"
            if process.wait() and ended == "done":
                raise RuntimeError("a rerun failed")
            rows.append(
                {"batch": number, "ended": ended, "limit_s": after_s, **state(folder, whole)}
            )
            n_kills += ended == "killed"
            number += ended == "done"
    found = (
        pd.DataFrame(rows).assign(undisturbed_s=whole_s, date=time.strftime("%Y-%m-%d")).round(2)
    )
    found.to_csv(CSV, mode="a", header=not CSV.exists(), index=False)
    print(found.to_string(index=False))


if __name__ == "__main__":
    main()
