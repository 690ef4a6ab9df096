"""What are six steps of one's own worth, where a preset of the card is known?

Command: python experiments/few_steps/few_steps.py VTRAIN.csv
Wall time: three minutes.
Expected, written before the first run: by six steps alone, predictions of the others are worse than
the preset's as it is; by the preset moved by the six, better than both; from thirty on alike.

Rows: the 1,440 of vTrain (see published_gpu.py), Megatron on eight A100s, which had no part in the
preset a100-80gb (FSDP). Each draw takes some of them as a user's table, and judges on all the rest.
Writes few_steps.csv: a row a draw.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from anybudget.objectives.fit.step_time import Steps, StepTimeFit, compare_step_times
from anybudget.presets.devices import load_device
from anybudget.validation.timing.step_table import read_step_table

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "published_gpu"))
NUMBERS, N_DRAWS = (6, 12, 30), 20


def part(steps: Steps, rows: np.ndarray) -> Steps:
    """Some of the steps."""
    n_steps = len(steps.measured_s)

    def of(one: object) -> object:
        return one[rows] if isinstance(one, np.ndarray) and one.shape == (n_steps,) else one

    def taken(whole: object) -> dict[str, object]:
        names = [field.name for field in dataclasses.fields(whole)]  # pyright: ignore[reportArgumentType]
        return {name: of(getattr(whole, name)) for name in names}

    arch, execution = object.__new__(type(steps.arch)), object.__new__(type(steps.execution))
    vars(arch).update(taken(steps.arch))
    vars(execution).update(taken(steps.execution))
    sent = {link: of(units) for link, units in steps.sent.items()}
    return dataclasses.replace(
        steps,
        arch=arch,
        execution=execution,
        sent=sent,
        measured_s=steps.measured_s[rows],
        trainer=None,
    )


def error(steps: Steps, fit: StepTimeFit, judged: np.ndarray) -> float:
    """Mean relative error of a fit on the steps that it has not seen."""
    units = steps.units(fit.model.name, fit.model.ridge)
    seconds = [fit.model.seconds_per_unit.get(name, 0.0) for name in steps.features(fit.model.name)]
    return float(np.abs((units @ seconds)[judged] / steps.measured_s[judged] - 1).mean())


def main() -> None:
    """Draw, fit, judge, write and tell the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path)
    from published_gpu import vtrain

    device = load_device("a100-80gb")
    *_, rows = next(iter(vtrain(parser.parse_args().table)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vtrain.csv"
        rows.to_csv(path, index=False)
        steps = read_step_table(path, device).steps
    prior = device.step_time_model
    preset = StepTimeFit(
        model=prior, measured_s=steps.measured_s, heldout_s=steps.measured_s, r2=0, mape=0,
        ratio_95=(1, 1), levels=np.ones(1),
    )  # fmt: skip
    found = []
    for n_own in NUMBERS:
        rng = np.random.default_rng(n_own)
        while sum(row["n_own"] == n_own for row in found) < N_DRAWS:
            own = rng.choice(len(steps.measured_s), n_own, replace=False)
            judged = np.setdiff1d(np.arange(len(steps.measured_s)), own)
            try:
                some = part(steps, own)
            except ValueError:  # too few shapes, which the command refuses too
                continue
            alone = compare_step_times(some)[0]
            fits = compare_step_times(dataclasses.replace(some, prior=prior))
            moved = next(fit for fit in fits if fit.from_prior)
            row = {"n_own": n_own, "preset": error(steps, preset, judged)}
            row |= {"alone": error(steps, alone, judged), "moved": error(steps, moved, judged)}
            found.append(row | {"chosen": error(steps, fits[0], judged)})
    table = pd.DataFrame(found)
    table.to_csv(HERE / "few_steps.csv", index=False, float_format="%.4f")
    print(table.groupby("n_own").median().round(3).to_string())
    print(table.groupby("n_own").max().round(3).to_string())


if __name__ == "__main__":
    main()
