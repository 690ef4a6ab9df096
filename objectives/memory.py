"""Bytes that training one model needs on one device, by what holds them."""

from __future__ import annotations

from typing import Any

from ..space.architecture import Architecture
from .counts import n_params, total

Parts = dict[str, Any]

# Of each parameter: the master weight and its gradient in float32, and Adam's two moments.
BYTES_PER_PARAM = {"weights": 4, "gradients": 4, "optimizer": 8}
# Logits and their gradient in float32, the dtype in which the loss is taken.
LOGIT_BYTES = 4 + 4


def memory_by_part(arch: Architecture, *, bytes_per_element: int, remat: bool = False) -> Parts:
    """Bytes of one training step by part.

    Args:
        arch: the model or models.
        bytes_per_element: of the compute dtype: 2 adds a working copy of the weights.
        remat: False keeps every activation that the backward pass reads; True keeps each block's
            input only, and one block's activations while that block is run again.

    Returns:
        Bytes of `weights`, their `working_copy`, `gradients`, `optimizer`, the activations of the
        `residual` stream and norms, of `attention` and `mlp`, of the `logits`, and with `remat` of
        the `block_inputs`. Attention keeps its seq_len x seq_len probabilities. Compiler
        temporaries are not counted.
    """
    params = n_params(arch)
    parts = {part: size * params for part, size in BYTES_PER_PARAM.items()}
    if bytes_per_element < BYTES_PER_PARAM["weights"]:
        parts["working_copy"] = bytes_per_element * params
    return parts | _activation_bytes(arch, bytes_per_element, remat)


def memory_bytes(
    arch: Architecture, *, bytes_per_element: int, remat: bool = False, n_shares: int = 1
) -> Any:
    """Bytes of one training step, the sum of `memory_by_part`.

    Of `n_shares` chips that share all that is held for each parameter, they are those of one.
    """
    copy = bytes_per_element if bytes_per_element < BYTES_PER_PARAM["weights"] else 0
    per_param = (sum(BYTES_PER_PARAM.values()) + copy) / n_shares
    return per_param * n_params(arch) + total(_activation_bytes(arch, bytes_per_element, remat))


def _activation_bytes(arch: Architecture, bytes_per_element: int, remat: bool) -> Parts:
    """What the backward pass of the matmuls and norms reads, and the logits."""
    rows = arch.batch_size * arch.seq_len
    d_qkv = (arch.n_heads + 2 * arch.n_kv_heads) * arch.d_head
    per_row = {
        "residual": 4 * arch.d_model,
        "attention": d_qkv + arch.n_heads * arch.seq_len + arch.n_heads * arch.d_head,
        "mlp": arch.d_ff * (2 + arch.gated_mlp),
    }
    n_kept = 1 if remat else arch.n_layers
    parts = {part: bytes_per_element * rows * n_kept * n for part, n in per_row.items()}
    parts["logits"] = LOGIT_BYTES * rows * arch.vocab_size
    if remat:
        parts["block_inputs"] = bytes_per_element * rows * arch.n_layers * arch.d_model
    return parts
