"""Polynomials of each block of a family, and which block is of which kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from anybudget.experiments.hf_families.family import Family, said
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
from anybudget.experiments.hf_families.usual import KINDS, N_LAYERS, SHOWN
from anybudget.space.hf_layers import follow

DEPTH = "num_hidden_layers"


def read(
    family: Family, changes: dict[str, Any], n_layers: int | None = None, first: str | None = None
) -> tuple[list[Poly], Poly]:
    """Polynomials of each block, and of what is outside, of a model changed.

    Args:
        family: whose model.
        changes: of its config.
        n_layers: that the model has then.
        first: the size that a side is looked for before all others.
    """
    null = {key for key in family.at if family.mine(key) in changes}
    sizes = {key: n for key, n in family.at.items() if key not in null}
    known = [(Poly({key: 1}), n) for key, n in sizes.items() if key == first] + sides(sizes)
    n_layers = n_layers or family.n_layers
    many = [(Poly({"*".join(sorted((DEPTH, key))): 1}), n_layers * n) for key, n in sizes.items()]
    literals = [(Poly({"": n}), n) for n in sorted(family.literals)]
    layers, outside = in_layers(family.build(changes), n_layers)
    inside = [polynomial(layer, known + literals) for layer in layers]
    return inside, polynomial(outside, many * family.deep + known + literals)


def fit(family: Family) -> None:
    """Hold what sides hang on in a way that is no product, until all parameters can be read.

    Raises:
        NoProductError: a side is no product although nothing moves it.
    """
    _deepen(family)
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
            break
        family.hold(wrong[0])
    _deepen(family)


def _deepen(family: Family) -> None:
    """Look for sides of so many for each layer, if the outside else changes with the depth."""
    for family.deep in (False, True, False):
        if _same_outside(family):
            return


def _same_outside(family: Family) -> bool:
    depth = 2 * family.n_layers + 3
    try:
        other = read(family, {family.mine(DEPTH): depth, TIED: True}, depth)[1]
    except Exception:  # it has models of some depths only
        return False
    return other == read(family, {TIED: True})[1]


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
        if built != sum(value(one, family.sizes | {key: size}) or 0 for one in polynomials):
            return False
    return True


def exceptions(family: Family, polynomials: list[Poly]) -> dict[str, Any]:
    """Where a model is another than was read off, though each size alone is as it was read.

    Returns:
        `unequal`: sizes whose matrix is not there where both are one; `divides`: whether heads must
        divide the width.
    """

    def otherwise(changes: dict[str, int]) -> bool:
        try:
            built = count(family.build({family.mine(key): n for key, n in changes.items()} | tied))
        except Exception:
            return False
        return built != sum(value(one, family.sizes | changes) or 0 for one in polynomials)

    tied, free = {TIED: True}, {*family.free}
    products = sorted({tuple(key.split("*")) for one in polynomials for key in one})
    pairs = [pair for pair in products if len({*pair} & free) == len(pair) == 2]
    pairs = [pair[::-1] if pair[0] == "hidden_size" else pair for pair in pairs]  # heads divide it
    unequal = [[a, b] for a, b in pairs if a != b and otherwise({a: family.at[b]})]
    heads = [key for key in ("num_attention_heads", "num_key_value_heads") if key in free]
    divides = {"hidden_size", "num_attention_heads"} <= free and any(
        otherwise(dict.fromkeys(heads, n)) for n in (7, 9, 13)
    )
    return {"unequal": unequal, "divides": divides}


def kinds_of(
    family: Family, layers: list[Poly], outside: Poly
) -> tuple[dict, list[str], dict, list[str]]:
    """Polynomials by kind of layer, each layer's kind, and what says so where a config does not.

    Kinds are what a config calls them; or, where layers differ that it calls the same, numbers. A
    pattern is what comes first, and what is repeated after it. Last what a kind's name is made of:
    whether it has experts, if nothing else sets layers apart.
    """
    sequences = [(layers, family.kinds)]
    depth = family.mine("num_hidden_layers")
    default = family.fields.get(depth)
    alike = all(layer == layers[0] for layer in layers)
    if "num_hidden_layers" not in family.held:
        for n_layers in {default, 2 * family.n_layers + 3} - {family.n_layers, None}:
            try:
                other, around = read(family, {depth: n_layers, TIED: True}, n_layers)
            except Exception:  # it has models of some depths only
                family.held.add("num_hidden_layers")
                continue
            if around != outside:
                family.held.add("num_hidden_layers")
            sequences.append((other, family.kinds))
    by = [*family.kinds]
    found, named = labelled(sequences, KINDS[1:])
    if found and KINDS[1] in by:
        by = [KINDS[1]]
    else:
        found, named = labelled(sequences, by)
    if alike and len({*map(str, found.values())}) <= 1:  # what they are called may mean windows
        found, named = {"": layers[0]}, [[""] * len(layers)]
    elif not found:
        unlike: list[Poly] = []
        unlike += (one for ones, _ in sequences for one in ones if one not in unlike)
        found = {str(i): one for i, one in enumerate(unlike)}
        named = [[str(unlike.index(one)) for one in ones] for ones, _ in sequences]
    if family.name in SHOWN and not family.unsaid:  # what is shown is no pattern
        sequences = sequences[1:]
    lists = {key: [kinds[key] for _, kinds in sequences] for key in sequences[0][1]}
    if family.unsaid:
        lists.pop(KINDS[0])
    if "0" in found:
        lists[""] = named
    pattern = {key: pattern_of(one) for key, one in lists.items()}
    if family.unsaid and (own := said(family.config_class(), KINDS[0])):
        pattern[KINDS[0]] = {"first": own, "again": []}
    if "" in found:
        pattern = {key: rule for key, rule in pattern.items() if rule}
    elif None in pattern.values():
        family.held.add("num_hidden_layers")
        depths = [len(one) for one, _ in sequences]
        if default not in depths:
            raise ValueError("its layers differ, and its config does not say how")
        at_default = depths.index(default)
        pattern = {key: {"first": one[at_default], "again": []} for key, one in lists.items()}
    return {kind: dict(sorted(one.items())) for kind, one in found.items()}, named[0], pattern, by


def labelled(
    sequences: list[tuple[list[Poly], dict[str, list[str]]]], names: Sequence[str]
) -> tuple[dict[str, Poly], list[list[str]]]:
    """Blocks by what these lists call them, none if one name is of unlike ones; and their names."""
    found: dict[str, Poly] = {}
    named: list[list[str]] = []
    for polynomials, kinds in sequences:
        lists = [kinds[name] for name in names if name in kinds]
        named.append(["/".join(one) for one in zip(*lists, strict=True)] or [""] * len(polynomials))
        if any(found.setdefault(a, b) != b for a, b in zip(named[-1], polynomials, strict=True)):
            return {}, named
    return found, named


def least_depth(family: Family, pattern: dict[str, Any]) -> int:
    """How many layers there must be at least for its class to follow the pattern."""
    depth = family.mine(DEPTH)
    for n_layers in range(N_LAYERS, 0, -1):
        try:
            config = family.config_class(**{depth: n_layers})
        except Exception:  # transformers has none so small
            return n_layers + 1
        lists = {name: said(config, name) for name in KINDS if name in pattern}
        if any(one and one != follow(pattern[name], n_layers) for name, one in lists.items()):
            return n_layers + 1
    return 1


def pattern_of(sequences: list[list[Any]]) -> dict[str, list[Any]] | None:
    """What comes first in all of them, what is repeated after it, and the last where it is one.

    None where there is no such pattern.
    """
    longest = max(sequences, key=len)
    for last in ([], longest[-1:]):
        for n_first in range(4):
            for period in range(1, len(longest) // 2 + 1):
                rule = {
                    "first": longest[:n_first],
                    "again": longest[n_first : n_first + period],
                } | ({"last": last} if last else {})
                if all(one == follow(rule, len(one)) for one in sequences):
                    return rule
    return None
