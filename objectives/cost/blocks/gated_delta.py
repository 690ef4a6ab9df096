"""The gated delta rule: linear attention, multiplied out by chunks.

Not counted: gates, decays, the convolution, and the inverse of a chunk's triangular matrix.
"""

from __future__ import annotations

from typing import Any

from ....space.blocks import DELTA_CHUNK, GatedDelta
from ..execution import Execution, Parts, Remat
from .attention import WIDE_BYTES
from .chunks import chunks_of
from .matmul import Matmul, weighted

# To which a TPU pads the rows of a chunk's matrices.
PADDED_CHUNK = 128


def matmuls(mixer: GatedDelta, arch: Any, execution: Execution) -> tuple[Matmul, ...]:
    """One matmul in, one out; between them eight a chunk of each value head.

    Keys by keys (the delta rule's triangular matrix) and queries by keys; that matrix's inverse
    times keys and times values; keys and queries times the state; scores times the corrected
    values; and keys times those, the state's change.
    """
    into, out = weighted(mixer, arch)
    chunks, chunk = chunks_of(arch, DELTA_CHUNK)
    heads = chunks * mixer.n_value_heads
    square = execution.fused * chunk * chunk
    d_key, d_value = mixer.d_key, mixer.d_value
    return (
        into,
        Matmul("scan", False, 2 * heads, chunk, d_key, chunk, square),
        Matmul("scan", False, heads, chunk, chunk, d_key, square),
        Matmul("scan", False, 2 * heads, chunk, chunk, d_value, square),
        Matmul("scan", False, 2 * heads, chunk, d_key, d_value),
        Matmul("scan", False, heads, d_key, chunk, d_value),
        out,
    )


def other_params(mixer: GatedDelta, arch: Any) -> Parts:
    """The convolution's weights; of each value head decay and step; a head's norm."""
    return {
        "convolution": mixer.d_conv * mixer.n_channels,
        "scan": 2 * mixer.n_value_heads,
        "norms": mixer.d_value,
    }


def elementwise(mixer: GatedDelta, arch: Any) -> Parts:
    """Elements of a row: convolution, the norms of queries and keys, the gate and its norm."""
    d_keys = 2 * mixer.n_key_heads * mixer.d_key
    d_values = mixer.n_value_heads * mixer.d_value
    states = d_values * mixer.d_key // min(DELTA_CHUNK, arch.seq_len)
    return {"convolution": 2 * mixer.n_channels, "scan": 2 * d_keys + 5 * d_values + 2 * states}


def scores(mixer: GatedDelta, arch: Any) -> tuple[Any, Any]:
    """Heads of all chunks, and of each the decays, exponentials as those of a softmax are."""
    chunks, chunk = chunks_of(arch, DELTA_CHUNK)
    return chunks * mixer.n_value_heads, chunk * chunk


def chunked(mixer: GatedDelta, arch: Any) -> Any:
    """Elements of a row in and out of chunks: each value head's queries, keys, values, outputs."""
    several = 1 * (arch.seq_len > DELTA_CHUNK)
    return several * 2 * mixer.n_value_heads * (mixer.d_key + mixer.d_value)


def kept(mixer: GatedDelta, arch: Any, size: int, execution: Execution, padded_head: int) -> Parts:
    """Bytes of a row: what goes into the convolution, the scan and its gate, and chunks' states.

    As written, without a kernel, every intermediate waits: the convolution's inputs and sums, a
    dozen forms of each head's keys and values, states in both dtypes, and seven matrices of a
    chunk, three of them wide, whose rows a TPU pads; read off three of its compiler's plans
    (`experiments/blocks/tpu_blocks.py`).
    """
    n_heads, d_values = mixer.n_value_heads, mixer.n_value_heads * mixer.d_value
    made = mixer.n_channels + d_values + 2 * n_heads
    if execution.remat == Remat.DOTS:
        return {"scan": size * made}
    states = d_values * mixer.d_key // min(DELTA_CHUNK, arch.seq_len)
    if execution.fused:
        return {"scan": size * (made + mixer.n_channels + 2 * d_values) + WIDE_BYTES * states}
    forms = 3 * mixer.n_channels + 8 * n_heads * mixer.d_key + 4 * d_values
    within = (3 * WIDE_BYTES + 4 * size) * PADDED_CHUNK * n_heads
    return {"scan": size * (made + forms) + (WIDE_BYTES + size) * states + within}


def gradients(mixer: GatedDelta, arch: Any, size: int, padded_head: int) -> Any:
    """Bytes of a row: gradients of all that goes into the scan."""
    within = 0 if padded_head else 2 * size * min(DELTA_CHUNK, arch.seq_len) * mixer.n_value_heads
    return size * (mixer.n_channels + 2 * mixer.n_value_heads * mixer.d_value) + within
