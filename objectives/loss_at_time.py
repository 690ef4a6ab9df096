"""The objective: the loss that an architecture reaches in a time budget on a device."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from typing import Any

import numpy as np

from ..space.architecture import Architecture
from ..space.decoder import Model
from ..space.limits import MOST_COUNT, MOST_OF_FIELD, check_count, check_size
from .budget import MOST_S
from .cost.counts import n_active_params, n_params, n_params_non_embedding
from .cost.execution import KINDS, SPLITS, Attention, Execution, Remat, Sharding
from .cost.kernel import ACCELERATORS, KERNELS
from .cost.ways import Families, by_batch_alone, every_split, every_way, passes_of
from .device import Device
from .fastest import fastest
from .law.batch_price import best_batch_worth
from .law.loss_law import LossLaw
from .law.repetition import fresh_worth
from .step_cost import Cost, certain_compute_s, run_columns

AUTO = "auto"
# What a machine's name ends with where attention is fused, for people.
FUSED_MARK = ", fused attention"
# How many times the parameters of a law's largest run it is believed for. Fitted below 150 million,
# the default's form foretells 475 million to 2 billion within 1% (experiments/gemstones).
REACH = 4.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prediction(Cost):
    """What `LossAtTime` says of models; see `Cost`, which budget and law have no say in.

    Attributes:
        n_steps: whole steps in the budget.
        n_tokens: tokens in those steps, repeated ones included.
        feasible: whether it fits in memory, makes at least one step, and is within the law's reach.
        predicted_loss: nats per token; where not feasible, no loss, to be masked by `feasible`.
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
        data_limit_tokens: unique tokens that there are; repetitions count for less, the larger the
            model (`fresh_worth`). None: without limit.
        critical_batch: whether tokens in batches too large or too small count for less, as if the
            law's own runs had the best (`best_batch_worth`), so that the batch may be searched.
        n_chips: devices among which every batch is split.
        reach: how many times the parameters of the law's largest run a model may have; None: any.
        attention: `plain`, matmuls that write their scores to memory; `fused`, one kernel that does
            not (on a CPU, one of blocks that stay in a core's cache); or `auto`, fused, as most
            trainers have it, but on several CPUs. It is one of the two once it is made, so that a
            copy with other chips is told it anew.
        sharding: what several chips hold, see `Sharding`; of `full`, a group of hosts' chips may
            share a state; or `auto`, the fastest that fits, `optimizer` in pipelines alone.
        tensor_parallel: chips among which each layer is split; None: of
            `Device.layer_splits` whatever is fastest.
        pipeline_parallel: stages, each of which has a part of the layers.
        virtual_stages: pieces of a stage, which take turns (interleaving).
        micro_batch_size: sequences that a chip takes in one pass, whose gradients are added up to a
            step; None: with `remat` and `sharding`, what makes the fastest step that fits.

    Raises:
        ValueError: the budget or the data limit is not positive and finite, a choice is unknown, a
            number is not positive, or several of the device cannot work together.
    """

    device: Device
    law: LossLaw
    time_budget_s: float
    remat: str = AUTO
    data_limit_tokens: float | None = None
    critical_batch: bool = False
    n_chips: int = 1
    reach: float | None = None
    attention: str = AUTO
    sharding: str = AUTO
    micro_batch_size: int | None = None
    tensor_parallel: int | None = None
    pipeline_parallel: int = 1
    virtual_stages: int = 1

    def __post_init__(self) -> None:
        check_size("`time_budget_s`", self.time_budget_s, most=MOST_S)
        limit = self.data_limit_tokens
        if limit is not None and not 1 <= limit <= MOST_COUNT:
            raise ValueError(f"`data_limit_tokens` must be from 1 to 2^63, but got {limit}")
        for name, kind in KINDS.items():
            known = [*map(str, kind), AUTO]
            if (value := getattr(self, name)) not in known:
                raise ValueError(
                    f"`{name}` must be {', '.join(known[:-1])} or {AUTO}, but got {value!r}"
                )
        if self.attention == AUTO:
            shared = KERNELS[self.device.kind].in_blocks and self.n_chips > 1
            object.__setattr__(self, "attention", str((Attention.FUSED, Attention.PLAIN)[shared]))
        for name in ("n_chips", "micro_batch_size", *SPLITS):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= MOST_OF_FIELD:
                raise ValueError(f"`{name}` must be from 1 to {MOST_OF_FIELD:,}, but got {value}")
        if self.reach is not None:
            check_size("`reach`", self.reach)
        if self.n_chips > 1:
            self.device.gather_s_per_byte(self.n_chips)
        if self.pipeline_parallel > 1 and not self.device.step_time_model.times_links:
            raise ValueError(
                "`pipeline_parallel` is counted on GPUs with known links alone, not on "
                f"{self.device.name}; leave it out"
            )

    @property
    def fused(self) -> bool:
        """Whether attention is one kernel that never writes its scores."""
        return self.attention == str(Attention.FUSED)

    @functools.cached_property
    def simplest(self) -> Execution:
        """One pass, with nothing run again and nothing shared, unless it is asked otherwise."""
        return Execution(
            attention=self.attention,
            remat=Remat.NONE if self.remat == AUTO else self.remat,
            sharding=Sharding.DATA if self.sharding == AUTO else self.sharding,
            n_chips=self.n_chips,
            tensor_parallel=self.tensor_parallel or 1,
            pipeline_parallel=self.pipeline_parallel,
            virtual_stages=self.virtual_stages,
        )

    @functools.cached_property
    def splits(self) -> tuple[Execution, ...]:
        """How the chips may split the work."""
        if self.n_chips == 1:
            return (self.simplest,)
        sharding = None if self.sharding == AUTO else self.simplest.sharding
        timed = self.device.step_time_model.times_links
        chips_per_host = self.device.host_share(self.n_chips) if timed else self.n_chips
        pinned = (self.tensor_parallel,) if self.tensor_parallel else None
        among = pinned or self.device.layer_splits(self.n_chips)
        return tuple(every_split(self.simplest, sharding, among, chips_per_host))

    def ways(self, batch_size: Any, *, dense: bool = True) -> list[Families]:
        """How steps of some batches may be run, as `fastest` takes it; see `by_batch_alone`."""
        remats = tuple(Remat) if self.remat == AUTO else (self.simplest.remat,)
        found: list[Families] = []
        for n_split, splits in itertools.groupby(self.splits, lambda way: way.n_split):
            whole = np.asarray(batch_size)[np.asarray(batch_size) % n_split == 0]
            if whole.size:
                found += every_way(tuple(splits), remats, passes_of(whole // n_split))
        return found if dense else by_batch_alone(found)

    @property
    def hardware(self) -> str:
        """The device's name, with their number where there are several."""
        return self.device.name if self.n_chips == 1 else f"{self.n_chips} × {self.device.name}"

    @property
    def machine(self) -> str:
        """The hardware, and how it attends where that is not plain."""
        return self.hardware + self.mark

    @property
    def mark(self) -> str:
        """What a machine's name ends with: that an accelerator's attention is fused."""
        return FUSED_MARK * (self.fused and self.device.kind in ACCELERATORS)

    def check_batch(self, batch_size: Any) -> None:
        """Raise ValueError unless chips and micro-batches divide a batch, or each of several."""
        # That divides whatever more of them divides.
        n_split = min(way.n_split for way in self.splits)
        if np.any(rest := np.asarray(batch_size) % n_split):
            wrong = np.broadcast_to(batch_size, np.shape(rest))[rest > 0].flat[0]
            fits = -(-int(wrong) // n_split) * n_split
            whose = "" if n_split == self.n_chips else " that split it at least"
            raise ValueError(
                f"`batch_size` must be a multiple of the {n_split} chips{whose}, but got "
                f"{wrong:g}; take batch_size={fits}"
            )
        shares = np.asarray(batch_size) // n_split
        if self.micro_batch_size and np.any(rest := shares % self.micro_batch_size):
            wrong = np.broadcast_to(shares, np.shape(rest))[rest > 0].flat[0]
            raise ValueError(
                f"`micro_batch_size` must divide the {wrong:g} sequences of a chip, "
                f"but got {self.micro_batch_size}"
            )

    def check_stages(self, most_layers: int) -> None:
        """Raise ValueError if no model has a layer for each piece of a pipeline."""
        if self.pipeline_parallel * self.virtual_stages > most_layers:
            raise ValueError(
                "`pipeline_parallel` * `virtual_stages` must be at most `n_layers`, but got "
                f"{self.pipeline_parallel}, {self.virtual_stages} and {most_layers}"
            )

    def cost(self, arch: Model) -> Cost:
        """What one architecture or an array of them costs, in any time and under any law."""
        self.check_batch(arch.batch_size)
        if np.ndim(counted := n_params(arch)) == 0:
            check_count("parameters", counted)
        is_dense = type(arch) is Architecture
        ways = self.ways(arch.batch_size, dense=is_dense)
        found = fastest(self.device, arch, ways, self.micro_batch_size)
        return Cost(
            n_params=counted,
            n_active_params=counted if is_dense else n_active_params(arch),
            n_params_non_embedding=n_params_non_embedding(arch),
            **vars(found),
        )

    def admits(self, arch: Architecture) -> Any:
        """Whether a model fits in some way, and makes a step were there no communication.

        What is larger in every count is feasible only if this is: parameters, memory and compute
        grow with every count.
        """
        fits = self.cost(arch).memory_bytes <= self.device.room_bytes
        shared = {dataclasses.replace(way, sharding=Sharding.FULL) for way in self.splits}
        each_s = [certain_compute_s(self.device, arch, w) * w.share_full for w in shared]
        return (
            self.reaches(arch) & fits & (functools.reduce(np.minimum, each_s) <= self.time_budget_s)
        )

    def predict(self, arch: Model, cost: Cost | None = None) -> Prediction:
        """Predict for one model or an array of dense ones; `cost` is theirs, where it is known."""
        cost = cost or self.cost(arch)
        whole_steps = np.floor(self.time_budget_s / cost.step_time_s)
        # A model without a whole step has no loss: it is scored as if it had one, and not feasible.
        n_steps = np.maximum(whole_steps, 1)
        return Prediction(
            **{field.name: getattr(cost, field.name) for field in dataclasses.fields(Cost)},
            n_steps=whole_steps,
            n_tokens=whole_steps * arch.tokens_per_step,
            feasible=(cost.memory_bytes <= self.device.room_bytes)
            & (whole_steps >= 1)
            & (self.counted_params(cost) <= self.most_params),
            predicted_loss=self.law.loss(
                self.counted_params(cost),
                self.effective_tokens(
                    n_steps * arch.tokens_per_step, arch.tokens_per_step, cost.n_params
                ),
                run_columns(arch, cost, n_steps),
            ),
        )

    @property
    def most_params(self) -> float:
        """The parameters beyond which the law is not believed."""
        return math.inf if self.reach is None else self.reach * self.law.n_params_range[1]

    def reaches(self, arch: Architecture) -> Any:
        """Whether the law is believed for so many parameters."""
        by_token = self.law.experts or self.law.n_column == "n_params"
        counted = n_active_params if by_token else n_params_non_embedding
        return counted(arch) <= self.most_params

    def counted_params(self, counts: Cost | Prediction) -> Any:
        """The parameters that the law's N counts; with experts, those that a token meets."""
        return counts.n_active_params if self.law.experts else getattr(counts, self.law.n_column)

    def effective_tokens(
        self,
        n_tokens: Any,
        tokens_per_step: Any,
        n_params: Any,
        *,
        most_per_step: Any | None = None,
        spread: Any = 1.0,
    ) -> Any:
        """Tokens that the law counts, where some are repetitions or the batch is not the best.

        Args:
            n_tokens: D, tokens trained on.
            tokens_per_step: see `best_batch_worth`.
            n_params: all of the model's, or the fewest of a range.
            most_per_step: see `best_batch_worth`.
            spread: of repetitions, see `fresh_worth`.
        """
        if self.data_limit_tokens is not None:
            n_tokens = fresh_worth(n_tokens, self.data_limit_tokens, n_params, spread)
        if self.critical_batch:
            n_tokens = best_batch_worth(n_tokens, tokens_per_step, most_per_step)
        return n_tokens
