"""What fused attention is on each kind of device that has such a kernel: how it takes heads."""

from __future__ import annotations

from typing import Any, NamedTuple


class Kernel(NamedTuple):
    """Fused attention of one kind of device.

    Attributes:
        full_head: the least width of a head that it uses in full; narrower ones take as long.
        padded_head: the width to which its arrays' heads are padded in memory.
    """

    full_head: int
    padded_head: int


# A TPU's matrix unit is 128 or 256 wide and its arrays are padded to 128; a GPU's exponentials take
# as long at 64 as the matmuls that hide them (Shah et al. 2024, FlashAttention-3, arXiv:2407.08608,
# section 3.1), and its arrays are not padded.
KERNELS = {
    "tpu": Kernel(full_head=128, padded_head=128),
    "gpu": Kernel(full_head=64, padded_head=1),
}


def kernel_of(kind: str) -> Kernel:
    """The kernel of a kind of device.

    Raises:
        ValueError: it has none.
    """
    if kind not in KERNELS:
        raise ValueError(f"`attention` can be fused on a {' or '.join(KERNELS)} only, not a {kind}")
    return KERNELS[kind]


def head_padding(d_head: Any, least: int) -> Any:
    """What a head costs over its width where one narrower than the `least` costs as much as it."""
    ratio = least / d_head
    return ratio * (ratio >= 1) + 1 * (ratio < 1)
