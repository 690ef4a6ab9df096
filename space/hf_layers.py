"""The kind of each layer of a Hugging Face config, as it says or by its family's pattern."""

from __future__ import annotations

import itertools
import reprlib
from collections.abc import Iterator, Mapping
from typing import Any

from .hf_polynomials import value_of

# Kinds of layers that differ in what a token sees, not in their weights.
WEIGHTLESS = ("full_attention", "sliding_attention", "chunked_attention")
# What some were called before; transformers still takes it (`configuration_utils`, 5.24).
FORMER = {"attention": "full_attention", "mamba": "linear_attention"}


def kinds(
    family: dict[str, Any], given: Mapping[str, Any], sizes: Mapping[str, int]
) -> Iterator[str]:
    """Which polynomial each block has."""
    n_layers, known, pattern = sizes["num_hidden_layers"], family["layers"], family["pattern"]
    said = _said(family, given, n_layers)
    usual = _usual(family, sizes)
    if "layer_types" in pattern and "layer_types" not in said and n_layers < family["least_layers"]:
        raise ValueError(f"`layer_types` must say of each of so few layers, {n_layers}, what it is")
    for name, named in said.items():
        if "" in known or name not in family["by"]:
            strange = sorted({*map(str, named)} - {*WEIGHTLESS, "sparse"})
            if strange and named != usual.get(name):
                raise ValueError(f"layers of type {strange[0]!r} are not counted in this family")
    if "" in known:
        yield from [""] * n_layers
        return
    if "" in pattern:  # its config does not say what sets layers apart
        for name, named in said.items():
            if named != usual.get(name):
                raise ValueError(
                    f"`{name}` must be as this family has it, but got {reprlib.repr(named)}"
                )
        yield from usual[""]
        return
    lists = {name: one for name in family["by"] if (one := said.get(name) or usual.get(name))}
    if short := [name for name, named in lists.items() if len(named) != n_layers]:
        raise ValueError(f"`{short[0]}` must say of each of {n_layers} layers what it is")
    for label in zip(*lists.values(), strict=True):
        name = "/".join(map(str, label))
        if name not in known:
            raise ValueError(
                f"layers of type {name!r} are not counted in this family; `layer_types` and "
                f"`mlp_layer_types` must say one of {sorted(known)} of each layer"
            )
        yield name


def types(family: dict[str, Any], given: Mapping[str, Any], sizes: Mapping[str, int]) -> list[str]:
    """What each layer is called, as far as that says what a token sees."""
    usual = _usual(family, sizes).get("layer_types", [""] * sizes["num_hidden_layers"])
    return _said(family, given, sizes["num_hidden_layers"]).get("layer_types") or usual


def _said(family: dict[str, Any], given: Mapping[str, Any], n_layers: int) -> dict[str, list[str]]:
    """What a config says of each layer, by lists, letters, or the numbers of those of one kind."""
    said = {name: given[name] for name in ("layer_types", "mlp_layer_types") if given.get(name)}
    if "layer_types" not in said and (letters := spelled(family, given)):
        said["layer_types"] = letters
    for key, (other, kind) in family["indexed"].items():
        if "layer_types" not in said and (listed := given.get(key)):
            if not isinstance(listed, list) or {*map(type, listed)} != {int}:
                got = reprlib.repr(listed)
                raise ValueError(f"`{key}` must be a list of layers' numbers, but got {got}")
            places = {*listed}
            said["layer_types"] = [kind if i in places else other for i in range(n_layers)]
    for name, named in said.items():
        if not isinstance(named, list) or len(named) != n_layers:
            raise ValueError(
                f"layer types must be {n_layers}, one a layer, but got {reprlib.repr(named)}"
            )
        said[name] = [FORMER.get(str(one), one) for one in named]
        if (last := family["pattern"].get(name, {}).get("last")) and said[name][-1:] != last:
            raise ValueError(f"the last of `{name}` must be {last[0]!r}, but got {named[-1]!r}")
    return said


def spelled(family: dict[str, Any], given: Mapping[str, Any]) -> list[str]:
    """The kind of each layer by a string of a letter for each; empty where a config has none."""
    for key, letters in family["spelled"].items():
        if text := given.get(key):
            if not isinstance(text, str) or {*text} - {*letters}:
                raise ValueError(
                    f"`{key}` must be of the letters {' '.join(letters)}, "
                    f"but got {reprlib.repr(text)}"
                )
            return [letters[letter] for letter in text]
    return []


def _usual(family: dict[str, Any], sizes: Mapping[str, int]) -> dict[str, list[str]]:
    """What a family says of its layers where a config does not."""
    n_layers, pattern = sizes["num_hidden_layers"], family["pattern"]
    usual = {name: follow(rule, n_layers) for name, rule in pattern.items()}
    if "first_k_dense_replace" in sizes:
        dense = ["dense"] * min(sizes["first_k_dense_replace"], n_layers)
        usual["mlp_layer_types"] = follow({"first": dense, "again": ["sparse"]}, n_layers)
    if "sparse_step" in sizes:
        usual["mlp_layer_types"] = _every(sizes["sparse_step"], "sparse", "dense", n_layers)
    if "full_attention_interval" in sizes:
        interval = sizes["full_attention_interval"]
        usual["layer_types"] = _every(interval, "full_attention", "linear_attention", n_layers)
    return usual


def _every(step: int, kind: str, other: str, n_layers: int) -> list[str]:
    """Of so many layers each `step`-th is of one kind."""
    return [other if i % step else kind for i in range(1, n_layers + 1)]


def filled(rule: Mapping[str, Any], sizes: Mapping[str, int]) -> Any:
    """What a family's class puts where a config says nothing, and saves.

    It is a value, a number that hangs on sizes, a list of one for each layer by a pattern, or where
    that pattern is no 0, or of each so many-th layer; names of sizes stand for them.

    Examples:
        >>> sizes = {"num_hidden_layers": 4, "num_attention_heads": 8}
        >>> filled({"first": [], "again": ["num_attention_heads"]}, sizes)
        [8, 8, 8, 8]
        >>> filled({"first": [0], "again": [1], "where": True}, sizes)
        [1, 2, 3]
    """
    if "is" in rule:
        return rule["is"]
    if "size" in rule:
        return value_of(rule["size"], sizes)
    if step := sizes.get(rule.get("step", "")):
        return [*range(step - 1, sizes["num_hidden_layers"], step)]
    listed = [sizes.get(one, one) for one in follow(rule, sizes["num_hidden_layers"])]
    return [i for i, one in enumerate(listed) if one] if rule.get("where") else listed


def follow(rule: Mapping[str, list[str]], n_layers: int) -> list[str]:
    """What a pattern says of so many layers: what comes first, and what is repeated after it.

    Where it has a `last`, that is the last layer's.

    Examples:
        >>> follow({"first": ["dense"], "again": ["sparse"]}, 3)
        ['dense', 'sparse', 'sparse']
    """
    first, again = itertools.islice(rule["first"], n_layers), itertools.cycle(rule["again"])
    kinds = list(itertools.islice(itertools.chain(first, again), n_layers))
    return [*kinds[:-1], *rule["last"]] if "last" in rule else kinds
