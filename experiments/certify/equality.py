"""Certificates by bounds against scans on random questions: every answer equal, to the last digit.

    python -m anybudget.experiments.certify.equality 2000
    python -m anybudget.experiments.certify.equality 40 large
    python -m anybudget.experiments.certify.equality 500 wider
    python -m anybudget.experiments.certify.equality 40 large 20e6

Writes `equality.csv`, a row for each question, as it goes: about 0.25 CPU seconds each; of spaces
of a million to a hundred million architectures `equality_large.csv`, from one to some hundred
seconds each; and of questions with experts and with attention in blocks on a CPU among them
`equality_wider.csv`. A run goes on where one ended. As in `find`, bounds give up after `MAX_BOXES`
(`find` then enumerates); with more boxes, the last word, those that were given up are asked again.
Expected: every row has `equal` True.
"""

from __future__ import annotations

import csv
import sys
import time
from pathlib import Path

import pandas as pd

from ...search.certify.bounds import MAX_BOXES, certify
from ...search.certify.scan import scan
from ...space.sparse import is_sparse
from .random_questions import LARGE, SMALL, describe, random_question

HERE = Path(__file__).parent
TOP = 20
GAVE_UP = "gave up"
KINDS = OF_LARGE, OF_WIDER = "large", "wider"


def compare(seed: int, kind: str = "", max_boxes: int = MAX_BOXES) -> dict:
    """One question: what both found, and in how many CPU seconds."""
    wider = kind == OF_WIDER
    size = LARGE if kind == OF_LARGE else SMALL
    space, objective = random_question(seed, size, wider=wider)
    start = time.process_time()
    expected = scan(space, objective, top=TOP)
    scan_s = time.process_time() - start
    start = time.process_time()
    best = certify(space, objective, top=TOP, by_shape=False, max_boxes=max_boxes)
    shapes = certify(space, objective, top=10**6, max_boxes=max_boxes)
    bounds_s = time.process_time() - start
    equal: bool | str = GAVE_UP
    if best is not None and shapes is not None:
        known = {c.shape: c for c in expected.shapes}
        equal = best.candidates == expected.candidates and known == {
            c.shape: c for c in shapes.candidates
        }
    return {
        "seed": seed,
        **describe(space, objective),
        **({"experts": is_sparse(space)} if wider else {}),
        "n_valid": expected.n_valid,
        "n_shapes": len(expected.shapes),
        "n_boxes": best.n_boxes if best else None,
        "n_boxes_of_shapes": shapes.n_boxes if shapes else None,
        "scan_cpu_s": round(scan_s, 4),
        "bounds_cpu_s": round(bounds_s, 4),
        "equal": equal,
    }


def main(n: int, kind: str, max_boxes: int = MAX_BOXES) -> None:
    """Compare so many questions, or go on where a run ended."""
    out = HERE / f"equality{kind and f'_{kind}'}.csv"
    rows = list(csv.DictReader(out.open())) if out.exists() else []
    known = {int(row["seed"]): row for row in rows}
    settled = {
        seed for seed, row in known.items() if max_boxes == MAX_BOXES or row["equal"] != GAVE_UP
    }
    missing = sorted(set(range(n)) - settled)
    if kind == OF_LARGE:  # the quickest first
        missing.sort(key=lambda seed: random_question(seed, LARGE)[0].n_architectures)
    for seed in missing:
        known[seed] = compare(seed, kind, max_boxes)
        pd.DataFrame([known[seed] for seed in sorted(known)], dtype=object).to_csv(out, index=False)
    feasible = sum(int(row["n_valid"]) > 0 for row in known.values())
    equal = [str(row["equal"]) for row in known.values()]
    unequal = [seed for seed, row in known.items() if str(row["equal"]) == "False"]
    print(
        f"{len(known)} questions, {feasible} with something feasible, {equal.count('True')} equal, "
        f"{equal.count(GAVE_UP)} given up; unequal: {unequal or 'none'}"
    )


if __name__ == "__main__":
    numbers = [int(float(word)) for word in sys.argv[1:] if word not in KINDS]
    kinds = [word for word in sys.argv[1:] if word in KINDS]
    main(numbers[0], "".join(kinds[:1]), *numbers[1:])
