"""Bytes that training one model needs on one device, by what holds them.

Read off the buffers that the TPU's compiler (libtpu 0.0.42) plans for the validation stage's own
step, with one fitted constant, `HOLES`, and judged by it in `experiments/tpu_memory`. A step
needs most at the loss, beside whose logits and their gradient all activations wait, or in the
backward pass of the last block's MLP or of its attention. The state is donated, so that it is there
once, and a gradient takes the place of the working copy of its weight.

Not counted: what stays in the chip's own memory, and tiles' padding of widths that are no multiple
of 128, but for the heads of fused attention, which were compiled too (`--fused` there).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...space.architecture import Architecture
from .counts import n_params, total
from .remat import REMATS, head_padding, remat_code

Parts = dict[str, Any]

# Of each parameter: the master weight and Adam's two moments in float32.
BYTES_PER_PARAM = {"weights": 4, "optimizer": 8}
# Softmax and loss are taken in float32, whatever the compute dtype, so scores wait in it for their
# backward pass and logits come in it; the gradients of both are in the compute dtype.
WIDE_BYTES = 4
# Of a block's scores: before and after the softmax's backward pass.
SCORE_GRADIENTS = 2
# What the backward pass of a loop over layers reads, it reads from stacks, one for each
# intermediate: of a block's norms six in float32, of its MLP's nonlinearity six, gated or not.
LOOP_NORMS = 6
LOOP_HIDDEN = 6
# Between buffers of unlike lifetimes, over all bytes but the state's: where the mean error is
# least over the 37 rows that `experiments/tpu_memory` had on 2026-11-24 (0 to 6% were tried).
HOLES = 0.03
# Of what an unrolled step needs, to which the compiler was seen to press it: 0.66 to 0.70 of
# steps that need 1.4 times the memory and more (the same experiment).
LEAST_SHARE = 0.66


def memory_by_part(
    arch: Architecture,
    *,
    bytes_per_element: int,
    remat: int = 0,
    scan_layers: bool = False,
    padded_head: int = 0,
) -> Parts:
    """Bytes of one training step by part.

    Args:
        arch: the model or models.
        bytes_per_element: of the compute dtype.
        remat: what the backward pass runs a second time instead of keeping it, a number of
            `REMATS`, the same for all models.
        scan_layers: whether the layers are a loop.
        padded_head: of attention that is one kernel and never writes its scores, the width to which
            its arrays' heads are padded, 1 where they are not; 0: attention is plain.

    Returns:
        Bytes of the `weights`, the `optimizer`'s moments, the `gradients` (before them, working
        copies of the weights), of the activations kept of all blocks' `residual` stream and norms,
        `attention` and `mlp`, of the `working_set`: the logits with their gradient, or what the
        last block's backward pass works on, and of `holes`. Attention keeps its seq_len x seq_len
        scores, unless it is one kernel.
    """
    kept = _kept_of_block(arch, bytes_per_element, REMATS[remat], scan_layers, padded_head)
    block = total(kept)
    working_set = _working_set(arch, bytes_per_element, 0 if scan_layers else block, padded_head)
    return {
        "weights": BYTES_PER_PARAM["weights"] * n_params(arch),
        "optimizer": BYTES_PER_PARAM["optimizer"] * n_params(arch),
        "gradients": bytes_per_element * n_params(arch),
        **{part: arch.n_layers * size for part, size in kept.items()},
        "working_set": working_set,
        "holes": arch.n_layers * _holes(block) + _holes(working_set),
    }


def memory_bytes(
    arch: Architecture,
    *,
    bytes_per_element: int,
    remat: int = 0,
    scan_layers: bool = False,
    n_shares: int = 1,
    padded_head: int = 0,
    holes: float = HOLES,
) -> Any:
    """Bytes of one training step, the sum of `memory_by_part`.

    Of `n_shares` chips that share all that is held for each parameter, they are those of one.
    `holes` is their share of the bytes of activations and working set.
    """
    per_param = (sum(BYTES_PER_PARAM.values()) + bytes_per_element) / n_shares
    block = total(_kept_of_block(arch, bytes_per_element, REMATS[remat], scan_layers, padded_head))
    working_set = _working_set(arch, bytes_per_element, 0 if scan_layers else block, padded_head)
    return total(
        {
            "parameters": per_param * n_params(arch),
            "activations": arch.n_layers * (block + _holes(block, holes)),
            "working_set": working_set + _holes(working_set, holes),
        }
    )


def squeezed_bytes(
    arch: Architecture,
    *,
    bytes_per_element: int,
    remat: int = 0,
    scan_layers: bool = False,
    n_shares: int = 1,
    padded_head: int = 0,
) -> Any:
    """Bytes into which the TPU's compiler can press a step once the chip is too small for it.

    It leaves no holes; and of an unrolled step that was to keep all it runs up to 15% again by
    itself, down to what `layer` keeps, but to no less than `LEAST_SHARE`. With fused attention
    it was not seen to press anything. Arguments are those of `memory_bytes`.
    """

    def needed(remat: int, holes: float = 0) -> Any:
        return memory_bytes(
            arch,
            bytes_per_element=bytes_per_element,
            remat=remat,
            scan_layers=scan_layers,
            n_shares=n_shares,
            padded_head=padded_head,
            holes=holes,
        )

    if padded_head:
        return needed(remat, HOLES)
    if REMATS[remat] != "none" or scan_layers:
        return needed(remat)
    return np.maximum(needed(remat_code("layer")), LEAST_SHARE * needed(remat, HOLES))


def _holes(size: Any, share: float = HOLES) -> Any:
    """Whole bytes between buffers of so many."""
    return np.floor(share * size)


def _kept_of_block(
    arch: Architecture, size: int, remat: str, scan_layers: bool, padded_head: int
) -> Parts:
    """Bytes that one block keeps for its backward pass; `size` is the compute dtype's.

    Norms keep what they put out (the residual stream before the MLP is summed up again), attention
    its queries, keys and values, the rotated queries, scores and its heads' output, the MLP what
    its first matrices put out. Fused attention keeps two numbers of a query instead of its scores.
    """
    rows = arch.batch_size * arch.seq_len
    d_queries = arch.n_heads * arch.d_head
    d_qkv = d_queries + 2 * arch.n_kv_heads * arch.d_head
    scores = arch.n_heads * (2 if padded_head else arch.seq_len)
    attended = d_qkv + (0 if scan_layers else 2 * d_queries)
    if padded_head:  # heads apart, in and out, and the input of the matmul after them
        attended = head_padding(arch.d_head, padded_head) * (d_qkv + d_queries) + d_queries
    hidden = arch.d_ff * (1 + arch.gated_mlp)
    if remat == "layer":
        return {"residual": size * rows * arch.d_model}
    if remat == "dots":
        per_row = {"residual": 2 * arch.d_model, "attention": d_qkv, "mlp": hidden}
        return {part: size * rows * n for part, n in per_row.items()}
    if scan_layers:
        per_row = {
            "residual": (3 * size + LOOP_NORMS * WIDE_BYTES) * arch.d_model,
            "attention": size * attended + (WIDE_BYTES + size) * scores,
            "mlp": size * LOOP_HIDDEN * arch.d_ff,
        }
    else:
        per_row = {
            "residual": size * 3 * arch.d_model,
            "attention": size * attended + WIDE_BYTES * scores,
            "mlp": size * hidden,
        }
    return {part: rows * n for part, n in per_row.items()}


def _working_set(arch: Architecture, size: int, freed: Any, padded_head: int) -> Any:
    """Bytes beside the state and what all blocks keep, when a step needs most.

    Args:
        arch: the model or models.
        size: bytes of the compute dtype.
        freed: bytes that the last block keeps, which its backward pass uses up.
        padded_head: as of `memory_by_part`; attention then has no scores, but gradients of all that
            goes into it.
    """
    rows = arch.batch_size * arch.seq_len
    at_the_loss = (WIDE_BYTES + size) * rows * arch.vocab_size
    kept = _kept_of_block(arch, size, "none", False, padded_head)
    input_bytes = size * rows * arch.d_model
    # The MLP's backward pass comes first and has gradients of the same sizes; with it go what it
    # kept and the norm before it.
    in_the_mlp = total(kept) + kept["mlp"] + input_bytes
    if padded_head:
        d_gradients = 2 * (arch.n_heads + arch.n_kv_heads) * arch.d_head
        gradients = size * rows * head_padding(arch.d_head, padded_head) * d_gradients
    else:
        gradients = SCORE_GRADIENTS * size * rows * arch.n_heads * arch.seq_len
    in_attention = total(kept) - kept["mlp"] - input_bytes + gradients
    last_gradient = WIDE_BYTES * arch.vocab_size * arch.d_model
    in_the_block = np.maximum(in_the_mlp, in_attention) - freed + last_gradient
    return np.maximum(at_the_loss, in_the_block)
