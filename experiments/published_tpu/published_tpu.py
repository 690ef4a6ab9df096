"""How far is the prediction from step times and utilisations that others published for TPUs?

Command: python experiments/published_tpu/published_tpu.py
Wall time: 2 s.
Expected, of plain attention: a published step takes 0.5 to 1.0 of the predicted time, for the
assumed utilisation of 70% is near what these models reach, but scores are written that flash
attention never writes, the more the longer a sequence. Of fused attention, which was made after
the former was seen and has no number fitted here: near 1. Of what `predict` says, with fused
attention, the compiled preset and the communication between chips: off by at most 8% on average,
no step by a ratio of more than 1.25.

published_tpu/facts.csv holds what was published, each row with its source and that of its
configuration: the model, tokens for each chip, and one value, a step time or FLOP/s for each chip.
The table sets it beside the prediction of fused attention for one chip, from the datasheet at its
assumed utilisation and by the model of its compiler's estimates, beside both with plain attention,
and beside the FLOP/s that the datasheet's peak alone would give.

How the two are compared:
- Published FLOP/s count the forward pass and twice that for the backward pass, whole attention and
  the logits, as `objectives/cost/counts.py` does, and nothing that runs again; they become a step
  time by our count. Where both are published, the step time is taken.
- All of these models are spread over many chips, which share weights and state. The prediction is
  that of one chip with its own share of the batch; communication is counted in `whole_ratio` alone,
  over the links of the device's file.
- The rematerialisation is the nearest of ours: `full` and those that keep or offload only the
  inputs and products of attention are `layer`, `minimal` ones are `dots`.
- They ran with flash attention, which writes no scores and can leave out what lies in the future.
- Llama 2 70B's configuration has three sequences a chip, but the tokens per second beside its
  published step time are those of two, which are taken.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import HttpUrl, PositiveFloat, PositiveInt

from anybudget.objectives.cost.counts import flops_per_step
from anybudget.objectives.cost.execution import Execution
from anybudget.objectives.device import Device
from anybudget.objectives.step_cost import compute_s, step_time_s
from anybudget.presets.devices import load_device
from anybudget.validation.runs import ArchitectureRow, read_rows

FOLDER = Path(__file__).parent
FACTS, TABLE = FOLDER / "facts.csv", FOLDER / "table.csv"
RATIOS = ("ratio", "compiled_ratio", "plain_ratio", "compiled_plain_ratio", "whole_ratio")


class Fact(ArchitectureRow):
    """One published result; `batch_size` is one chip's share.

    Attributes:
        model: what the source calls it.
        device: the preset of a chip.
        n_chips: that it ran on.
        remat: the nearest of ours to `remat_policy`.
        remat_policy: as it was configured.
        quantity: what `value` is: seconds of a step, or FLOP/s of a chip.
        source: of the value.
        configuration: where the model and its batch stand.
    """

    model: str
    device: str
    n_chips: PositiveInt
    remat: Literal["none", "dots", "layer"]
    remat_policy: str
    quantity: Literal["step_time_s", "flops_per_s"]
    value: PositiveFloat
    source: HttpUrl
    configuration: HttpUrl

    @property
    def step_time_s(self) -> float:
        """Seconds of a step, as published or from FLOP/s."""
        if self.quantity == "step_time_s":
            return self.value
        return flops_per_step(self.architecture) / self.value


def compare(fact: Fact) -> dict[str, object]:
    """A published result beside the prediction."""
    sheet, compiled = load_device(f"{fact.device}-datasheet"), load_device(fact.device)
    arch = fact.architecture
    sheet_s = predicted_s(fact, sheet, fused=True)
    flops = flops_per_step(arch)
    return {
        "model": fact.model,
        "device": fact.device,
        "n_chips": fact.n_chips,
        "remat": fact.remat,
        "tokens_per_chip": arch.tokens_per_step,
        "published_s": fact.step_time_s,
        "predicted_s": sheet_s,
        "ratio": fact.step_time_s / sheet_s,
        "compiled_ratio": fact.step_time_s / predicted_s(fact, compiled, fused=True),
        "plain_ratio": fact.step_time_s / predicted_s(fact, sheet, fused=False),
        "compiled_plain_ratio": fact.step_time_s / predicted_s(fact, compiled, fused=False),
        "whole_ratio": fact.step_time_s / predicted_s(fact, compiled, fused=True, whole=True),
        "published_mfu": flops / fact.step_time_s / sheet.peak_flops_per_s,
        "predicted_mfu": flops / sheet_s / sheet.peak_flops_per_s,
    }


def predicted_s(fact: Fact, device: Device, *, fused: bool, whole: bool = False) -> float:
    """By a device's model, where the chips share the state; `whole` with their communication."""
    arch = dataclasses.replace(
        fact.architecture, batch_size=fact.architecture.batch_size * fact.n_chips
    )
    execution = Execution(
        attention="fused" if fused else "plain",
        remat=fact.remat,
        sharding="full",
        n_chips=fact.n_chips,
    )
    return (step_time_s if whole else compute_s)(device, arch, execution)


def main() -> None:
    """Print the table and write it."""
    table = pd.DataFrame(compare(fact) for fact in read_rows(FACTS, Fact))
    table.to_csv(TABLE, index=False, float_format="%.4g")
    print(table.round(3).to_string(index=False))
    for name in RATIOS:
        ratio = table[name]
        print(
            f"\n{name}: {len(ratio)} published steps take {ratio.min():.2f} to {ratio.max():.2f} "
            "of the prediction, half of them "
            f"{ratio.quantile(0.25):.2f} to {ratio.quantile(0.75):.2f}; "
            f"off by {np.exp(np.abs(np.log(ratio)).mean()) - 1:.0%} on average"
        )


if __name__ == "__main__":
    main()
