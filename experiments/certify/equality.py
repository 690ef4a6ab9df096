"""Certificates by bounds against scans on random questions: every answer equal, to the last digit.

    python -m anybudget.experiments.certify.equality 2000

Writes `equality.csv`, a row for each question, as it goes: about 0.2 CPU seconds each. Expected: no
row with `equal` False.
"""

from __future__ import annotations

import csv
import sys
import time
from pathlib import Path

from ...search.certify.bounds import certify
from ...search.certify.scan import scan
from .random_questions import describe, random_question

OUT = Path(__file__).with_name("equality.csv")
TOP = 20


def compare(seed: int) -> dict:
    """One question: what both found, and in how many CPU seconds."""
    space, objective = random_question(seed)
    start = time.process_time()
    expected = scan(space, objective, top=TOP)
    scan_s = time.process_time() - start
    start = time.process_time()
    best = certify(space, objective, top=TOP, by_shape=False)
    shapes = certify(space, objective, top=10**6)
    bounds_s = time.process_time() - start
    equal = (
        best is not None
        and shapes is not None
        and best.candidates == expected.candidates
        and {c.shape: c for c in shapes.candidates} == {c.shape: c for c in expected.shapes}
    )
    return {
        "seed": seed,
        **describe(space, objective),
        "n_valid": expected.n_valid,
        "n_shapes": len(expected.shapes),
        "n_boxes": best.n_boxes if best else None,
        "scan_cpu_s": round(scan_s, 4),
        "bounds_cpu_s": round(bounds_s, 4),
        "equal": equal,
    }


def main() -> None:
    """Compare so many questions, or go on where a run ended."""
    rows = list(csv.DictReader(OUT.open())) if OUT.exists() else []
    with OUT.open("a", newline="") as file:
        for seed in range(len(rows), int(sys.argv[1])):
            row = compare(seed)
            writer = csv.DictWriter(file, row)
            if seed == 0:
                writer.writeheader()
            writer.writerow(row)
            file.flush()
    rows = list(csv.DictReader(OUT.open()))
    feasible = sum(row["n_valid"] != "0" for row in rows)
    unequal = [row["seed"] for row in rows if row["equal"] != "True"]
    print(
        f"{len(rows)} questions, {feasible} with something feasible; unequal: {unequal or 'none'}"
    )


if __name__ == "__main__":
    main()
