"""What a key of a config does to a model's count: nothing, a flag's terms, or what is not known."""

from __future__ import annotations

import re
from typing import Any

from anybudget.experiments.hf_families.family import Family, said
from anybudget.experiments.hf_families.flags import flag_of, switched
from anybudget.experiments.hf_families.polynomials import TIED, count


def listed(family: Family, base: int) -> list[str]:
    """Sizes that a config may say of each layer by itself, which counts where all are one."""
    found = []
    for key in family.free:
        each = (family.at[key],) * family.n_layers
        if is_harmless(family, family.mine(key), {each}, base):
            found.append(key)
    return found


# Numbers that say which layers are of which kind.
WHERE = re.compile("^(?!.*rope).*(offset|period|interval)")


def unread(family: Family, base: int) -> list[str]:
    """Keys that say what a model has, and that the class does not read at all."""
    key = "add_cross_attention"
    return [key] * (key not in family.fields and is_harmless(family, key, {True}, base))


def role_of(
    family: Family, key: str, default: Any, base: int, labels: list[str]
) -> tuple[str, Any]:
    """What a key does: nothing, a flag's terms, or what is not known, so that it is fixed."""
    if isinstance(default, bool):
        return flag_of(family, key, default, base, labels)
    if isinstance(default, int) and WHERE.search(key):  # no total of one depth shows what moves
        return "fixed", default
    tries: set[Any]
    few = {1, 2, 3}  # a number may choose one of some kinds
    if isinstance(default, int) or (default is None and "size" in key):
        canonical = next((usual for usual, mine in family.own.items() if mine == key), key)
        at_probe = family.at.get(canonical, default) or 0
        tries = {at_probe * 2, at_probe + 1} if at_probe else few
        if key == family.mine("num_attention_heads"):
            tries = {at_probe // 2, at_probe * 2}
    elif default is None:
        saved = said(family.config, key)
        flags: list[Any] = (
            saved if isinstance(saved, list) and len(saved) == family.n_layers else [None]
        )
        if {*map(str, flags)} <= {"0", "1"}:
            tries = {tuple(1 - flag for flag in flags)}
        elif key == "position_embedding_type":
            tries = {"nope", "rope"}
        elif isinstance(saved, float):
            tries = {saved / 2}
        elif isinstance(saved, list) and any(isinstance(one, float) for one in saved):
            tries = {tuple(one / 2 for one in saved)}
        else:  # not the probe's depth alone, by which it may be left as it is
            tries = {*few, 5, 8, 0.5}
    elif isinstance(default, str):
        tries = {"gelu"} if "act" in key else set()
    elif isinstance(default, float):  # a width may be so many times another
        tries = {2 * default, default / 2}
    elif "layer_types" in key:
        tries = set()
    else:
        return "fixed", default
    return ("harmless", None) if is_harmless(family, key, tries, base) else ("fixed", default)


def is_harmless(family: Family, key: str, tries: set[Any], base: int) -> bool:
    """Whether the count stays with each of these values that some model is built with."""
    stays = []
    for one in tries:
        value = list(one) if isinstance(one, tuple) else one
        try:
            stays.append(count(family.build(switched(family, {key: value}))) == base)
        except Exception:  # transformers builds none
            continue
    return all(stays) and bool(stays or not tries)


def twin_of(family: Family, key: str) -> str | None:
    """The size that the family takes for a key that is not given, by its usual name."""
    family.build({TIED: True})
    saved = said(family.config, key)
    twins = [other for other in family.at if family.at[other] == saved]
    return twins[0] if len(twins) == 1 else None
