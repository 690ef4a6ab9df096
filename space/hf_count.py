"""How many parameters `transformers` builds from a config, exactly, or why that is not known here.

`hf_families.json` has a polynomial of a block and one of what stands outside for each family that
`experiments/hf_families/probe.py` could read off the models themselves. A config that differs from
its family in anything that was not seen to leave the count alone is refused.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..files.read import did_you_mean
from .hf_layers import filled, kinds, spelled, types
from .hf_polynomials import Polynomial, check_sizes, plus, product, value_of
from .limits import MOST_OF_FIELD

# Keys that name what a family without them does not have.
FOREIGN = re.compile(
    r"expert|moe|cross_attention|lora_rank|mamba|ssm|linear_num|linear_attn_config|index_n_heads"
    r"|^per_layer_config$"  # each class takes it
)
# What some of them are where they change nothing: experts in each layer that may have them, an MLP
# beside a state space and its norms, a router's bias, one expert, or what another key says. Of
# capacities none is a matrix.
NEUTRAL = {
    "moe_layer_freq": 1,
    "mamba_use_mlp": True,
    "mamba_inner_layernorms": True,
    "moe_use_aux_free": True,
    "num_experts": 1,
}
CAPACITY = "moe_capacity"
MET = "num_experts_per_tok"
SAID_TWICE = {"experts_per_token": MET}
# Each is counted by itself, for it may be of its own kind.
MOST_LAYERS = 100_000
EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")
TIED = "tie_word_embeddings"


@dataclasses.dataclass(frozen=True, kw_only=True)
class HfCount:
    """What a config builds.

    Attributes:
        family: its `model_type`.
        n_params: all parameters; a tied embedding counts once.
        n_active: those that one token meets, of a model with experts; else all.
        sizes: the config's numbers by their usual names, defaults filled in.
        assumed: those of them that the config does not say, as `transformers` has them.
        layers: the polynomial of each of its blocks.
        types: what each is called by its config or its family's pattern; "" where by neither.
        outside: of all that is no block.
    """

    family: str
    n_params: int
    n_active: int
    sizes: dict[str, int]
    assumed: dict[str, int]
    layers: Sequence[Polynomial]
    types: list[str]
    outside: Polynomial


@functools.cache
def families() -> dict[str, dict[str, Any]]:
    """`counted`: what is known of each family by name; `refused`: why nothing is of the others."""
    return json.loads(Path(__file__).with_name("hf_families.json").read_text(encoding="utf-8"))


def hf_count(config: Mapping[str, Any]) -> HfCount:
    """The parameters that `transformers` builds from a config.

    Examples:
        What a config does not say is as its family has it: GPT-2 with 124,439,808 parameters. A
        wider MLP has two more matrices of 768 * 1024 and 1024 biases in each of 12 blocks.

        >>> hf_count({"model_type": "gpt2"}).n_params
        124439808
        >>> hf_count({"model_type": "gpt2", "n_inner": 4096}).n_params - 124439808
        18886656

    Raises:
        ValueError: the count is not known for sure; the reason names the key.
    """
    name = config.get("model_type")
    family = _family(name, config)
    _check_class(family, config)
    flags, own = family["flags"], {mine: key for key, mine in family["names"].items()}
    given = _by_usual_name(config, family)
    defaults = {own.get(key, key): value for key, value in family["defaults"].items()}
    on = [key for key in flags if _is_on(own.get(key, key), flags[key]["is"], given, defaults)]
    without = {own.get(key, key) for key in on} & set(defaults)
    without |= {MET} if without & {*EXPERTS} else set()
    sizes = _sizes(family, given, {k: v for k, v in defaults.items() if k not in without})
    _check_keys(family, given, on, own, defaults, sizes)
    tied = given.get(TIED, defaults[TIED])
    if not isinstance(tied, bool):
        raise ValueError(f"`{TIED}` must be true or false, but got {tied!r}")
    pairs = [pair for pair in family["pairs"] if {*pair["of"]} <= {*on}]
    chosen = (family, *(flags[key] for key in on), *pairs)
    outside = plus(*(one["outside"] for one in chosen), {} if tied else family["untied"])
    named = list(kinds(family, given, sizes))
    by_kind = {k: plus(*(_of_kind(one["layers"], k) for one in chosen)) for k in {*named}}
    layers = [by_kind[kind] for kind in named]
    total, active = 0, 0
    for polynomial, times in [(outside, 1), *((by_kind[k], named.count(k)) for k in by_kind)]:
        for monomial, n in polynomial.items():
            units = times * n * product(monomial, sizes)
            total += units
            active += _active(monomial, units, sizes)
    return HfCount(
        family=str(name),
        n_params=total,
        n_active=active,
        sizes=sizes,
        assumed={key: defaults[key] for key in sizes if key not in given and defaults.get(key)},
        layers=layers,
        types=types(family, given, sizes),
        outside=outside,
    )


def _family(name: Any, config: Mapping[str, Any]) -> dict[str, Any]:
    known = families()
    if isinstance(name, str) and name in known["counted"]:
        return known["counted"][name]
    if isinstance(config.get("text_config"), Mapping):
        raise ValueError(
            f"`model_type` {name!r} is made of several models; its `text_config` is the config of "
            "the decoder: give that as a file of its own"
        )
    if isinstance(name, str) and name in known["refused"]:
        raise ValueError(f"`model_type` {name!r} is not counted yet ({known['refused'][name]})")
    # A number in a name makes another family of it, and no slip of the pen.
    alike = [one for one in known["counted"] if _digits(one) == _digits(str(name))]
    near = did_you_mean(str(name), alike, cutoff=0.85) if alike else ""
    near = near if "did you mean" in near else ""
    raise ValueError(f"`model_type` {name!r} is not a known decoder{near}")


def _digits(text: str) -> list[str]:
    return re.findall(r"\d+", text)


def own_code(config: Mapping[str, Any]) -> str:
    """The class of the model's own code that a config's `auto_map` names; "" where it has none."""
    if not (mapped := config.get("auto_map")):
        return ""
    named = mapped.get("AutoModelForCausalLM") if isinstance(mapped, Mapping) else None
    return str(named or mapped).rsplit(".", 1)[-1]


def _check_class(family: dict[str, Any], config: Mapping[str, Any]) -> None:
    known = family["class"].lower()  # an initialism may be spelled in either case
    if (mapped := own_code(config)) and mapped.lower() != known:
        raise ValueError(
            f"`auto_map` names code of the model's own, {mapped}, which is not read; "
            f"transformers has {family['class']} for this `model_type`"
        )
    named = config.get("architectures")
    if named and (not isinstance(named, list) or [str(one).lower() for one in named] != [known]):
        raise ValueError(
            f"`architectures` must be [{family['class']!r}] for this `model_type`, "
            f"but got {reprlib.repr(named)}"
        )


def _by_usual_name(config: Mapping[str, Any], family: dict[str, Any]) -> dict[str, Any]:
    """The config by the names that most families use."""
    given, aliases = dict(config), family["aliases"]
    for usual, mine in family["names"].items():
        if usual in given and usual not in aliases:
            raise ValueError(
                f"`{usual}` is `{mine}` in this family, which does not read the former"
            )
    for alias in aliases.keys() & given.keys():
        mine, value = aliases[alias], given.pop(alias)
        if given.setdefault(mine, value) != value:
            raise ValueError(f"`{alias}` is `{mine}` here, but got {value!r} and {given[mine]!r}")
    usual = {mine: key for key, mine in family["names"].items()}
    given = {usual.get(key, key): value for key, value in given.items()}
    listed = given.get("layer_types") or spelled(family, given)
    if family["listed_depth"] and listed and isinstance(listed, list):
        given.setdefault("num_hidden_layers", len(listed))
    for key in family["listed"]:
        if isinstance(listed := given.get(key), list):
            given[key] = _one_of(key, listed)
    return given


def _one_of(key: str, listed: list[Any]) -> Any:
    """What a list says of every layer alike."""
    if not listed or any(one != listed[0] for one in listed):
        raise ValueError(f"`{key}` must be one in all layers, but got {reprlib.repr(listed)}")
    return listed[0]


def _is_on(key: str, value: Any, given: Mapping[str, Any], defaults: Mapping[str, Any]) -> bool:
    """Whether a flag is as it adds something; or a size no number, which makes another model."""
    if isinstance(value, bool):
        return given.get(key, not value) is value
    said = given.get(key, defaults[key])
    return said == value and not isinstance(said, bool)


def _of_kind(kinds: Mapping[str, Polynomial], kind: str) -> Polynomial:
    """What there is of a kind of layer, or of any."""
    return kinds[kind] if kind in kinds else kinds.get("", {})


def _check_keys(
    family: dict[str, Any],
    given: Mapping[str, Any],
    on: list[str],
    own: Mapping[str, str],
    defaults: Mapping[str, Any],
    sizes: Mapping[str, int],
) -> None:
    """That nothing is otherwise than it was seen to be."""
    for key, value in family["fixed"].items():
        said = given.get(own.get(key, key), value)
        if (said or None) == (value or None):  # nothing, null and an empty list are one
            continue
        twin, rule = family["equal"].get(key), family["filled"].get(key)
        same = [] if twin is None else [given.get(twin, defaults.get(twin))]
        if rule:
            same.append(filled(rule, sizes))
        if said not in same:
            usual, got = reprlib.repr(value), reprlib.repr(said)
            raise ValueError(f"`{key}` must be {usual} to be counted, but got {got}")
    for key, flag in family["flags"].items():
        if isinstance(flag["is"], bool) and not isinstance(given.get(key, False), bool):
            raise ValueError(f"`{key}` must be true or false, but got {given[key]!r}")
        if key in on and family["alone"] and len(on) > 1:
            raise ValueError(
                f"`{key}` = {json.dumps(flag['is'])} is counted only where {on} do not meet"
            )
    known = {*family["defaults"], *family["fixed"], *family["flags"], *family["harmless"]}
    known |= {*own, *own.values(), *family["unread"]}
    for key, value in given.items():
        if isinstance(value, str) or key in {*known, CAPACITY} or not FOREIGN.search(key):
            continue  # how tokens are routed is a word, and no matrix
        if value and value not in (NEUTRAL.get(key), given.get(SAID_TWICE.get(key, ""))):
            raise ValueError(f"`{key}` is not of this family, so it is not known what it builds")


def _sizes(
    family: dict[str, Any], given: Mapping[str, Any], defaults: Mapping[str, Any]
) -> dict[str, int]:
    """The numbers that the polynomials take."""
    sizes: dict[str, int] = {}
    nulls = []
    for key, default in defaults.items():
        if key in (TIED, "layer_types", "mlp_layer_types"):
            continue
        value = given.get(key, default)
        if key in family["null"] and not isinstance(value, int) and value in (None, default):
            nulls.append(key)
            continue
        if value is None and key in family["optional"]:
            continue  # it has no such part, or its count will ask for it
        least = 0 if key in ("first_k_dense_replace", *family["zero"]) else 1
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            name, got = family["names"].get(key, key), reprlib.repr(value)
            raise ValueError(f"`{name}` must be a whole number >= {least}, but got {got}")
        most = MOST_LAYERS if key == "num_hidden_layers" else MOST_OF_FIELD
        if value > most:
            name = family["names"].get(key, key)
            raise ValueError(f"`{name}` must be at most {most:,}, but got {value}")
        sizes[key] = value
    if experts := [sizes[key] for key in EXPERTS if key in sizes]:
        sizes["experts"] = experts[0]
    rules = {key: family["null"][key] for key in nulls}
    for key in sorted(rules, key=lambda key: any(one in "".join(rules[key]) for one in rules)):
        sizes[key] = value_of(rules[key], sizes)  # first what is of no other
    check_sizes(family, sizes)
    return sizes


def _active(monomial: str, units: int, sizes: Mapping[str, int]) -> int:
    """Of the parameters of a monomial those that one token meets: a router's are all met."""
    if "experts" not in monomial.split("*"):
        return units
    if MET not in sizes:
        raise ValueError("`num_experts_per_tok` must be given: how many experts a token meets")
    return units // sizes["experts"] * sizes[MET]
