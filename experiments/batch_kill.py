"""Is a batch that is killed over and over, and run again, the batch that nothing disturbed?

Command: python experiments/batch_kill.py [PLAN]
Wall time: 4 min on 2 cores; rows are appended to batch_kill.csv.
Expected: after ten kills at random moments the table equals the undisturbed one byte for byte, but
for the column `searched_at`, and no search was made twice.

The process gets SIGKILL at a moment drawn evenly over the time that the undisturbed run took; its
rows kept so far are counted after each kill. One batch is killed ten times on end, and finished by
an eleventh run.
"""

import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from anybudget.search.answer import Answer
from anybudget.search.batch import KEPT
from anybudget.search.rows import read_rows

CSV = Path(__file__).with_suffix(".csv")
PLAN = Path(__file__).parent / "plans" / "scaling.toml"
N_KILLS = 10


def start(plan: Path, folder: Path) -> subprocess.Popen:
    """The batch in a process of its own."""
    command = [sys.executable, "-m", "anybudget", "batch", str(plan), "--out", str(folder)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def table(folder: Path) -> str:
    """The final table without its column of times."""
    cells = pd.read_csv(folder / "batch.csv", dtype=str, keep_default_na=False)
    return cells.drop(columns="searched_at").to_csv(index=False)


def n_kept(folder: Path) -> int:
    """Searches that are kept."""
    return len(read_rows(folder / KEPT, Answer)) if (folder / KEPT).exists() else 0


def main() -> None:
    """Run it undisturbed, then with kills; compare."""
    plan = Path(sys.argv[1]) if len(sys.argv) > 1 else PLAN
    rng, rows = random.Random(0), []
    with tempfile.TemporaryDirectory() as temporary:
        whole, killed = Path(temporary) / "whole", Path(temporary) / "killed"
        begin = time.perf_counter()
        if start(plan, whole).wait():
            raise RuntimeError("the undisturbed batch failed")
        whole_s = time.perf_counter() - begin
        for kill in range(1, N_KILLS + 1):
            process, after_s = start(plan, killed), rng.uniform(0, whole_s)
            try:
                process.wait(after_s)
                ended = "done before"
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                ended = "killed"
            rows.append(
                {"kill": kill, "after_s": after_s, "ended": ended, "n_kept": n_kept(killed)}
            )
        if start(plan, killed).wait():
            raise RuntimeError("the last rerun failed")
        rows.append({"kill": None, "after_s": None, "ended": "done", "n_kept": n_kept(killed)})
        fingerprints = [row.fingerprint for row in read_rows(killed / KEPT, Answer)]
        found = pd.DataFrame(rows).assign(
            equal=table(whole) == table(killed),
            n_twice=len(fingerprints) - len(set(fingerprints)),
            undisturbed_s=whole_s,
            date=time.strftime("%Y-%m-%d"),
        )
    found = found.round(2)
    found.to_csv(CSV, mode="a", header=not CSV.exists(), index=False)
    print(found.to_string(index=False))


if __name__ == "__main__":
    main()
