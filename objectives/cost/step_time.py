"""Time of one optimizer step as a linear model of countable work.

TIME = sum over features of (seconds per unit) x (units in a step), nothing negative. The paper's
model has memory copies, FLOPs and a constant; a richer model is another choice of features.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection
from typing import Any

from pydantic import ConfigDict

from ...space.architecture import Architecture
from .counts import (
    flops_by_part,
    layer_matmuls,
    logits_matmul,
    memcpys_by_part,
    n_params,
    n_params_by_part,
    total,
)
from .remat import (
    ATTENDING,
    PASSES,
    elementwise_passes,
    flop_passes,
    head_padding,
    matmul_passes,
)

Parts = dict[str, Any]

# What a CPU core's caches keep, chosen by held-out error on one Zen 5 core (11.6% without either,
# 9.2% with the first, 8.4% with both); beside an accelerator's models it is little. Weight,
# gradient and Adam's moments are 16 bytes a parameter: 4 MiB of them stay from step to step.
CACHED_PARAMS = 2**18
# A key head's scores and their gradient are 8 bytes a score: 1 MiB of them stay between operations.
CACHED_SCORES = 2**17


def roofline_by_part(arch: Architecture, *, remat: Any, ridge: float, fused: bool = False) -> Parts:
    """FLOPs, or the FLOPs that a matmul's memory copies last as long as, whichever is more.

    Args:
        arch: the model or models.
        remat: what of the blocks runs a second time, a number of `REMATS`.
        ridge: FLOPs in the time of one memory copy (element).
        fused: whether attention is one kernel that never writes its scores.

    References:
        Williams, Waterman and Patterson 2009, Roofline, doi:10.1145/1498765.1498785.
    """
    parts = {
        mm.part: arch.n_layers
        * _larger(
            flop_passes(mm.part, remat, fused=fused) * mm.flops,
            matmul_passes(mm.part, remat) * ridge * mm.memcpys,
        )
        for mm in layer_matmuls(arch, fused=fused)
    }
    last = logits_matmul(arch)
    return parts | {"logits": PASSES * _larger(last.flops, ridge * last.memcpys)}


def activations_by_part(arch: Architecture, *, remat: Any) -> Parts:
    """Elements that elementwise work reads and writes: norms, residuals, the MLP's nonlinearity."""
    rows = elementwise_passes(remat) * arch.n_layers * arch.batch_size * arch.seq_len
    d_qk = (arch.n_heads + arch.n_kv_heads) * arch.d_head
    return {
        "norms": 6 * rows * arch.d_model,
        "qkv": 2 * rows * d_qk,
        "mlp_up": rows * arch.d_ff * (2 + arch.gated_mlp),
    }


def softmax_by_part(arch: Architecture, *, remat: Any) -> Parts:
    """Attention scores that pass through softmax."""
    passes = elementwise_passes(remat)
    scores = arch.batch_size * arch.n_heads * arch.seq_len * arch.seq_len
    return {"scores": passes * arch.n_layers * scores}


def spilled_softmax_by_part(arch: Architecture, *, remat: Any) -> Parts:
    """Attention scores that do not stay in a cache, since a key head has more than fit."""
    passes = elementwise_passes(remat)
    group = arch.n_heads // arch.n_kv_heads * arch.seq_len * arch.seq_len
    heads = arch.n_layers * arch.batch_size * arch.n_kv_heads
    return {"scores": passes * heads * _larger(group - CACHED_SCORES, 0)}


def attention_by_part(arch: Architecture, *, remat: Any, full_head: int) -> Parts:
    """FLOPs of a fused kernel, whose rate is not that of other matmuls.

    Heads narrower than `full_head` take as long as if they were so wide; 0: attention is plain.
    """
    if not full_head:
        return {}
    flops = flops_by_part(arch, remat=remat, fused=True)
    return {part: head_padding(arch.d_head, full_head) * flops[part] for part in ATTENDING}


def loss_by_part(arch: Architecture, *, remat: Any) -> Parts:
    """Logits that pass through the loss."""
    return {"logits": PASSES * arch.batch_size * arch.seq_len * arch.vocab_size}


def params_by_part(arch: Architecture, *, remat: Any) -> Parts:
    """Parameters that the optimizer updates, save those whose state stays in the caches."""
    share = _larger(1 - CACHED_PARAMS / n_params(arch), 0)
    return {part: share * units for part, units in n_params_by_part(arch).items()}


