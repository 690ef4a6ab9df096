"""Does what a TPU's compiler says of small steps tell which ridge carries over to large ones?

Command: python experiments/tiles/ridges.py
Wall time: 20 s.
Expected: an error of the fit that has a clear least, and published steps near 1 of the prediction
there.

Of a chip, all rows of the base design (experiments/tpu_compile), with those that choose the rule or
without: the model `on_chip` at each ridge (FLOPs in the time of one memory copy), its error on what
it is fitted to, on the steps held out off their tiles (tiles.py), and the steps that others
published (experiments/published_tpu) over what it says with the communication between chips. The
datasheet's ridge is in the table, too. Nothing is chosen by it.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd

from anybudget.experiments.published_tpu.published_tpu import FACTS, Fact, predicted_s
from anybudget.experiments.tiles.rules import MODEL, fitted, rows_of
from anybudget.experiments.tiles.tiles import CHIPS
from anybudget.objectives.cost.step_time import StepTimeModel
from anybudget.objectives.device import Device
from anybudget.presets.devices import load_device
from anybudget.validation.compiler.rows import CompileRow, steps_of
from anybudget.validation.runs import read_rows

TABLE = Path(__file__).with_name("ridges.csv")
RIDGES = 2.0 ** np.arange(8, 10.01, 0.5)


def judge(
    device: Device, known: list[CompileRow], unseen: list[CompileRow], facts: list[Fact]
) -> list[dict[str, float]]:
    """A line for each ridge."""
    steps = steps_of(known)
    sheets = device.peak_flops_per_s * device.bytes_per_element / device.bandwidth_bytes_per_s
    lines = []
    for ridge in sorted([*RIDGES, sheets]):
        units = steps.units(MODEL, ridge)
        seconds = fitted(units, steps.measured_s)
        coefficients = dict(zip(steps.features(MODEL), seconds.tolist(), strict=True))
        model = StepTimeModel(name=MODEL, seconds_per_unit=coefficients, ridge=float(ridge))
        of_others = [model.step_time_s(row.architecture) / (row.step_time_s or 1) for row in unseen]
        known_as = dataclasses.replace(device, step_time=model)
        ratios = [
            fact.step_time_s / predicted_s(fact, known_as, fused=True, whole=True) for fact in facts
        ]
        lines.append(
            {
                "ridge": ridge,
                "is_datasheet": ridge == sheets,
                "fitted_error": np.abs(units @ seconds / steps.measured_s - 1).mean(),
                "heldout_error": np.abs(np.array(of_others) - 1).mean(),
                "published_least": min(ratios),
                "published_mean": np.exp(np.log(ratios).mean()),
                "published_most": max(ratios),
                "tera_flops_per_s": 1e-12 / coefficients["roofline_flops"],
            }
        )
    return lines


def main() -> None:
    """Print the table and write it."""
    lines = []
    for chip in CHIPS:
        base, chosen, unseen = rows_of(chip)
        device = load_device(f"tpu-{chip.partition(':')[0]}")
        facts = [fact for fact in read_rows(FACTS, Fact) if fact.device == device.name]
        for with_choosing, known in ((False, base), (True, [*base, *chosen])):
            about = {"chip": chip, "with_choosing": with_choosing}
            lines += [about | line for line in judge(device, known, unseen, facts)]
    table = pd.DataFrame(lines)
    table.to_csv(TABLE, index=False, float_format="%.4g")
    print(table.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
