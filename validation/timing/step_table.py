"""Timed steps in a user's table: what ran, how it was run, how long it took."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pydantic
from pydantic import PositiveFloat, PositiveInt

from ...files.rows import Row
from ...files.table import read_table
from ...objectives.cost.communication import sent
from ...objectives.cost.counts import flops_per_step, n_params
from ...objectives.cost.execution import Execution
from ...objectives.device import Device
from ...objectives.fit.step_time import Steps
from ...objectives.step_cost import step_memory_bytes
from ...objectives.uncertainty import stacked
from ...space.architecture import FIELDS, Architecture
from ...space.limits import check_size

# A step of any model on any machine.
LEAST_S, MOST_S = 1e-12, 1e9
DTYPES = {"bf16": "bfloat16", "fp32": "float32"}
# Software of rows that do not tell it.
UNTOLD = "not told"
# A time and a rate of one row that are further apart are not of one step.
SAME_TIME = 0.02
# What is told of a table: how far each of these was varied.
VARIED = (
    "d_model", "n_layers", "d_head", "seq_len", "micro_batch_size", "n_accumulation", "n_chips",
    "sharding", "remat", "attention", "tensor_parallel", "pipeline_parallel", "virtual_stages",
)  # fmt: skip


class TimedStep(Row):
    """One timed optimizer step.

    Attributes:
        d_model, n_layers, n_heads, n_kv_heads, d_head, d_ff, gated_mlp, vocab_size,
            tied_embeddings, seq_len: the architecture; `n_kv_heads` left out equals `n_heads`, and
            `d_head` is the width over the heads.
        batch_size: sequences in the step, all devices together.
        micro_batch_size: sequences that one device takes in one pass; either may be left out.
        n_accumulation: passes whose gradients are added up to a step.
        n_chips: that train the model together.
        sharding: `data`, each device has the whole state; `optimizer`, they share master weights
            and moments; or `full`, they share all.
        n_replicas: copies of a shared state (hybrid sharding).
        remat: what the backward pass runs a second time: `none`, `dots` (all but what matmuls with
            weights put out) or `layer` (whole blocks).
        attention: `fused`, one kernel that never writes its scores, as flash attention; or `plain`.
        tensor_parallel: devices among which each layer is split.
        pipeline_parallel: stages of layers.
        virtual_stages: pieces of a stage, which take turns (interleaving).
        precision: of the matmuls, `bfloat16` or `float32`.
        step_time_s: seconds of the step.
        tokens_per_s: of all devices together; one of the two must be there.
        software: that ran it; where there are several, the fit is of their mean.
    """

    d_model: PositiveInt
    n_layers: PositiveInt
    n_heads: PositiveInt
    n_kv_heads: PositiveInt | None = None
    d_head: PositiveInt | None = None
    d_ff: PositiveInt
    gated_mlp: bool = False
    vocab_size: PositiveInt
    tied_embeddings: bool = True
    seq_len: PositiveInt
    batch_size: PositiveInt | None = None
    micro_batch_size: PositiveInt | None = None
    n_accumulation: PositiveInt = 1
    n_chips: PositiveInt = 1
    sharding: Literal["data", "optimizer", "full"] = "data"
    remat: Literal["none", "dots", "layer"] = "none"
    attention: Literal["plain", "fused"]
    n_replicas: PositiveInt = 1
    tensor_parallel: PositiveInt = 1
    pipeline_parallel: PositiveInt = 1
    virtual_stages: PositiveInt = 1
    precision: str
    step_time_s: PositiveFloat | None = None
    tokens_per_s: PositiveFloat | None = None
    software: str | None = None

    @pydantic.field_validator("precision")
    @classmethod
    def _dtype(cls, precision: str) -> str:
        return DTYPES.get(precision, precision)

    @pydantic.model_validator(mode="after")
    def _the_parts_fit_together(self) -> TimedStep:
        n_split = self.execution.n_split
        for name in ("n_heads", "d_ff"):
            _divides("tensor_parallel", self.tensor_parallel, name, getattr(self, name))
        micro, passes = self.micro_batch_size, n_split * self.n_accumulation
        if micro is None and self.batch_size is None:
            raise ValueError("must have `batch_size` or `micro_batch_size`")
        if self.batch_size and micro is None:
            _divides("the devices times `n_accumulation`", passes, "batch_size", self.batch_size)
        if self.batch_size and micro and self.batch_size != micro * passes:
            raise ValueError(
                "`batch_size` must be micro_batch_size * n_accumulation * the devices that split "
                f"it, {micro} * {self.n_accumulation} * {n_split}, but got {self.batch_size}"
            )
        self.architecture  # noqa: B018
        self._one_time()
        return self

    @property
    def execution(self) -> Execution:
        """How the step was run."""
        return Execution(
            attention=self.attention,
            remat=self.remat,
            n_accumulation=self.n_accumulation,
            sharding=self.sharding,
            n_replicas=self.n_replicas,
            n_chips=self.n_chips,
            tensor_parallel=self.tensor_parallel,
            pipeline_parallel=self.pipeline_parallel,
            virtual_stages=self.virtual_stages,
        )

    @property
    def architecture(self) -> Architecture:
        """The model, with the batch of the whole step."""
        known = {name: getattr(self, name) for name in FIELDS}
        shape = {name: value for name, value in known.items() if value is not None}
        passes = self.execution.n_split * self.n_accumulation
        return Architecture.from_shape(
            **shape | {"batch_size": self.batch_size or (self.micro_batch_size or 0) * passes}
        )

    @property
    def seconds(self) -> float:
        """Of the step, as given or from the rate."""
        return self.step_time_s or self.architecture.tokens_per_step / (self.tokens_per_s or np.nan)

    def _one_time(self) -> None:
        if self.step_time_s is None and self.tokens_per_s is None:
            raise ValueError("must have `step_time_s` or `tokens_per_s`")
        if self.step_time_s and self.tokens_per_s:
            n_tokens = self.architecture.tokens_per_step
            by_rate = n_tokens / self.tokens_per_s
            if abs(by_rate / self.step_time_s - 1) > SAME_TIME:
                raise ValueError(
                    f"`step_time_s` and `tokens_per_s` must agree, but {n_tokens:,} tokens at "
                    f"{self.tokens_per_s:g} take {by_rate:.4g} s, not {self.step_time_s:g}; is the "
                    "rate that of one device?"
                )


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepTable:
    """A table of timed steps, read for one device.

    Attributes:
        rows: as they stand.
        unused: columns that nothing reads.
        device: on which they ran.
    """

    rows: list[TimedStep]
    unused: tuple[str, ...]
    device: Device

    @property
    def software(self) -> list[str]:
        """What ran the steps, each once."""
        return sorted({row.software or UNTOLD for row in self.rows})

    @property
    def steps(self) -> Steps:
        """As the fit takes them."""
        software = self.software
        arch = stacked([row.architecture for row in self.rows])
        execution = stacked([row.execution for row in self.rows])
        size = self.device.bytes_per_element
        return Steps(
            arch=arch,
            measured_s=np.array([row.seconds for row in self.rows]),
            execution=execution,
            kind=self.device.kind,
            sent=sent(
                arch,
                execution,
                bytes_per_element=size,
                chips_per_host=self.device.chips_per_host or np.inf,
            ),
            peak_flops_per_s=self.device.peak_flops_per_s,
            usual_ridge=(self.device.peak_flops_per_s * size / self.device.bandwidth_bytes_per_s),
            trainer=np.array([software.index(row.software or UNTOLD) for row in self.rows]),
        )

    @property
    def varied(self) -> dict[str, list[Any]]:
        """Of each field that a step's time depends on, its least and largest, or all names."""
        found: dict[str, list[Any]] = {}
        for name in VARIED:
            values = sorted({self._value(row, name) for row in self.rows})
            found[name] = values if isinstance(values[0], str) else [values[0], values[-1]]
        sizes = sorted(int(n_params(row.architecture)) for row in self.rows)
        return found | {"n_params": [sizes[0], sizes[-1]]}

    @property
    def n_beyond_memory(self) -> int:
        """Steps that ran, though by our count they need more memory than the device has."""
        return sum(self._memory_bytes(row) > self.device.memory_bytes for row in self.rows)

    def _memory_bytes(self, row: TimedStep) -> float:
        return float(step_memory_bytes(self.device, row.architecture, row.execution))

    @staticmethod
    def _value(row: TimedStep, name: str) -> Any:
        if name == "micro_batch_size":
            return row.execution.micro_batch_size(row.architecture)
        return getattr(row.architecture if name == "d_head" else row, name)


