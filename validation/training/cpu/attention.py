"""Causal attention in blocks that stay in a core's cache; no matrix of scores is kept.

A block is some query rows of one key head and some of the keys that the last of them may see: what
causality masks is skipped but for each block's corner. The rows are cut out once and stay while
their keys pass by: a row's sum is begun with the first of them and scaled anew where a later one
has a higher score. The backward pass computes a block's scores once more from the rows' log-sum-exp
(Dao et al. 2022, FlashAttention, arXiv:2205.14135), keys first, so that no block needs a transpose:
XLA takes one into the product beside it, which is then slow, or in bfloat16 impossible.

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
# Rows of a block, of all heads that share a key: its keys are cut out, and their gradients are read
# and added to, once a block, so that fewer rows would be little more than that.
MOST_ROWS, MOST_PARTS = 512, 64
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
    rows = length
    while rows % 2 == 0 and rows * group > MOST_ROWS:
        rows //= 2
    kinds = []
    for end in range(length, seq_len + 1, length):
        most_keys = MOST_SCORES // (rows * group)
        parts = (n for n in range(1, MOST_PARTS + 1) if end % n == 0 and end <= n * most_keys)
        kinds.append(Kind(end - length, end, rows, end // next(parts, 1)))
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
    begun = (jnp.zeros_like(q_pgtc), none_pgt)

    def of_rows(at: Place, done: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        q_rc = at.rows(q_pgtc)

        def of_keys(at: Place, before: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
            before_rc, before_top_r, before_r = before
            scores_rs = at.masked(product(q_rc, at.keys(k_ptc), 1, dtype), row_axis=0)
            top_r = jnp.maximum(scores_rs.max(axis=1), before_top_r)
            share_rs, stays_r = jnp.exp(scores_rs - top_r[:, None]), jnp.exp(before_top_r - top_r)
            out_rc, total_r = product(share_rs, at.keys(v_ptc), 0, dtype), share_rs.sum(axis=1)
            return out_rc + before_rc * stays_r[:, None], top_r, total_r + before_r * stays_r

        none_r = jnp.zeros_like(q_rc[:, 0])
        out_rc, top_r, total_r = at.over_keys(
            of_keys, (jnp.zeros_like(q_rc), none_r + MASKED, none_r)
        )
        found = (out_rc / total_r[:, None], top_r + jnp.log(total_r))
        return tuple(map(at.put, done, found))

    out_pgtc, lse_pgt = _over_rows(of_rows, begun, q_pgtc.shape)
    return out_pgtc, (q_pgtc, k_ptc, v_ptc, out_pgtc, lse_pgt)


def _backward(
    dtype: str, kept: tuple[jax.Array, ...], g_pgtc: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    q_pgtc, k_ptc, v_ptc, out_pgtc, lse_pgt = kept
    p, g, t, c = q_pgtc.shape
    k_pct, along_pgt = k_ptc.swapaxes(1, 2), (g_pgtc * out_pgtc).sum(axis=-1)
    begun = tuple(jnp.zeros(shape, g_pgtc.dtype) for shape in ((p, c, g, t), (p, t, c), (p, t, c)))

    def of_rows(at: Place, done: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        q_rc, g_rc, lse_r, along_r = map(at.rows, (q_pgtc, g_pgtc, lse_pgt, along_pgt))

        def of_keys(at: Place, done: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
            dq_cr, dk_ptc, dv_ptc = done
            scores_sr = product(at.keys(k_ptc), q_rc, 1, dtype)
            share_sr = jnp.exp(at.masked(scores_sr, row_axis=1) - lse_r)
            slope_sr = share_sr * (product(at.keys(v_ptc), g_rc, 1, dtype) - along_r)
            return (
                dq_cr + product(at.keys(k_pct, axis=2), slope_sr, 0, dtype),
                at.add(dk_ptc, product(slope_sr, q_rc, 0, dtype)),
                at.add(dv_ptc, product(share_sr, g_rc, 0, dtype)),
            )

        dq_cr, *of_all_keys = at.over_keys(of_keys, (jnp.zeros_like(q_rc.T), *done[1:]))
        return (at.put_turned(done[0], dq_cr), *of_all_keys)

    dq_pcgt, dk_ptc, dv_ptc = _over_rows(of_rows, begun, q_pgtc.shape)
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

    def put_turned(self, x_pcgt: jax.Array, of_rows_cr: jax.Array) -> jax.Array:
        """`x_pcgt` with these as the columns of its rows."""
        new = of_rows_cr.reshape(1, *x_pcgt.shape[1:3], self.kind.rows)
        return jax.lax.dynamic_update_slice(x_pcgt, new, (self.pair, 0, 0, self.first))

    def add(self, x_ptc: jax.Array, of_keys_sc: jax.Array) -> jax.Array:
        """`x_ptc` with these added to what the block's keys have."""
        new = self.keys(x_ptc) + of_keys_sc
        return jax.lax.dynamic_update_slice(x_ptc, new[None], (self.pair, self.first_key, 0))

    def over_keys(self, of_keys: Part, begun: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        """Let the rows' keys do their part, one block after the other."""
        if not self.kind.in_parts:
            return of_keys(self, begun)
        return jax.lax.fori_loop(
            0,
            self.kind.end // self.kind.keys,
            lambda i, done: of_keys(self._replace(first_key=i * self.kind.keys), done),
            begun,
        )

    def _start(self, x: jax.Array) -> tuple[jax.Array | int, ...]:
        return (self.pair, 0, self.first, *[0] * (x.ndim - 3))


Part = Callable[[Place, tuple[jax.Array, ...]], tuple[jax.Array, ...]]


def _over_rows(
    of_rows: Part, done: tuple[jax.Array, ...], shape_pgtc: tuple[int, ...]
) -> tuple[jax.Array, ...]:
    """Let all rows of every pair do their part, some after the others."""
    n_pairs, group, seq_len, _ = shape_pgtc
    for kind in kinds_of(seq_len, group):
        n_rows = (kind.end - kind.start) // kind.rows

        def one(
            i: jax.Array, done: tuple[jax.Array, ...], kind: Kind = kind, n_rows: int = n_rows
        ) -> tuple[jax.Array, ...]:
            first = kind.start + i % n_rows * kind.rows
            return of_rows(Place(i // n_rows, kind, first, jnp.zeros_like(i)), done)

        done = jax.lax.fori_loop(0, n_pairs * n_rows, one, done)
    return done
