"""Bytes that training one model needs on one device, by what holds them."""

from __future__ import annotations

from typing import Any

from ..space.architecture import Architecture
from .counts import n_params

# Master weights and gradients in float32, and Adam's two moments.
WEIGHT_BYTES, GRADIENT_BYTES, OPTIMIZER_BYTES = 4, 4, 8
# Logits and their gradient in float32, the dtype in which the loss is taken.
LOGIT_BYTES = 4 + 4


def memory_by_part(arch: Architecture, *, bytes_per_element: int, remat: Any = False) -> dict:
    """Bytes of one training step by part.

    Args:
        arch: the model or models.
        bytes_per_element: of the compute dtype: 2 adds a working copy of the weights.
        remat: False keeps every activation that the backward pass reads; True keeps each block's
            input only, and one block's activations while that block is run again.

    Returns:
        Bytes of `weights` (with the working copy), `gradients`, `optimizer`, `activations` and
        `logits`. Attention keeps its seq_len x seq_len probabilities. Compiler temporaries and
        fragmentation are not counted.
    """
    params = n_params(arch)
    rows = arch.batch_size * arch.seq_len
    per_layer = _activations_per_row(arch)
    kept = (arch.n_layers * arch.d_model + per_layer) * remat + arch.n_layers * per_layer * (
        1 - 1 * remat
    )
    copy_bytes = bytes_per_element if bytes_per_element < WEIGHT_BYTES else 0
    return {
        "weights": (WEIGHT_BYTES + copy_bytes) * params,
        "gradients": GRADIENT_BYTES * params,
        "optimizer": OPTIMIZER_BYTES * params,
        "activations": bytes_per_element * rows * kept,
        "logits": LOGIT_BYTES * rows * arch.vocab_size,
    }


def memory_bytes(arch: Architecture, *, bytes_per_element: int, remat: Any = False) -> Any:
    """Bytes of one training step, the sum of `memory_by_part`."""
    parts = memory_by_part(arch, bytes_per_element=bytes_per_element, remat=remat)
    return sum(parts.values())


def _activations_per_row(arch: Architecture) -> Any:
    """Elements that one block keeps for one token: what its matmuls and norms read going back."""
    norms = 4 * arch.d_model
    d_qkv = (arch.n_heads + 2 * arch.n_kv_heads) * arch.d_head
    attention = d_qkv + arch.n_heads * arch.seq_len + arch.n_heads * arch.d_head
    mlp = arch.d_ff * (2 + arch.gated_mlp)
    return norms + attention + mlp
