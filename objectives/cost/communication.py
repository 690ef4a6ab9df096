"""What chips that share a batch send each other in one optimizer step, and how long that takes.

Data parallel, every chip holds the whole state and all reduce the gradient. Fully sharded, each
holds its share of weights, gradients and moments: weights are gathered for the forward and for the
backward pass, and gradients scattered. The counts are those of the compiled program, which
`anybudget compile v5e:2x2` shows beside them (docs/chips.md).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...space.decoder import Model, last_block
from .blocks import parts_of
from .counts import layer_matmuls, logits_matmul, n_params, n_params_by_part
from .execution import PLAIN, Execution, Parts, Remat, by_choice

# Of lookups' and norms' gradients, which are in float32 whatever the compute dtype.
WIDE_BYTES = 4


# Fully sharded, a chip holds a share of the vocabulary's rows. Either the rows of a pass travel, or
# the table does: then the lookups' gradient is whole on every chip, and that of a tied embedding's
# logits is gathered to be added to it.
VOCABULARY = ("rows", "table")


def collective_bytes(
    arch: Model, execution: Execution, *, bytes_per_element: int, vocabulary: str = ""
) -> Parts:
    """Bytes of the whole arrays that are reduced, gathered and scattered in one step.

    Data parallel, gradients are reduced once a step; fully sharded, weights are gathered and
    gradients scattered in every pass.

    Args:
        arch: the model or models, with the batch of all chips together.
        execution: how the step is run.
        bytes_per_element: of the compute dtype, in which matmuls' weights and gradients travel.
        vocabulary: what travels of it where chips share the state, one of `VOCABULARY`; left out,
            the rows where a pass has fewer than the vocabulary.

    Returns:
        Bytes by collective: `all_reduce`, `all_gather`, `reduce_scatter`.
    """

    def collected(one: Execution) -> Parts:
        if one.fully_sharded:
            return _collected_sharded(arch, one.n_accumulation, bytes_per_element, vocabulary)
        norms, weights, _ = _travelling(arch)
        scattered = bytes_per_element * weights
        tables = (bytes_per_element + WIDE_BYTES) * logits_matmul(arch).n_params
        return {"all_reduce": scattered + tables + norms, "all_gather": 0, "reduce_scatter": 0}

    return by_choice(execution, collected)


def _collected_sharded(
    arch: Model, n_passes: Any, bytes_per_element: int, vocabulary: str
) -> Parts:
    norms, weights, last = _travelling(arch)
    scattered = bytes_per_element * weights
    logits = logits_matmul(arch)
    m = logits.m // n_passes
    by_rows = 1 * (m < logits.n if not vocabulary else vocabulary == "rows")
    rows = by_rows * m * arch.d_model
    table = (1 - by_rows) * logits.n * arch.d_model
    # The last block's MLP runs backward right after forward, on weights that are still there.
    last_mlp = bytes_per_element * last
    per_row = bytes_per_element + WIDE_BYTES
    per_table = 2 * bytes_per_element + WIDE_BYTES * arch.tied_embeddings
    each_pass = {
        "all_reduce": norms + WIDE_BYTES * table,
        "all_gather": 2 * scattered - last_mlp + per_row * rows + per_table * table,
        "reduce_scatter": scattered + per_row * rows + bytes_per_element * table,
    }
    return {kind: n_passes * n_bytes for kind, n_bytes in each_pass.items()}


def _travelling(arch: Model) -> tuple[Any, Any, Any]:
    """Bytes of norms' gradients; elements of blocks' weights, and of the last feed-forward's."""
    norms = WIDE_BYTES * n_params_by_part(arch)["norms"]
    weights = sum(mm.n_layers * mm.n_params for mm in layer_matmuls(arch))
    last = [
        mm.n_params
        for kind, part in parts_of(last_block(arch))[1:]
        for mm in kind.matmuls(part, arch, PLAIN)
    ]
    return norms, weights, sum(last)


def sent(
    arch: Model, execution: Execution, *, bytes_per_element: int, chips_per_host: Any
) -> Parts:
    """What one chip sends in a step: bytes within its host and between hosts, and messages' hops.

    Each of the tensor-parallel chips computes a part of every layer, and they reduce what a block's
    two last matmuls put out, and the gradients of what goes into its first, for which all wait;
    each stage of a pipeline has a part of the layers and hands its output on, as often as
    it is cut into pieces. The chips left over
    split the batch: those that share the state gather the weights twice a pass and scatter their
    gradient, and its copies reduce it once a step. A host takes what it lacks of a gathered array
    once, over the links of all its chips. Stages are on other hosts where there are several, and
    so are the copies of a shared state.

    Args:
        arch: the model or models, with the batch of all chips together.
        execution: how the step is run.
        bytes_per_element: of all that travels.
        chips_per_host: that share faster links.

    Returns:
        `host_bytes`, `network_bytes` and `hops`, and `tensor_bytes` and `tensor_hops` of what
        tensor-parallel chips reduce: the coefficients of `step_time.LINKS`.

    References:
        Rajbhandari et al. 2020, ZeRO, arXiv:1910.02054, section 7; Shoeybi et al. 2019,
        Megatron-LM, arXiv:1909.08053, section 3; Narayanan et al. 2021, arXiv:2104.04473, section
        3.2; Patarasuk and Yuan 2009, doi:10.1016/j.jpdc.2008.09.002, for the ring.
    """
    tensor, pipeline = execution.tensor_parallel, execution.pipeline_parallel
    n_split, n_passes = execution.n_split, execution.n_passes
    sharded, n_shares, n_copies = execution.fully_sharded, execution.n_shares, execution.n_copies
    # Those that exchange a whole state: its shares, or else its copies.
    n_peers = np.where(sharded, n_shares, n_split)
    in_host = np.minimum(n_peers, np.maximum(chips_per_host / tensor, 1))
    n_hosts = n_peers / in_host
    state = bytes_per_element * n_params(arch) / (tensor * pipeline)
    exchanges = np.where(sharded, 3 * n_passes, 2)
    # Copies of a shared state reduce each chip's share.
    reduced = np.where(sharded, 2 * (n_copies - 1) / n_copies / n_shares, 0)
    n_layers = -(-arch.n_layers // pipeline)
    micro_batch = execution.micro_batch_size(arch)
    activations = bytes_per_element * micro_batch * arch.seq_len * arch.d_model
    again = 1 * (execution.remat != Remat.NONE)
    reductions = 2 * n_layers * n_passes * (2 + again)
    # Of each piece of a stage; each of the tensor-parallel chips sends its part.
    messages = 2 * n_passes * (pipeline > 1) * execution.virtual_stages
    handed_on = messages * activations / tensor
    stages_apart = execution.n_chips > chips_per_host
    return {
        "host_bytes": exchanges * state * (in_host - 1) / in_host + handed_on * (1 - stages_apart),
        "tensor_bytes": reductions * activations * 2 * (tensor - 1) / tensor,
        "network_bytes": exchanges * state * (n_hosts - 1) / n_hosts / in_host
        + reduced * state
        + handed_on * stages_apart,
        "hops": n_layers * (exchanges * (n_peers - 1) + sharded * 2 * (n_copies - 1)) + messages,
        "tensor_hops": reductions * 2 * (tensor - 1),
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
