"""What each causal family of `transformers` counts, read off its models on the meta device.

    python experiments/hf_families/probe.py            # some 5 minutes on one core
    python experiments/hf_families/probe.py falcon     # this family anew, the others stay

For each family a small model is built without memory, with sizes that no two products share. The
sides of each parameter are matched with products of the config's numbers, which makes a polynomial
of a block and one of what stands outside. Then every other number and flag of the config is changed
alone: where the count stays, the key is harmless; where it changes by what a flag adds, that is
noted; all else is fixed, and a config that has it otherwise is refused. Random configs judge the
result (`judge.py`); families that fail are left out. Writes `space/hf_families.json`.
"""

from __future__ import annotations

import itertools
import json
import logging
import re
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

from anybudget.experiments.hf_families.family import KINDS, Family
from anybudget.experiments.hf_families.polynomials import (
    EXPERTS,
    N_LAYERS,
    SIZES,
    Poly,
    count,
    difference,
    in_layers,
    polynomial,
    sides,
    value,
)

ROOT = Path(__file__).parents[2]
OUT = ROOT / "space/hf_families.json"
TIED = "tie_word_embeddings"
WINDOW = ("sliding_window", "use_sliding_window")
HARMLESS = re.compile(
    r"(_token_id|_token_ids|_token_index|dropout|^output_|return_dict|use_cache|chunk_size_feed"
    r"|^problem_type|^dtype|id2label|label2id|architectures|transformers_version|^rope_|_eps$"
    r"|epsilon|initializer|^bos_|^eos_|^pad_|is_encoder_decoder|^tie_word)"
)
# What a size may be that a config leaves at null; which of them hold is tried.
NULL_RULES = {
    "num_key_value_heads": {"num_attention_heads": 1},
    "head_dim": {"hidden_size//num_attention_heads": 1},
    "intermediate_size": {"hidden_size": 4},
    "moe_intermediate_size": {"intermediate_size": 1},
    "attention_hidden_size": {"hidden_size": 1},
}
WORDS = re.compile(r"expert|moe|cross|lora|mamba|ssm|mtp|vision|audio|linear_attn")


def kinds_of(family: Family, layers: list[Poly]) -> dict[str, Any]:
    """Polynomials by kind of layer; of any kind where all are alike.

    Raises:
        ValueError: layers differ that the config calls the same.
    """
    if all(layer == layers[0] for layer in layers):
        return {"": dict(sorted(layers[0].items()))}
    if not any(family.labels):
        # Where the config cannot say otherwise, or has what says so as it is here (`fixed`).
        for n_first in range(1, 4):
            if all(layer == layers[-1] for layer in layers[n_first:]):
                rest = {"": dict(sorted(layers[-1].items()))}
                return {str(i): dict(sorted(layers[i].items())) for i in range(n_first)} | rest
    found: dict[str, Poly] = {}
    for label, layer in zip(family.labels, layers, strict=True):
        name = "/".join(label)
        if not name or found.setdefault(name, layer) != layer:
            raise ValueError("its layers differ, and its config does not say how")
    return {name: dict(sorted(layer.items())) for name, layer in found.items()}


def probe(name: str) -> dict[str, Any]:
    """All that is to be known of a family.

    Raises:
        Exception: it cannot be built, or a side is no product of its sizes.
    """
    family = Family.of(name)
    if family.config_class.sub_configs:
        raise ValueError("made of several configs")
    layers, outside = read(family, {TIED: True})
    untied = difference(read(family, {TIED: False})[1], outside)
    base = count(family.build({TIED: True}))
    keys = keys_of(family, [*layers, outside, Poly(untied)])
    row: dict[str, Any] = {
        "class": family.class_name,
        "names": {key: mine for key in sorted(family.keys) if (mine := family.mine(key)) != key},
        "aliases": family.aliases,
        "outside": dict(sorted(outside.items())),
        "untied": untied,
        "layers": kinds_of(family, layers),
        "defaults": {key: family.fields[key] for key in sorted(keys) if key in family.fields},
        "flags": {},
        "fixed": {},
        "harmless": {},
    }
    row["defaults"][TIED] = bool(family.fields.get(TIED, True))
    for key, default in family.fields.items():
        if key not in keys and not HARMLESS.search(key):
            kind, what = role_of(family, key, default, base)
            row[kind][key] = what
    row["alone"] = not additive(family, row["flags"], base)
    row["null"] = nulls(family, row["defaults"])
    row["window"] = {key: family.fields[key] for key in WINDOW if key in family.fields}
    row["harmless"] = sorted(key for key in row["harmless"] if WORDS.search(key))
    return row


def read(family: Family, changes: dict[str, Any]) -> tuple[list[Poly], Poly]:
    """Polynomials of each block, and of what is outside, of a model changed."""
    known = sides(family.keys)
    layers, outside = in_layers(family.build(changes))
    return [polynomial(layer, known) for layer in layers], polynomial(outside, known)


