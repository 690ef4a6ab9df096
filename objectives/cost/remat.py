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
# The least width of a head that fused attention uses in full, by kind of device: a TPU's matrix
# unit is 128 or 256 wide and its arrays are padded to 128; a GPU's exponentials take as long at 64
# as the matmuls that hide them (Shah et al. 2024, FlashAttention-3, arXiv:2407.08608, section 3.1).
FULL_HEADS = {"tpu": 128, "gpu": 64}
# The width to which its arrays' heads are padded in memory; a GPU's are not.
PADDED_HEADS = {"tpu": 128, "gpu": 1}
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


def flop_passes(part: str, remat: Any, *, fused: bool) -> Any:
    """How often a step does a block's matmul's FLOPs; arguments as of `matmul_passes`.

    A fused kernel reads and writes its operands as often as plain matmuls do, but multiplies the
    scores out once more, and leaves out what lies in the future, half of each.

    References:
        Dao 2023, FlashAttention-2, arXiv:2307.08691, sections 2.3 and 3.1.
    """
    passes = matmul_passes(part, remat)
    return (passes + (part == "scores")) / 2 if fused and part in ATTENDING else passes


def head_padding(d_head: Any, least: int) -> Any:
    """What a head costs over its width where one narrower than the `least` costs as much as it."""
    ratio = least / d_head
    return ratio * (ratio >= 1) + 1 * (ratio < 1)


def elementwise_passes(remat: Any) -> Any:
    """How often a step runs what is between a block's matmuls: once more under any policy."""
    return PASSES + 1 * (remat != 0)
