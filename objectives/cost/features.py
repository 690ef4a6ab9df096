"""What a step does, counted: the features whose seconds per unit a step-time model has.

Each is a formula from one pass of one chip to units by part, so that a step's time splits too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...space.architecture import Architecture
from .counts import (
    flops_by_part,
    layer_matmuls,
    logits_matmul,
    memcpys_by_part,
    n_params,
    n_params_by_part,
)
from .execution import PLAIN, Execution, Parts, by_choice
from .kernel import head_padding, kernel_of
from .passes import ATTENDING, PASSES, elementwise_passes, flop_passes, matmul_passes

# What a CPU core's caches keep, chosen by held-out error on one Zen 5 core (11.6% without either,
# 9.2% with the first, 8.4% with both); beside an accelerator's models it is little. Weight,
# gradient and Adam's moments are 16 bytes a parameter: 4 MiB of them stay from step to step.
CACHED_PARAMS = 2**18
# A key head's scores and their gradient are 8 bytes a score: 1 MiB of them stay between operations.
CACHED_SCORES = 2**17


def roofline_by_part(arch: Architecture, execution: Execution, *, ridge: float) -> Parts:
    """FLOPs, or the FLOPs that a matmul's memory copies last as long as, whichever is more.

    Args:
        arch: the model or models.
        execution: how the step is run.
        ridge: FLOPs in the time of one memory copy (element).

    References:
        Williams, Waterman and Patterson 2009, Roofline, doi:10.1145/1498765.1498785.
    """
    parts = {
        mm.part: arch.n_layers
        * _larger(
            flop_passes(mm.part, execution) * mm.flops,
            matmul_passes(mm.part, execution) * ridge * mm.memcpys,
        )
        for mm in layer_matmuls(arch, execution)
    }
    last = logits_matmul(arch)
    return parts | {"logits": PASSES * _larger(last.flops, ridge * last.memcpys)}


def activations_by_part(arch: Architecture, execution: Execution) -> Parts:
    """Elements that elementwise work reads and writes: norms, residuals, the MLP's nonlinearity."""
    rows = elementwise_passes(execution) * arch.n_layers * arch.batch_size * arch.seq_len
    d_qk = (arch.n_heads + arch.n_kv_heads) * arch.d_head
    return {
        "norms": 6 * rows * arch.d_model,
        "qkv": 2 * rows * d_qk,
        "mlp_up": rows * arch.d_ff * (2 + arch.gated_mlp),
    }


def softmax_by_part(arch: Architecture, execution: Execution) -> Parts:
    """Attention scores that pass through softmax; fused attention has none that is written."""
    if execution.fused:
        return {"scores": 0 * arch.n_layers}
    passes = elementwise_passes(execution)
    scores = arch.batch_size * arch.n_heads * arch.seq_len * arch.seq_len
    return {"scores": passes * arch.n_layers * scores}


def spilled_softmax_by_part(arch: Architecture, execution: Execution) -> Parts:
    """Attention scores that do not stay in a cache, since a key head has more than fit."""
    if execution.fused:
        return {"scores": 0 * arch.n_layers}
    passes = elementwise_passes(execution)
    group = arch.n_heads // arch.n_kv_heads * arch.seq_len * arch.seq_len
    heads = arch.n_layers * arch.batch_size * arch.n_kv_heads
    return {"scores": passes * heads * _larger(group - CACHED_SCORES, 0)}


def attention_by_part(arch: Architecture, execution: Execution, *, kind: str) -> Parts:
    """FLOPs of a fused kernel, whose rate is not that of other matmuls; none where it is plain.

    Heads narrower than the kernel of a `kind` of device uses in full take as long as if they were
    so wide.
    """
    if not execution.fused:
        return {}
    padding = head_padding(arch.d_head, kernel_of(kind).full_head)
    flops = flops_by_part(arch, execution)
    return {part: padding * flops[part] for part in ATTENDING}


def loss_by_part(arch: Architecture, _: Execution) -> Parts:
    """Logits that pass through the loss."""
    return {"logits": PASSES * arch.batch_size * arch.seq_len * arch.vocab_size}


def params_by_part(arch: Architecture, _: Execution) -> Parts:
    """Parameters that the optimizer updates, save those whose state stays in the caches."""
    share = _larger(1 - CACHED_PARAMS / n_params(arch), 0)
    return {part: share * units for part, units in n_params_by_part(arch).items()}


