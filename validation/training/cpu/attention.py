"""Causal attention in blocks that stay in a core's cache; no matrix of scores is kept.

A block is some query rows of one key head and some of the keys that the last of them may see: what
causality masks is skipped but for each block's corner. A row's sum is begun with its first block
and scaled anew where a later one has a higher score. The backward pass computes a block's scores
once more from the rows' log-sum-exp (Dao et al. 2022, FlashAttention, arXiv:2205.14135), keys
first, so that no block needs a transpose: XLA takes one into the product beside it, which is then
slow, or in bfloat16 impossible.

The letters of an array's name are its axes: p pairs of a sequence and a key head, g query heads
that share it, t and s positions, c width of a head, r a block's rows (g times its positions).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ....objectives.cost.kernel import n_lengths
from .matmul import product

# Scores of a block: half a megabyte in float32, which with its twins fits a core's second cache.
MOST_SCORES = 1 << 17
# Of more keys some are taken at once, since each is read and added to once a block: with few rows a
# block would be little more than that.
MOST_KEYS, MOST_PARTS = 512, 16
MASKED = -1e30


class Kind(NamedTuple):
    """Query positions from `start` to `end`, which see the keys before `end`.

    `rows` of them and `keys` of the keys are taken at once.
    """

    start: int
    end: int
    rows: int
    keys: int

    @property
    def in_parts(self) -> bool:
        """Whether a row's keys are not taken all at once."""
        return self.keys < self.end


def kinds_of(seq_len: int, group: int) -> list[Kind]:
    """The blocks of a sequence by the keys that they see; they differ in nothing else."""
    length = seq_len // n_lengths(seq_len)
    kinds = []
    for end in range(length, seq_len + 1, length):
        parts = (n for n in range(1, MOST_PARTS + 1) if end % n == 0 and end <= n * MOST_KEYS)
        rows, keys = length, end // next(parts, 1)
        while rows % 2 == 0 and rows * group * keys > MOST_SCORES:
            rows //= 2
        kinds.append(Kind(end - length, end, rows, keys))
    return kinds


def attend(q_btqc: jax.Array, k_btkc: jax.Array, v_btkc: jax.Array, dtype: str) -> jax.Array:
    """Causal softmax attention, (b, t, q, c), as `model.attend` computes it.

    Operands of its products are rounded to a dtype; what it takes and gives is float32 or wider.
    """
    b, t, n_kv_heads, c = k_btkc.shape
    q_btkgc = (q_btqc * c**-0.5).reshape(b, t, n_kv_heads, -1, c)
    q_pgtc = q_btkgc.transpose(0, 2, 3, 1, 4).reshape(b * n_kv_heads, -1, t, c)
    k_ptc, v_ptc = (x.transpose(0, 2, 1, 3).reshape(b * n_kv_heads, t, c) for x in (k_btkc, v_btkc))
    if len(k_ptc) == 1:  # a loop of one turn is taken apart, and its products are changed
        dtype = str(q_pgtc.dtype)
    out_pgtc: Any = _attend(q_pgtc, k_ptc, v_ptc, dtype)
    return out_pgtc.reshape(b, n_kv_heads, -1, t, c).transpose(0, 3, 1, 2, 4)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _attend(q_pgtc: jax.Array, k_ptc: jax.Array, v_ptc: jax.Array, dtype: str) -> jax.Array:
    return _forward(q_pgtc, k_ptc, v_ptc, dtype)[0]


