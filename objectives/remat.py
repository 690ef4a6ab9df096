"""Rematerialisation: what a backward pass runs a second time so that less is kept for it.

Fused attention, one kernel that never writes its scores, is rematerialisation too: its backward
pass multiplies the scores out again. A policy is a number, its place in `REMATS`, so that an array
of models can have an array of them; "none" counts as false and "layer" as true.
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
# The least width of a head that fused attention uses in full: a TPU's matrix unit is 128 or 256
# wide and its arrays are padded to 128; a GPU's exponentials at 128 take half as long as the
# matmuls that hide them (Shah et al. 2024, FlashAttention-3, arXiv:2407.08608, section 3.1).
FULL_HEAD = 128
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


def matmul_passes(part: str, remat: Any, *, fused: bool = False) -> Any:
    """How often a step runs a block's matmul, forward and backward.

    A fused kernel multiplies the scores out once more, and of both attention matmuls it leaves out
    what lies in the future, half of them.

    Args:
        part: as `counts.layer_matmuls` names it.
        remat: a policy's number, or an array of them.
        fused: whether attention is one kernel.

    References:
        Dao 2023, FlashAttention-2, arXiv:2307.08691, sections 2.3 and 3.1.
    """
    passes = PASSES + sum(
        1 * (remat == code) for code, name in enumerate(REMATS) if part in AGAIN[name]
    )
    if fused and part in ATTENDING:
        return (passes + (part == "scores")) / 2
    return passes


def idle_share(d_head: Any) -> Any:
    """How often a head of this width goes into what fused attention takes for it, at least once."""
    share = FULL_HEAD / d_head
    return share * (share >= 1) + 1 * (share < 1)


def elementwise_passes(remat: Any) -> Any:
    """How often a step runs what is between a block's matmuls: once more under any policy."""
    return PASSES + 1 * (remat != 0)
