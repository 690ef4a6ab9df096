"""Mamba-2: a state-space layer whose scan is matmuls within chunks and a recurrence between them.

The recurrence over chunks, decays and the convolution are elementwise; they are under 1% of FLOPs.
"""

from __future__ import annotations

from typing import Any

from ....space.blocks import CHUNK, Mamba2
from ..execution import Execution, Parts, Remat
from .attention import WIDE_BYTES
from .chunks import chunks_of
from .matmul import Matmul, weighted


def matmuls(mixer: Mamba2, arch: Any, execution: Execution) -> tuple[Matmul, ...]:
    """One matmul in, one out; between them four kinds a chunk.

    Within a chunk, scores of each group (C B^T) weigh each head's inputs; each chunk's inputs make
    a state (B^T X), and the state before a chunk is read out (C S). A kernel never writes scores.
    """
    into, out = weighted(mixer, arch)
    chunks, chunk = chunks_of(arch, CHUNK)
    heads = chunks * mixer.n_heads
    unwritten = execution.fused * chunk * chunk
    return (
        into,
        Matmul("scan", False, chunks * mixer.n_groups, chunk, mixer.d_state, chunk, unwritten),
        Matmul("scan", False, heads, chunk, chunk, mixer.d_head, unwritten),
        Matmul("scan", False, heads, mixer.d_state, chunk, mixer.d_head),
        Matmul("scan", False, heads, chunk, mixer.d_state, mixer.d_head),
        out,
    )


def other_params(mixer: Mamba2, arch: Any) -> Parts:
    """The convolution's weights and biases; of each head decay, step and skip; the norm's gains."""
    d_inner = mixer.n_heads * mixer.d_head
    return {
        "convolution": (mixer.d_conv + 1) * mixer.n_channels,
        "scan": 3 * mixer.n_heads,
        "norms": d_inner,
    }


def elementwise(mixer: Mamba2, arch: Any) -> Parts:
    """Elements of a row: convolution with its nonlinearity, gate and norm, states of chunks."""
    d_inner = mixer.n_heads * mixer.d_head
    states = d_inner * mixer.d_state // min(CHUNK, arch.seq_len)
    return {"convolution": 2 * mixer.n_channels, "scan": 5 * d_inner + 2 * states}


def scores(mixer: Mamba2, arch: Any) -> tuple[Any, Any]:
    """Heads of all chunks, and of each the decays, exponentials as those of a softmax are."""
    chunks, chunk = chunks_of(arch, CHUNK)
    return chunks * mixer.n_heads, chunk * chunk


def chunked(mixer: Mamba2, arch: Any) -> Any:
    """Elements of a row in and out of a scan of several chunks: inputs, states' keys, outputs."""
    several = 1 * (arch.seq_len > CHUNK)
    return several * (mixer.n_channels + mixer.n_heads * mixer.d_head)


def kept(mixer: Mamba2, arch: Any, size: int, execution: Execution, padded_head: int) -> Parts:
    """Bytes of a row: what goes into the convolution, the scan and its gate, and chunks' states."""
    d_inner = mixer.n_heads * mixer.d_head
    made = d_inner + mixer.n_channels + mixer.n_heads
    if execution.remat == Remat.DOTS:
        return {"scan": size * made}
    chunk = min(CHUNK, arch.seq_len)
    states = WIDE_BYTES * d_inner * mixer.d_state // chunk
    within = 0 if execution.fused else WIDE_BYTES * chunk * (mixer.n_heads + mixer.n_groups)
    return {"scan": size * (made + mixer.n_channels + 2 * d_inner) + states + within}


def gradients(mixer: Mamba2, arch: Any, size: int, padded_head: int) -> Any:
    """Bytes of a row: gradients of all that goes into the scan."""
    within = 0 if padded_head else 2 * size * min(CHUNK, arch.seq_len) * mixer.n_heads
    return size * (mixer.n_channels + 2 * mixer.n_heads * mixer.d_head) + within
