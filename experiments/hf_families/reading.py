"""Polynomials of each block of a family, and which block is of which kind."""

from __future__ import annotations

from typing import Any

from anybudget.experiments.hf_families.family import SHOWN, Family
from anybudget.experiments.hf_families.polynomials import (
    TIED,
    NoProductError,
    Poly,
    count,
    in_layers,
    polynomial,
    sides,
    value,
)
from anybudget.space.hf_layers import follow


def read(
    family: Family, changes: dict[str, Any], n_layers: int | None = None
) -> tuple[list[Poly], Poly]:
    """Polynomials of each block, and of what is outside, of a model changed."""
    null = {key for key in family.at if family.mine(key) in changes}
    known = sides({key: n for key, n in family.at.items() if key not in null})
    known += [(Poly({"": n}), n) for n in sorted(family.literals)]
    layers, outside = in_layers(family.build(changes), n_layers or family.n_layers)
    return [polynomial(layer, known) for layer in layers], polynomial(outside, known)


def fit(family: Family) -> None:
    """Hold what sides hang on in a way that is no product, until all parameters can be read.

    Raises:
        NoProductError: a side is no product although nothing moves it.
    """
    while True:
        try:
            layers, outside = read(family, {TIED: True})
        except NoProductError as error:
            movers = [key for key in family.free if _moves(family, key, error)]
            if not movers:
                family.literals.add(error.side)
            for key in movers:
                family.hold(key)
            continue
        wrong = [key for key in family.free if not _as_read(family, key, [*layers, outside])]
        if not wrong:
            return
        family.hold(wrong[0])


def _moves(family: Family, key: str, error: NoProductError) -> bool:
    try:
        shape = family.build({family.mine(key): 2 * family.at[key], TIED: True})[error.parameter]
    except Exception:
        return False
    return shape[error.axis] != error.side


def _as_read(family: Family, key: str, polynomials: list[Poly]) -> bool:
    """Whether twice a size, and what the family has, give the count that was read off."""
    if not any(key in monomial for one in polynomials for monomial in one):
        return True  # `role_of` looks at it
    tries = [2 * family.at[key]]
    if key not in ("hidden_size", "num_attention_heads"):  # the probe's others may not divide it
        own = family.default(key)
        tries += [own] if type(own) is int and own > 0 else []
    for size in tries:
        try:
            built = count(family.build({family.mine(key): size, TIED: True}))
        except Exception:  # tied to another, so that it takes both
            continue
        if built != sum(value(one, family.at | {key: size}) or 0 for one in polynomials):
            return False
    return True


def kinds_of(family: Family, layers: list[Poly]) -> tuple[dict, list[str], dict]:
    """Polynomials by kind of layer, each layer's kind, and what says so where a config does not.

    Kinds are what a config calls them; or, where layers differ that it calls the same, numbers. A
    pattern is what comes first, and what is repeated after it.
    """
    sequences = [(layers, family.kinds)]
    depth = family.mine("num_hidden_layers")
    default = family.fields.get(depth)
    alike = all(layer == layers[0] for layer in layers)
    if "num_hidden_layers" not in family.held:
        for n_layers in {default, 2 * family.n_layers + 3} - {family.n_layers, None}:
            try:
                other, _ = read(family, {depth: n_layers, TIED: True}, n_layers)
            except Exception:  # it has models of some depths only
                family.held.add("num_hidden_layers")
                continue
            sequences.append((other, family.kinds))
    found: dict[str, Poly] = {}
    named: list[list[str]] = []
    for polynomials, kinds in sequences:
        labels = ["/".join(one) for one in zip(*kinds.values(), strict=True)]
        named.append(labels or [""] * len(polynomials))
        if any(found.setdefault(a, b) != b for a, b in zip(named[-1], polynomials, strict=True)):
            found = {}
            break
    if alike and len({*map(str, found.values())}) <= 1:  # what they are called may mean windows
        found, named = {"": layers[0]}, [[""] * len(layers)]
    elif not found:
        unlike: list[Poly] = []
        unlike += (one for ones, _ in sequences for one in ones if one not in unlike)
        found = {str(i): one for i, one in enumerate(unlike)}
        named = [[str(unlike.index(one)) for one in ones] for ones, _ in sequences]
    if family.name in SHOWN:  # what is shown is no pattern
        sequences = sequences[1:]
    lists = {key: [kinds[key] for _, kinds in sequences] for key in sequences[0][1]}
    if "0" in found:
        lists[""] = named
    pattern = {key: pattern_of(said) for key, said in lists.items()}
    if "" in found:
        pattern = {key: rule for key, rule in pattern.items() if rule}
    elif None in pattern.values():
        family.held.add("num_hidden_layers")
        depths = [len(one) for one, _ in sequences]
        if default not in depths:
            raise ValueError("its layers differ, and its config does not say how")
        at_default = depths.index(default)
        pattern = {key: {"first": said[at_default], "again": []} for key, said in lists.items()}
    return {kind: dict(sorted(one.items())) for kind, one in found.items()}, named[0], pattern


def pattern_of(sequences: list[list[Any]]) -> dict[str, list[Any]] | None:
    """What comes first in all of them, and what is repeated after it; None where there is none."""
    longest = max(sequences, key=len)
    for n_first in range(4):
        for period in range(1, len(longest) // 2 + 1):
            rule = {
                "first": longest[:n_first],
                "again": longest[n_first : n_first + period],
            }
            if all(one == follow(rule, len(one)) for one in sequences):
                return rule
    return None
