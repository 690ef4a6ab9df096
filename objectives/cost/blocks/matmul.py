"""One kind of matmul, of which all counts are made."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..execution import Count


class Matmul(NamedTuple):
    """One kind of matmul, (m, k) x (k, n), and how often a forward pass of a block runs it.

    Attributes:
        part: of the model, as tables name it.
        has_weights: whether its right-hand sides are parameters, one for each time it runs.
        count: how often it runs.
        m: rows of its left-hand side.
        k: columns of that.
        n: columns of its right-hand side.
        unwritten: elements of each that stay within a fused kernel.
        met: how many of its right-hand sides one token meets; None: all.
        n_layers: how many blocks have it.

    Examples:
        Two rows of three by three columns of four: 2 * 24 FLOPs; 6 + 12 + 8 elements.

        >>> matmul = Matmul("mlp_up", True, 1, 2, 3, 4)
        >>> matmul.flops
        48
        >>> matmul.memcpys
        26
        >>> matmul.n_params
        12
    """

    part: str
    has_weights: bool
    count: Count
    m: Count
    k: Count
    n: Count
    unwritten: Count = 0
    met: Count | None = None
    n_layers: Count = 1

    @property
    def flops(self) -> Count:
        """FLOPs of all of a block's, forward: 2mkn each."""
        return 2 * self.count * self.m * self.k * self.n

    @property
    def memcpys(self) -> Count:
        """Elements read and written by all of a block's, forward: mk + kn + mn each."""
        operands = self.m * self.k + self.k * self.n + self.m * self.n
        return self.count * (operands - self.unwritten)

    @property
    def n_params(self) -> Count:
        """Elements of a block's weights."""
        return self.count * self.k * self.n if self.has_weights else 0

    @property
    def n_active(self) -> Count:
        """Those that one token meets."""
        return self.n_params if self.met is None else self.met * self.k * self.n


def weighted(part: Any, arch: Any) -> list[Matmul]:
    """The matmuls with the matrices of a mixer or feed-forward, in their order.

    Of those of which a token meets a few, each has as many rows as any: a balanced router's, of
    which none is dropped.
    """
    rows = arch.batch_size * arch.seq_len
    return [
        Matmul(
            weight.part,
            True,
            weight.count,
            rows if weight.met is None else rows * weight.met / weight.count,
            weight.k,
            weight.n,
            met=weight.met,
        )
        for weight in part.weights(arch.d_model)
    ]
