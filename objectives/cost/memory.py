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

import dataclasses
import functools
from typing import Any

import numpy as np

from ...space.architecture import Architecture
from .counts import n_params, total
from .execution import PLAIN, Execution, Parts, Remat, by_choice
from .kernel import head_padding, kernel_of

# Of each parameter: the master weight and Adam's two moments in float32.
BYTES_PER_PARAM = {"weights": 4, "optimizer": 8}
# Of a gradient that is added up over passes, in the dtype of the master weights.
SUM_BYTES = 4
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
    execution: Execution = PLAIN,
    *,
    bytes_per_element: int,
    kind: str = "cpu",
    holes: float = HOLES,
) -> Parts:
    """Bytes of one chip in one training step by part.

    Args:
        arch: the model or models, with the batch of the step.
        execution: how the step is run.
        bytes_per_element: of the compute dtype.
        kind: of the device, whose `KERNELS` pad heads.
        holes: their share of the bytes of activations and working set.

    Returns:
        Bytes of the `weights`, the `optimizer`'s moments, the `gradients` (before them, working
        copies of the weights), their `sum` over several passes, of the activations kept of all
        blocks' `residual` stream and norms, `attention` and `mlp`, of the `working_set`: the logits
        with their gradient, or what the last block's backward pass works on, and of `holes`.
        Attention keeps its seq_len x seq_len scores, unless it is one kernel.
    """
    part = execution.part(arch)

    def parts(one: Execution) -> Parts:
        per_param = BYTES_PER_PARAM | {"gradients": bytes_per_element}
        if np.any(one.n_accumulation > 1):
            per_param["sum"] = SUM_BYTES * (one.n_accumulation > 1)
        kept, working_set = _activations(part, one, bytes_per_element, kind)
        return {
            **{name: size / one.n_shares * n_params(part) for name, size in per_param.items()},
            **{name: part.n_layers * size for name, size in kept.items()},
            "working_set": working_set,
            "holes": part.n_layers * _holes(total(kept), holes) + _holes(working_set, holes),
        }

    return by_choice(execution, parts)


def memory_bytes(
    arch: Architecture,
    execution: Execution = PLAIN,
    *,
    bytes_per_element: int,
    kind: str = "cpu",
    holes: float = HOLES,
) -> Any:
    """Bytes of one chip in one training step, the sum of `memory_by_part`; arguments as there."""
    part = execution.part(arch)

    def parts(one: Execution) -> Parts:
        summed = SUM_BYTES * (one.n_accumulation > 1)
        per_param = (sum(BYTES_PER_PARAM.values()) + bytes_per_element + summed) / one.n_shares
        kept, working_set = _activations(part, one, bytes_per_element, kind)
        block = total(kept)
        return {
            "parameters": per_param * n_params(part),
            "activations": part.n_layers * (block + _holes(block, holes)),
            "working_set": working_set + _holes(working_set, holes),
        }

    return total(by_choice(execution, parts))


def squeezed_bytes(
    arch: Architecture, execution: Execution, *, bytes_per_element: int, kind: str = "tpu"
) -> Any:
    """Bytes into which the TPU's compiler can press a step once the chip is too small for it.

    It leaves no holes; and of an unrolled step that was to keep all it runs up to 15% again by
    itself, down to what `layer` keeps, but to no less than `LEAST_SHARE`. With fused attention
    it was not seen to press anything. Arguments are those of `memory_bytes`, choices no arrays.
    """
    needed = functools.partial(memory_bytes, arch, bytes_per_element=bytes_per_element, kind=kind)
    if execution.fused:
        return needed(execution)
    if execution.remat != Remat.NONE or execution.scan_layers:
        return needed(execution, holes=0)
    least = dataclasses.replace(execution, remat=Remat.LAYER)
    return np.maximum(needed(least, holes=0), LEAST_SHARE * needed(execution))


def _holes(size: Any, share: float = HOLES) -> Any:
    """Whole bytes between buffers of so many."""
    return np.floor(share * size)


def _activations(
    part: Architecture, execution: Execution, size: int, kind: str
) -> tuple[Parts, Any]:
    """Bytes that one block keeps, by part, and those of the working set."""
    kernel_head = kernel_of(kind).padded_head if execution.fused else 0
    kept = _kept_of_block(part, size, execution, kernel_head)
    freed = 0 if execution.scan_layers else total(kept)
    return kept, _working_set(part, size, freed, kernel_head)


def _kept_of_block(arch: Architecture, size: int, execution: Execution, padded_head: int) -> Parts:
    """Bytes that one block keeps for its backward pass; `size` is the compute dtype's.

    Norms keep what they put out (the residual stream before the MLP is summed up again), attention
    its queries, keys and values, the rotated queries, scores and its heads' output, the MLP what
    its first matrices put out. Fused attention keeps two numbers of a query instead of its scores.
    """
    rows = arch.batch_size * arch.seq_len
    d_queries = arch.n_heads * arch.d_head
    d_qkv = d_queries + 2 * arch.n_kv_heads * arch.d_head
    scores = arch.n_heads * (2 if padded_head else arch.seq_len)
    attended = d_qkv + (0 if execution.scan_layers else 2 * d_queries)
    if padded_head:  # heads apart, in and out, and the input of the matmul after them
        attended = head_padding(arch.d_head, padded_head) * (d_qkv + d_queries) + d_queries
    hidden = arch.d_ff * (1 + arch.gated_mlp)
    if execution.remat == Remat.LAYER:
        return {"residual": size * rows * arch.d_model}
    if execution.remat == Remat.DOTS:
        per_row = {"residual": 2 * arch.d_model, "attention": d_qkv, "mlp": hidden}
        return {part: size * rows * n for part, n in per_row.items()}
    if execution.scan_layers:
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
        padded_head: the width to which a fused kernel's heads are padded, 1 where they are not;
            attention then has no scores, but gradients of all that goes into it. 0: it is plain.
    """
    rows = arch.batch_size * arch.seq_len
    at_the_loss = (WIDE_BYTES + size) * rows * arch.vocab_size
    kept = _kept_of_block(arch, size, PLAIN, padded_head)
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
