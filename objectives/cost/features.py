"""What a step does, counted: the features whose seconds per unit a step-time model has.

Each is a formula from one pass of one chip to units by part, so that a step's time splits too.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ...space.decoder import Model, kinds_of
from .blocks import parts_of, scores_of
from .counts import (
    flops_by_part,
    layer_matmuls,
    logits_matmul,
    memcpys_by_part,
    n_params,
    n_params_by_part,
    summed,
)
from .execution import PLAIN, Execution, Parts, by_choice
from .kernel import KERNELS, as_run, padding, seen_share
from .passes import ATTENDING, PASSES, elementwise_passes, flop_passes, matmul_passes
from .tiles import chunked_by_part, relaid_by_part, unaligned_by_part

# What a CPU core's caches keep, chosen by held-out error on one Zen 5 core (11.6% without either,
# 9.2% with the first, 8.4% with both); beside an accelerator's models it is little. Weight,
# gradient and Adam's moments are 16 bytes a parameter: 4 MiB of them stay from step to step.
CACHED_PARAMS = 2**18
# A key head's scores and their gradient are 8 bytes a score: 1 MiB of them stay between operations.
CACHED_SCORES = 2**17
# What a TPU keeps on the chip of the gradient of an embedding that is only looked up: 16 MiB of
# float32, chosen by held-out error on 42 compiled steps of each of three generations
# (experiments/tpu_compile; 9.4, 5.5 and 8.1% without, 8.1, 5.9 and 7.7% with).
KEPT_LOOKUP = 2**22


def roofline_by_part(arch: Model, execution: Execution, *, ridge: float) -> Parts:
    """FLOPs, or the FLOPs that a matmul's memory copies last as long as, whichever is more.

    Args:
        arch: the model or models.
        execution: how the step is run.
        ridge: FLOPs in the time of one memory copy (element).

    References:
        Williams, Waterman and Patterson 2009, Roofline, doi:10.1145/1498765.1498785.
    """
    parts = summed(
        (
            mm.part,
            mm.n_layers
            * _larger(
                flop_passes(mm.part, execution) * mm.flops,
                matmul_passes(mm.part, execution) * ridge * mm.memcpys,
            ),
        )
        for mm in layer_matmuls(arch, execution)
    )
    last = logits_matmul(arch)
    return parts | {"logits": PASSES * _larger(last.flops, ridge * last.memcpys)}


def activations_by_part(arch: Model, execution: Execution) -> Parts:
    """Elements that elementwise work reads and writes: norms, residuals, nonlinearities.

    And what else is no matmul: convolutions, states, routing, dispatch.
    """
    rows = elementwise_passes(execution) * arch.batch_size * arch.seq_len
    return summed(
        [
            ("norms", 6 * arch.n_layers * rows * arch.d_model),
            *(
                (name, n * rows * each)
                for n, block in kinds_of(arch)
                for kind, part in parts_of(block)
                for name, each in kind.elementwise(part, arch).items()
            ),
        ]
    )


def softmax_by_part(arch: Model, execution: Execution, *, kind: str) -> Parts:
    """Attention scores whose softmax takes time of its own: a kernel hides it, but in blocks."""
    scores = _scores(arch, execution, 0)
    if not execution.fused:
        return scores
    kernel = KERNELS[kind]
    share = seen_share(kernel, arch.seq_len) if kernel.in_blocks else 0
    return {part: share * n for part, n in scores.items()}


def spilled_softmax_by_part(arch: Model, execution: Execution) -> Parts:
    """Attention scores that do not stay in a cache, since a key head has more than fit."""
    if execution.fused:
        return {"scores": 0 * arch.n_layers}
    return _scores(arch, execution, CACHED_SCORES)


def _scores(arch: Model, execution: Execution, n_cached: int) -> Parts:
    """Scores beyond those of each key head that are cached."""
    passes = elementwise_passes(execution)
    return summed(
        ("scores", passes * n * heads * _larger(each - n_cached, 0))
        for n, block in kinds_of(arch)
        for heads, each in [scores_of(block, arch)]
    )


def attention_by_part(arch: Model, execution: Execution, *, kind: str) -> Parts:
    """FLOPs of a fused kernel, whose rate is not that of other matmuls; none where it is plain.

    Heads narrower than the kernel of a `kind` of device uses in full take as long as if they were
    so wide.
    """
    if not execution.fused:
        return {}
    flops = flops_by_part(arch, execution)
    return {part: padding(kind, arch) * flops[part] for part in ATTENDING if part in flops}


def loss_by_part(arch: Model, _: Execution) -> Parts:
    """Logits that pass through the loss."""
    return {"logits": PASSES * arch.batch_size * arch.seq_len * arch.vocab_size}


def params_by_part(arch: Model, _: Execution) -> Parts:
    """Parameters that the optimizer updates, save those whose state stays in the caches."""
    share = _larger(1 - CACHED_PARAMS / n_params(arch), 0)
    return {part: share * units for part, units in n_params_by_part(arch).items()}


def stacked_by_part(arch: Model, _: Execution) -> Parts:
    """Parameters of blocks that are one array over all layers: sliced apart and stacked again.

    A single layer's array needs neither.
    """
    several = 1 * (arch.n_layers > 1)
    return summed(
        (mm.part, several * mm.n_layers * mm.n_params)
        for mm in layer_matmuls(arch)
        if mm.has_weights
    )


def lookup_by_part(arch: Model, _: Execution) -> Parts:
    """Elements of an embedding matrix that is only looked up: its gradient is all scattered."""
    return {"embedding": (1 - 1 * arch.tied_embeddings) * arch.vocab_size * arch.d_model}


def spilled_lookup_by_part(arch: Model, _: Execution) -> Parts:
    """Elements of such an embedding's gradient beyond those that stay on the chip."""
    looked_up = (1 - 1 * arch.tied_embeddings) * arch.vocab_size * arch.d_model
    return {"embedding": _larger(looked_up - KEPT_LOOKUP, 0)}


