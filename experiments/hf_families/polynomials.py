"""Polynomials in the numbers of a config, matched with the sides of a model's parameters."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Mapping

from anybudget.space.hf_polynomials import HEAD, ROUNDED, SIXTEENTH, THREE_QUARTERS

Poly = Counter  # monomial ("hidden_size*num_attention_heads", sorted) -> coefficient

# The sizes of the probe, by the canonical key; no two products below are equal.
SIZES = {
    "hidden_size": 1320,
    "num_attention_heads": 12,
    "num_key_value_heads": 4,
    "head_dim": 94,
    "intermediate_size": 1762,
    "vocab_size": 300_007,
    "max_position_embeddings": 1543,
    "num_experts": 14,
    "num_local_experts": 14,
    "n_routed_experts": 14,
    "moe_intermediate_size": 278,
    "shared_expert_intermediate_size": 382,
    "n_shared_experts": 11,
    "num_shared_experts": 11,
    "q_lora_rank": 346,
    "kv_lora_rank": 218,
    "qk_rope_head_dim": 38,
    "qk_nope_head_dim": 58,
    "v_head_dim": 46,
    "state_size": 26,
    "conv_kernel": 17,
    "num_experts_per_tok": 2,
    "shared_intermediate_size": 434,
    "index_n_heads": 15,
    "index_head_dim": 142,
    "encoder_attention_heads": 12,
    "attention_hidden_size": 1426,
    "linear_num_key_heads": 6,
    "linear_num_value_heads": 18,
    "linear_key_head_dim": 62,
    "linear_value_head_dim": 74,
    "linear_conv_kernel_dim": 19,
    "expand": 7,
    "n_groups": 9,
    "num_heads": 84,
    "time_step_rank": 53,
    "max_sequence_length": 1543,
    "type_vocab_size": 13,
    "embedding_size": 1034,
    "global_head_dim": 178,
    "num_global_key_value_heads": 6,
}
# Where a family's own rules tie its sizes together.
STATES = {"mamba_d_conv": 17, "mamba_d_state": 26, "mamba_n_groups": 9, "mamba_n_heads": 84}
TIES = {
    "mamba2": {"head_dim": 110},
    "bamba": {**STATES, "mamba_expand": 7},
    "granitemoehybrid": {**STATES, "mamba_expand": 7},
    "falcon_h1": {**STATES, "mamba_d_ssm": 84 * 97},
}
# They are numbers of what has sides, and no sides.
NO_SIDE = ("num_experts_per_tok", "num_hidden_layers")
EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")
TIED = "tie_word_embeddings"


class NoProductError(ValueError):
    """A side of a parameter that is no product of sizes."""

    def __init__(self, name: str, axis: int, side: int) -> None:
        """Which parameter's, which of its axes, and how long it is."""
        super().__init__(f"{name}: no product is {side}")
        self.parameter, self.axis, self.side = name, axis, side


def times(*factors: Poly) -> Poly:
    """The product of polynomials."""
    product = Poly({"": 1})
    for factor in factors:
        product_of: Poly = Poly()
        for (a, n), (b, m) in itertools.product(product.items(), factor.items()):
            product_of["*".join(sorted(filter(None, [*a.split("*"), *b.split("*")])))] += n * m
        product = product_of
    return product


def symbol(name: str, n: int = 1) -> Poly:
    """`n` times a number of the config."""
    return Poly({name: n})


