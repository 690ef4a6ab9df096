"""What keys of a family add to its blocks: flags, and sizes that are left at null."""

from __future__ import annotations

import itertools
from typing import Any

from anybudget.experiments.hf_families.family import Family
from anybudget.experiments.hf_families.polynomials import (
    FLOOR,
    HEAD,
    SIXTEENTH,
    TIED,
    Poly,
    count,
    difference,
    value,
)
from anybudget.experiments.hf_families.reading import read

# What a size may be that a config leaves at null; which of them hold is tried.
NULL_RULES: dict[str, tuple[dict[str, int], ...]] = {
    "num_key_value_heads": ({"num_attention_heads": 1},),
    "head_dim": ({HEAD: 1},),
    "v_head_dim": ({HEAD: 1}, {"qk_nope_head_dim": 1}),
    "intermediate_size": ({"hidden_size": 4},),
    "moe_intermediate_size": ({"intermediate_size": 1},),
    "attention_hidden_size": ({"hidden_size": 1},),
    "time_step_rank": ({SIXTEENTH: 1},),
    "linear_num_key_heads": ({"num_attention_heads": 1},),
    "linear_num_value_heads": ({"num_attention_heads": 1},),
}

# Sizes that are a number by default, and null where a model has no such part.
LEFT_OUT = ("q_lora_rank",)


def flag_of(
    family: Family, key: str, default: bool, base: int, labels: list[str]
) -> tuple[str, Any]:
    """What a flag adds to each block and outside where it is not its default."""
    try:
        same = count(family.build({key: not default, TIED: True})) == base
        flag = added(family, key, not default, labels)
    except Exception:
        return "fixed", default
    if same and not flag["outside"] and not any(flag["layers"].values()):
        return "harmless", None
    if not holds(family, key, flag, labels):
        return "fixed", default
    return "flags", flag


def added(family: Family, key: str, value: Any, labels: list[str]) -> dict[str, Any]:
    """What a key at a value adds to each kind of block and outside.

    Raises:
        ValueError: to blocks of a kind it adds unlike terms.
    """
    layers, outside = read(family, {TIED: True})
    with_it, outside_with_it = read(family, {key: value, TIED: True})
    found: dict[str, dict[str, int]] = {}
    for kind, one, before in zip(labels, with_it, layers, strict=True):
        if found.setdefault(kind, more := difference(one, before)) != more:
            raise ValueError("it adds unlike terms to blocks of one kind")
    if all(more == found[labels[0]] for more in found.values()):
        found = {"": found[labels[0]]}
    return {"is": value, "layers": found, "outside": difference(outside_with_it, outside)}


def null_sizes(family: Family, keys: set[str], labels: list[str]) -> tuple[dict, dict]:
    """Which sizes are no number by default, and what they are then, or what that adds."""
    rules: dict[str, Any] = {}
    flags: dict[str, Any] = {}
    for key in family.free:
        mine = family.mine(key)
        null = None if key in LEFT_OUT else family.fields.get(mine)
        if mine not in keys or (isinstance(null, int) and null > 0):
            continue
        without = {other: n for other, n in family.at.items() if other != key}
        for rule in NULL_RULES.get(key, ()):
            stand_in = value(Poly(rule), without)
            try:
                left = count(family.build({mine: null, TIED: True}))
                said = count(family.build({mine: stand_in, TIED: True}))
            except Exception:
                continue
            if left == said:
                rules[key] = {FLOOR: 1} if HEAD in rule and floors(family, mine) else rule
                break
        if key not in rules:
            try:
                flags[mine] = added(family, mine, null, labels)
            except Exception:  # a config must say it
                continue
    return rules, flags


def floors(family: Family, head: str) -> bool:
    """Whether heads that do not divide the width are as wide as fits."""
    heads = family.mine("num_attention_heads")
    some = {heads: 28, TIED: True}
    try:
        left = count(family.build(some | {head: None}))
        return left == count(family.build(some | {head: family.at["hidden_size"] // 28}))
    except Exception:
        return False


def at(flag: dict[str, Any], labels: list[str], sizes: dict[str, int]) -> int:
    """What a flag adds to a model of such layers."""
    of_kind = flag["layers"]
    terms = [flag["outside"], *(of_kind.get(kind, of_kind.get("", {})) for kind in labels)]
    return sum(value(Poly(one), sizes) or 0 for one in terms)


def holds(family: Family, key: str, flag: dict[str, Any], labels: list[str]) -> bool:
    """Whether a flag adds as much with other numbers of heads; some have a norm for each."""
    heads = "num_attention_heads"
    if heads not in family.free:
        return True
    found = []
    for n in (2 * family.at[heads], family.at[heads] // 2):
        change = {family.mine(heads): n, TIED: True}
        try:
            more = count(family.build(change | {key: flag["is"]})) - count(family.build(change))
        except Exception:  # no model has so many
            continue
        found.append(more == at(flag, labels, family.at | {heads: n}))
    return bool(found) and all(found)


def additive(family: Family, flags: dict[str, Any], base: int, labels: list[str]) -> bool:
    """Whether two flags, and all of them, add what each adds."""
    for some in [*itertools.combinations(flags, 2), tuple(flags)]:
        expected = base + sum(at(flags[key], labels, family.at) for key in some)
        try:
            built = count(family.build({key: flags[key]["is"] for key in some} | {TIED: True}))
        except Exception:
            return False
        if built != expected:
            return False
    return True
