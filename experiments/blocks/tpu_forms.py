"""What scans lack in the time of a TPU's steps: six sets of terms beside each other.

Command: python experiments/blocks/tpu_forms.py
Wall time: 5 s, from the rows of tpu_blocks.csv.
Expected (after looking into two programs, before any fit): what goes in and out of chunks, for it
is nothing where a sequence is one chunk; perhaps the convolution besides.

Each set is fitted to scans of even numbers, over what the preset of dense steps counts, and judged
by each of them left out in turn and on those of odd numbers; wide ones alone, and with small ones,
whose dense part is scaled by what the dense control of their size has.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.optimize import nnls

from anybudget.experiments.blocks.tpu_blocks import ROWS, BlockRow, scored
from anybudget.experiments.blocks.tpu_shapes import CHIP, N_SHAPES, SCANS, drawn
from anybudget.objectives.cost.blocks import chunked_of
from anybudget.space.blocks import CHUNK, DELTA_CHUNK, GatedDelta, Mamba2
from anybudget.space.decoder import Decoder
from anybudget.validation.runs import read_rows

FORMS = (
    ["chunked"],
    ["convolved"],
    ["chunked", "convolved"],
    ["chunked", "inverse"],
    ["chunked", "states"],
    ["chunked", "convolved", "inverse"],
)


def terms(arch: Decoder) -> dict[str, int]:
    """Elements of each term in a forward pass."""
    found = {"chunked": 0, "convolved": 0, "inverse": 0, "states": 0}
    for n, block in arch.kinds:
        rows, mixer = n * arch.tokens_per_step, block.mixer
        if isinstance(mixer, Mamba2):
            several = arch.seq_len > CHUNK
            found["states"] += (
                rows * several * mixer.n_heads * mixer.d_head * mixer.d_state // CHUNK
            )
        elif isinstance(mixer, GatedDelta):
            states = mixer.n_value_heads * mixer.d_value * mixer.d_key // DELTA_CHUNK
            found["states"] += rows * states
            found["inverse"] += rows * mixer.n_value_heads * DELTA_CHUNK
        else:
            continue
        found["chunked"] += rows * chunked_of(block, arch)
        found["convolved"] += rows * mixer.n_channels
    return found


def fitted(table: pd.DataFrame, form: list[str]) -> np.ndarray:
    """Seconds of an element of each, by least relative squares, none negative."""
    relative = table[form].to_numpy() / table.step_s.to_numpy()[:, None]
    scale = relative.mean(axis=0)
    return nnls(relative / scale, 1 - (table.counted_s / table.step_s).to_numpy())[0] / scale


def errors(table: pd.DataFrame, form: list[str], seconds: np.ndarray) -> pd.Series:
    """Relative errors, as many times too long or too short."""
    found = table.counted_s + table[form].to_numpy() @ seconds
    return np.expm1(np.log(table.step_s / found).abs())


def main() -> None:
    """Print each set's errors."""
    rows = [row for row in read_rows(ROWS, BlockRow) if row.timed and row.topology == CHIP]
    table = pd.DataFrame([scored(row) | terms(drawn(row.key)) for row in rows])
    table["step_s"] = table.step_ms / 1e3
    even, small = table.number % 2 == 0, table.number < N_SHAPES
    level = np.exp(np.log(table.unchunked[(table.kind == "full") & even & small]).mean())
    table["counted_s"] = table.step_s / table.unchunked * np.where(small, level, 1.0)
    scans = table.kind.isin(SCANS)
    for name, chosen in (("wide", scans & ~small), ("all", scans)):
        looked_at, left_out = table[chosen & even], table[chosen & ~even]
        for form in FORMS:
            others = [looked_at.drop(index=i) for i in looked_at.index]
            each = [
                errors(looked_at.loc[[i]], form, fitted(rest, form)).item()
                for i, rest in zip(looked_at.index, others, strict=True)
            ]
            of_odd = errors(left_out, form, fitted(looked_at, form)).mean()
            print(f"{name}, {' and '.join(form)}: even {np.mean(each):.1%}, odd {of_odd:.1%}")


if __name__ == "__main__":
    main()
