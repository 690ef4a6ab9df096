"""How often a step runs what: forward, backward, and what the backward pass runs a second time.

Fused attention is rematerialisation too: its backward pass multiplies the scores out again.
"""

from __future__ import annotations

from .execution import Execution, Remat

# A matmul's backward pass is two more matmuls over the same three operands.
PASSES = 3
# Matmuls of a block; those that key heads have to do with, and those that the MLP's or an expert's
# width has.
ATTENDING = ("scores", "weighted_values")
OF_KEY_HEADS = ("qkv", *ATTENDING)
MLP = ("mlp_up", "mlp_down", "experts_up", "experts_down")
# All that there is of a block, or nearly all of it.
OF_A_LAYER = (
    *(*OF_KEY_HEADS, "attention_output"),
    *(*MLP, "router", "dispatch", "norms", "overhead"),
)
# Those whose forward pass runs again. "layer" runs all but the last, whose product no gradient
# needs; "dots" keeps what matmuls with weights put out.
AGAIN = {
    Remat.NONE: (),
    Remat.DOTS: (*ATTENDING, "scan"),
    Remat.LAYER: (
        *("qkv", *ATTENDING, "attention_output", "scan_in", "scan", "scan_out"),
        *("router", "mlp_up", "experts_up", "experts_down", "shared_up"),
    ),
}


def matmul_passes(part: str, execution: Execution) -> int:
    """How often a step runs a block's matmul, forward and backward.

    Args:
        part: as `counts.layer_matmuls` names it.
        execution: how the step is run, its choices no arrays.
    """
    return PASSES + (part in AGAIN[execution.remat])


def flop_passes(part: str, execution: Execution) -> float:
    """How often a step does a block's matmul's FLOPs; arguments as of `matmul_passes`.

    A fused kernel reads and writes its operands as often as plain matmuls do, but multiplies the
    scores out once more, and leaves out what lies in the future, half of each.

    References:
        Dao 2023, FlashAttention-2, arXiv:2307.08691, sections 2.3 and 3.1.
    """
    passes = matmul_passes(part, execution)
    fused = execution.fused and part in ATTENDING
    return (passes + (part == "scores")) / 2 if fused else passes


def elementwise_passes(execution: Execution) -> int:
    """How often a step runs what is between a block's matmuls: once more under any policy."""
    return PASSES + (execution.remat != Remat.NONE)
