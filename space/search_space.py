"""Which models are allowed: ranges for every field, and the rules that tie them together.

A space is, for each width, a product of a few lists: the attention shapes, MLP widths and depths
that are valid at that width, and the fields that are free of it. Enumeration walks those products
as open meshes; the sampler's coordinates pick one entry from each list. Both therefore see exactly
the same models, and none that is invalid.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from .architecture import BOOL_FIELDS, COUNT_FIELDS, FIELDS, Architecture
from .limits import MOST_OF_FIELD
from .mesh import ATTENTION, MESH_SIZE, Axes, around, open_mesh, split
from .sparse import model_of

Range = tuple[float, float]
# No limit, but a number, for JSON has no infinity.
ANY_RATIO = (0.0, 1e9)

# Of the lists of all widths together, which take seconds and some 100 MB to make.
MAX_ENTRIES = 10_000_000

# Fields that no rule ties to others, counts first.
FREE = tuple(
    name
    for names in (COUNT_FIELDS, BOOL_FIELDS)
    for name in reversed(names)
    if name not in ("d_model", "n_layers", "d_ff", *ATTENTION)
)
# Where a model lies in its width's product; `attention` is (n_heads, n_kv_heads, d_head).
COORDINATES = ("d_model", *FREE, "attention", "n_layers", "d_ff")
# Allowed ranges of a ratio of two fields.
RULES = ("aspect_ratio", "ff_ratio", "heads_per_kv_head")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchSpace:
    """The allowed values of every field of `Architecture`, and the rules between fields.

    Examples:
        Width 64 has one head of 64 or two of 32, width 128 two or four; each with one, two or three
        layers: 4 * 3 models. An MLP as wide as the model is one model each.

        >>> fixed = {"gated_mlp": (False,), "vocab_size": (512,), "tied_embeddings": (True,)}
        >>> fixed |= {"seq_len": (32,), "batch_size": (4,), "ff_ratio": (1.0, 1.0)}
        >>> space = SearchSpace(
        ...     d_model=(64, 128),
        ...     n_layers=(1, 2, 3),
        ...     n_heads=(1, 2, 4),
        ...     n_kv_heads=(1,),
        ...     d_head=(32, 64),
        ...     d_ff=(64, 128),
        ...     **fixed,
        ... )
        >>> space.n_architectures
        12
        >>> space.free_coordinates
        ('d_model', 'attention', 'n_layers')

        Of three depths the middle one lies in the middle; a position in the last third is the last.

        >>> space.decode({"d_model": 0.0, "n_layers": 0.5}).n_layers
        2
        >>> deepest = space.decode({"d_model": 1.0, "n_layers": 0.9})
        >>> (deepest.d_model, deepest.n_layers)
        (128, 3)
        >>> space.encode(deepest)["d_model"]
        0.75

    Attributes:
        d_model, ..., batch_size: allowed values, ascending.
        heads_fill_width: whether `n_heads * d_head == d_model` must hold.
        aspect_ratio: allowed `d_model / n_layers`, both ends included.
        ff_ratio: allowed `d_ff / d_model`, both ends included.
        heads_per_kv_head: allowed `n_heads / n_kv_heads`, both ends included.

    Raises:
        ValueError: a list is empty or not ascending, a rule is reversed, or no model is valid.
    """

    d_model: tuple[int, ...]
    n_layers: tuple[int, ...]
    n_heads: tuple[int, ...]
    n_kv_heads: tuple[int, ...]
    d_head: tuple[int, ...]
    d_ff: tuple[int, ...]
    gated_mlp: tuple[bool, ...]
    vocab_size: tuple[int, ...]
    tied_embeddings: tuple[bool, ...]
    seq_len: tuple[int, ...]
    batch_size: tuple[int, ...]
    heads_fill_width: bool = True
    aspect_ratio: Range = ANY_RATIO
    ff_ratio: Range = ANY_RATIO
    heads_per_kv_head: Range = ANY_RATIO

    def __post_init__(self) -> None:
        for name in FIELDS:
            values = getattr(self, name)
            if not values:
                raise ValueError(f"space: `{name}` must have a value, but has none")
            least, most = min(values), max(values)
            if name not in BOOL_FIELDS and not 1 <= least <= most <= MOST_OF_FIELD:
                wrong = least if least < 1 else most
                raise ValueError(
                    f"space: `{name}` must be from 1 to {MOST_OF_FIELD:,}, but got {wrong}"
                )
            if any(one >= after for one, after in itertools.pairwise(values)):
                raise ValueError(f"space: `{name}` must be ascending values, but is not")
        for name in RULES:
            low, high = getattr(self, name)
            if not 0 <= low <= high:
                raise ValueError(f"space: `{name}` must be low:high, but got {low:g}:{high:g}")
        if (n_entries := self._n_entries()) > MAX_ENTRIES:
            raise ValueError(
                f"space: its lists must come to at most {MAX_ENTRIES:,} entries over all widths, "
                f"but come to {n_entries:,}; give wide ranges a step, as d_model=256:4096:128"
            )
        if not self.widths:
            raise ValueError(f"space: no architecture is valid: {self._why_empty()}")

    @classmethod
    def only(cls, arch: Architecture) -> SearchSpace:
        """The space of one architecture."""
        fields: Any = {name: (value,) for name, value in arch.as_dict().items()}
        return cls(**fields, heads_fill_width=False)

    @functools.cached_property
    def widths(self) -> dict[int, Axes]:
        """For each width with at least one valid model, the lists whose product is its models."""
        axes = {d_model: self._axes(d_model) for d_model in self.d_model}
        return {d_model: lists for d_model, lists in axes.items() if all(lists.values())}

    @functools.cached_property
    def n_architectures(self) -> int:
        """Number of valid architectures."""
        return sum(math.prod(map(len, axes.values())) for axes in self.widths.values())

    @property
    def depths(self) -> set[int]:
        """Those of all valid architectures."""
        return {n_layers for axes in self.widths.values() for n_layers in axes["n_layers"]}

    @property
    def free_coordinates(self) -> tuple[str, ...]:
        """The coordinates with anything to choose."""
        free = [
            name
            for name in COORDINATES[1:]
            if any(len(axes[name]) > 1 for axes in self.widths.values())
        ]
        return ("d_model", *free) if len(self.widths) > 1 else tuple(free)

    def blocks(self, max_size: int = MESH_SIZE) -> Iterator[Architecture]:
        """All valid architectures, as open meshes of at most about `max_size` models each."""
        for d_model, axes in self.widths.items():
            for part in split(axes, max_size):
                yield open_mesh(d_model, part)

    def neighbours(
        self, arch: Architecture, radius: int, stride: float = 0.0, along: Collection[str] = ()
    ) -> Iterator[Architecture]:
        """Open meshes of the models within `radius` steps of one model, itself included.

        A step goes along a share of each list, its `stride`, and at least to the next entry; or
        `along` some lists alone, with `d_model` in every width. Each is entered at the same shares.
        """
        widths, position = list(self.widths), self.encode(arch)
        near = around(widths.index(arch.d_model), widths, 0 if along else radius, stride)
        for d_model in widths if "d_model" in along else near:
            axes = {}
            for name, values in self.widths[d_model].items():
                steps = 0 if along and name not in along else radius
                axes[name] = around(_index(position[name], values), values, steps, stride)
            yield open_mesh(d_model, axes)

    def decode(self, position: Mapping[str, float]) -> Architecture:
        """The model at a position in the unit cube, one number in [0, 1] for each coordinate.

        Coordinates left out must have a single value.
        """
        widths = list(self.widths)
        d_model = widths[_index(position.get("d_model", 0.0), widths)]
        chosen = {
            name: values[_index(position.get(name, 0.0), values)]
            for name, values in self.widths[d_model].items()
        }
        attention = dict(zip(ATTENTION, chosen.pop("attention"), strict=True))
        return model_of({"d_model": d_model, **chosen, **attention})

    def encode(self, arch: Architecture) -> dict[str, float]:
        """A position that `decode` turns into this model: the middle of its cell.

        Raises:
            ValueError: the model is not in the space.
        """
        if arch.d_model not in self.widths:
            raise ValueError(f"d_model={arch.d_model} is not in the space")
        chosen: dict[str, Any] = arch.as_dict() | {
            "attention": tuple(getattr(arch, name) for name in ATTENTION),
        }
        position = {}
        for name, values in ({"d_model": list(self.widths)} | self.widths[arch.d_model]).items():
            if chosen[name] not in values:
                raise ValueError(f"{name}={chosen[name]} is not in the space")
            position[name] = (values.index(chosen[name]) + 0.5) / len(values)
        return position

    def __contains__(self, arch: Architecture) -> bool:
        try:
            self.encode(arch)
        except ValueError:
            return False
        return True

    def bounds(self, arch: Architecture) -> list[str]:
        """A sentence for each range and rule on whose bound a model of the space sits."""
        sentences = []
        axes = self.widths[arch.d_model]
        decided = [n for n, of in zip(ATTENTION, zip(*axes["attention"], strict=True), strict=True)
                   if len(set(of)) == 1]  # fmt: skip
        for name in FIELDS:
            values, value = getattr(self, name), getattr(arch, name)
            free = len(values) > 1 and name not in (*BOOL_FIELDS, *decided)
            if free and value in (values[0], values[-1]):
                side = "lower" if value == values[0] else "upper"
                sentences.append(f"{name} = {value} is the {side} end of its range")
        # The entry of each list that lies at its rule's lower and upper limit.
        for rule, of, ratio, field, entries in (
            ("aspect_ratio", "d_model / n_layers", arch.aspect_ratio, "n_layers", (-1, 0)),
            ("ff_ratio", "d_ff / d_model", arch.d_ff / arch.d_model, "d_ff", (0, -1)),
        ):
            ends = zip(entries, ("lower", "upper"), getattr(self, rule), strict=True)
            for entry, side, limit in ends if len(axes[field]) > 1 else ():
                if getattr(arch, field) == axes[field][entry] != getattr(self, field)[entry]:
                    sentences.append(f"{rule} ({of}) = {ratio:.4g}, its {side} limit is {limit:g}")
        return sentences

    def _n_entries(self) -> int:
        """The most entries that the lists of all widths can have, counted before they are made."""
        times = len(self.d_model if self.heads_fill_width else self.n_heads)
        n_attention = times * len(self.n_kv_heads) * len(self.d_head)
        return n_attention + len(self.d_model) * (len(self.n_layers) + len(self.d_ff))

    def _axes(self, d_model: int) -> Axes:
        low_aspect, high_aspect = self.aspect_ratio
        low_ff, high_ff = self.ff_ratio
        filled = self.heads_fill_width
        return {name: getattr(self, name) for name in FREE} | {
            "attention": self._attention(d_model) if filled else self._attention_of_all,
            "n_layers": [n for n in self.n_layers if low_aspect * n <= d_model <= high_aspect * n],
            "d_ff": [n for n in self.d_ff if low_ff * d_model <= n <= high_ff * d_model],
        }

    @functools.cached_property
    def _attention_of_all(self) -> list[tuple[int, int, int]]:
        """The attention of every width, where heads need not fill it."""
        return self._attention(None)

    def _attention(self, d_model: int | None) -> list[tuple[int, int, int]]:
        """Heads, their keys' and values' and their width, where they fill a width and where not."""
        low, high = self.heads_per_kv_head
        counts = frozenset(self.n_heads)
        shapes = [
            (n_heads, n_kv_heads, d_head)
            for d_head in self.d_head
            for n_heads in (self.n_heads if d_model is None else [d_model // d_head])
            if d_model is None or (n_heads * d_head == d_model and n_heads in counts)
            for n_kv_heads in self.n_kv_heads
            if n_heads % n_kv_heads == 0 and low <= n_heads / n_kv_heads <= high
        ]
        # Ordered by the width of keys and values, which parameters and time follow.
        return sorted(shapes, key=lambda shape: (shape[1] * shape[2], shape))

    def _why_empty(self) -> str:
        rules = {
            "attention": f"heads_fill_width={str(self.heads_fill_width).lower()} "
            "and kv heads dividing heads, heads_per_kv_head={:g}:{:g}".format(
                *self.heads_per_kv_head
            ),
            "n_layers": "aspect_ratio={:g}:{:g}".format(*self.aspect_ratio),
            "d_ff": "ff_ratio={:g}:{:g}".format(*self.ff_ratio),
        }
        axes = [self._axes(d_model) for d_model in self.d_model]
        for name, rule in rules.items():
            if not any(lists[name] for lists in axes):
                return f"no {name} in the space satisfies {rule}; widen one or the other"
        return f"no width satisfies {', '.join(rules.values())} all at once; widen one of them"


def _index(position: float, values: list) -> int:
    return min(int(position * len(values)), len(values) - 1)
