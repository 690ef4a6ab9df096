"""Would published steps be foretold better if `predict` chose a pipeline by itself?

Command: python experiments/public_steps/pipelines.py
Wall time: 3 minutes.
Expected: no worse, for large models on many GPUs are trained in pipelines.

Of all rows of GPUs on two hosts and more the model, its batch and the chips are told, as in
`public_steps.py --bare`: once as they are answered, and then with pipelines of 2, 4, 8 and 16
stages, a stage in one, two, four, half as many pieces as it has layers, and as many, of which the
fastest that fits counts. pipelines.csv has the errors by source, of the rows in which a pipeline is
faster.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from public_steps import BARE, HERE, asked, off

GPUS_PER_HOST = 8
STAGES = (1, 2, 4, 8, 16)


def pins(n_layers: int, n_hosts: int) -> Iterator[dict[str, int]]:
    """Stages, one for each host at most, and the pieces of each."""
    for stages in STAGES:
        deep = -(-n_layers // stages)
        for pieces in sorted({1, 2, 4, deep // 2, deep}) if stages > 1 else [1]:
            if stages <= n_hosts and 0 < pieces <= deep:
                yield {"pipeline_parallel": stages, "virtual_stages": pieces}


def fastest(fact: dict[str, Any]) -> dict[str, Any] | None:
    """Measured over predicted without and with pipelines; None: nothing fits without."""
    ratios = {1: np.inf}
    for pinned in pins(int(fact["n_layers"]), int(fact["n_devices"]) // GPUS_PER_HOST):
        try:
            found = asked(fact | pinned, [*BARE, *pinned]).candidate.prediction
        except ValueError:  # More stages than split the chips.
            continue
        if found.feasible:
            ratio, stages = fact["step_time_s"] / found.step_time_s, pinned["pipeline_parallel"]
            ratios[stages] = max(ratios.get(stages, 0), ratio) if stages > 1 else ratio
    if ratios[1] == np.inf:
        return None
    best = max(ratios, key=lambda stages: ratios[stages])
    return {"source": fact["source"], "stages": best, "without": ratios[1], "with": ratios[best]}


def main() -> None:
    """Predict the rows, print and write the errors."""
    facts = pd.read_csv(HERE / "facts.csv").astype(object)
    facts = facts[(facts.precision == "bf16") & ~facts.device.str.contains("tpu")]
    facts = facts[facts.n_devices >= 2 * GPUS_PER_HOST]
    facts = facts.where(facts.notna(), None)
    rows = pd.DataFrame(filter(None, map(fastest, facts.to_dict("records"))))
    piped = rows[rows.stages > 1]
    groups = [("all rows", rows), ("a pipeline is faster", piped), *piped.groupby("source")]
    table = pd.DataFrame(
        {
            "rows": name,
            "n": len(one),
            "median_without": one["without"].median(),
            "median_with": one["with"].median(),
            "error_without": off(one["without"]),
            "error_with": off(one["with"]),
        }
        for name, one in groups
    )
    table.to_csv(HERE / "pipelines.csv", index=False, float_format="%.3f")
    print(table.round(2).to_string(index=False))


if __name__ == "__main__":
    main()
