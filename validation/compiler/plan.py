"""What is known of a program before its machine code is: its memory plan and its matmuls.

A TPU's compiler decides on memory within seconds; scheduling every fusion's machine code, from
which its cycles come, takes the minutes. So a step can be judged by its plan alone, which the
compiler writes down on the way when `XLA_FLAGS` asks for it.
"""

from __future__ import annotations

import gzip
import re
from pathlib import Path

PROGRAM = "program.hlo.gz"
DUMP = "dump"
# What the compiler writes in this order. Files grow as it writes, the program slowest.
MEMORY = "*jit_train_step*-memory-usage-report.txt"
TEXT = "*jit_train_step*.after_optimizations_after_buffer_assignment.txt"
# The computation that runs is the last one.
WHOLE = re.compile(r"^ENTRY .*^\}\s*\Z", re.MULTILINE | re.DOTALL)
# Of the chip's main memory; its own, which the compiler also plans, has another colour.
TOTAL = re.compile(r"Memory Space: default \(color=0\)\s+Total bytes: (\d+)")


def dump_flags(folder: Path) -> str:
    """For `XLA_FLAGS`: write the plan into a folder."""
    return f"--xla_dump_to={folder / DUMP} --xla_dump_hlo_as_text=true"


def keep_plan(folder: Path) -> int | None:
    """Keep the program of a plan, and tell its bytes.

    Args:
        folder: as given to `dump_flags`; the program goes there.

    Returns:
        Bytes of the chip's main memory, or None as long as the plan is not whole.
    """
    found = [sorted((folder / DUMP).glob(pattern)) for pattern in (MEMORY, TEXT)]
    if not all(found):
        return None
    report, program = (paths[-1].read_text(encoding="utf-8") for paths in found)
    total = TOTAL.search(report)
    if not total or not WHOLE.search(program):
        return None
    with gzip.open(folder / PROGRAM, "wt", encoding="utf-8") as file:
        file.write(program)
    return int(total[1])
