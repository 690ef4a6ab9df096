"""What chips that share a batch send each other in one optimizer step, and how long that takes.

Data parallel, every chip holds the whole state and all reduce the gradient. Fully sharded, each
holds its share of weights, gradients and moments: weights are gathered for the forward and for the
backward pass, and gradients scattered. The counts are those of the compiled program, which
`anybudget compile v5e:2x2` shows beside them (docs/chips.md).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...space.architecture import Architecture
from .counts import layer_matmuls, logits_matmul, n_params_by_part

# Of lookups' and norms' gradients, which are in float32 whatever the compute dtype.
WIDE_BYTES = 4


def collective_bytes(
    arch: Architecture, *, bytes_per_element: int, fully_sharded: bool = False
) -> dict[str, Any]:
    """Bytes of the whole arrays that are reduced, gathered and scattered in one step.

    Args:
        arch: the model or models, with the batch of all chips together.
        bytes_per_element: of the compute dtype, in which matmuls' weights and gradients travel.
        fully_sharded: whether the chips share the state.

    Returns:
        Bytes by collective: `all_reduce`, `all_gather`, `reduce_scatter`.
    """
    norms = WIDE_BYTES * n_params_by_part(arch)["norms"]
    weights = {mm.part: mm.n_params for mm in layer_matmuls(arch) if mm.has_weights}
    scattered = bytes_per_element * arch.n_layers * sum(weights.values())
    logits = logits_matmul(arch)
    if not fully_sharded:
        vocabulary = (bytes_per_element + WIDE_BYTES) * logits.n_params
        return {"all_reduce": scattered + vocabulary + norms, "all_gather": 0, "reduce_scatter": 0}
    # A chip holds a share of the vocabulary's rows. Where the batch has fewer rows, those travel,
    # and else the table does: then the lookups' gradient is whole on every chip, and that of a
    # tied embedding's logits is gathered to be added to it.
    rows = (logits.m < logits.n) * logits.m * arch.d_model
    table = (logits.m >= logits.n) * logits.n * arch.d_model
    # The last block's MLP runs backward right after forward, on weights that are still there.
    last_mlp = bytes_per_element * sum(weights[part] for part in ("mlp_up", "mlp_down"))
    per_row = bytes_per_element + WIDE_BYTES
    per_table = 2 * bytes_per_element + WIDE_BYTES * arch.tied_embeddings
    return {
        "all_reduce": norms + WIDE_BYTES * table,
        "all_gather": 2 * scattered - last_mlp + per_row * rows + per_table * table,
        "reduce_scatter": scattered + per_row * rows + bytes_per_element * table,
    }


def step_time_s(
    compute_s: Any, collected: dict[str, Any], *, n_chips: int, bytes_per_s: float
) -> Any:
    """Seconds of a step with its communication.

    Of an array that is gathered or scattered a chip sends (n - 1) / n, and twice that of one that
    is reduced. As in the compiled program of `v5e:2x2`, what is gathered travels beside the
    compute, and for what is reduced or scattered all wait.

    Args:
        compute_s: seconds of a step of one chip's share of the batch.
        collected: see `collective_bytes`.
        n_chips: that exchange it.
        bytes_per_s: that a chip sends.
    """
    s_per_byte = (n_chips - 1) / n_chips / bytes_per_s
    waited = 2 * collected["all_reduce"] + collected["reduce_scatter"]
    return np.maximum(compute_s, s_per_byte * collected["all_gather"]) + s_per_byte * waited