def read_step_table(path: Path, device: Device) -> StepTable:
    """A user's table of steps that ran on a device.

    Raises:
        ValueError: what `read_table` refuses, or a row's precision is not the device's, its
            attention cannot be, or its time is less than the device's peak allows.
    """
    numbered, unused = read_table(path, TimedStep)
    for number, row in numbered:
        try:
            _check(row, device)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
    return StepTable(rows=[row for _, row in numbered], unused=unused, device=device)


def _check(row: TimedStep, device: Device) -> None:
    if row.precision != device.dtype:
        raise ValueError(
            f"`precision` must be {device.dtype}, that of {device.name}, but got "
            f"{row.precision!r}; steps in another need a device, and a table, of their own"
        )
    check_size("seconds of a step", row.seconds, LEAST_S, MOST_S)
    rate = flops_per_step(row.architecture) / row.seconds / row.n_chips
    if rate > device.peak_flops_per_s:
        raise ValueError(
            f"a step of {row.seconds:g} s would be {rate / 1e12:,.4g} TFLOP/s of each device, but "
            f"{device.name} has {device.peak_flops_per_s / 1e12:,.4g}; look at the unit of time, "
            "the batch and `n_chips`"
        )


def _divides(what: str, divisor: int, name: str, value: int) -> None:
    if value % divisor:
        raise ValueError(f"{what} must divide `{name}`, but got {divisor} and {value}")
