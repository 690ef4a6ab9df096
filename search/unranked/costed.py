"""What a decoder of any blocks costs: time, memory and tokens, where no law says its loss."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from ...objectives.budget import format_budget
from ...objectives.cost.counts import n_active_params
from ...objectives.flags import of_memory, of_training, of_whole_runs
from ...objectives.loss_at_time import LossAtTime
from ...objectives.shown import Shown
from ...objectives.step_cost import Cost
from ...space.blocks import Attention, Experts, GatedDelta, Mamba2
from ...space.decoder import Decoder
from ..predict import breakdown

if TYPE_CHECKING:
    import pandas as pd

NO_LAW = (
    "no law for this: the laws here were fitted on dense decoders with full attention, one also on "
    "experts as in `--space moe`, and this one has {}; it is not to be ranked by loss against those"
)
NOT_TIMED = "{} counted, not timed: matmuls in them at the device's rate of others"
EVENLY = ", all experts with as many tokens"
# Wide steps of all kinds but dense, that no number was read off (experiments/blocks/tpu_blocks).
ON_TPU = (
    "; as a v5e's compiler has them, steps of one block were 6 to 20% off by kind, those of scans "
    "as a v6e's does 19%"
)
# What the few public steps of such models on GPUs took (experiments/blocks/public_blocks.csv).
SCANS_ON_GPU = (
    "; of scans on a GPU one public table is known (DeltaNet, H100, 2024), whose steps took 1.85 "
    "to 2.06 times what is counted, a transformer's beside them 1.05 to 1.25 times"
)
EXPERTS_ON_GPU = (
    "; four public steps of GPT-OSS-120B on 64 H100 or B200 took 0.8 to 2.4 times as long, with "
    "experts split among chips, which is not counted here"
)


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Costed(Shown):
    """One decoder's step, memory and tokens.

    Attributes:
        arch: the decoder.
        objective: where and for how long it trains; its law has no say.
        cost: see `Cost`.
        warnings: what a reader must know before believing it.
    """

    arch: Decoder
    objective: LossAtTime
    cost: Cost
    warnings: list[str]

    @property
    def n_steps(self) -> int:
        """Whole steps in the budget."""
        return math.floor(self.objective.time_budget_s / self.cost.step_time_s)

    @property
    def fits(self) -> bool:
        """Whether it fits in memory and makes a step."""
        return self.cost.memory_bytes <= self.objective.device.room_bytes and self.n_steps >= 1

    @property
    def headline(self) -> str:
        """The shape, where and for how long it trains, and the tokens that it sees."""
        budget = format_budget(self.objective.time_budget_s)
        tokens = f"{self.n_steps * self.arch.tokens_per_step:,} tokens, no law for its loss"
        return (
            f"{self.arch.d_model}×{self.arch.n_layers} in {budget} on {self.objective.machine}: "
            f"{tokens if self.fits else 'it does not fit'}"
        )

    @property
    def frame(self) -> pd.DataFrame:
        """`breakdown` as a table, a row a part of the model."""
        import pandas as pd

        return pd.DataFrame(breakdown(self.arch, self.cost, self.objective)).T

    def as_dict(self) -> dict[str, Any]:
        """One JSON object: as of a dense model, with `n_active_params` and no loss."""
        arch, objective, execution = self.arch, self.objective, self.cost.execution
        return {
            "d_model": arch.d_model,
            "n_layers": arch.n_layers,
            "vocab_size": arch.vocab_size,
            "tied_embeddings": arch.tied_embeddings,
            "seq_len": arch.seq_len,
            "batch_size": arch.batch_size,
            "blocks": [{"n_layers": n} | _described(block) for n, block in arch.kinds],
            "n_params": self.cost.n_params,
            "n_active_params": n_active_params(arch),
            "n_params_non_embedding": self.cost.n_params_non_embedding,
            "step_time_s": self.cost.step_time_s,
            "n_steps": self.n_steps,
            "n_tokens": self.n_steps * arch.tokens_per_step,
            "memory_bytes": self.cost.memory_bytes,
            "remat": str(execution.remat),
            "sharding": str(execution.sharding),
            "n_accumulation": execution.n_accumulation,
            "micro_batch_size": execution.micro_batch_size(arch),
            "predicted_loss": None,
            "law": None,
            "feasible": self.fits,
            "time_budget_s": objective.time_budget_s,
            "device": objective.device.name,
            "n_chips": objective.n_chips,
            "attention": objective.attention,
            "cost_usd": objective.device.cost_usd(objective.n_chips, objective.time_budget_s),
            "warnings": self.warnings,
            "parts": breakdown(arch, self.cost, objective),
        }


def costed(arch: Decoder, objective: LossAtTime, more: tuple[str, ...] = ()) -> Costed:
    """What a decoder costs where and for as long as an objective says.

    Args:
        arch: the decoder.
        objective: whose law has no say.
        more: what else is to be known.
    """
    cost = objective.cost(arch)
    found = Costed(arch=arch, objective=objective, cost=cost, warnings=[])
    what = ", ".join(_unlike_dense(arch))
    told = [
        *more,
        NO_LAW.format(what),
        *of_memory(objective, cost),
        NOT_TIMED.format(what) + EVENLY * ("experts" in what) + _as_others_have_it(found),
        *of_training(
            objective, found.cost.n_params, found.n_steps, found.n_steps * arch.tokens_per_step
        ),
        *of_whole_runs(objective),
    ]
    return dataclasses.replace(found, warnings=told)


def _as_others_have_it(found: Costed) -> str:
    """What is known of such steps on a kind of device."""
    device = found.objective.device
    if device.kind == "tpu" and device.basis == "compiled":
        return ON_TPU
    if device.kind != "gpu":
        return ""
    scans = any(isinstance(block.mixer, Mamba2 | GatedDelta) for _, block in found.arch.kinds)
    experts = any(isinstance(block.feed_forward, Experts) for _, block in found.arch.kinds)
    return SCANS_ON_GPU * scans + EXPERTS_ON_GPU * experts


def _described(block: Any) -> dict[str, Any]:
    """A block for JSON, its parts with the name of their kind."""
    return {
        name: part and {"kind": type(part).__name__} | vars(part)
        for name, part in vars(block).items()
    }


def _unlike_dense(arch: Decoder) -> list[str]:
    """What sets it apart from the dense decoders that laws were fitted on."""
    names = {"LatentAttention": "latent attention", "Mamba2": "state-space layers"}
    names |= {"GatedDelta": "gated linear attention"}
    found = []
    for _, block in arch.kinds:
        mixer, fed = block.mixer, block.feed_forward
        if isinstance(mixer, Attention):
            found += ["windows"] * (mixer.window is not None) + ["gated attention"] * mixer.gated
        elif mixer is not None:
            found.append(names[type(mixer).__name__])
        found += ["experts"] * isinstance(fed, Experts)
    return list(dict.fromkeys(found)) or ["blocks that are not alike"]
