"""How much memory does a training step need beside plain PyTorch's?

Command: python experiments/training_speed/peak_memory.py [shape ...]
(needs the extra `bench`; all shapes of training_speed.py where none is named)
Wall time: about six minutes on a quiet core.
Expected: less than PyTorch on every shape, as no matrix of scores or logits is kept. Refuted on the
one shape that was run (long): 1.33 times PyTorch's in float32 and 1.26 times in bfloat16.

Each is built in a process of its own and makes three steps. Counted is the most of its memory that
was resident (Linux's VmHWM, set back before) over what was resident once all was imported and, of
ours, compiled: weights, the optimizer's state, a step's temporaries. Writes peak_memory.csv, whose
rows of other processors and of shapes not named are kept.
"""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

RESULT = Path(__file__).with_suffix(".csv")
KEY = ["processor", "shape", "dtype"]
# How a process of its own is told from the one that starts it.
ONE = "--one"


def resident_bytes(name: str) -> int:
    """VmRSS, what is resident now, or VmHWM, the most that was."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(name))


def one(shape: str, who: str, dtype: str) -> None:
    """Print the peak of three steps of ours or PyTorch's, in bytes."""
    sys.argv[1:] = []
    import numpy as np
    import torch
    import training_speed as speed

    from anybudget.machines.host import available_memory_bytes

    torch.set_num_threads(1)
    arch, rng = speed.SHAPES[shape], np.random.default_rng(0)
    tokens = rng.integers(0, arch.vocab_size, (arch.batch_size, arch.seq_len + 1), np.int32)
    begun = 0

    def begin() -> None:
        nonlocal begun
        gc.collect()
        available_memory_bytes()  # gives what malloc keeps back to the system
        Path("/proc/self/clear_refs").write_text("5")
        begun = resident_bytes("VmRSS")

    make = speed.our_step if who == "ours" else speed.torch_step
    step = make(arch, tokens, dtype, begin)
    for _ in range(3):
        step()
    print(resident_bytes("VmHWM") - begun)


def main(names: list[str]) -> None:
    """Measure the shapes, and write the table as it grows."""
    import pandas as pd
    import training_speed as speed

    for shape in names or speed.SHAPES:
        rows = []
        for dtype in speed.DTYPES:
            ours, theirs = (_peak_bytes(shape, who, dtype) for who in ("ours", "torch"))
            row = {"processor": speed.cpu_name(), "shape": shape, "dtype": dtype}
            row |= {"peak_bytes": ours, "torch_peak_bytes": theirs, "over_torch": ours / theirs}
            print(row, flush=True)
            rows.append(row)
        speed.write(pd.DataFrame(rows), RESULT, KEY)


def _peak_bytes(*words: str) -> int:
    command = [sys.executable, __file__, ONE, *words]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    words = sys.argv[1:]
    if words[:1] == [ONE]:
        one(*words[1:])
    else:
        sys.argv[1:] = []  # training_speed reads its own from there
        main(words)
