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

from anybudget.experiments.hf_families.family import INDEXED, KINDS, ODD, Family, said
from anybudget.experiments.hf_families.filled import filled_of
from anybudget.experiments.hf_families.flags import additive, flag_of, null_sizes
from anybudget.experiments.hf_families.polynomials import EXPERTS, TIED, Poly, count, difference
from anybudget.experiments.hf_families.reading import fit, kinds_of, read

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
    if family.config_class.sub_configs:
        raise ValueError("made of several configs")
    fit(family)
    layers, outside = read(family, {TIED: True})
    untied = difference(read(family, {TIED: False})[1], outside)
    kinds, labels, pattern = kinds_of(family, layers)
    base = count(family.build({TIED: True}))
    keys = keys_of(family, [*layers, outside, Poly(untied)])
    nulls, flags = null_sizes(family, keys, labels)
    own = {family.mine(key) for key in family.held}
    row: dict[str, Any] = {
        "class": family.class_name,
        "names": family.names,
        "aliases": family.aliases,
        "outside": dict(sorted(outside.items())),
        "untied": untied,
        "layers": kinds,
        "pattern": pattern,
        "defaults": {key: family.fields[key] for key in sorted(keys) if key in family.fields},
        "flags": flags,
        "fixed": {key: family.fields[key] for key in sorted(own) if key in family.fields},
        "harmless": {},
        "equal": {},
    }
    for key, n in family.swallowed.items():
        if not isinstance(n, str) and (n is not None or not is_harmless(family, key, {ODD}, base)):
            row["fixed"][key] = n
    row["defaults"][TIED] = bool(family.fields.get(TIED, True))
    for key, default in family.fields.items():
        if key not in keys | own and not HARMLESS.search(key):
            kind, what = role_of(family, key, default, base, labels)
            row[kind][key] = what
            if kind == "fixed" and default is None and (other := twin_of(family, key)):
                row["equal"][key] = other
    row["indexed"] = indexed(family)
    row["fixed"] = {key: n for key, n in row["fixed"].items() if key not in row["indexed"]}
    row["filled"] = {key: what for key in row["fixed"] if (what := filled_of(family, key))}
    row["alone"] = not additive(family, flags, base, labels)
    row["null"] = nulls
    row["window"] = {key: family.fields[key] for key in WINDOW if key in family.fields}
    row["harmless"] = sorted(key for key in row["harmless"] if WORDS.search(key))
    return row


def keys_of(family: Family, polynomials: list[Poly]) -> set[str]:
    """The family's own names of all that its polynomials are made of, and what shapes the list."""
    used = {key for one in polynomials for monomial in one for key in monomial.split("*")}
    if "experts" in used:
        used |= set(family.at) & set(EXPERTS)
    used |= {"hidden_size"} if any("//" in key for key in used) else set()
    used |= {"num_hidden_layers", "num_attention_heads", "num_experts_per_tok"}
    mine = {family.mine(key) for key in used if key and "//" not in key and key != "experts"}
    return mine | {TIED, "first_k_dense_replace", "full_attention_interval", *KINDS}


def indexed(family: Family) -> dict[str, list[str]]:
    """Keys that number the layers of one kind: what the others are, and these.

    Raises:
        ValueError: the config class takes one otherwise.
    """
    found = {key: [*kinds] for key, kinds in INDEXED.get(family.name, {}).items()}
    for key, (other, kind) in found.items():
        shown = family.config_class(**{key: [1, 3], family.mine("num_hidden_layers"): 4})
        if shown.layer_types != [other, kind, other, kind]:
            raise ValueError(f"`{key}` does not number its layers")
    return found


def role_of(
    family: Family, key: str, default: Any, base: int, labels: list[str]
) -> tuple[str, Any]:
    """What a key does: nothing, a flag's terms, or what is not known, so that it is fixed."""
    if isinstance(default, bool):
        return flag_of(family, key, default, base, labels)
    tries: set[Any]
    if isinstance(default, int) or (default is None and "size" in key):
        canonical = next((usual for usual, mine in family.own.items() if mine == key), key)
        at_probe = family.at.get(canonical, default) or 0
        tries = {at_probe * 2, at_probe + 1} if at_probe else {1, 2}
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
            tries = {5, 8}
    elif isinstance(default, str):
        tries = {"gelu"} if "act" in key else set()
    elif isinstance(default, float) or "layer_types" in key:
        tries = {2 * default} if "dim" in key else set()  # a width may be so many times another
    else:
        return "fixed", default
    return ("harmless", None) if is_harmless(family, key, tries, base) else ("fixed", default)


def is_harmless(family: Family, key: str, tries: set[Any], base: int) -> bool:
    """Whether the count stays with each of these values."""
    values = [list(value) if isinstance(value, tuple) else value for value in tries]
    try:
        return all(count(family.build({key: value, TIED: True})) == base for value in values)
    except Exception:
        return False


def twin_of(family: Family, key: str) -> str | None:
    """The size that the family takes for a key that is not given, by its usual name."""
    family.build({TIED: True})
    saved = said(family.config, key)
    twins = [other for other in family.at if family.at[other] == saved]
    return twins[0] if len(twins) == 1 else None


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
