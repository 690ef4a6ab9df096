"""The objective: the loss that an architecture reaches in a time budget on a device."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable
from typing import Any, Literal, get_args

import numpy as np

from ..space.architecture import Architecture
from .cost.communication import collective_bytes, sent, step_time_s
from .cost.counts import n_params, n_params_non_embedding
from .cost.memory import memory_bytes
from .cost.remat import FULL_HEADS, PADDED_HEADS, REMATS, remat_code
from .device import Device
from .law.batch_price import small_batch_tokens
from .law.loss_law import LossLaw

Remat = Literal["none", "dots", "layer", "auto"]
Attention = Literal["plain", "fused"]
# What a machine's name ends with where attention is fused.
FUSED_MARK = ", fused attention"
# What `auto` tries, the fastest first, each of which needs less memory than the one before.
FASTEST_FIRST = ("none", "dots", "layer")

# Tokens repeated lose their worth with this many repetitions as the scale (Muennighoff et al. 2023,
# arXiv:2305.16264, equation 17).
REPETITIONS_SCALE = 15.39


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prediction:
    """What `LossAtTime` says of an architecture; scalars or arrays as the architecture's fields.

    Attributes:
        n_params: all parameters.
        n_params_non_embedding: those outside the vocabulary matrices.
        step_time_s: seconds of an optimizer step.
        n_steps: whole steps in the budget.
        n_tokens: tokens in those steps, repeated ones included.
        memory_bytes: of training with the chosen rematerialisation and sharding, on each chip.
        remat: what the backward pass runs a second time, a number of `remat.REMATS`.
        sharded: whether several chips share weights, gradients and moments too; see `LossAtTime`.
        feasible: whether it fits in memory and makes at least one step.
        predicted_loss: nats per token; where not feasible, that of a single step on memory that
            is not there, to be masked by `feasible`.
    """

    n_params: Any
    n_params_non_embedding: Any
    step_time_s: Any
    n_steps: Any
    n_tokens: Any
    memory_bytes: Any
    remat: Any
    sharded: Any
    feasible: Any
    predicted_loss: Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cost:
    """The part of a `Prediction` that neither the time budget nor the law has a say in."""

    n_params: Any
    n_params_non_embedding: Any
    step_time_s: Any
    memory_bytes: Any
    remat: Any
    sharded: Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class LossAtTime:
    """Loss after a time budget on a device under a law: counts, step time, tokens, loss.

    Attributes:
        device: gives step time and memory.
        law: gives the loss.
        time_budget_s: seconds of training.
        remat: what the backward pass runs a second time: `none`; `dots`, all but what matmuls with
            weights put out; `layer`, whole blocks; or `auto`, the fastest of these that fits.
        data_limit_tokens: unique tokens that there are; tokens beyond it are repetitions and count
            for less (Muennighoff et al. 2023, equation 5). None: without limit.
        critical_batch: whether tokens in large batches count for less (`small_batch_tokens`), so
            that the batch may be searched. A law fitted on large batches is then charged twice.
        n_chips: devices among which every batch is split. They work data parallel where the model
            fits so, or else fully sharded; only what fits neither way is rematerialised.
        attention: `plain`, matmuls that write their scores to memory, as devices are calibrated;
            or `fused`, one kernel that does not, as most trainers have it on accelerators.

    Raises:
        ValueError: the budget or the data limit is not positive and finite, or `n_chips` is not
            positive, or several of the device cannot work together.
    """

    device: Device
    law: LossLaw
    time_budget_s: float
    remat: Remat = "auto"
    data_limit_tokens: float | None = None
    critical_batch: bool = False
    n_chips: int = 1
    attention: Attention = "plain"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.time_budget_s) and self.time_budget_s > 0):
            raise ValueError(
                f"`time_budget_s` must be a positive number, but got {self.time_budget_s}"
            )
        limit = self.data_limit_tokens
        if limit is not None and not (math.isfinite(limit) and limit >= 1):
            raise ValueError(f"`data_limit_tokens` must be at least 1, but got {limit}")
        if self.remat not in (*REMATS, "auto"):
            raise ValueError(f"`remat` must be none, dots, layer or auto, but got {self.remat!r}")
        if self.attention not in get_args(Attention):
            raise ValueError(f"`attention` must be plain or fused, but got {self.attention!r}")
        if self.fused and self.device.kind not in FULL_HEADS:
            raise ValueError(
                f"`attention` can be fused on a {' or '.join(FULL_HEADS)} only, but "
                f"{self.device.name} is a {self.device.kind}"
            )
        if self.n_chips < 1:
            raise ValueError(f"`n_chips` must be at least 1, but got {self.n_chips}")
        if self.n_chips > 1:
            self.device.gather_s_per_byte(self.n_chips)

    @property
    def hardware(self) -> str:
        """The device's name, with their number where there are several."""
        return self.device.name if self.n_chips == 1 else f"{self.n_chips} × {self.device.name}"

    @property
    def machine(self) -> str:
        """The hardware, and how it attends where that is not plain."""
        return self.hardware + FUSED_MARK * self.fused

    @property
    def fused(self) -> bool:
        """Whether attention is one kernel that never writes its scores."""
        return self.attention == "fused"

    @property
    def full_head(self) -> int:
        """The least width of a head that the device's fused attention uses in full; 0: plain."""
        return FULL_HEADS[self.device.kind] if self.fused else 0

    def check_batch(self, batch_size: Any) -> None:
        """Raise ValueError unless the chips divide a batch, or every one of several."""
        if np.any(rest := np.asarray(batch_size) % self.n_chips):
            wrong = np.broadcast_to(batch_size, np.shape(rest))[rest > 0].flat[0]
            fits = -(-int(wrong) // self.n_chips) * self.n_chips
            raise ValueError(
                f"`batch_size` must be a multiple of the {self.n_chips} chips, but got {wrong:g}; "
                f"take {fits} (`find --set batch_size={fits}`, `predict --batch-size {fits}`)"
            )

    def share(self, arch: Architecture) -> Architecture:
        """What one chip computes: the model with its part of the batch.

        Raises:
            ValueError: the chips do not divide the batch.
        """
        if self.n_chips == 1:
            return arch
        self.check_batch(arch.batch_size)
        return dataclasses.replace(arch, batch_size=arch.batch_size // self.n_chips)

    def cost(self, arch: Architecture) -> Cost:
        """What one architecture or an array of them costs, in any time and under any law."""
        remat, sharded, bytes_needed = self._memory(arch)
        return Cost(
            n_params=n_params(arch),
            n_params_non_embedding=n_params_non_embedding(arch),
            step_time_s=self.step_time_s(arch, remat=remat, sharded=sharded),
            memory_bytes=bytes_needed,
            remat=remat,
            sharded=sharded,
        )

    def admits(self, arch: Architecture) -> bool:
        """Whether one architecture fits in some way, and makes a step were there no communication.

        What is larger in every count is feasible only if this is: memory in each way and compute
        grow with every count, which the time of the chosen way need not.
        """
        compute_s = self.device.step_time_model.step_time_s(
            self.share(arch),
            remat=self._ways[0][0],
            n_shares=self.n_chips,
            full_head=self.full_head,
        )
        ways = itertools.product(*self._ways)
        fits = any(self._memory_bytes(arch, *way) <= self.device.memory_bytes for way in ways)
        return bool(fits and compute_s <= self.time_budget_s)

    def predict(self, arch: Architecture, cost: Cost | None = None) -> Prediction:
        """Predict for one architecture or an array of them; `cost` is theirs, where it is known."""
        cost = cost or self.cost(arch)
        whole_steps = np.floor(self.time_budget_s / cost.step_time_s)
        # A model without a whole step has no loss: it is scored as if it had one, and not feasible.
        n_steps = np.maximum(whole_steps, 1)
        return Prediction(
            **vars(cost),
            n_steps=whole_steps,
            n_tokens=whole_steps * arch.tokens_per_step,
            feasible=(cost.memory_bytes <= self.device.memory_bytes) & (whole_steps >= 1),
            predicted_loss=self.law.loss(
                self.counted_params(cost),
                self.effective_tokens(n_steps * arch.tokens_per_step, arch.tokens_per_step),
                run_columns(arch, cost, n_steps),
            ),
        )

    def counted_params(self, counts: Cost | Prediction) -> Any:
        """The parameters that the law's N counts."""
        non_embedding = self.law.n_convention == "non_embedding"
        return counts.n_params_non_embedding if non_embedding else counts.n_params

    def effective_tokens(self, n_tokens: Any, tokens_per_step: Any) -> Any:
        """Tokens that the law counts, where some are repetitions or batches are large."""
        if self.data_limit_tokens is not None:
            repetitions = np.maximum(n_tokens / self.data_limit_tokens - 1, 0)
            worth = REPETITIONS_SCALE * (1 - math.e ** (-repetitions / REPETITIONS_SCALE))
            n_tokens = np.minimum(n_tokens, self.data_limit_tokens) + self.data_limit_tokens * worth
        return small_batch_tokens(n_tokens, tokens_per_step) if self.critical_batch else n_tokens

    def step_time_s(self, arch: Architecture, *, remat: Any = 0, sharded: Any = False) -> Any:
        """Seconds of an optimizer step, the chips' communication included."""
        model, share = self.device.step_time_model, self.share(arch)
        n_shares = self.n_shares(sharded)
        compute_s = _of_each(
            remat,
            lambda remat: model.step_time_s(
                share, remat=remat, n_shares=n_shares, full_head=self.full_head
            ),
        )
        return self.with_communication(compute_s, arch, sharded)

    def n_shares(self, sharded: Any) -> Any:
        """Chips among which weights, gradients and moments are split, where they are `sharded`."""
        return 1 + (self.n_chips - 1) * sharded

    def with_communication(self, compute_s: Any, arch: Architecture, sharded: Any) -> Any:
        """Seconds of a step whose compute takes `compute_s` on each chip."""
        if self.n_chips == 1:
            return compute_s
        if self.device.step_time_model.times_links:
            return self._with_timed_links(compute_s, self.sent(arch, sharded))
        size, rate = self.device.bytes_per_element, self.device.gather_s_per_byte(self.n_chips)

        def together_s(sharded: bool) -> Any:
            collected = collective_bytes(arch, bytes_per_element=size, fully_sharded=sharded)
            return step_time_s(compute_s, collected, gather_s_per_byte=rate)

        return _of_each(sharded, together_s)

    def sent(self, arch: Architecture, sharded: Any) -> dict[str, Any]:
        """What each chip sends in a step, see `communication.sent`."""
        return sent(
            self.share(arch),
            bytes_per_element=self.device.bytes_per_element,
            n_chips=self.n_chips,
            chips_per_host=self.device.host_share(self.n_chips),
            fully_sharded=sharded,
        )

    def _with_timed_links(self, compute_s: Any, exchanged: dict[str, Any]) -> Any:
        """Timed steps hid some of what is sent behind compute; none is faster than the links."""
        device = self.device
        wire_s = exchanged["host_bytes"] / device.collective_bytes_per_s
        if device.network_bytes_per_s:
            wire_s = np.maximum(wire_s, exchanged["network_bytes"] / device.network_bytes_per_s)
        return np.maximum(compute_s + device.step_time_model.communication_s(exchanged), wire_s)

    @property
    def _ways(self) -> tuple[tuple[int, ...], tuple[bool, ...]]:
        """What to rematerialise, the fastest first, and whether to share the state."""
        names = FASTEST_FIRST if self.remat == "auto" else (self.remat,)
        shardings = (False, True) if self.n_chips > 1 else (False,)
        return tuple(map(remat_code, names)), shardings

    def _memory(self, arch: Architecture) -> tuple[Any, Any, Any]:
        """What to rematerialise, whether to share the state, and the bytes then needed.

        The first way in which a model fits, or else the last.
        """
        (remat, sharded), *others = itertools.product(*self._ways)
        needed: Any = self._memory_bytes(arch, remat, sharded)
        for way in others:
            misfit = needed > self.device.memory_bytes
            if not np.any(misfit):
                break
            needed = np.where(misfit, self._memory_bytes(arch, *way), needed)
            remat, sharded = (
                np.where(misfit, new, old) if np.ndim(old) or new != old else old
                for new, old in zip(way, (remat, sharded), strict=True)
            )
        return remat, sharded, needed

    def _memory_bytes(self, arch: Architecture, remat: int, sharded: bool) -> Any:
        size, share = self.device.bytes_per_element, self.share(arch)
        return memory_bytes(
            share,
            bytes_per_element=size,
            remat=remat,
            n_shares=self.n_shares(sharded),
            padded_head=PADDED_HEADS[self.device.kind] if self.fused else 0,
        )


def run_columns(arch: Architecture, counts: Cost | Prediction, n_steps: Any) -> dict[str, Any]:
    """A run as the terms of a law read it."""
    return {
        "d_model": arch.d_model,
        "n_layers": arch.n_layers,
        "n_steps": n_steps,
        "n_params": counts.n_params,
        "n_params_non_embedding": counts.n_params_non_embedding,
    }


def _of_each(choices: Any, value: Callable[[Any], Any]) -> Any:
    """The value of a choice, a small whole number or a bool, or of each of an array of them.

    Open meshes, one for each choice that some model has, cost less than one of the full size.
    """
    if np.ndim(choices) == 0:
        return value(int(choices))
    first, *others = np.flatnonzero(np.bincount(np.ravel(choices)))
    values = value(int(first))
    for choice in others:
        values = np.where(choices == choice, value(int(choice)), values)
    return values
