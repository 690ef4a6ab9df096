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
from .counts import layer_matmuls, logits_matmul, n_params, n_params_by_part

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


def sent(
    arch: Architecture,
    *,
    bytes_per_element: int,
    n_chips: Any,
    chips_per_host: Any,
    fully_sharded: Any,
    n_passes: Any = 1,
    remat: Any = 0,
    tensor: Any = 1,
    pipeline: Any = 1,
) -> dict[str, Any]:
    """What one chip sends in a step: bytes within its host and between hosts, and messages' hops.

    Each of `tensor` chips computes a part of every layer, and they reduce what a block's two last
    matmuls put out, and the gradients of what goes into its first; each of `pipeline` stages has a
    part of the layers and hands its output on. The chips left over split the batch: `fully_sharded`
    they gather the weights twice a pass and scatter their gradient, else they reduce it once a
    step. A host takes what it lacks of a gathered array once, over the links of all its chips.

    Args:
        arch: the whole model, with the batch that one chip takes in one pass.
        bytes_per_element: of all that travels.
        n_chips: that train one model.
        chips_per_host: that share faster links.
        fully_sharded: whether those that split the batch share the state.
        n_passes: forward and backward passes over which a step accumulates its gradient.
        remat: what the backward pass runs a second time, a number of `REMATS`.
        tensor: chips among which each layer is split, neighbours on a host.
        pipeline: stages, each on other hosts where there are several.

    Returns:
        `host_bytes`, `network_bytes` and `hops`, the coefficients of `step_time.LINKS`.

    References:
        Rajbhandari et al. 2020, ZeRO, arXiv:1910.02054, section 7; Shoeybi et al. 2019,
        Megatron-LM, arXiv:1909.08053, section 3; Narayanan et al. 2021, arXiv:2104.04473, section
        3.2; Patarasuk and Yuan 2009, doi:10.1016/j.jpdc.2008.09.002, for the ring.
    """
    n_split = n_chips / (tensor * pipeline)
    in_host = np.minimum(n_split, np.maximum(chips_per_host / tensor, 1))
    n_hosts = n_split / in_host
    state = bytes_per_element * n_params(arch) / (tensor * pipeline)
    exchanges = np.where(fully_sharded, 3 * n_passes, 2)
    n_layers = arch.n_layers / pipeline
    activations = bytes_per_element * arch.batch_size * arch.seq_len * arch.d_model
    reductions = 2 * n_layers * n_passes * (2 + 1 * (remat != 0))
    handed_on = 2 * n_passes * (pipeline > 1)
    stages_apart = n_chips > chips_per_host
    return {
        "host_bytes": exchanges * state * (in_host - 1) / in_host
        + reductions * activations * 2 * (tensor - 1) / tensor
        + handed_on * activations * (1 - stages_apart),
        "network_bytes": exchanges * state * (n_hosts - 1) / n_hosts / in_host
        + handed_on * activations * stages_apart,
        "hops": exchanges * n_layers * (n_split - 1) + reductions * 2 * (tensor - 1) + handed_on,
    }


def step_time_s(compute_s: Any, collected: dict[str, Any], *, gather_s_per_byte: float) -> Any:
    """Seconds of a step with its communication.

    An array is scattered in the time in which it is gathered, and reduced in twice that. As in the
    compiled program of `v5e:2x2`, what is gathered travels beside the compute, and for what is
    reduced or scattered all wait.

    Args:
        compute_s: seconds of a step of one chip's share of the batch.
        collected: see `collective_bytes`.
        gather_s_per_byte: see `Device.gather_s_per_byte`.
    """
    waited = 2 * collected["all_reduce"] + collected["reduce_scatter"]
    gathered_s = gather_s_per_byte * collected["all_gather"]
    return np.maximum(compute_s, gathered_s) + gather_s_per_byte * waited
