"""Polynomials in the numbers of a config: of a block's parameters, and of what stands outside."""

from __future__ import annotations

from collections.abc import Mapping

# Monomials, names with `*` between them, and how often each is there; `""` is 1.
Polynomial = Mapping[str, int]

HEAD = "hidden_size//num_attention_heads"
FLOOR = "floor(hidden_size/num_attention_heads)"
SIXTEENTH = "ceil(hidden_size/16)"


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
        elif name in sizes:
            product *= sizes[name]
        else:
            raise ValueError(f"`{name}` must be a whole number >= 1, but is missing")
    return product


def value_of(polynomial: Polynomial, sizes: Mapping[str, int]) -> int:
    """What it is at these numbers."""
    return sum(n * product(monomial, sizes) for monomial, n in polynomial.items())
