"""What fused attention is on each kind of device: how it takes heads and sequences."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from ...space.architecture import altered
from ...space.decoder import Model
from .execution import Attention, Execution


class Kernel(NamedTuple):
    """Fused attention of one kind of device.

    Attributes:
        full_head: the least width of a head that it uses in full; narrower ones take as long.
        padded_head: the width to which its arrays' heads are padded in memory.
        in_blocks: whether it computes blocks of scores one after the other (`n_lengths`), so that
            their softmax takes time of its own, and what lies in the future is left out but for
            each block's corner.
    """

    full_head: int
    padded_head: int
    in_blocks: bool = False


# A TPU's matrix unit is 128 or 256 wide and its arrays are padded to 128; a GPU's exponentials take
# as long at 64 as the matmuls that hide them (Shah et al. 2024, FlashAttention-3, arXiv:2407.08608,
# section 3.1), and its arrays are not padded. A CPU's is `validation.training.cpu.attention`.
KERNELS = {
    "tpu": Kernel(full_head=128, padded_head=128),
    "gpu": Kernel(full_head=64, padded_head=1),
    "cpu": Kernel(full_head=1, padded_head=1, in_blocks=True),
}
ACCELERATORS = ("tpu", "gpu")

# A CPU's blocks differ in how many keys they see: so many lengths at most, each of so many
# positions more at least. More of them skip more, and take longer to compile.
MOST_LENGTHS, LEAST_POSITIONS = 4, 128
MOST_LENGTHS_LONG, LONG = 8, 2048
# Logits of a block of a CPU's loss, four megabytes in float32; but so many rows at least: its
# gradient is added to once a block.
MOST_LOGITS, LEAST_LOSS_ROWS = 1 << 20, 512


def n_lengths(seq_len: Any) -> Any:
    """How many lengths of keys the blocks of a CPU's attention see; 1: it is not in blocks.

    Examples:
        >>> [n_lengths(seq_len) for seq_len in (128, 256, 384, 1000, 1024, 4096)]
        [1, 2, 3, 4, 4, 8]
    """
    if isinstance(seq_len, int):
        return _n_lengths_of_one(seq_len)
    if np.size(seq_len) and np.all(seq_len == (first := np.asarray(seq_len).flat[0])):
        return _n_lengths_of_one(int(first))
    return _n_lengths(seq_len)


@functools.cache
def _n_lengths_of_one(seq_len: int) -> int:
    """Of one length, as most models have, asked for each feature anew."""
    return _n_lengths(seq_len)


def _n_lengths(seq_len: Any) -> Any:
    found = 1 + 0 * seq_len
    for n in range(2, MOST_LENGTHS_LONG + 1):
        fits = (seq_len % n == 0) & (seq_len >= n * LEAST_POSITIONS)
        found = found + (n - found) * (fits & ((n <= MOST_LENGTHS) | (seq_len >= LONG)))
    return found


def as_run(execution: Execution, arch: Model, kind: str) -> Execution:
    """How a kind of device runs models whose attention is to be fused: a CPU's short ones plainly.

    Args:
        execution: as it was asked.
        arch: the model or models.
        kind: of the device.
    """
    if not KERNELS[kind].in_blocks or execution.attention is Attention.PLAIN:
        return execution
    in_blocks = n_lengths(arch.seq_len) > 1
    if np.all(in_blocks):
        return execution
    some = execution.attention * in_blocks if np.any(in_blocks) else Attention.PLAIN
    return altered(execution, attention=some)


def padding(kind: str, arch: Model) -> Any:
    """What a kernel multiplies over what there is to multiply, the future left out."""
    kernel = KERNELS[kind]
    return head_padding(arch.d_head, kernel.full_head) * 2 * seen_share(kernel, arch.seq_len)


def seen_share(kernel: Kernel, seq_len: Any) -> Any:
    """The share of all scores that it computes: half, and half of a block in each row of blocks."""
    return 0.5 + 0.5 / n_lengths(seq_len) if kernel.in_blocks else 0.5


def head_padding(d_head: Any, least: int) -> Any:
    """What a head costs over its width where one narrower than the `least` costs as much as it."""
    ratio = least / d_head
    return ratio * (ratio >= 1) + 1 * (ratio < 1)
