"""What keys of a family add to its blocks: flags, and sizes that are left at null."""

from __future__ import annotations

import itertools
import re
from typing import Any

from anybudget.experiments.hf_families.family import Family
from anybudget.experiments.hf_families.polynomials import (
    EXPERTS,
    NO_SIDE,
    TIED,
    Poly,
    count,
    difference,
    value,
)
from anybudget.experiments.hf_families.reading import read
from anybudget.space.hf_polynomials import FLOOR, HEAD, SIXTEENTH, THREE_QUARTERS

# What a size may be that a config leaves at null; which of them hold is tried.
NULL_RULES: dict[str, tuple[dict[str, int], ...]] = {
    "num_key_value_heads": ({"num_attention_heads": 1},),
    "head_dim": ({HEAD: 1}, {HEAD: 2}),
    "v_head_dim": ({HEAD: 1}, {"qk_nope_head_dim": 1}),
    "intermediate_size": ({"hidden_size": 4},),
    "moe_intermediate_size": ({"intermediate_size": 1},),
    "num_global_key_value_heads": ({"num_key_value_heads": 1},),
    "attention_hidden_size": ({"hidden_size": 1},),
    "time_step_rank": ({SIXTEENTH: 1},),
    "linear_key_head_dim": ({THREE_QUARTERS: 1},),
    "linear_value_head_dim": ({"linear_key_head_dim": 2},),
    "linear_num_key_heads": ({"num_attention_heads": 1},),
    "linear_num_value_heads": ({"num_attention_heads": 1},),
}

# Sizes that are a number by default, and null where a model has no such part.
LEFT_OUT = ("q_lora_rank",)
# Sizes that may be 0; of experts that is no model with none of them, but one without their part.
ZERO = re.compile("expert|per_layer_input|shared_intermediate")
# What a key is never without.
NEEDS = {"add_cross_attention": {"is_decoder": True}}


def flag_of(
    family: Family, key: str, default: bool, base: int, labels: list[str]
) -> tuple[str, Any]:
    """What a flag adds to each block and outside where it is not its default."""
    try:
        same = count(family.build(switched(family, {key: not default}))) == base
        flag = added(family, {key: not default}, labels)
    except Exception:
        return "fixed", default
    if same and not flag["outside"] and not any(flag["layers"].values()):
        return "harmless", None
    for first in (None, *family.free):  # a size as small as a number that is there too
        try:
            flag = added(family, {key: not default}, labels, first)
        except Exception:
            continue
        if holds(family, {key: not default}, flag, labels):
            family.firsts[key] = first
            return "flags", {"is": not default} | flag
    return "fixed", default


def switched(family: Family, changes: dict[str, Any]) -> dict[str, Any]:
    """Changes with what they need beside them, all embeddings tied."""
    needs = {key: n for one in changes for key, n in NEEDS.get(one, {}).items()}
    return {key: n for key, n in needs.items() if key in family.fields} | changes | {TIED: True}


def added(
    family: Family, changes: dict[str, Any], labels: list[str], first: str | None = None
) -> dict[str, Any]:
    """What changes add to each kind of block and outside.

    Raises:
        ValueError: to blocks of a kind they add unlike terms.
    """
    layers, outside = read(family, {TIED: True}, first=first)
    with_it, outside_with_it = read(family, switched(family, changes), first=first)
    found: dict[str, dict[str, int]] = {}
    for kind, one, before in zip(labels, with_it, layers, strict=True):
        if found.setdefault(kind, more := difference(one, before)) != more:
            raise ValueError("it adds unlike terms to blocks of one kind")
    if all(more == found[labels[0]] for more in found.values()):
        found = {"": found[labels[0]]}
    return {"layers": found, "outside": difference(outside_with_it, outside)}