def stacked_by_part(arch: Architecture, *, remat: Any) -> Parts:
    """Parameters of blocks that are one array over all layers: sliced apart and stacked again.

    A single layer's array needs neither.
    """
    several = 1 * (arch.n_layers > 1)
    return {
        mm.part: several * arch.n_layers * mm.n_params
        for mm in layer_matmuls(arch)
        if mm.has_weights
    }


def lookup_by_part(arch: Architecture, *, remat: Any) -> Parts:
    """Elements of an embedding matrix that is only looked up: its gradient is all scattered."""
    return {"embedding": (1 - 1 * arch.tied_embeddings) * arch.vocab_size * arch.d_model}


# Every feature splits its units by part, so that a step's time splits too.
FEATURES: dict[str, Callable[..., Parts]] = {
    "memcpys": memcpys_by_part,
    "flops": flops_by_part,
    "activations": activations_by_part,
    "softmax": softmax_by_part,
    "spilled_softmax": spilled_softmax_by_part,
    "loss": loss_by_part,
    "params": params_by_part,
    "stacked": stacked_by_part,
    "lookup": lookup_by_part,
    "layers": lambda arch, *, remat: {"overhead": elementwise_passes(remat) * arch.n_layers},
    "steps": lambda arch, *, remat: {"overhead": 1},
}
ROOFLINE = "roofline_flops"
# What any model may have besides: seconds per FLOP of fused attention, where it was timed. Without
# it a kernel runs at the rate of other matmuls.
ATTENTION = "attention"
OF_MATMULS = (ROOFLINE, "flops", "memcpys")
# Likewise, where several chips were timed: seconds per byte sent to chips of the same host and of
# others, and per hop of a message, as `communication.sent` counts them.
LINKS = ("host_bytes", "network_bytes", "hops")
# What attention that is one kernel does away with.
OF_WRITTEN_SCORES = ("softmax", "spilled_softmax")
# What chips that share the state each do a part of.
SHARED = ("params", "stacked", "lookup")
# What a step does once, however many forward and backward passes it accumulates gradients over.
ONCE_A_STEP = ("params", "stacked", "steps")