def layers_by_part(arch: Model, execution: Execution) -> Parts:
    """Layers, each of which has an overhead in every pass."""
    return {"overhead": elementwise_passes(execution) * arch.n_layers}


class OverABox(enum.Enum):
    """What is certain of a feature over a box: models between a first and a last of one family.

    They differ in depth, MLP width, key heads and batch, of each of which the first has least and
    the last most (`objectives.bounds`). All features but those of `NOTHING` grow with depth and
    batch, and none faster than the batch.
    """

    # Growing; and its parts in `passes.OF_A_LAYER` are the depth times so much a layer, which
    # grows with the MLP's width in that one's parts and with key heads in theirs, at least as fast
    # as from the first model's to one more: each further parameter costs as much as there.
    PER_LAYER = "per layer"
    # Of parameters alone, and growing at least in proportion to them.
    PER_PARAM = "per parameter"
    # Least in the first model.
    GROWING = "growing"
    # As GROWING at one MLP width and number of key heads; but a model with more of either may have
    # less, as on and off a machine's tiles, so that parts which these have to do with are taken for
    # nothing where they differ (`passes.MLP`, `passes.OF_KEY_HEADS`).
    UNSTEADY = "growing with depth and batch"
    # It may be nothing in any other model, and a larger one may have less.
    NOTHING = "nothing"


class Feature(NamedTuple):
    """One feature of a step-time model.

    Attributes:
        units: in one pass of one chip, by part, so that a step's time splits too.
        over_a_box: what a certificate by bounds may rest on, to be shown by the property tests of
            `tests/objectives/test_bounds.py`.
        needs: what `units` reads beside the architecture and the execution.
        of_matmuls: whether what a fused kernel multiplies is among it.
        once_a_step: whether a step does it once, however many passes it adds gradients up over.
        shared: whether chips that share the state each do a part of it.
    """

    units: Callable[..., Parts]
    over_a_box: OverABox
    needs: tuple[str, ...] = ()
    of_matmuls: bool = False
    once_a_step: bool = False
    shared: bool = False


