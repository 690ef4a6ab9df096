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

import functools
from typing import Any

import numpy as np

from ...space.architecture import altered
from ...space.decoder import Block, Model, kinds_of
from .blocks import gradients_of, parts_of
from .blocks.attention import WIDE_BYTES
from .counts import n_params, summed, total
from .execution import PLAIN, Execution, Parts, Remat, by_choice
from .kernel import KERNELS, LEAST_LOSS_ROWS, MOST_LOGITS, as_run

# Of each parameter: the master weight and Adam's two moments in float32.
BYTES_PER_PARAM = {"weights": 4, "optimizer": 8}
# Of a gradient that is added up over passes, in the dtype of the master weights.
SUM_BYTES = 4
# What the backward pass of a loop over layers reads, it reads from stacks, one for each
# intermediate: of a block's norms six in float32.
LOOP_NORMS = 6
# Between buffers of unlike lifetimes, over all bytes but the state's: where the mean error is
# least over the 37 rows that `experiments/tpu_memory` had on 2026-11-24 (0 to 6% were tried).
HOLES = 0.03
# Of what an unrolled step needs, to which the compiler was seen to press it: 0.66 to 0.70 of
# steps that need 1.4 times the memory and more (the same experiment).
LEAST_SHARE = 0.66


def memory_by_part(
    arch: Model,
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
    execution = as_run(execution, part, kind)

    def parts(one: Execution) -> Parts:
        per_param = BYTES_PER_PARAM | {"gradients": bytes_per_element}
        if np.any(one.n_accumulation > 1):
            per_param["sum"] = SUM_BYTES * (one.n_accumulation > 1)
        kept, working_set = _activations(part, one, bytes_per_element, kind)
        return {
            **{
                name: size
                / (one.n_optimizer_shares if name in BYTES_PER_PARAM else one.n_shares)
                * n_params(part)
                for name, size in per_param.items()
            },
            **summed(
                (name, one.n_in_flight * n * size)
                for n, of_block in kept
                for name, size in of_block.items()
            ),
            "working_set": working_set,
            "holes": one.n_in_flight
            * sum(n * _holes(total(of_block), holes) for n, of_block in kept)
            + _holes(working_set, holes),
        }

    return by_choice(execution, parts)


def memory_bytes(
    arch: Model,
    execution: Execution = PLAIN,
    *,
    bytes_per_element: int,
    kind: str = "cpu",
    holes: float = HOLES,
) -> Any:
    """Bytes of one chip in one training step, the sum of `memory_by_part`; arguments as there."""
    part = execution.part(arch)
    execution = as_run(execution, part, kind)

    def parts(one: Execution) -> Parts:
        added_up = SUM_BYTES * (one.n_accumulation > 1)
        per_param = sum(BYTES_PER_PARAM.values()) / one.n_optimizer_shares
        per_param = per_param + (bytes_per_element + added_up) / one.n_shares
        kept, working_set = _activations(part, one, bytes_per_element, kind)
        blocks = [(n, total(of_block)) for n, of_block in kept]
        return {
            "parameters": per_param * n_params(part),
            "activations": one.n_in_flight
            * sum(n * (block + _holes(block, holes)) for n, block in blocks),
            "working_set": working_set + _holes(working_set, holes),
        }

    return total(by_choice(execution, parts))


def squeezed_bytes(
    arch: Model, execution: Execution, *, bytes_per_element: int, kind: str = "tpu"
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
    least = altered(execution, remat=Remat.LAYER)
    return np.maximum(needed(least, holes=0), LEAST_SHARE * needed(execution))


def _holes(size: Any, share: float = HOLES) -> Any:
    """Whole bytes between buffers of so many."""
    return np.floor(share * size)


def _activations(
    part: Model, execution: Execution, size: int, kind: str
) -> tuple[list[tuple[Any, Parts]], Any]:
    """Bytes that a block of each kind keeps, by part, with how many there are; the working set."""
    padded_head = KERNELS[kind].padded_head if execution.fused else 0
    kept, working_sets = [], []
    for n, block in kinds_of(part):
        of_block = _kept_of_block(part, block, size, execution, padded_head)
        freed = 0 if execution.scan_layers else total(of_block)
        working_sets.append(_in_the_block(part, block, size, freed, padded_head))
        if np.any(execution.tensor_parallel != 1):
            # What tensor-parallel chips have alike they keep a part of each (sequence parallel).
            of_block["residual"] = of_block["residual"] / execution.tensor_parallel
        kept.append((n, of_block))
    of_blocks = KERNELS[kind].in_blocks
    at_the_loss = _in_a_loss_of_blocks(part) if of_blocks else _at_the_loss(part, size)
    return kept, functools.reduce(np.maximum, working_sets, at_the_loss)


def _kept_of_block(
    arch: Model, block: Block, size: int, execution: Execution, padded_head: int
) -> Parts:
    """Bytes that one block keeps for its backward pass; `size` is the compute dtype's.

    Norms keep what they put out (the residual stream before the MLP is summed up again); what
    mixers and feed-forwards do is said in `blocks`.
    """
    rows = arch.batch_size * arch.seq_len
    if execution.remat == Remat.LAYER:
        return {"residual": size * rows * arch.d_model}
    if execution.remat == Remat.DOTS:
        per_element = 2 * size
    elif execution.scan_layers:
        per_element = 3 * size + LOOP_NORMS * WIDE_BYTES
    else:
        per_element = 3 * size
    per_row = {"residual": per_element * arch.d_model}
    for kind, part in parts_of(block):
        per_row |= kind.kept(part, arch, size, execution, padded_head)
    return {part: rows * n for part, n in per_row.items()}


def _at_the_loss(arch: Model, size: int) -> Any:
    """Bytes of the logits and their gradient."""
    return (WIDE_BYTES + size) * arch.batch_size * arch.seq_len * arch.vocab_size


def _in_a_loss_of_blocks(arch: Model) -> Any:
    """Bytes of some rows' logits, their shares and gradient, and of the gradients made of them."""
    rows = arch.batch_size * arch.seq_len
    at_once = np.minimum(rows / 2, np.maximum(MOST_LOGITS / arch.vocab_size, LEAST_LOSS_ROWS))
    return WIDE_BYTES * (3 * at_once * arch.vocab_size + (rows + arch.vocab_size) * arch.d_model)


def _in_the_block(arch: Model, block: Block, size: int, freed: Any, padded_head: int) -> Any:
    """Bytes beside the state and what all blocks keep, in a block's backward pass.

    Args:
        arch: the model or models.
        block: whose backward pass may need most.
        size: bytes of the compute dtype.
        freed: bytes that the block keeps, which its backward pass uses up.
        padded_head: the width to which a fused kernel's heads are padded, 1 where they are not;
            attention then has no scores, but gradients of all that goes into it. 0: it is plain.
    """
    rows = arch.batch_size * arch.seq_len
    # As of a block that keeps all.
    kept = _kept_of_block(arch, block, size, PLAIN, padded_head)
    input_bytes = size * rows * arch.d_model
    hidden = sum(kept.get(part, 0) for part in ("mlp", "experts"))
    # The MLP's backward pass comes first and has gradients of the same sizes; with it go what it
    # kept and the norm before it.
    in_the_mlp = total(kept) + hidden + input_bytes
    gradients = rows * gradients_of(block, arch, size, padded_head)
    in_the_mixer = total(kept) - hidden - input_bytes + gradients
    last_gradient = WIDE_BYTES * arch.vocab_size * arch.d_model
    return np.maximum(in_the_mlp, in_the_mixer) - freed + last_gradient
