"""The objective: the loss that an architecture reaches in a time budget on a device."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from typing import Any

import numpy as np

from ..space.architecture import Architecture
from .cost.counts import n_params, n_params_non_embedding
from .cost.execution import Attention, Execution, Remat, Sharding
from .cost.kernel import KERNELS
from .device import Device
from .law.batch_price import best_batch_tokens, best_batch_worth
from .law.loss_law import LossLaw
from .step_cost import Cost, chosen, compute_s, fastest_that_fits, step_memory_bytes

AUTO = "auto"
# What a machine's name ends with where attention is fused, for people.
FUSED_MARK = ", fused attention"

# Tokens repeated lose their worth with this many repetitions as the scale (Muennighoff et al. 2023,
# arXiv:2305.16264, equation 17).
REPETITIONS_SCALE = 15.39


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prediction(Cost):
    """What `LossAtTime` says of models; see `Cost`, which budget and law have no say in.

    Attributes:
        n_steps: whole steps in the budget.
        n_tokens: tokens in those steps, repeated ones included.
        feasible: whether it fits in memory and makes at least one step.
        predicted_loss: nats per token; where not feasible, that of a single step on memory that
            is not there, to be masked by `feasible`.
    """

    n_steps: Any
    n_tokens: Any
    feasible: Any
    predicted_loss: Any


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
        critical_batch: whether tokens in batches too large or too small count for less
            (`best_batch_worth`), so that the batch may be searched. The law's own runs are taken to
            have had the best batch.
        n_chips: devices among which every batch is split. They work data parallel or fully sharded,
            whichever is faster of what fits.
        attention: `plain`, matmuls that write their scores to memory, as devices are calibrated;
            or `fused`, one kernel that does not, as most trainers have it on accelerators.

    Raises:
        ValueError: the budget or the data limit is not positive and finite, or `n_chips` is not
            positive, or several of the device cannot work together.
    """

    device: Device
    law: LossLaw
    time_budget_s: float
    remat: str = AUTO
    data_limit_tokens: float | None = None
    critical_batch: bool = False
    n_chips: int = 1
    attention: str = str(Attention.PLAIN)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.time_budget_s) and self.time_budget_s > 0):
            raise ValueError(
                f"`time_budget_s` must be a positive number, but got {self.time_budget_s}"
            )
        limit = self.data_limit_tokens
        if limit is not None and not (math.isfinite(limit) and limit >= 1):
            raise ValueError(f"`data_limit_tokens` must be at least 1, but got {limit}")
        if self.remat not in (*map(str, Remat), AUTO):
            raise ValueError(f"`remat` must be none, dots, layer or auto, but got {self.remat!r}")
        if Attention.of(self.attention) == Attention.FUSED and self.device.kind not in KERNELS:
            raise ValueError(
                f"`attention` can be fused on a {' or '.join(KERNELS)} only, but "
                f"{self.device.name} is a {self.device.kind}"
            )
        if self.n_chips < 1:
            raise ValueError(f"`n_chips` must be at least 1, but got {self.n_chips}")
        if self.n_chips > 1:
            self.device.gather_s_per_byte(self.n_chips)

    @functools.cached_property
    def ways(self) -> tuple[tuple[Execution, ...], ...]:
        """How a step may be run: for each sharding, what runs again, from nothing to most."""
        remats = tuple(Remat) if self.remat == AUTO else (self.remat,)
        shardings = tuple(Sharding) if self.n_chips > 1 else (Sharding.DATA,)
        fixed = {"attention": self.attention, "n_chips": self.n_chips}
        return tuple(
            tuple(Execution(remat=remat, sharding=sharding, **fixed) for remat in remats)
            for sharding in shardings
        )

    @property
    def executions(self) -> tuple[Execution, ...]:
        """All of `ways`, one after the other."""
        return tuple(itertools.chain.from_iterable(self.ways))

    @property
    def fused(self) -> bool:
        """Whether attention is one kernel that never writes its scores."""
        return bool(self.executions[0].fused)

    @property
    def hardware(self) -> str:
        """The device's name, with their number where there are several."""
        return self.device.name if self.n_chips == 1 else f"{self.n_chips} × {self.device.name}"

    @property
    def machine(self) -> str:
        """The hardware, and how it attends where that is not plain."""
        return self.hardware + FUSED_MARK * self.fused

    def check_batch(self, batch_size: Any) -> None:
        """Raise ValueError unless the chips divide a batch, or every one of several."""
        if np.any(rest := np.asarray(batch_size) % self.n_chips):
            wrong = np.broadcast_to(batch_size, np.shape(rest))[rest > 0].flat[0]
            fits = -(-int(wrong) // self.n_chips) * self.n_chips
            raise ValueError(
                f"`batch_size` must be a multiple of the {self.n_chips} chips, but got {wrong:g}; "
                f"take batch_size={fits}"
            )

    def cost(self, arch: Architecture) -> Cost:
        """What one architecture or an array of them costs, in any time and under any law."""
        self.check_batch(arch.batch_size)
        places, bytes_needed, seconds = fastest_that_fits(self.device, arch, self.ways)
        return Cost(
            n_params=n_params(arch),
            n_params_non_embedding=n_params_non_embedding(arch),
            step_time_s=seconds,
            memory_bytes=bytes_needed,
            execution=chosen(self.executions, places),
        )

    def admits(self, arch: Architecture) -> bool:
        """Whether one architecture fits in some way, and makes a step were there no communication.

        What is larger in every count is feasible only if this is: memory and time of each way grow
        with every count.
        """
        fastest = dataclasses.replace(self.executions[0], sharding=self.executions[-1].sharding)
        fits = any(
            step_memory_bytes(self.device, arch, execution) <= self.device.memory_bytes
            for execution in self.executions
        )
        return bool(fits and compute_s(self.device, arch, fastest) <= self.time_budget_s)

    def predict(self, arch: Architecture, cost: Cost | None = None) -> Prediction:
        """Predict for one architecture or an array of them; `cost` is theirs, where it is known."""
        cost = cost or self.cost(arch)
        whole_steps = np.floor(self.time_budget_s / cost.step_time_s)
        # A model without a whole step has no loss: it is scored as if it had one, and not feasible.
        n_steps = np.maximum(whole_steps, 1)
        return Prediction(
            **{field.name: getattr(cost, field.name) for field in dataclasses.fields(Cost)},
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

    def effective_tokens(
        self, n_tokens: Any, tokens_per_step: Any, most_per_step: Any | None = None
    ) -> Any:
        """Tokens that the law counts, where some are repetitions or the batch is not the best.

        Args:
            n_tokens: D, tokens trained on.
            tokens_per_step: in a batch, or in the smallest of a range.
            most_per_step: in the largest of the range, of which the best is then taken.
        """
        if self.data_limit_tokens is not None:
            repetitions = np.maximum(n_tokens / self.data_limit_tokens - 1, 0)
            worth = REPETITIONS_SCALE * (1 - math.e ** (-repetitions / REPETITIONS_SCALE))
            n_tokens = np.minimum(n_tokens, self.data_limit_tokens) + self.data_limit_tokens * worth
        if not self.critical_batch:
            return n_tokens
        if most_per_step is not None:
            tokens_per_step = np.clip(best_batch_tokens(n_tokens), tokens_per_step, most_per_step)
        return best_batch_worth(n_tokens, tokens_per_step)


def run_columns(arch: Architecture, counts: Cost | Prediction, n_steps: Any) -> dict[str, Any]:
    """A run as the terms of a law read it."""
    return {
        "d_model": arch.d_model,
        "n_layers": arch.n_layers,
        "n_steps": n_steps,
        "n_params": counts.n_params,
        "n_params_non_embedding": counts.n_params_non_embedding,
    }
