"""What a config class puts where a config says nothing, which `save_pretrained` then writes."""

from __future__ import annotations

import itertools
from typing import Any

from anybudget.experiments.hf_families.family import Family, said
from anybudget.experiments.hf_families.reading import pattern_of
from anybudget.experiments.hf_families.usual import SPARSE_STEP
from anybudget.space.hf_polynomials import HEAD

# Depths and widths at which it is looked at, over the probe's own.
DEPTHS, HEADS = (1, 2, 5, 9, 19), (6, 24)


def filled_of(family: Family, key: str) -> dict[str, Any] | None:
    """What a key is filled with, as `hf_layers.filled` reads it; None where that is not clear.

    Args:
        family: whose config class fills it.
        key: that is null, or stands for "all", where a config does not say it.
    """
    depth, heads = family.mine("num_hidden_layers"), family.mine("num_attention_heads")
    if key in (depth, heads):
        return None
    changes = [{}, *({depth: n} for n in DEPTHS), *({heads: n} for n in HEADS)]
    configs = []
    for make in (family.configured, lambda change: family.config_class(**change)):
        for change in changes:
            try:
                configs.append(make(change))
            except Exception:  # no model is of this shape
                continue
    values: list[Any] = [said(config, key) for config in configs]
    if values[0] in (None, family.fields.get(key)):
        return None
    if all(value == values[0] for value in values):
        return {"is": values[0]}
    names = {*family.at, "num_hidden_layers", SPARSE_STEP}
    sizes = [{name: said(config, family.mine(name)) for name in names} for config in configs]
    if all(type(value) is int for value in values):
        return _number(values, sizes)
    if all(isinstance(value, list) for value in values):
        return _list(values, sizes)
    return None


def _number(values: list[int], sizes: list[dict[str, Any]]) -> dict[str, Any] | None:
    for name in sorted(sizes[0]):
        if [one[name] for one in sizes] == values:
            return {"size": {name: 1}}
    known = sorted(name for name in sizes[0] if all(type(one[name]) is int for one in sizes))
    for a, b in itertools.combinations(known, 2):
        if [one[a] * one[b] for one in sizes] == values:
            return {"size": {f"{a}*{b}": 1}}
    try:
        heads = [one["hidden_size"] // one["num_attention_heads"] for one in sizes]
    except (KeyError, TypeError):
        heads = []
    if heads == values:
        return {"size": {HEAD: 1}}
    depths = [one["num_hidden_layers"] for one in sizes]
    if [n - 1 for n in depths] == values:  # the last one's number
        return {"size": {"num_hidden_layers": 1, "": -1}}
    return None


def _list(values: list[list[Any]], sizes: list[dict[str, Any]]) -> dict[str, Any] | None:
    depths = [one["num_hidden_layers"] for one in sizes]
    if [len(value) for value in values] == depths:
        for name in sorted(sizes[0]):
            if all({*value} == {one[name]} for value, one in zip(values, sizes, strict=True)):
                return {"first": [], "again": [name]}
        if rule := pattern_of(values):
            return rule
    steps = [one.get(SPARSE_STEP) for one in sizes]
    if all(type(step) is int and step > 0 for step in steps):
        each = zip(steps, depths, strict=True)
        if [[*range(step - 1, n, step)] for step, n in each] == values:
            return {"step": SPARSE_STEP}
    flags = [[int(i in value) for i in range(n)] for value, n in zip(values, depths, strict=True)]
    if [sum(one) for one in flags] != [len(value) for value in values]:
        return None
    rule = pattern_of(flags)
    return rule and rule | {"where": True}
