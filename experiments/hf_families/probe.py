"""What each causal family of `transformers` counts, read off its models on the meta device.

    python experiments/hf_families/probe.py            # some 5 minutes on one core
    python experiments/hf_families/probe.py falcon     # this family anew, the others stay

For each family a small model is built without memory, with sizes that no two products share. The
sides of each parameter are matched with products of the config's numbers, which makes a polynomial
of each kind of block and one of what stands outside; numbers that move a side that is no product
are held as the family has them. Then every other number and flag of the config is changed
alone: where the count stays, the key is harmless; where it changes by what a flag adds, that is
noted; all else is fixed, and a config that has it otherwise is refused. Random configs judge the
result (`judge.py`); families that fail are left out. Writes `space/hf_families.json`.
"""

from __future__ import annotations

import json
import logging
import re
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

from anybudget.experiments.hf_families.family import ODD, Family
from anybudget.experiments.hf_families.filled import filled_of
from anybudget.experiments.hf_families.flags import (
    null_sizes,
    together,
    zero_sizes,
)
from anybudget.experiments.hf_families.polynomials import (
    EXPERTS,
    TIED,
    Poly,
    count,
    difference,
)
from anybudget.experiments.hf_families.reading import exceptions, fit, kinds_of, least_depth, read
from anybudget.experiments.hf_families.roles import is_harmless, listed, role_of, twin_of, unread
from anybudget.experiments.hf_families.usual import (
    FIRST_DENSE,
    INDEXED,
    KINDS,
    SPARSE_STEP,
    SPELLED,
)
from anybudget.space.hf_polynomials import ROUNDED

ROOT = Path(__file__).parents[2]
OUT = ROOT / "space/hf_families.json"
WINDOW = ("sliding_window", "use_sliding_window")
HARMLESS = re.compile(
    r"(_token_id|_token_ids|_token_index|dropout|^output_|return_dict|use_cache|chunk_size_feed"
    r"|^problem_type|^dtype|id2label|label2id|architectures|transformers_version|^rope_|_eps$"
    r"|epsilon|initializer|time_step_(limit|min|max|floor)|^bos_|^eos_|^pad_|is_encoder_decoder|^tie_word"
    r"|^attention_types$)"  # GPT-Neo's: which blocks see all
)
WORDS = re.compile(r"expert|moe|cross|lora|mamba|ssm|mtp|vision|audio|linear_attn|index_n_heads")


def probe(name: str) -> dict[str, Any]:
    """All that is to be known of a family.

    Raises:
        Exception: it cannot be built, or a side is no product of its sizes.
    """
    family = Family.of(name)
    if parts := family.config_class.sub_configs:
        models = {key: getattr(one, "model_type", "") for key, one in parts.items()}
        named = [f"`{key}`" + (f" {kind!r}" if kind else "") for key, kind in models.items()]
        raise ValueError(f"made of several configs: {', '.join(named)}")
    layers, outside, kinds, labels, pattern, by = blocks_of(family)
    untied = difference(read(family, {TIED: False})[1], outside)
    base = count(family.build({TIED: True}))
    all_terms = [*layers, outside]
    keys = keys_of(family, [*all_terms, Poly(untied)])
    nulls, flags = null_sizes(family, keys, labels)
    zero, without = zero_sizes(family, all_terms, labels)
    flags |= {key: flag for key, flag in without.items() if key not in flags}
    own = {family.mine(key) for key in family.held}
    row: dict[str, Any] = {
        "class": family.class_name,
        "names": family.names,
        "aliases": family.aliases,
        "outside": dict(sorted(outside.items())),
        "untied": untied,
        "layers": kinds,
        "pattern": pattern,
        "by": by,
        "least_layers": least_depth(family, pattern),
        "defaults": {key: family.fields[key] for key in sorted(keys) if key in family.fields},
        "flags": flags,
        "fixed": {key: family.fields[key] for key in sorted(own) if key in family.fields},
        "harmless": {},
        "equal": {},
    }
    for key, n in family.swallowed.items():
        if (
            key not in family.names
            and not isinstance(n, str)
            and (n is not None or not is_harmless(family, key, {ODD}, base))
        ):
            row["fixed"][key] = n
    row["defaults"][TIED] = bool(family.fields.get(TIED, True))
    for key, default in family.fields.items():
        if key not in keys | own and not HARMLESS.search(key):
            kind, what = role_of(family, key, default, base, labels)
            row[kind][key] = what
            if kind == "fixed" and default is None and (other := twin_of(family, key)):
                row["equal"][key] = other
    row |= optional(family, row, keys, labels)
    row |= numbered(family)
    row["fixed"] = {key: n for key, n in row["fixed"].items() if key not in row["indexed"]}
    row["filled"] = {key: what for key in row["fixed"] if (what := filled_of(family, key))}
    row |= together(family, flags, base, labels)
    row["null"] |= nulls
    row |= {"zero": zero, "listed": listed(family, base), "unread": unread(family, base)}
    row |= exceptions(family, all_terms)
    row["window"] = {key: family.fields[key] for key in WINDOW if key in family.fields}
    return row | {"harmless": sorted(key for key in row["harmless"] if WORDS.search(key))}


