"""Rematerialisation: what a backward pass runs a second time so that less is kept for it.

A policy is a number, its place in `REMATS`, so that an array of models can have an array of them;
"none" counts as false and "layer" as true.
"""

from __future__ import annotations

from typing import Any

REMATS = ("none", "layer", "dots")
# The matmuls of a block whose forward pass runs again. "layer" runs all but the last, whose product
# no gradient needs; "dots" keeps what matmuls with weights put out.
ATTENDING = ("scores", "weighted_values")
AGAIN = {
    "none": (),
    "layer": ("qkv", *ATTENDING, "attention_output", "mlp_up"),
    "dots": ATTENDING,
}
# A matmul's backward pass is two more matmuls over the same three operands.
PASSES = 3


def remat_code(name: str) -> int:
    """A policy's number.

    Raises:
        ValueError: there is no such policy.
    """
    if name not in REMATS:
        raise ValueError(f"`remat` must be one of {REMATS}, but got {name!r}")
    return REMATS.index(name)


def matmul_passes(part: str, remat: Any) -> Any:
    """How often a step runs a block's matmul, forward and backward.

    Args:
        part: as `counts.layer_matmuls` names it.
        remat: a policy's number, or an array of them.
    """
    return PASSES + sum(
        1 * (remat == code) for code, name in enumerate(REMATS) if part in AGAIN[name]
    )


def elementwise_passes(remat: Any) -> Any:
    """How often a step runs what is between a block's matmuls: once more under any policy."""
    return PASSES + 1 * (remat != 0)
