"""Do chips exchange as many bytes as we count, in the program that a TPU's compiler makes?

Command: python experiments/chips/chips.py
Wall time: one to three minutes a row on one core; with the rows in place, 3 s.
Expected: bytes that a chip sends within 10% of the count, data parallel and fully sharded, on four
chips and on sixteen.

Compiles validation/training/step.py's training step for slices of TPU v5e, on a machine without
TPU (extra `tpu`), up to its memory plan, and sets the collectives of the program beside
objectives/cost/communication.py, a row of chips.csv each. Rows that are there are kept. The batch
of sixteen chips has more rows than the vocabulary, so that there the vocabulary travels and not
the activations. Nothing was measured on a chip.
"""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import AwareDatetime, NonNegativeInt, PositiveFloat, PositiveInt

from anybudget.objectives.cost.execution import Execution
from anybudget.space.architecture import Architecture
from anybudget.validation.compiler.compile import compile_for
from anybudget.validation.compiler.compiled import COLLECTIVES, Compiled
from anybudget.validation.compiler.topology import parse_topology
from anybudget.validation.runs import ExecutedRow, append_row, read_rows

ROWS = Path(__file__).with_suffix(".csv")
TIMEOUT_S = 1800.0


class Job(NamedTuple):
    """One row to make."""

    topology: str
    shape: tuple[int, int]
    batch_size: int
    sharding: str
    tied_embeddings: bool = True

    @property
    def arch(self) -> Architecture:
        """What is compiled, with the batch of all chips."""
        d_model, n_layers = self.shape
        return Architecture.from_shape(
            d_model=d_model,
            n_layers=n_layers,
            batch_size=self.batch_size,
            tied_embeddings=self.tied_embeddings,
        )


JOBS = [
    Job(topology, shape, batch_size, sharding)
    for topology, shape, batch_size in (
        ("v5e:2x2", (2048, 2), 8),
        ("v5e:4x4", (2048, 2), 64),
        ("v5e:2x2", (512, 8), 8),
    )
    for sharding in ("data", "full")
] + [Job("v5e:4x4", (2048, 2), 64, "full", tied_embeddings=False)]


class ChipsRow(ExecutedRow):
    """Whole arrays that collectives of each kind take, bytes, as counted and as compiled.

    Attributes:
        compiled_permute: bytes that a chip sends its neighbours, where the compiler scatters an
            array in a loop of matmuls.
        sent_ratio: bytes that a chip sends in all, counted over compiled.
        memory_ratio: of the chip's main memory, predicted over planned.
    """

    topology: str
    counted_all_reduce: NonNegativeInt
    compiled_all_reduce: NonNegativeInt
    counted_all_gather: NonNegativeInt
    compiled_all_gather: NonNegativeInt
    counted_reduce_scatter: NonNegativeInt
    compiled_reduce_scatter: NonNegativeInt
    compiled_permute: NonNegativeInt
    sent_ratio: PositiveFloat
    memory_bytes: PositiveInt
    memory_ratio: PositiveFloat
    versions: str
    compiled: AwareDatetime


def row_of(step: Compiled) -> ChipsRow:
    """A compiled step as a row."""
    sides = {
        side: {kind: round(values[f"{kind}_bytes"] or 0) for kind in COLLECTIVES}
        for side, values in (("counted", step.analytic), ("compiled", step.compiler))
    }
    n_chips, permuted = step.topology.n_chips, step.collective_bytes.get("collective-permute", 0)
    counted, compiled = (
        (n_chips - 1)
        / n_chips
        * (2 * one["all_reduce"] + one["all_gather"] + one["reduce_scatter"])
        for one in sides.values()
    )
    columns: dict[str, Any] = {
        f"{side}_{kind}": n for side, one in sides.items() for kind, n in one.items()
    }
    columns |= step.arch.as_dict() | step.execution.columns(step.arch)
    return ChipsRow(
        **columns,
        topology=step.topology.name,
        compiled_permute=permuted,
        sent_ratio=counted / (compiled + permuted),
        memory_bytes=step.memory_bytes,
        memory_ratio=step.analytic["memory_bytes"] / step.memory_bytes,
        versions=";".join(f"{name} {version}" for name, version in step.versions.items()),
        compiled=datetime.datetime.now(datetime.UTC),
    )


def main() -> None:
    """Compile what is missing, then print the ratios."""
    rows = read_rows(ROWS, ChipsRow)
    done = {(row.architecture, row.topology, str(row.execution.sharding)) for row in rows}
    for job in JOBS:
        if (job.arch, job.topology, job.sharding) not in done:
            print(job, flush=True)
            step = compile_for(
                job.arch,
                parse_topology(job.topology),
                Execution(sharding=job.sharding),
                with_time=False,
                timeout_s=TIMEOUT_S,
            )
            append_row(ROWS, row_of(step))
    for row in read_rows(ROWS, ChipsRow):
        kinds = ", ".join(
            f"{kind} {getattr(row, f'counted_{kind}') / 1e6:,.1f} / "
            f"{getattr(row, f'compiled_{kind}') / 1e6:,.1f} MB"
            for kind in COLLECTIVES
        )
        arch = row.architecture
        untied = "" if arch.tied_embeddings else " untied"
        print(
            f"{row.topology} {row.execution.sharding}, "
            f"{arch.d_model}×{arch.n_layers}{untied}, batch {arch.batch_size}: {kinds}, "
            f"permuted {row.compiled_permute / 1e6:,.1f} MB; "
            f"sent {row.sent_ratio:.3f}, memory {row.memory_ratio:.2f}"
        )


if __name__ == "__main__":
    main()