def _forward(
    q_pgtc: jax.Array, k_ptc: jax.Array, v_ptc: jax.Array, dtype: str
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    # What is cut from these or put into them block by block is never bfloat16, whose arrays XLA
    # converts whole at each turn.
    none_pgt = jnp.zeros_like(q_pgtc[..., 0])
    begun = (jnp.zeros_like(q_pgtc), none_pgt + MASKED, none_pgt)

    def block(at: Place, done: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        k_sc, v_sc = at.keys(k_ptc), at.keys(v_ptc)
        scores_rs = at.masked(product(at.rows(q_pgtc), k_sc, 1, dtype), row_axis=0)
        top_r = scores_rs.max(axis=1)
        if at.kind.in_parts:
            before_rc, before_top_r, before_r = map(at.rows, done)
            top_r = jnp.maximum(top_r, before_top_r)
        share_rs = jnp.exp(scores_rs - top_r[:, None])
        out_rc, total_r = product(share_rs, v_sc, 0, dtype), share_rs.sum(axis=1)
        if at.kind.in_parts:
            stays_r = jnp.exp(before_top_r - top_r)
            out_rc, total_r = out_rc + before_rc * stays_r[:, None], total_r + before_r * stays_r
        return tuple(map(at.put, done, (out_rc, top_r, total_r)))

    out_pgtc, top_pgt, total_pgt = _over_blocks(block, begun, q_pgtc.shape)
    out_pgtc, lse_pgt = out_pgtc / total_pgt[..., None], top_pgt + jnp.log(total_pgt)
    return out_pgtc, (q_pgtc, k_ptc, v_ptc, out_pgtc, lse_pgt)


def _backward(
    dtype: str, kept: tuple[jax.Array, ...], g_pgtc: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    q_pgtc, k_ptc, v_ptc, out_pgtc, lse_pgt = kept
    p, g, t, c = q_pgtc.shape
    k_pct, along_pgt = k_ptc.swapaxes(1, 2), (g_pgtc * out_pgtc).sum(axis=-1)
    begun = tuple(jnp.zeros(shape, g_pgtc.dtype) for shape in ((p, c, g, t), (p, t, c), (p, t, c)))

    def block(at: Place, done: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        q_rc, g_rc, k_sc, v_sc = (
            at.rows(q_pgtc), at.rows(g_pgtc), at.keys(k_ptc), at.keys(v_ptc),
        )  # fmt: skip
        lse_r, along_r = at.rows(lse_pgt), at.rows(along_pgt)
        share_sr = jnp.exp(at.masked(product(k_sc, q_rc, 1, dtype), row_axis=1) - lse_r)
        slope_sr = share_sr * (product(v_sc, g_rc, 1, dtype) - along_r)
        return (
            at.add_turned(done[0], product(at.keys(k_pct, axis=2), slope_sr, 0, dtype)),
            at.add(done[1], product(slope_sr, q_rc, 0, dtype)),
            at.add(done[2], product(share_sr, g_rc, 0, dtype)),
        )

    dq_pcgt, dk_ptc, dv_ptc = _over_blocks(block, begun, q_pgtc.shape)
    return dq_pcgt.transpose(0, 2, 3, 1), dk_ptc, dv_ptc


_attend.defvjp(_forward, _backward)


class Place(NamedTuple):
    """A block's place in the arrays: its pair, its kind, its first position and its first key."""

    pair: jax.Array
    kind: Kind
    first: jax.Array
    first_key: jax.Array

    def rows(self, x: jax.Array) -> jax.Array:
        """Of (p, g, t, ...), the block's rows, (r, ...)."""
        sizes = (1, x.shape[1], self.kind.rows, *x.shape[3:])
        cut = jax.lax.dynamic_slice(x, self._start(x), sizes)
        return cut.reshape(-1, *x.shape[3:])

    def keys(self, x: jax.Array, axis: int = 1) -> jax.Array:
        """Of positions along an axis, the block's keys, without the pair's axis."""
        start, sizes = [self.pair, 0, 0], [1, *x.shape[1:]]
        start[axis], sizes[axis] = self.first_key, self.kind.keys
        return jax.lax.dynamic_slice(x, start, sizes)[0]

    def masked(self, scores: jax.Array, row_axis: int) -> jax.Array:
        """Scores without those of keys after a row's position."""
        # The group as an axis: a remainder of each row's number would take as long as an exp.
        shape = list(scores.shape)
        shape[row_axis : row_axis + 1] = (-1, self.kind.rows)
        apart = scores.reshape(shape)
        row = self.first + jax.lax.broadcasted_iota(jnp.int32, apart.shape, row_axis + 1)
        key = self.first_key + jax.lax.broadcasted_iota(jnp.int32, apart.shape, 2 - 2 * row_axis)
        return jnp.where(key <= row, apart, MASKED).reshape(scores.shape)

    def put(self, x: jax.Array, of_rows: jax.Array) -> jax.Array:
        """`x`, (p, g, t, ...), with these as its rows."""
        new = of_rows.reshape(1, x.shape[1], self.kind.rows, *x.shape[3:])
        return jax.lax.dynamic_update_slice(x, new, self._start(x))

    def add_turned(self, x_pcgt: jax.Array, of_rows_cr: jax.Array) -> jax.Array:
        """`x_pcgt` with these added to the columns of its rows."""
        start, shape = (self.pair, 0, 0, self.first), (1, *x_pcgt.shape[1:3], self.kind.rows)
        new = jax.lax.dynamic_slice(x_pcgt, start, shape) + of_rows_cr.reshape(shape)
        return jax.lax.dynamic_update_slice(x_pcgt, new, start)

    def add(self, x_ptc: jax.Array, of_keys_sc: jax.Array) -> jax.Array:
        """`x_ptc` with these added to what the block's keys have."""
        new = self.keys(x_ptc) + of_keys_sc
        return jax.lax.dynamic_update_slice(x_ptc, new[None], (self.pair, self.first_key, 0))

    def _start(self, x: jax.Array) -> tuple[jax.Array | int, ...]:
        return (self.pair, 0, self.first, *[0] * (x.ndim - 3))


def _over_blocks(
    block: Callable[[Place, tuple[jax.Array, ...]], tuple[jax.Array, ...]],
    done: tuple[jax.Array, ...],
    shape_pgtc: tuple[int, ...],
) -> tuple[jax.Array, ...]:
    """Let every block of every pair do its part, one after the other."""
    n_pairs, group, seq_len, _ = shape_pgtc
    for kind in kinds_of(seq_len, group):
        n_rows, n_keys = (kind.end - kind.start) // kind.rows, kind.end // kind.keys

        def one(
            i: jax.Array,
            done: tuple[jax.Array, ...],
            kind: Kind = kind,
            n_rows: int = n_rows,
            n_keys: int = n_keys,
        ) -> tuple[jax.Array, ...]:
            at_rows, at_keys = i // n_keys, i % n_keys
            first = kind.start + at_rows % n_rows * kind.rows
            return block(Place(at_rows // n_rows, kind, first, at_keys * kind.keys), done)

        done = jax.lax.fori_loop(0, n_pairs * n_rows * n_keys, one, done)
    return done
