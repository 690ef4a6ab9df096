"""The CSV of training runs: what was trained, on what, for how long, what came out."""

from __future__ import annotations

from typing import Any, Literal

import pydantic
from pydantic import AwareDatetime, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from ..files.rows import Row, append_row, finished, read_rows
from ..objectives.cost.execution import COUNTS, KINDS, Execution
from ..objectives.cost.execution import FIELDS as EXECUTION_FIELDS
from ..space.architecture import ABOUT, ADDED, FIELDS, Architecture
from ..space.sparse import FIELD as EXPERTS
from ..space.sparse import is_sparse, model_of

__all__ = [
    "ArchitectureRow",
    "ExecutedRow",
    "Row",
    "Run",
    "SparseRun",
    "append_row",
    "finished",
    "read_rows",
    "run_type",
]


# A column for each field; one that came later may be missing from a file.
COLUMNS: dict[str, Any] = {
    name: (bool if about.is_flag else PositiveInt, ADDED.get(name, ...))
    for name, about in ABOUT.items()
}
_Columns = pydantic.create_model("_Columns", __base__=Row, **COLUMNS)


class ArchitectureRow(_Columns):
    """The columns of any row about one architecture; derive from it and add what was measured."""

    @property
    def architecture(self) -> Architecture:
        """The architecture that the row is about."""
        names = [name for name in (*FIELDS, EXPERTS) if hasattr(self, name)]
        return model_of({name: getattr(self, name) for name in names})

    @pydantic.model_validator(mode="after")
    def _the_architecture_can_be(self) -> ArchitectureRow:
        self.architecture  # noqa: B018
        return self


# A column for each field of an execution, and what of a batch a chip takes in one pass.
EXECUTION_COLUMNS: dict[str, Any] = {
    **{name: (Literal[tuple(map(str, kind))], ...) for name, kind in KINDS.items()},
    **dict.fromkeys(("micro_batch_size", *COUNTS), (PositiveInt, ...)),
    # These came later.
    **dict.fromkeys(("n_replicas", "virtual_stages"), (PositiveInt, 1)),
    "scan_layers": (bool, ...),
}
_Executed = pydantic.create_model("_Executed", __base__=ArchitectureRow, **EXECUTION_COLUMNS)


class ExecutedRow(_Executed):
    """An architecture, and how its step was run: `Execution.columns`."""

    @property
    def execution(self) -> Execution:
        """How the step was run."""
        return Execution(**{name: getattr(self, name) for name in EXECUTION_FIELDS})

    @pydantic.model_validator(mode="after")
    def _the_execution_can_be(self) -> ExecutedRow:
        arch, columns = self.architecture, self.execution.columns(self.architecture)
        if not self.execution.divides(arch.batch_size):
            raise ValueError("`n_accumulation` passes on the chips must divide `batch_size`")
        micro = getattr(self, "micro_batch_size")  # noqa: B009
        if micro != columns["micro_batch_size"]:
            raise ValueError(
                "`micro_batch_size` must be the batch over passes and chips that split it, "
                f"{columns['micro_batch_size']}, but got {micro}"
            )
        return self


class Run(ExecutedRow):
    """One training run: build with `Run(**arch.as_dict(), **execution.columns(arch), seed=...)`.

    Attributes:
        step_time_s: median seconds of an optimizer step.
        step_time_spread: interquartile range of the step times over their median.
        mfu: model FLOP/s over the device's measured matmul peak.
        measured_loss: held-out, nats per token; None when the run diverged or had no memory.
        dtype: of the operands of its matmuls; weights, sums and all else are float32 or wider.
        started: when training began, with its time zone.
        versions: of the packages that matter, as `name version` separated by semicolons.
    """

    corpus: str
    corpus_fingerprint: str
    seed: NonNegativeInt
    device: str
    recipe: str
    learning_rate: PositiveFloat
    time_budget_s: PositiveFloat
    n_params: PositiveInt
    n_params_non_embedding: PositiveInt
    status: Literal["ok", "diverged", "out_of_memory"]
    n_steps: NonNegativeInt
    n_tokens: NonNegativeInt
    step_time_s: PositiveFloat | None = None
    step_time_spread: NonNegativeFloat | None = None
    tokens_per_s: PositiveFloat | None = None
    mfu: NonNegativeFloat | None = None
    measured_loss: PositiveFloat | None = None
    bits_per_byte: PositiveFloat | None = None
    dtype: str | None = None
    started: AwareDatetime
    versions: str

    @pydantic.model_validator(mode="after")
    def _a_finished_run_has_a_loss(self) -> Run:
        if self.status == "ok" and self.measured_loss is None:
            raise ValueError("a run with status `ok` must have a measured_loss")
        return self


class SparseRun(Run):
    """One training run of a model with experts, which no law is fitted to yet."""

    n_experts: PositiveInt


def run_type(arch: Architecture) -> type[Run]:
    """What a run of an architecture is a row of."""
    return SparseRun if is_sparse(arch) else Run
