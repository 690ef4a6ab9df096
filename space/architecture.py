"""What a decoder-only transformer is, as far as its cost and its loss depend on it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

# One model's field is a Python number, a space's field an array that broadcasts against the others.
Count = Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Architecture:
    """One decoder-only transformer with its training shape, or a whole array of them.

    Every field is a scalar (one model) or a NumPy array; arrays broadcast against each other, so
    an open mesh of small arrays stands for millions of models. The model is RMSNorm, rotary
    positions, (grouped-query) attention and a plain or gated MLP, without biases.

    Attributes:
        d_model: width of the residual stream.
        n_layers: number of blocks.
        n_heads: query heads.
        n_kv_heads: key and value heads; divides `n_heads`.
        d_head: width of one head; `n_heads * d_head` may differ from `d_model`.
        d_ff: hidden width of the MLP.
        gated_mlp: whether the MLP has a gate, a second matrix of its up-projection's shape.
        vocab_size: tokens in the vocabulary.
        tied_embeddings: whether the logits reuse the embedding matrix.
        seq_len: tokens in a sequence.
        batch_size: sequences in an optimizer step.

    Raises:
        ValueError: a count is not a positive whole number, or `n_kv_heads` does not divide
            `n_heads`.
    """

    d_model: Count
    n_layers: Count
    n_heads: Count
    n_kv_heads: Count
    d_head: Count
    d_ff: Count
    gated_mlp: Count = False
    vocab_size: Count = 32_000
    tied_embeddings: Count = True
    seq_len: Count = 1024
    batch_size: Count = 16

    def __post_init__(self) -> None:
        for name in COUNT_FIELDS:
            value = getattr(self, name)
            if isinstance(value, str | bool) or not np.all(
                (np.asarray(value) >= 1) & (np.asarray(value) % 1 == 0)
            ):
                raise ValueError(f"`{name}` must be a whole number >= 1, but got {value!r}")
        for name in BOOL_FIELDS:
            if np.asarray(getattr(self, name)).dtype != np.bool_:
                raise ValueError(f"`{name}` must be true or false, but got {getattr(self, name)!r}")
        if np.any(self.n_heads % self.n_kv_heads):
            raise ValueError(
                "`n_kv_heads` must divide `n_heads`, "
                f"but got n_heads={self.n_heads}, n_kv_heads={self.n_kv_heads}"
            )

    @classmethod
    def from_shape(cls, *, d_model: int, n_layers: int, **fields: Any) -> Architecture:
        """Build one model from its width and depth, filling in what is customary.

        Left out, `d_head` is 64 (the width itself when that is smaller, or width over heads when
        `n_heads` is given), `n_heads` fills the width, `n_kv_heads` equals `n_heads`, and `d_ff`
        is four times the width, the shape of the Chinchilla models (Hoffmann et al. 2022, A9).

        Raises:
            ValueError: the heads do not divide the width and were not given in full.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        if unknown := sorted(set(fields) - known):
            raise ValueError(f"an architecture has no field {unknown[0]!r}; it has {sorted(known)}")
        if not (isinstance(d_model, int) and d_model >= 1):
            raise ValueError(f"`d_model` must be a whole number >= 1, but got {d_model!r}")
        n_heads, d_head = fields.pop("n_heads", None), fields.pop("d_head", None)
        if n_heads is None:
            d_head = min(64, d_model) if d_head is None else d_head
            n_heads = _share_of_width("d_head", d_head, d_model)
        elif d_head is None:
            d_head = _share_of_width("n_heads", n_heads, d_model)
        shape = {"n_heads": n_heads, "d_head": d_head, "n_kv_heads": n_heads, "d_ff": 4 * d_model}
        return cls(d_model=d_model, n_layers=n_layers, **(shape | fields))

    @property
    def tokens_per_step(self) -> Count:
        """Tokens in one optimizer step, `batch_size * seq_len`."""
        return self.batch_size * self.seq_len

    @property
    def aspect_ratio(self) -> Count:
        """Width over depth, `d_model / n_layers`."""
        return self.d_model / self.n_layers

    def as_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return {name: getattr(self, name) for name in FIELDS}


FIELDS = tuple(field.name for field in dataclasses.fields(Architecture))
BOOL_FIELDS = ("gated_mlp", "tied_embeddings")
COUNT_FIELDS = tuple(name for name in FIELDS if name not in BOOL_FIELDS)


def _share_of_width(name: str, value: int, d_model: int) -> int:
    if not (isinstance(value, int) and value >= 1) or d_model % value:
        raise ValueError(
            f"`{name}` must divide `d_model`, but got {name}={value!r}, d_model={d_model}; "
            "give both n_heads and d_head for heads that do not fill the width"
        )
    return d_model // value