def blocks_of(family: Family) -> tuple[Any, ...]:
    """Polynomials of each layer and outside, and what `kinds_of` says of them."""
    fit(family)
    layers, outside = read(family, {TIED: True})
    held = {*family.held}
    kinds = kinds_of(family, layers, outside)
    if family.blended and "0" in kinds[0]:  # more sets them apart, so they are read as they are
        family.blended, family.held = False, held
        return blocks_of(family)
    return layers, outside, *kinds


def keys_of(family: Family, polynomials: list[Poly]) -> set[str]:
    """The family's own names of all that its polynomials are made of, and what shapes the list."""
    used = {key for one in polynomials for monomial in one for key in monomial.split("*")}
    if "experts" in used:
        used |= set(family.at) & set(EXPERTS)
    used |= {"hidden_size"} if any("//" in key for key in used) else set()
    used |= {"intermediate_size"} if ROUNDED in used else set()
    used |= {"num_hidden_layers", "num_attention_heads", "num_experts_per_tok"}
    mine = {family.mine(key) for key in used if key and "//" not in key and key != "experts"}
    shape = (*((FIRST_DENSE, SPARSE_STEP) if family.blended else ()), *KINDS)
    return mine | {TIED, "full_attention_interval", *(family.mine(key) for key in shape)}


def optional(
    family: Family, row: dict[str, Any], keys: set[str], labels: list[str]
) -> dict[str, Any]:
    """Sizes of what only flags add, which must be numbers where a flag is on.

    Returns:
        `optional`: their names; `null`: what some are where a config does not say them; `defaults`
        and `fixed` with them and without.
    """
    flags = row["flags"]
    terms = [
        Poly(one) for flag in flags.values() for one in (*flag["layers"].values(), flag["outside"])
    ]
    more = {key for key in keys_of(family, terms) - keys if key in family.fields}
    on = {key: flag["is"] for key, flag in flags.items() if isinstance(flag["is"], bool)}
    usual = {mine: key for key, mine in family.names.items()}
    return {
        "optional": sorted(usual.get(key, key) for key in more),
        "null": null_sizes(family, more, labels, on)[0],
        "defaults": row["defaults"] | {key: family.fields[key] for key in sorted(more)},
        "fixed": {key: n for key, n in row["fixed"].items() if key not in more},
    }


def numbered(family: Family) -> dict[str, Any]:
    """Keys by which a config says of which kind each layer is, other than a list of them.

    Returns:
        `indexed`: keys that number the layers of one kind, with what the others are, and these;
        `spelled`: those that have a letter for each; `listed_depth`: whether there are as many
        layers as a list has, whatever else a config says.

    Raises:
        ValueError: the config class takes one otherwise.
    """
    found = {key: [*kinds] for key, kinds in INDEXED.get(family.name, {}).items()}
    for key, (other, kind) in found.items():
        shown = family.config_class(**{key: [1, 3], family.mine("num_hidden_layers"): 4})
        if shown.layer_types != [other, kind, other, kind]:
            raise ValueError(f"`{key}` does not number its layers")
    spelled = SPELLED.get(family.name, {})
    for key, letters in spelled.items():
        if family.config_class(**{key: "".join(letters)}).layer_types != [*letters.values()]:
            raise ValueError(f"`{key}` does not spell its layers")
    by_list = "num_hidden_layers" in vars(family.config_class) and family.unsaid
    return {"indexed": found, "spelled": spelled, "listed_depth": by_list}


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
            kind = "" if type(error) is ValueError else f"{type(error).__name__}: "
            refused[name] = " ".join(f"{kind}{error}".split())[:160]
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