def null_sizes(
    family: Family, keys: set[str], labels: list[str], beside: dict[str, Any] | None = None
) -> tuple[dict, dict]:
    """Which sizes are no number by default, and what they are then, or what that adds.

    Args:
        family: whose sizes.
        keys: which, by its own names.
        labels: the kind of each layer.
        beside: what its config says else, so that a model has parts of these sizes.
    """
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
                left = count(family.build({mine: null, TIED: True, **(beside or {})}))
                said = count(family.build({mine: stand_in, TIED: True, **(beside or {})}))
            except Exception:
                continue
            if left == said:
                rules[key] = {FLOOR: 1} if rule == {HEAD: 1} and floors(family, mine) else rule
                break
        if key not in rules:
            try:
                flags[mine] = {"is": null} | added(family, {mine: null}, labels)
            except Exception:  # a config must say it
                continue
    return rules, flags


def zero_sizes(family: Family, polynomials: list[Poly], labels: list[str]) -> tuple[list, dict]:
    """Sizes that may be 0: those that are then no part of the count, and what others add."""
    zero: list[str] = []
    flags: dict[str, Any] = {}
    used = {name for one in polynomials for monomial in one for name in monomial.split("*")}
    used |= {*EXPERTS} if "experts" in used else set()
    for key in family.free:
        if key not in used or key in NO_SIDE or not ZERO.search(key):
            continue
        mine = family.mine(key)
        try:
            shapes = family.build({mine: 0, TIED: True})
            read_off = sum(value(one, family.sizes | {key: 0}) or 0 for one in polynomials)
            if key not in EXPERTS and count(shapes) == read_off:
                zero.append(key)
            elif not any(0 in shape for shape in shapes.values()):
                flags[mine] = {"is": 0} | added(family, {mine: 0}, labels)
        except Exception:  # it may not
            continue
    return zero, flags


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


def holds(family: Family, changes: dict[str, Any], flag: dict[str, Any], labels: list[str]) -> bool:
    """Whether flags add as much when any size is another; some have a norm for each head."""
    tried = 0
    for size in family.free:
        for n in (2 * family.at[size], family.at[size] // 2):
            if family.mine(size) in changes:
                break
            change = {family.mine(size): n}
            try:
                with_it = count(family.build(switched(family, change | changes)))
                more = with_it - count(family.build(switched(family, change)))
            except Exception:  # no model has so many
                continue
            if more != at(flag, labels, family.sizes | {size: n}):
                return False
            tried += 1
            break
    return tried > 0


def together(family: Family, flags: dict[str, Any], base: int, labels: list[str]) -> dict:
    """What two flags add besides what each adds, and whether all of them add no more.

    Returns:
        `pairs`: what pairs of them add; `alone`: whether no two of them may meet.
    """
    pairs = []
    try:
        for a, b in itertools.combinations(flags, 2):
            changes = {key: flags[key]["is"] for key in (a, b)}
            first = family.firsts.get(a) or family.firsts.get(b)
            both = added(family, changes, labels, first)
            kinds = [*dict.fromkeys(labels)]
            layers = {kind: _less(both, (flags[a], flags[b]), kind) for kind in kinds}
            outside = _less(both, (flags[a], flags[b]), None)
            if outside or any(layers.values()):
                pairs.append({"of": [a, b], "layers": layers, "outside": outside})
                if not holds(family, changes, both, labels):
                    return {"pairs": [], "alone": True}
        everything = {key: flag["is"] for key, flag in flags.items()}
        built = count(family.build(switched(family, everything)))
    except Exception:  # no model has both
        return {"pairs": [], "alone": True}
    said = base + sum(at(one, labels, family.sizes) for one in (*flags.values(), *pairs))
    return {"pairs": pairs, "alone": False} if built == said else {"pairs": [], "alone": True}


def _less(both: dict[str, Any], each: tuple[dict[str, Any], ...], kind: str | None) -> dict:
    """What both add to a kind of block, or outside, that neither adds."""

    def of(flag: dict[str, Any]) -> Poly:
        layers = flag["layers"]
        return Poly(flag["outside"] if kind is None else layers.get(kind, layers.get("", {})))

    sum_: Poly = Poly()
    for flag in each:
        sum_.update(of(flag))
    return difference(of(both), sum_)