# Which features each named model has; `flops` and `memcpys` are there to be compared with.
MODELS: dict[str, tuple[str, ...]] = {
    "flops": ("flops", "steps"),
    "memcpys": ("memcpys", "steps"),
    "paper": ("memcpys", "flops", "steps"),
    "overhead": ("memcpys", "flops", "layers", "steps"),
    "traffic": (
        "memcpys", "flops", "activations", "softmax", "spilled_softmax", "loss", "params", "lookup",
        "layers", "steps",
    ),
    "roofline": (
        "roofline_flops", "activations", "softmax", "spilled_softmax", "loss", "params", "lookup",
        "layers", "steps",
    ),
    "stacked": (
        "roofline_flops", "activations", "softmax", "loss", "params", "stacked", "lookup", "layers",
        "steps",
    ),
}  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepTimeModel:
    """Seconds per unit of each feature of a named model.

    Attributes:
        name: the model, a key of `MODELS`.
        seconds_per_unit: feature -> seconds per memory copy (element), FLOP, element, layer or
            step; with `ATTENTION` and `LINKS`, also per FLOP of fused attention, byte sent and hop.
        ridge: FLOPs in the time of one memory copy, for a model with a roofline; else 0.

    Raises:
        ValueError: the name or a feature is unknown, a number is negative or not finite, or a
            roofline has no ridge.

    References:
        Inbar and Sernau 2024, arXiv:2406.18922, for `paper`.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    name: str
    seconds_per_unit: dict[str, float]
    ridge: float = 0.0

    def __post_init__(self) -> None:
        if self.name not in MODELS:
            raise ValueError(f"a step-time model is one of {sorted(MODELS)}, but got {self.name!r}")
        if set(self.seconds_per_unit) - {ATTENTION, *LINKS} != set(MODELS[self.name]):
            raise ValueError(
                f"step-time model {self.name!r} has the coefficients {sorted(MODELS[self.name])}, "
                f"but got {sorted(self.seconds_per_unit)}"
            )
        for feature, value in self.seconds_per_unit.items():
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"seconds per unit of {feature!r} must be >= 0, but got {value}")
        if not any(self.seconds_per_unit.values()):
            raise ValueError("a step must take time, but every coefficient is 0")
        if not math.isfinite(self.ridge) or (self.ridge > 0) != (ROOFLINE in MODELS[self.name]):
            raise ValueError(
                "`ridge` must be > 0 in a model with a roofline and 0 in any other, "
                f"but got {self.ridge} in {self.name!r}"
            )

    @property
    def features(self) -> tuple[str, ...]:
        """What has a coefficient, in the order of a table of draws."""
        return features_of(self.name, self.seconds_per_unit)

    @property
    def times_attention(self) -> bool:
        """Whether fused attention has a rate of its own."""
        return ATTENTION in self.seconds_per_unit

    @property
    def times_links(self) -> bool:
        """Whether what chips send each other has rates of its own."""
        return any(feature in self.seconds_per_unit for feature in LINKS)

    def communication_s(self, sent: Parts) -> Any:
        """Seconds for which a step waits for what is sent, see `communication.sent`."""
        return total({name: self.seconds_per_unit.get(name, 0.0) * sent[name] for name in LINKS})

    def step_time_by_part(
        self, arch: Architecture, *, remat: Any = False, n_shares: Any = 1, full_head: int = 0
    ) -> Parts:
        """Seconds of one optimizer step by part; they add up to `step_time_s`.

        Args:
            arch: the model or models, with the batch of one chip.
            remat: what of the blocks runs a second time, a number of `REMATS`.
            n_shares: chips that share weights, gradients and moments.
            full_head: of attention that is one kernel and never writes its scores, the least width
                of a head that it uses in full; 0: attention is plain.
        """
        parts: Parts = {}
        for feature, seconds in self.seconds_per_unit.items():
            if seconds and feature not in LINKS:
                each = seconds / n_shares if feature in SHARED else seconds
                for part, count in self._counted(feature, arch, remat, full_head).items():
                    parts[part] = parts.get(part, 0) + each * count
        return parts

    def units(
        self,
        arch: Architecture,
        *,
        remat: Any = False,
        n_shares: Any = 1,
        full_head: int = 0,
        of: Collection[str] | None = None,
    ) -> list[Any]:
        """Units of each feature in one optimizer step, in the order of `features`.

        Arguments are as of `step_time_by_part`; `of` names parts that alone count, None all.
        `LINKS` have no units here: what is sent is not the architecture's alone.
        """

        def counted(feature: str) -> Any:
            if feature in LINKS:
                return 0
            parts = self._counted(feature, arch, remat, full_head)
            return total({part: n for part, n in parts.items() if of is None or part in of})

        return [
            counted(feature) / (n_shares if feature in SHARED else 1) for feature in self.features
        ]

    def _counted(self, feature: str, arch: Architecture, remat: Any, full_head: int) -> Parts:
        how = {"full_head": full_head, "times_attention": self.times_attention}
        return units_by_part(feature, arch, remat, self.ridge, **how)

    def step_time_s(
        self, arch: Architecture, *, remat: Any = False, n_shares: Any = 1, full_head: int = 0
    ) -> Any:
        """Seconds of one optimizer step; arguments as of `step_time_by_part`."""
        how = {"remat": remat, "n_shares": n_shares, "full_head": full_head}
        return total(self.step_time_by_part(arch, **how))


def features_of(name: str, besides: Collection[str]) -> tuple[str, ...]:
    """The features of a named model, then those of `ATTENTION` and `LINKS` that it has besides."""
    return MODELS[name] + tuple(f for f in (ATTENTION, *LINKS) if f in besides)


def units_by_part(
    feature: str,
    arch: Architecture,
    remat: Any,
    ridge: float,
    *,
    full_head: int = 0,
    times_attention: bool = False,
) -> Parts:
    """Units of a feature in one optimizer step, by part.

    What a fused kernel multiplies is counted by `ATTENTION` where the model `times_attention`, and
    else by the features of other matmuls.
    """
    fused = full_head > 0
    if feature == ATTENTION:
        return attention_by_part(arch, remat=remat, full_head=full_head)
    if feature == ROOFLINE:
        parts = roofline_by_part(arch, remat=remat, ridge=ridge, fused=fused)
    elif feature in OF_MATMULS:
        parts = FEATURES[feature](arch, remat=remat, fused=fused)
    elif fused and feature in OF_WRITTEN_SCORES:
        return {"scores": 0 * arch.n_layers}
    else:
        return FEATURES[feature](arch, remat=remat)
    if fused and times_attention:
        return {part: units for part, units in parts.items() if part not in ATTENDING}
    if fused:
        parts |= {part: head_padding(arch.d_head, full_head) * parts[part] for part in ATTENDING}
    return parts


def _larger(a: Any, b: Any) -> Any:
    """The larger of two, in arithmetic that scalars, NumPy arrays and JAX arrays share."""
    return a * (a >= b) + b * (b > a)
