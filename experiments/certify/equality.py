"""Certificates by bounds against scans on random questions: every answer equal, to the last digit.

    python -m anybudget.experiments.certify.equality 2000
    python -m anybudget.experiments.certify.equality 40 large

Writes `equality.csv`, a row for each question, as it goes: about 0.25 CPU seconds each; spaces of a
million to a hundred million architectures to `equality_large.csv`, from one to a hundred each.
Expected: every row has `equal` True. Both go on to more boxes than `find` would, which gives up
after `MAX_BOXES` and enumerates.
"""

from __future__ import annotations

import csv
import sys
import time
from pathlib import Path

from ...search.certify.bounds import MAX_BOXES, certify
from ...search.certify.scan import scan
from .random_questions import LARGE, SMALL, describe, random_question

HERE = Path(__file__).parent
TOP = 20
MOST_BOXES = 5 * MAX_BOXES


def compare(seed: int, size: tuple[int, int]) -> dict:
    """One question: what both found, and in how many CPU seconds."""
    space, objective = random_question(seed, size)
    start = time.process_time()
    expected = scan(space, objective, top=TOP)
    scan_s = time.process_time() - start
    start = time.process_time()
    best = certify(space, objective, top=TOP, by_shape=False, max_boxes=MOST_BOXES)
    shapes = certify(space, objective, top=10**6, max_boxes=MOST_BOXES)
    bounds_s = time.process_time() - start
    equal: bool | str = "gave up"
    if best is not None and shapes is not None:
        known = {c.shape: c for c in expected.shapes}
        equal = best.candidates == expected.candidates and known == {
            c.shape: c for c in shapes.candidates
        }
    return {
        "seed": seed,
        **describe(space, objective),
        "n_valid": expected.n_valid,
        "n_shapes": len(expected.shapes),
        "n_boxes": best.n_boxes if best else None,
        "n_boxes_of_shapes": shapes.n_boxes if shapes else None,
        "scan_cpu_s": round(scan_s, 4),
        "bounds_cpu_s": round(bounds_s, 4),
        "equal": equal,
    }


def main() -> None:
    """Compare so many questions, or go on where a run ended."""
    n, size, out = int(sys.argv[1]), SMALL, HERE / "equality.csv"
    if "large" in sys.argv:
        size, out = LARGE, HERE / "equality_large.csv"
    done = {row["seed"] for row in csv.DictReader(out.open())} if out.exists() else set()
    with out.open("a", newline="") as file:
        for seed in range(n):
            if str(seed) in done:
                continue
            row = compare(seed, size)
            writer = csv.DictWriter(file, row)
            if not file.tell():
                writer.writeheader()
            writer.writerow(row)
            file.flush()
    rows = list(csv.DictReader(out.open()))
    feasible = sum(row["n_valid"] != "0" for row in rows)
    unequal = [row["seed"] for row in rows if row["equal"] == "False"]
    gave_up = sum(row["equal"] == "gave up" for row in rows)
    print(
        f"{len(rows)} questions, {feasible} with something feasible, {gave_up} given up; unequal: "
        f"{unequal or 'none'}"
    )


if __name__ == "__main__":
    main()