def stacked_by_part(arch: Architecture, _: Execution) -> Parts:
    """Parameters of blocks that are one array over all layers: sliced apart and stacked again.

    A single layer's array needs neither.
    """
    several = 1 * (arch.n_layers > 1)
    return {
        mm.part: several * arch.n_layers * mm.n_params
        for mm in layer_matmuls(arch)
        if mm.has_weights
    }


def lookup_by_part(arch: Architecture, _: Execution) -> Parts:
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
    "layers": lambda arch, execution: {"overhead": elementwise_passes(execution) * arch.n_layers},
    "steps": lambda arch, execution: {"overhead": 1},
}
ROOFLINE = "roofline_flops"
# What any model may have besides: seconds per FLOP of fused attention, where it was timed. Without
# it a kernel runs at the rate of other matmuls.
ATTENTION = "attention"
OF_MATMULS = (ROOFLINE, "flops", "memcpys")
# Likewise, where several chips were timed: seconds per byte sent to chips of the same host and of
# others, and per hop of a message, as `communication.sent` counts them.
LINKS = ("host_bytes", "network_bytes", "hops")
# What chips that share the state each do a part of.
SHARED = ("params", "stacked", "lookup")
# What a step does once, however many forward and backward passes it accumulates gradients over.
ONCE_A_STEP = ("params", "stacked", "steps")

# How much of each feature the models of a box at least have, over which depth, MLP width and batch
# grow from the least model's. None falls where one of these grows, and none grows faster than the
# batch. Those that are PER_LAYER are besides a constant and the depth times so many a layer, which
# grow with the MLP's width at least as fast as from its least to the next: each further parameter
# costs as much as it does there. A feature must be here, or no optimum under it is certified.
PER_LAYER, GROWING = "per layer", "growing"
LEAST_OVER_A_BOX = {
    "memcpys": PER_LAYER,
    "flops": PER_LAYER,
    "roofline_flops": PER_LAYER,
    "attention": PER_LAYER,
    "activations": PER_LAYER,
    "softmax": PER_LAYER,
    "spilled_softmax": PER_LAYER,
    "layers": PER_LAYER,
    "loss": GROWING,
    "params": GROWING,
    # Not per layer: a single layer has none, so the second costs more than a third.
    "stacked": GROWING,
    "lookup": GROWING,
    "steps": GROWING,
}


def growth(feature: str) -> str:
    """How a feature grows over a box, one of PER_LAYER and GROWING.

    Raises:
        ValueError: nothing is said of the feature.
    """
    if feature not in LEAST_OVER_A_BOX:
        raise ValueError(
            f"feature {feature!r} must say how it grows over a box (LEAST_OVER_A_BOX) before an "
            "optimum under it can be certified by bounds"
        )
    return LEAST_OVER_A_BOX[feature]


def units_by_part(
    feature: str,
    arch: Architecture,
    execution: Execution = PLAIN,
    *,
    ridge: float = 0.0,
    kind: str = "cpu",
    times_attention: bool = False,
) -> Parts:
    """Units of a feature in one chip's optimizer step, all its passes together, by part.

    Args:
        feature: its name.
        arch: the model or models, with the batch of the step.
        execution: how the step is run.
        ridge: as of `StepTimeModel`.
        kind: of the device, see `KERNELS`.
        times_attention: whether what a fused kernel multiplies is counted by `ATTENTION`, and else
            by the features of other matmuls.
    """
    one_pass = execution.part(arch)
    each = 1 if feature in ONCE_A_STEP else execution.n_passes
    shares = execution.n_shares if feature in SHARED else 1

    def parts(one: Execution) -> Parts:
        if feature == ATTENTION:
            return attention_by_part(one_pass, one, kind=kind)
        if feature == ROOFLINE:
            counted = roofline_by_part(one_pass, one, ridge=ridge)
        else:
            counted = FEATURES[feature](one_pass, one)
        if not one.fused or feature not in OF_MATMULS:
            return counted
        if times_attention:
            return {part: units for part, units in counted.items() if part not in ATTENDING}
        padding = head_padding(one_pass.d_head, kernel_of(kind).full_head)
        return counted | {part: padding * counted[part] for part in ATTENDING}

    units = by_choice(execution, parts)
    if np.ndim(shares) or shares > 1:
        units = {part: count / shares for part, count in units.items()}
    if np.ndim(each) or each > 1:
        units = {part: each * count for part, count in units.items()}
    return units


def _larger(a: Any, b: Any) -> Any:
    """The larger of two, in arithmetic that scalars, NumPy arrays and JAX arrays share."""
    return a * (a >= b) + b * (b > a)
