"""Polynomials in the numbers of a config: of a block's parameters, and of what stands outside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Monomials, names with `*` between them, and how often each is there; `""` is 1.
Polynomial = Mapping[str, int]

HEAD = "hidden_size//num_attention_heads"
FLOOR = "floor(hidden_size/num_attention_heads)"
SIXTEENTH = "ceil(hidden_size/16)"
THREE_QUARTERS = "floor(3hidden_size/4linear_num_key_heads)"
# A gated MLP's width of as many weights as a plain one's, rounded up (as LLaMA's code does).
ROUNDED = "roundup(2intermediate_size/3,256)"


def plus(*polynomials: Polynomial) -> dict[str, int]:
    """Their sum, without what is not there."""
    total: dict[str, int] = {}
    for polynomial in polynomials:
        for monomial, n in polynomial.items():
            total[monomial] = total.get(monomial, 0) + n
    return {monomial: n for monomial, n in total.items() if n}


def product(monomial: str, sizes: Mapping[str, int]) -> int:
    """The product that a monomial stands for; `""` is 1."""
    product = 1
    for name in filter(None, monomial.split("*")):
        if name == HEAD:
            d_model, n_heads = sizes["hidden_size"], sizes["num_attention_heads"]
            if d_model % n_heads:
                raise ValueError(
                    "without `head_dim`, heads must divide the width, "
                    f"but got {n_heads} heads and a width of {d_model}"
                )
            product *= d_model // n_heads
        elif name == FLOOR:
            product *= sizes["hidden_size"] // sizes["num_attention_heads"]
        elif name == SIXTEENTH:
            product *= -(-sizes["hidden_size"] // 16)
        elif name == THREE_QUARTERS:
            product *= 3 * sizes["hidden_size"] // (4 * sizes["linear_num_key_heads"])
        elif name == ROUNDED:
            product *= -(-(2 * sizes["intermediate_size"] // 3) // 256) * 256
        elif name in sizes:
            product *= sizes[name]
        else:
            key = "num_experts" if name == "experts" else name
            raise ValueError(f"`{key}` must be a whole number >= 1, but is missing")
    return product


def value_of(polynomial: Polynomial, sizes: Mapping[str, int]) -> int:
    """What it is at these numbers."""
    return sum(n * product(monomial, sizes) for monomial, n in polynomial.items())


def check_sizes(family: Mapping[str, Any], sizes: Mapping[str, int]) -> None:
    """That no two sizes meet where a model is then made otherwise.

    Raises:
        ValueError: they do.
    """
    d_model, n_heads = sizes.get("hidden_size", 0), sizes.get("num_attention_heads", 1)
    if family["divides"] and d_model % n_heads:
        raise ValueError(f"heads must divide the width, but got {n_heads} and {d_model}")
    for a, b in family["unequal"]:
        if a in sizes and sizes[a] == sizes.get(b):
            raise ValueError(f"`{a}` and `{b}` must differ to be counted, but both are {sizes[a]}")
