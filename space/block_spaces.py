"""Spaces of other blocks than dense ones: with experts, and with mixers that take turns."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

from .architecture import Architecture
from .blocks import Attention, GatedDelta, LatentAttention, Mamba2
from .decoder import Decoder, Mixer, kinds_of
from .mesh import ATTENTION, Axes
from .search_space import SearchSpace
from .sparse import FIELD, check_n_experts, model_of

# Tokens that a window sees, as in Gemma 3 (arXiv:2503.19786).
WINDOW = 1024


@dataclasses.dataclass(frozen=True, kw_only=True)
class SparseSpace(SearchSpace):
    """Models with experts, and how many of them.

    Attributes:
        n_experts: allowed values, ascending, two or more.
    """

    n_experts: tuple[int, ...]

    def __post_init__(self) -> None:
        check_n_experts(self.n_experts)
        super().__post_init__()

    @property
    def dense(self) -> SearchSpace:
        """The same models with one MLP in each block, which every token meets."""
        names = [field.name for field in dataclasses.fields(SearchSpace)]
        return SearchSpace(**{name: getattr(self, name) for name in names})

    @property
    def free_coordinates(self) -> tuple[str, ...]:
        """The coordinates with anything to choose."""
        return (*super().free_coordinates, *[FIELD] * (len(self.n_experts) > 1))

    def bounds(self, arch: Architecture) -> list[str]:
        """As of a dense space, and the ends of the number of experts."""
        sentences = super().bounds(arch)
        ends = {self.n_experts[0]: "lower", self.n_experts[-1]: "upper"}
        if len(ends) > 1 and (n := arch.as_dict()[FIELD]) in ends:
            sentences.append(f"{FIELD} = {n} is the {ends[n]} end of its range")
        return sentences

    def _axes(self, d_model: int) -> Axes:
        return super()._axes(d_model) | {FIELD: list(self.n_experts)}


def _full(arch: Architecture) -> Attention:
    return Attention(n_heads=arch.n_heads, n_kv_heads=arch.n_kv_heads, d_head=arch.d_head)


def _window(arch: Architecture) -> Mixer:
    if arch.seq_len <= WINDOW:
        raise ValueError(
            f"space: a window of {WINDOW:,} needs longer sequences, but `seq_len` is {arch.seq_len}"
        )
    return dataclasses.replace(_full(arch), window=WINDOW)


def _latent(arch: Architecture) -> Mixer:
    """Keys and values of four heads' width, half a head of positions: arXiv:2405.04434, 2.1."""
    d_head = arch.d_head
    ranks = {"query_rank": None, "kv_rank": 4 * d_head}
    widths = {"d_nope": d_head, "d_rope": d_head // 2, "d_value": d_head}
    return LatentAttention(n_heads=arch.n_heads, **ranks, **widths)


def _mamba2(arch: Architecture) -> Mixer:
    """Twice the width within, heads of 64 with states of 128: arXiv:2405.21060, section 9."""
    n_heads = _whole(2 * arch.d_model, 64)
    return Mamba2(n_heads=n_heads, d_head=64, d_state=128, n_groups=1, d_conv=4)


def _delta(arch: Architecture) -> Mixer:
    """Heads of 128 as wide as the model, twice as many of values, as Qwen3-Next has them."""
    n_heads = _whole(arch.d_model, 128)
    return GatedDelta(
        n_key_heads=n_heads, n_value_heads=2 * n_heads, d_key=128, d_value=128, d_conv=4
    )


def _whole(width: int, d_head: int) -> int:
    if width % d_head:
        raise ValueError(f"space: heads of {d_head} must fill a scan's width, but it is {width}")
    return width // d_head


# What may take turns, by the names that a space's `pattern` has.
MIXERS: dict[str, Callable[[Architecture], Mixer]] = {
    "attention": _full,
    "window": _window,
    "latent": _latent,
    "mamba2": _mamba2,
    "delta": _delta,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class MixedSpace:
    """Decoders in which mixers take turns; widths, depths and MLPs are those of a dense space.

    Attributes:
        dense: the same models with full attention in every block.
        pattern: names of `MIXERS`, block after block, again and again; a depth is a multiple.

    Raises:
        ValueError: a name is of no mixer, all are full attention, or no depth is a multiple.

    Examples:
        >>> fixed = {"gated_mlp": (True,), "vocab_size": (512,), "tied_embeddings": (True,)}
        >>> fixed |= {"seq_len": (32,), "batch_size": (4,), "n_heads": (1,), "n_kv_heads": (1,)}
        >>> fixed |= {"d_head": (64,), "d_ff": (256,)}
        >>> dense = SearchSpace(d_model=(64,), n_layers=(2, 3, 4), **fixed)
        >>> space = MixedSpace(dense=dense, pattern=("mamba2", "attention"))
        >>> [len(model.pattern) for model in space.models()]
        [2, 4]
    """

    dense: SearchSpace
    pattern: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in self.pattern:
            if name not in MIXERS:
                raise ValueError(
                    f"space: `pattern` must be of {', '.join(MIXERS)}, but got {name!r}"
                )
        if set(self.pattern) <= {"attention"}:
            raise ValueError(
                "space: `pattern` must have another mixer than attention; leave it out for dense "
                "models"
            )
        if not self.n_models:
            raise ValueError(
                f"space: no depth is a multiple of the pattern's {len(self.pattern)} blocks; "
                "widen n_layers or aspect_ratio"
            )

    @property
    def n_models(self) -> int:
        """How many there are."""
        return sum(math.prod(map(len, axes.values())) for axes in self._widths.values())

    @property
    def _widths(self) -> dict[int, Axes]:
        """The dense space's lists, of whole patterns, with key heads where a mixer has them."""
        n = len(self.pattern)
        shares_keys = not {"attention", "window"}.isdisjoint(self.pattern)
        found = {}
        for d_model, axes in self.dense.widths.items():
            heads = axes["attention"]
            if not shares_keys:
                heads = list({(n_heads, d_head): (n_heads, n_heads, d_head)
                              for n_heads, _, d_head in heads}.values())  # fmt: skip
            depths = [depth for depth in axes["n_layers"] if depth % n == 0]
            found[d_model] = axes | {"n_layers": depths, "attention": heads}
        return found

    def models(self) -> Iterator[Decoder]:
        """All of them."""
        for d_model, axes in self._widths.items():
            for values in itertools.product(*axes.values()):
                fields: dict[str, Any] = dict(zip(axes, values, strict=True))
                heads = dict(zip(ATTENTION, fields.pop("attention"), strict=True))
                yield self._mixed(model_of({"d_model": d_model, **fields, **heads}))

    def _mixed(self, arch: Architecture) -> Decoder:
        ((_, full),) = kinds_of(arch)
        blocks = tuple(dataclasses.replace(full, mixer=MIXERS[name](arch)) for name in self.pattern)
        names = ("d_model", "vocab_size", "tied_embeddings", "seq_len", "batch_size")
        return Decoder(
            pattern=blocks * (arch.n_layers // len(blocks)),
            **{name: getattr(arch, name) for name in names},
        )
