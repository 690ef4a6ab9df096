"""How much memory does a training step need beside plain PyTorch's?

Command: python experiments/training_speed/peak_memory.py [shape ...]
(needs the extra `bench`; all shapes of training_speed.py where none is named)
Wall time: about six minutes on a quiet core.
Expected: a step needs less than PyTorch's on every shape, as no matrix of scores or logits is kept
(found: 0.6 to 0.8 of it on narrow and long, 0.7 and 1.2 with many heads, 1.5 and 1.6 times as
much with one sequence of 4,096).

Each is built in a process of its own and makes five steps; ours as a run times its first ones
(`measured_step_time_s`), with one in flight. Counted is the most of its memory that was resident
(Linux's VmHWM): of the steps, over what was resident once all was imported and, of ours, compiled
(weights, the optimizer's state, a step's temporaries); and with compiling, over what was resident
once all was imported. Writes peak_memory.csv, whose rows of other processors and of shapes not
named are kept.
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
    """Print the peak of five steps of ours or PyTorch's and that with compiling, in bytes."""
    sys.argv[1:] = []
    import numpy as np
    import torch
    import training_speed as speed

    from anybudget.machines.host import give_back_freed_memory
    from anybudget.validation.training.train import measured_step_time_s

    torch.set_num_threads(1)
    arch, rng = speed.SHAPES[shape], np.random.default_rng(0)
    tokens = rng.integers(0, arch.vocab_size, (arch.batch_size, arch.seq_len + 1), np.int32)
    gc.collect()
    imported = resident_bytes("VmRSS")
    program = speed.our_program(arch, dtype) if who == "ours" else None
    compiling = resident_bytes("VmHWM")
    gc.collect()
    give_back_freed_memory()
    Path("/proc/self/clear_refs").write_text("5")
    begun = resident_bytes("VmRSS")
    if program:
        measured_step_time_s(program, tokens, at_least_s=0)
    else:
        step = speed.torch_step(arch, tokens, dtype)
        for _ in range(5):
            step()
    stepping = resident_bytes("VmHWM")
    print(stepping - begun, max(compiling, stepping) - imported)


def main(names: list[str]) -> None:
    """Measure the shapes, and write the table as it grows."""
    import pandas as pd
    import training_speed as speed

    for shape in names or speed.SHAPES:
        rows = []
        for dtype in speed.DTYPES:
            ours, ours_in_all = _peaks_bytes(shape, "ours", dtype)
            theirs, theirs_in_all = _peaks_bytes(shape, "torch", dtype)
            rows.append(
                {
                    "processor": speed.cpu_name(),
                    "shape": shape,
                    "dtype": dtype,
                    "peak_bytes": ours,
                    "torch_peak_bytes": theirs,
                    "over_torch": ours / theirs,
                    "with_compiling_bytes": ours_in_all,
                    "torch_with_compiling_bytes": theirs_in_all,
                }
            )
            print(rows[-1], flush=True)
        speed.write(pd.DataFrame(rows), RESULT, KEY)


def _peaks_bytes(*words: str) -> list[int]:
    command = [sys.executable, __file__, ONE, *words]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    return [int(word) for word in run.stdout.split()]


if __name__ == "__main__":
    words = sys.argv[1:]
    if words[:1] == [ONE]:
        one(*words[1:])
    else:
        sys.argv[1:] = []  # training_speed reads its own from there
        main(words)