ROOFLINE = "roofline_flops"
# What any model may have besides: seconds per FLOP of fused attention, where it was timed. Without
# it a kernel runs at the rate of other matmuls.
ATTENTION = "attention"
# Likewise of a TPU, where lengths that fill no tile were compiled: seconds per score.
UNALIGNED = "unaligned"
# Likewise, where scans were compiled: seconds per element that goes in or out of their chunks.
CHUNKED = "chunked"
# Likewise, where several chips were timed: seconds per byte sent to chips of the same host and of
# others, and per hop of a message, as `communication.sent` counts them; and the same of what
# tensor-parallel chips reduce.
LINKS = ("host_bytes", "network_bytes", "hops", "tensor_bytes", "tensor_hops")
BESIDES = (ATTENTION, UNALIGNED, CHUNKED, *LINKS)

_PER_LAYER, _GROWING = OverABox.PER_LAYER, OverABox.GROWING
FEATURES: dict[str, Feature] = {
    "memcpys": Feature(memcpys_by_part, _PER_LAYER, of_matmuls=True),
    "flops": Feature(flops_by_part, _PER_LAYER, of_matmuls=True),
    ROOFLINE: Feature(roofline_by_part, _PER_LAYER, needs=("ridge",), of_matmuls=True),
    ATTENTION: Feature(attention_by_part, _PER_LAYER, needs=("kind",)),
    "activations": Feature(activations_by_part, _PER_LAYER),
    "softmax": Feature(softmax_by_part, _PER_LAYER, needs=("kind",)),
    # The more key heads, the less each has.
    "spilled_softmax": Feature(spilled_softmax_by_part, OverABox.UNSTEADY),
    "loss": Feature(loss_by_part, _GROWING),
    "params": Feature(params_by_part, OverABox.PER_PARAM, once_a_step=True, shared=True),
    "stacked": Feature(stacked_by_part, _PER_LAYER, once_a_step=True, shared=True),
    "lookup": Feature(lookup_by_part, _GROWING, shared=True),
    "spilled_lookup": Feature(spilled_lookup_by_part, _GROWING, shared=True),
    "relaid": Feature(relaid_by_part, OverABox.NOTHING, once_a_step=True, shared=True),
    UNALIGNED: Feature(unaligned_by_part, OverABox.NOTHING),
    CHUNKED: Feature(chunked_by_part, OverABox.NOTHING),
    "layers": Feature(layers_by_part, _PER_LAYER),
    "steps": Feature(lambda arch, execution: {"overhead": 1}, _GROWING, once_a_step=True),
}


def units_by_part(
    feature: str,
    arch: Model,
    execution: Execution = PLAIN,
    *,
    ridge: float = 0.0,
    kind: str = "cpu",
    times_attention: bool = False,
    one_pass: Model | None = None,
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
        one_pass: what a chip computes in one pass, `execution.part(arch)`, where it is known.
    """
    about = FEATURES[feature]
    needed = {name: {"ridge": ridge, "kind": kind}[name] for name in about.needs}
    part: Model = one_pass or execution.part(arch)
    execution = as_run(execution, part, kind)
    each = 1 if about.once_a_step else execution.n_passes
    shares = execution.n_optimizer_shares if about.shared else 1

    def parts(one: Execution) -> Parts:
        counted = about.units(part, one, **needed)
        if not one.fused or not about.of_matmuls:
            return counted
        if times_attention:  # each part in its place, for sums that are rounded alike
            return {part: 0 if part in ATTENDING else units for part, units in counted.items()}
        more = padding(kind, part)
        return counted | {part: more * counted[part] for part in ATTENDING if part in counted}

    units = by_choice(execution, parts)
    if np.ndim(shares) or shares > 1:
        units = {part: count / shares for part, count in units.items()}
    if np.ndim(each) or each > 1:
        units = {part: each * count for part, count in units.items()}
    return units


def _larger(a: Any, b: Any) -> Any:
    """The larger of two, in arithmetic that scalars, NumPy arrays and JAX arrays share."""
    return a * (a >= b) + b * (b > a)