def keys_of(family: Family, polynomials: list[Poly]) -> set[str]:
    """The family's own names of all that its polynomials are made of, and what shapes the list."""
    used = {key for one in polynomials for monomial in one for key in monomial.split("*")}
    if "experts" in used:
        used |= family.keys & set(EXPERTS)
    used |= {"hidden_size"} if any("//" in key for key in used) else set()
    used |= {"num_hidden_layers", "num_attention_heads", "num_experts_per_tok"} & family.keys
    mine = {family.mine(key) for key in used if key and "//" not in key and key != "experts"}
    return mine | {TIED, "first_k_dense_replace", "full_attention_interval", *KINDS}


def role_of(family: Family, key: str, default: Any, base: int) -> tuple[str, Any]:
    """What a key does: nothing, a flag's terms, or what is not known, so that it is fixed."""
    if isinstance(default, bool):
        return flag_of(family, key, default)
    tries: set[Any]
    if isinstance(default, int) or (default is None and "size" in key):
        canonical = next((usual for usual, mine in family.own.items() if mine == key), key)
        at_probe = SIZES.get(canonical, default) or 0
        tries = {at_probe * 2, at_probe + 1} if at_probe else {1, 2}
        if key == family.mine("num_attention_heads"):
            tries = {at_probe // 2, at_probe * 2}
    elif default is None:
        tries = {8}
    elif isinstance(default, str):
        tries = {"gelu"} if "act" in key else set()
    elif isinstance(default, float) or "layer_types" in key:
        tries = set()
    else:
        return "fixed", default
    try:
        same = all(count(family.build({key: value, TIED: True})) == base for value in tries)
    except Exception:
        same = False
    return ("harmless", None) if same else ("fixed", default)


def flag_of(family: Family, key: str, default: bool) -> tuple[str, Any]:
    """What a flag adds to each block and outside where it is not its default."""
    layers, outside = read(family, {TIED: True})
    try:
        with_it, outside_with_it = read(family, {key: not default, TIED: True})
    except Exception:
        return "fixed", default
    added = [difference(a, b) for a, b in zip(with_it, layers, strict=True)]
    outer = difference(outside_with_it, outside)
    if any(one != added[0] for one in added):
        return "fixed", default
    if not added[0] and not outer:
        return "harmless", None
    if not holds(family, key, not default, added[0], outer):
        return "fixed", default
    return "flags", {"is": not default, "layer": added[0], "outside": outer}


def nulls(family: Family, defaults: dict[str, Any]) -> dict[str, Any]:
    """Which sizes may be left at null, and what they are then."""
    found = {}
    for key, rule in NULL_RULES.items():
        mine = family.mine(key)
        if mine not in defaults or family.fields.get(mine) is not None:
            continue
        stand_in = value(Poly(rule), family.keys | {"head_dim"})
        try:
            left = count(family.build({mine: None, TIED: True}))
            said = count(family.build({mine: stand_in, TIED: True}))
        except Exception:
            continue
        if left == said:
            found[key] = rule
    return found


def at(terms: dict[str, int], family: Family) -> int:
    """What terms are at the probe's sizes, all of which the family has."""
    return value(Poly(terms), family.keys) or 0


def holds(family: Family, key: str, on: bool, layer: dict, outside: dict) -> bool:
    """Whether a flag adds as much with twice the heads; some have a norm for each."""
    heads = family.mine("num_attention_heads")
    at_probe = SIZES["num_attention_heads"]
    try:
        SIZES["num_attention_heads"] = 2 * at_probe
        expected = N_LAYERS * at(layer, family) + at(outside, family)
        off = count(family.build({heads: 2 * at_probe, TIED: True}))
        return count(family.build({heads: 2 * at_probe, TIED: True, key: on})) - off == expected
    except Exception:
        return False
    finally:
        SIZES["num_attention_heads"] = at_probe


def additive(family: Family, flags: dict[str, Any], base: int) -> bool:
    """Whether two flags, and all of them, add what each adds."""
    for some in [*itertools.combinations(flags, 2), tuple(flags)]:
        expected = base + sum(
            N_LAYERS * at(flags[key]["layer"], family) + at(flags[key]["outside"], family)
            for key in some
        )
        try:
            built = count(family.build({key: flags[key]["is"] for key in some} | {TIED: True}))
        except Exception:
            return False
        if built != expected:
            return False
    return True


def main() -> None:
    """Probe every family and write what is known."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGALRM, _too_long)
    found, refused = {}, {}
    if sys.argv[1:]:
        found, refused = json.loads(OUT.read_text(encoding="utf-8")).values()
    for name in sys.argv[1:] or sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES):
        found.pop(name, None), refused.pop(name, None)
        try:
            found[name] = probe(name)
        except Exception as error:
            refused[name] = " ".join(f"{type(error).__name__}: {error}".split())[:120]
        print(name, refused.get(name, "counted"), flush=True)
        document = {
            "counted": dict(sorted(found.items())),
            "refused": dict(sorted(refused.items())),
        }
        OUT.write_text(json.dumps(document, indent=1, default=str) + "\n", encoding="utf-8")


def _too_long(*_: Any) -> None:
    raise TimeoutError("took longer than 120 s to build")


if __name__ == "__main__":
    main()