def sides(keys: Mapping[str, int]) -> list[tuple[Poly, int]]:
    """What a side of a parameter may be, simplest first, and how long it is at such sizes."""
    d, heads = "hidden_size", "num_attention_heads"
    kv = "num_key_value_heads" if "num_key_value_heads" in keys else heads
    head = "head_dim" if "head_dim" in keys else HEAD
    queries, values = times(symbol(heads), symbol(head)), times(symbol(kv), symbol(head))
    if "head_dim" not in keys:
        queries = symbol(d)
    found = [Poly({"": n}) for n in range(1, 9)]
    found += [symbol(key) for key in keys if key not in NO_SIDE]
    found += [symbol(head), queries, values]
    found += [symbol(key, n) for key in keys for n in (2, 3, 4) if "size" in key]
    found += [times(symbol("n_shared_experts"), symbol("moe_intermediate_size"))]
    found += [times(symbol("num_shared_experts"), symbol("moe_intermediate_size"))]
    found += [times(symbol("num_shared_experts"), symbol("intermediate_size"))]
    found += [queries + values + values, queries + values, values + values, queries + queries]
    found += [times(symbol(heads), symbol("v_head_dim"))]
    wide = symbol("global_head_dim")
    found += [times(symbol(one), wide) for one in (heads, kv, "num_global_key_value_heads")]
    narrow = symbol(HEAD)
    found += [times(narrow, symbol(kv)), symbol(d) + narrow + narrow]
    found += [times(symbol("index_n_heads"), symbol("index_head_dim"))]
    rope, nope = symbol("qk_rope_head_dim"), symbol("qk_nope_head_dim")
    found += [times(symbol(heads), rope + nope), times(symbol(heads), nope + symbol("v_head_dim"))]
    found += [symbol("kv_lora_rank") + rope, rope + nope]
    found += [Poly({d: 2, "": 0}), symbol("max_position_embeddings") + Poly({"": 2})]
    found += [times(symbol(kv), symbol(head)) + symbol(head)]
    key_width = times(symbol("linear_num_key_heads"), symbol("linear_key_head_dim"))
    value_width = times(symbol("linear_num_value_heads"), symbol("linear_value_head_dim"))
    found += [value_width, key_width, key_width + key_width + value_width]
    found += [key_width + key_width + value_width + value_width]
    found += [symbol("linear_num_value_heads", 2)]
    heads_of = times(symbol("mamba_num_heads"), symbol("mamba_head_dim"))
    for groups, state, n, expand in (
        ("n_groups", "state_size", "num_heads", "expand"),
        ("mamba_n_groups", "mamba_d_state", "mamba_n_heads", "mamba_expand"),
        ("n_groups", "ssm_state_size", "mamba_num_heads", "expand"),
    ):
        states = times(symbol(groups), symbol(state))
        for inner in (times(symbol(expand), symbol(d)), symbol("mamba_d_ssm"), heads_of):
            found += [inner, inner + inner, inner + states + states]
            found += [inner + inner + states + states + symbol(n)]
    found += [symbol("time_step_rank") + symbol("state_size", 2)]
    found += [symbol(HEAD), symbol(ROUNDED)]
    # Last what no family was seen to have by name: so many of so wide, once to three times.
    many = sorted(key for key in keys if re.search(r"num|^n_|heads|groups|expand", key))
    many = [key for key in many if key not in NO_SIDE]
    found += [times(symbol(a, n), symbol(b)) for n in (1, 2, 3) for a in many for b in sorted(keys)]
    return [(poly, n) for poly in found if (n := value(poly, keys)) is not None and n > 0]


def value(poly: Poly, keys: Mapping[str, int]) -> int | None:
    """A polynomial at some sizes; None where one of them is missing."""
    total = 0
    for monomial, n in poly.items():
        for name in filter(None, monomial.split("*")):
            if name == HEAD and {"hidden_size", "num_attention_heads"} <= set(keys):
                n *= keys["hidden_size"] // keys["num_attention_heads"]
            elif name == SIXTEENTH:
                n *= -(-keys["hidden_size"] // 16)
            elif name == THREE_QUARTERS and "linear_num_key_heads" in keys:
                n *= 3 * keys["hidden_size"] // (4 * keys["linear_num_key_heads"])
            elif name == ROUNDED and "intermediate_size" in keys:
                n *= -(-(2 * keys["intermediate_size"] // 3) // 256) * 256
            elif name == "experts":
                n *= next(keys[key] for key in EXPERTS if key in keys)
            elif name in keys:
                n *= keys[name]
            else:
                return None
        total += n
    return total


def polynomial(shapes: dict[str, tuple[int, ...]], known: list[tuple[Poly, int]]) -> Poly:
    """The sum of the parameters' products of sides."""
    total: Poly = Poly()
    for name, shape, times_built in stacked(shapes):
        factors = [next((poly for poly, n in known if n == times_built), Poly({"": times_built}))]
        for side in shape:
            match = next((poly for poly, n in known if n == side), None)
            if match is None:
                raise NoProductError(name, shape.index(side), side)
            factors.append(match)
        product = times(*factors)
        if re.search(
            r"(^|\.)experts\.(?!router)", name
        ):  # of each expert, of which a token meets some
            product = Poly({_of_experts(key): n for key, n in product.items()})
        total += product
    return Poly({key: n for key, n in total.items() if n})


def stacked(shapes: dict[str, tuple[int, ...]]) -> list[tuple[str, tuple[int, ...], int]]:
    """Parameters that are alike but for a number in their name once: name, shape, how many."""
    alike = Counter((re.sub(r"\.\d+(?=\.)", ".#", name), shape) for name, shape in shapes.items())
    found = []
    for name, shape in shapes.items():
        if n := alike.pop((re.sub(r"\.\d+(?=\.)", ".#", name), shape), 0):
            found.append((name, shape, n))
    return found


def _of_experts(monomial: str) -> str:
    names = ["experts" if name in EXPERTS else name for name in monomial.split("*")]
    return "*".join(sorted(names))


def in_layers(shapes: dict[str, tuple[int, ...]], n_layers: int) -> tuple[list[dict], dict]:
    """Shapes of each layer, and of what is outside."""
    layers: list[dict] = [{} for _ in range(n_layers)]
    outside = {}
    for name, shape in shapes.items():
        match = re.search(r"\.(\d+)\.", name)
        if match and int(match[1]) < n_layers:
            layers[int(match[1])][name] = shape
        else:
            outside[name] = shape
    return layers, outside


def count(shapes: dict[str, tuple[int, ...]]) -> int:
    """Elements of all."""
    total = 0
    for shape in shapes.values():
        n = 1
        for side in shape:
            n *= side
        total += n
    return total


def difference(one: Poly, other: Poly) -> dict[str, int]:
    """One polynomial less another."""
    keys = {*one, *other}
    return {key: one[key] - other[key] for key in sorted(keys) if one[key] != other[key]}
