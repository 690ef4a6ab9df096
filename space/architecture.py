"""What a decoder-only transformer is, as far as its cost and its loss depend on it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import numpy as np

from .limits import MOST_OF_FIELD

# One model's field is a Python number, a space's field an array that broadcasts against the others.
Count = Any
T = TypeVar("T")


@dataclasses.dataclass(frozen=True, kw_only=True)
class About:
    """What is to be known of a field by all that is made from it.

    Columns of rows, options, coordinates of a search and words in a text are made from the fields
    of `Architecture` and from this. What a field does to parameters, memory and time stands in
    `objectives/cost`, what it does to the model in `validation/training`.

    Attributes:
        text: what the field is, to stand in an option's help.
        usual: what `from_shape` takes for it, where that is no constant.
        is_flag: whether it is true or false; else it is a count.
        loss_sees: whether a loss depends on it in another way than through parameters and time.
        cheaper: a flag's value that takes less memory and time; fewer of a count do.
        word: what a sentence says where a flag is true.
        legend: the letter that a table marks it with, a colon, and what that means.
        added: whether files from before the field existed mean its default.
    """

    text: str
    usual: str = ""
    is_flag: bool = False
    loss_sees: bool = True
    cheaper: bool = False
    word: str = ""
    legend: str = ""
    added: bool = False

    @property
    def mark(self) -> str:
        """The letter of the legend."""
        return self.legend.partition(":")[0]


def _about(text: str, usual: str = "", **more: Any) -> dict[str, About]:
    return {"about": About(text=text, usual=usual, **more)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Architecture:
    """One decoder-only transformer with its training shape, or a whole array of them.

    Every field is a scalar (one model) or a NumPy array; arrays broadcast against each other, so
    an open mesh of small arrays stands for millions of models. The model is RMSNorm, rotary
    positions, (grouped-query) attention and a plain or gated MLP, without biases.

    Raises:
        ValueError: a count is not a positive whole number, or `n_kv_heads` does not divide
            `n_heads`.
    """

    d_model: Count = dataclasses.field(metadata=_about("width of the residual stream"))
    n_layers: Count = dataclasses.field(metadata=_about("number of blocks"))
    n_heads: Count = dataclasses.field(
        metadata=_about("query heads", "d_model / d_head", loss_sees=False)
    )
    n_kv_heads: Count = dataclasses.field(
        metadata=_about("key and value heads, which divide n_heads", "n_heads", loss_sees=False)
    )
    d_head: Count = dataclasses.field(
        metadata=_about("width of a head; heads need not fill d_model", "64", loss_sees=False)
    )
    d_ff: Count = dataclasses.field(
        metadata=_about("hidden width of the MLP", "4 d_model", loss_sees=False)
    )
    gated_mlp: Count = dataclasses.field(
        default=False,
        metadata=_about(
            "an MLP with a gate, a second matrix of its up-projection's shape",
            is_flag=True,
            loss_sees=False,
            word="gated",
            legend="g: gated MLP",
        ),
    )
    vocab_size: Count = dataclasses.field(
        default=32_000, metadata=_about("tokens in the vocabulary")
    )
    tied_embeddings: Count = dataclasses.field(
        default=True,
        metadata=_about("logits that reuse the embedding matrix", is_flag=True, cheaper=True),
    )
    seq_len: Count = dataclasses.field(default=1024, metadata=_about("tokens in a sequence"))
    batch_size: Count = dataclasses.field(
        default=8, metadata=_about("sequences in an optimizer step")
    )

    def __post_init__(self) -> None:
        for name in COUNT_FIELDS:
            value = getattr(self, name)
            if type(value) is int and 1 <= value <= MOST_OF_FIELD:
                continue  # as most are; NumPy takes ten times as long to say so
            if isinstance(value, str | bool) or not np.all(
                (np.asarray(value) >= 1) & (np.asarray(value) % 1 == 0)
            ):
                raise ValueError(f"`{name}` must be a whole number >= 1, but got {value!r}")
            if np.max(value, initial=0) > MOST_OF_FIELD:
                raise ValueError(
                    f"`{name}` must be at most {MOST_OF_FIELD:,}, but got {np.max(value):,}"
                )
        for name in BOOL_FIELDS:
            value = getattr(self, name)
            if not isinstance(value, bool) and np.asarray(value).dtype != np.bool_:
                raise ValueError(f"`{name}` must be true or false, but got {value!r}")
        check_key_heads(self.n_heads, self.n_kv_heads)

    @classmethod
    def from_shape(cls, *, d_model: int, n_layers: int, **fields: Any) -> Architecture:
        """Build one model from its width and depth, filling in what is customary.

        Left out, `d_head` is 64 (the width itself when that is smaller, or width over heads when
        `n_heads` is given), `n_heads` fills the width, `n_kv_heads` equals `n_heads`, and `d_ff`
        is four times the width, the shape of the Chinchilla models (Hoffmann et al. 2022, A9).

        Examples:
            GPT-2's width: 768 / 64 heads, and an MLP of 4 * 768.

            >>> arch = Architecture.from_shape(d_model=768, n_layers=12)
            >>> arch.n_heads
            12
            >>> arch.d_ff
            3072
            >>> Architecture.from_shape(d_model=768, n_layers=12, n_heads=6).d_head
            128

        Raises:
            ValueError: the heads do not divide the width and were not given in full.
        """
        if unknown := sorted(set(fields) - set(FIELDS)):
            raise ValueError(
                f"an architecture has no field {unknown[0]!r}; it has {sorted(FIELDS)}"
            )
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
        """Tokens in one optimizer step, `batch_size * seq_len`.

        Examples:
            >>> shape = {"d_model": 64, "n_layers": 2}
            >>> Architecture.from_shape(**shape, batch_size=4, seq_len=128).tokens_per_step
            512
        """
        return self.batch_size * self.seq_len

    @property
    def aspect_ratio(self) -> Count:
        """Width over depth, `d_model / n_layers`.

        Examples:
            >>> Architecture.from_shape(d_model=768, n_layers=12).aspect_ratio
            64.0
        """
        return self.d_model / self.n_layers

    @property
    def words(self) -> list[str]:
        """What a sentence about one model says of its flags: `gated`."""
        return [ABOUT[name].word for name in MARKED if getattr(self, name)]

    def as_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return {name: getattr(self, name) for name in FIELDS}


ABOUT: dict[str, About] = {
    field.name: field.metadata["about"] for field in dataclasses.fields(Architecture)
}
FIELDS = tuple(ABOUT)
BOOL_FIELDS = tuple(name for name in FIELDS if ABOUT[name].is_flag)
COUNT_FIELDS = tuple(name for name in FIELDS if name not in BOOL_FIELDS)
MARKED = tuple(name for name in FIELDS if ABOUT[name].legend)
# The value of a field that nobody gives; those that are missing here must be given.
DEFAULTS: dict[str, Any] = {
    field.name: field.default
    for field in dataclasses.fields(Architecture)
    if field.default is not dataclasses.MISSING
}
# What files that lack a field mean.
ADDED = {name: DEFAULTS[name] for name in FIELDS if ABOUT[name].added}


def check_key_heads(n_heads: Count, n_kv_heads: Count) -> None:
    """Raise ValueError unless each key head has as many heads as any, of one model or of many."""
    if np.any(n_heads % n_kv_heads):
        raise ValueError(
            "`n_kv_heads` must divide `n_heads`, "
            f"but got n_heads={n_heads}, n_kv_heads={n_kv_heads}"
        )


def altered(arch: T, **fields: Any) -> T:
    """Some models with other values of some fields, which are taken to be right.

    `dataclasses.replace` checks them, which takes longer than all arithmetic on a few models.
    """
    other = object.__new__(type(arch))  # a tenth of what copy.copy takes
    vars(other).update(vars(arch), **fields)
    return other


def help_of(name: str) -> str:
    """A field's sentence in the help of its option.

    Examples:
        >>> help_of("d_ff")
        'Hidden width of the MLP; default 4 d_model.'
        >>> help_of("gated_mlp")
        "An MLP with a gate, a second matrix of its up-projection's shape; default false."
    """
    about = ABOUT[name]
    usual = about.usual or (str(DEFAULTS[name]).lower() if name in DEFAULTS else "")
    return f"{about.text[0].upper()}{about.text[1:]}{usual and f'; default {usual}'}."


def marks(fields: Mapping[str, Any]) -> str:
    """The letters by which a table marks one model's flags.

    Examples:
        >>> marks({"d_ff": 256, "gated_mlp": True})
        'g'
    """
    return "".join(ABOUT[name].mark for name in MARKED if fields[name])


def marks_mean(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """What the letters of these models mean."""
    found = {name for row in rows for name in MARKED if row[name]}
    return [ABOUT[name].legend for name in MARKED if name in found]


def _share_of_width(name: str, value: int, d_model: int) -> int:
    if not (isinstance(value, int) and value >= 1) or d_model % value:
        raise ValueError(
            f"`{name}` must divide `d_model`, but got {name}={value!r}, d_model={d_model}; "
            "give both n_heads and d_head for heads that do not fill the width"
        )
    return d_model // value
