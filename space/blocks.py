"""What blocks are made of: mixers of tokens, and feed-forwards; each says its matrices.

What they cost stands in `objectives/cost/blocks`, a file a kind.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from .architecture import Count, check_key_heads

# Tokens of a chunk, within which a scan is matmuls: of Mamba-2's kernels and of the gated delta
# rule's (Dao and Gu 2024, arXiv:2405.21060; Yang et al. 2024, arXiv:2412.06464).
CHUNK, DELTA_CHUNK = 256, 64


class Weight(NamedTuple):
    """Matrices of a block, (k, n) each.

    Attributes:
        part: of the model, as tables name it.
        count: how many there are.
        k: their rows.
        n: their columns.
        met: how many of them one token meets; None: all.
    """

    part: str
    count: Count
    k: Count
    n: Count
    met: Count | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Attention:
    """Softmax attention with grouped keys.

    Attributes:
        n_heads: query heads.
        n_kv_heads: key and value heads.
        d_head: width of a head.
        window: tokens that a query sees, itself among them; None: all before it.
        gated: whether a second projection as wide as the queries gates what attention puts out.
    """

    n_heads: Count
    n_kv_heads: Count
    d_head: Count
    window: int | None = None
    gated: bool = False

    def weights(self, d_model: Count) -> list[Weight]:
        """Query, key and value are one matrix, and a gate is more of it; then their output's."""
        d_queries = self.n_heads * self.d_head
        d_qkv = (self.n_heads + 2 * self.n_kv_heads) * self.d_head
        return [
            Weight("qkv", 1, d_model, d_qkv + self.gated * d_queries),
            Weight("attention_output", 1, d_queries, d_model),
        ]

    def check(self) -> None:
        """Raise ValueError where this is no attention."""
        check_key_heads(self.n_heads, self.n_kv_heads)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LatentAttention:
    """Attention whose keys and values are made from one narrow vector (MLA).

    Attributes:
        n_heads: of queries, keys and values alike.
        query_rank: width of the vector that queries are made from; None: the residual stream's.
        kv_rank: width of that of keys and values.
        d_nope: width of a head's part without positions.
        d_rope: width of the rotary part, whose key all heads share.
        d_value: width of a head's values.

    References:
        DeepSeek-V2, arXiv:2405.04434, section 2.1.
    """

    n_heads: int
    query_rank: int | None
    kv_rank: int
    d_nope: int
    d_rope: int
    d_value: int

    def weights(self, d_model: int) -> list[Weight]:
        """Down to the narrow vectors and up to heads; the rotary key is made beside the former."""
        d_query = self.n_heads * (self.d_nope + self.d_rope)
        queries = [(d_model, d_query)]
        if self.query_rank is not None:
            queries = [(d_model, self.query_rank), (self.query_rank, d_query)]
        up = (self.kv_rank, self.n_heads * (self.d_nope + self.d_value))
        made = [*queries, (d_model, self.kv_rank + self.d_rope), up]
        return [
            *(Weight("qkv", 1, k, n) for k, n in made),
            Weight("attention_output", 1, self.n_heads * self.d_value, d_model),
        ]

    def check(self) -> None:
        """Raise ValueError where this is no such attention."""
        if self.d_rope % 2:
            raise ValueError(f"`qk_rope_head_dim` must be even, but got {self.d_rope}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mamba2:
    """A state-space layer in its dual form, multiplied out by chunks.

    Attributes:
        n_heads: each with a state of `d_head` by `d_state`.
        d_head: width of a head; heads make up the inner width.
        d_state: numbers of state of each channel.
        n_groups: of heads that share what reads and writes the state.
        d_conv: tokens that the convolution before it sees.

    References:
        Dao and Gu 2024, arXiv:2405.21060, section 6.
    """

    n_heads: int
    d_head: int
    d_state: int
    n_groups: int
    d_conv: int

    @property
    def n_channels(self) -> int:
        """Channels of the convolution: the inputs, and what writes and reads the state."""
        return self.n_heads * self.d_head + 2 * self.n_groups * self.d_state

    def weights(self, d_model: int) -> list[Weight]:
        """One matrix in, for gate, convolution and steps; one out."""
        d_inner = self.n_heads * self.d_head
        return [
            Weight("scan_in", 1, d_model, d_inner + self.n_channels + self.n_heads),
            Weight("scan_out", 1, d_inner, d_model),
        ]

    def check(self) -> None:
        """Raise ValueError where this is no such layer."""
        if self.n_heads % self.n_groups:
            raise ValueError(
                "`n_groups` must divide the heads of a state-space layer, "
                f"but got {self.n_groups} groups and {self.n_heads} heads"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class GatedDelta:
    """Linear attention whose state forgets by a gate and is corrected by the delta rule.

    Attributes:
        n_key_heads: of queries and of keys.
        n_value_heads: of values, each with a state of `d_key` by `d_value`.
        d_key: width of a key.
        d_value: width of a value.
        d_conv: tokens that the convolution before it sees.

    References:
        Yang et al. 2024, arXiv:2412.06464, section 3.
    """

    n_key_heads: int
    n_value_heads: int
    d_key: int
    d_value: int
    d_conv: int

    @property
    def n_channels(self) -> int:
        """Channels of the convolution: queries, keys and values."""
        return 2 * self.n_key_heads * self.d_key + self.n_value_heads * self.d_value

    def weights(self, d_model: int) -> list[Weight]:
        """One matrix in, for convolution, gate, decay and step; one out."""
        d_values = self.n_value_heads * self.d_value
        d_in = self.n_channels + d_values + 2 * self.n_value_heads
        return [
            Weight("scan_in", 1, d_model, d_in),
            Weight("scan_out", 1, d_values, d_model),
        ]

    def check(self) -> None:
        """Raise ValueError where this is no such attention."""
        if self.n_value_heads % self.n_key_heads:
            raise ValueError(
                "key heads must divide value heads in linear attention, "
                f"but got {self.n_key_heads} and {self.n_value_heads}"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mlp:
    """Two matrices around a nonlinearity, or three with a gate.

    Attributes:
        d_ff: hidden width.
        gated: whether there is a gate, a second matrix of the up-projection's shape.
    """

    d_ff: Count
    gated: Count

    def weights(self, d_model: Count) -> list[Weight]:
        """Up and down; a gate counts as a second up-projection."""
        return [
            Weight("mlp_up", 1 + self.gated, d_model, self.d_ff),
            Weight("mlp_down", 1, self.d_ff, d_model),
        ]

    def check(self) -> None:
        """Any widths will do."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experts:
    """MLPs of which a router gives each token a few; none is dropped, all have as many tokens.

    Attributes:
        n_experts: that a router chooses from.
        n_per_token: that a token meets.
        d_expert: hidden width of each.
        gated: as of `Mlp`, of all of them.
        d_shared: hidden width of what every token meets besides; 0: nothing.

    References:
        Fedus et al. 2021, arXiv:2101.03961; DeepSeekMoE, arXiv:2401.06066, for shared ones.
    """

    n_experts: Count
    n_per_token: int
    d_expert: Count
    gated: Count
    d_shared: int = 0

    def weights(self, d_model: Count) -> list[Weight]:
        """The router, each expert's up and down, and those of what every token meets."""
        n, met, up = self.n_experts, self.n_per_token, 1 + self.gated
        routed = [
            Weight("router", 1, d_model, n),
            Weight("experts_up", up * n, d_model, self.d_expert, up * met),
            Weight("experts_down", n, self.d_expert, d_model, met),
        ]
        shared = [
            Weight("shared_up", up, d_model, self.d_shared),
            Weight("shared_down", 1, self.d_shared, d_model),
        ]
        return [*routed, *shared] if self.d_shared else routed

    def check(self) -> None:
        """Raise ValueError where a token meets more experts than there are."""
        if self.n_per_token > self.n_experts:
            raise ValueError(
                "a token must meet no more experts than there are, "
                f"but got {self.n_per_token} of {self.n_experts}"
            )
