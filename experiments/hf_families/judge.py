"""Every causal family of `transformers`, its default config and odd ones, counted and built.

    python experiments/hf_families/judge.py            # some 5 minutes on one core
    python experiments/hf_families/judge.py doge       # this family anew, the others' rows stay
    python experiments/hf_families/judge.py --prune    # leaves out families that miscount

Each config is one that the family's own class was built from, on the meta device, in two forms: as
a user writes it, with what differs from the default, and as `save_pretrained` does (`saved`). A
count, of all parameters and of those that one token meets, is exact, a refusal (with its reason),
or wrong; the last must not be.
Writes `families.csv` beside this file.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import re
import signal
import warnings
from pathlib import Path
from typing import Any

import pandas as pd

from anybudget.space import hf_count

HERE = Path(__file__).parent
OUT = HERE / "families.csv"
DATA = HERE.parents[1] / "space/hf_families.json"
N_RANDOM = 6
# Models by name, as far as their files differ from their family's default.
NAMED: dict[str, tuple[str, dict[str, Any]]] = {
    "mixtral": ("Mixtral-8x7B", {}),
    "deepseek_v3": ("DeepSeek-V3", {}),
    "deepseek_v2": (
        "DeepSeek-V2-Lite",
        {
            "hidden_size": 2048, "intermediate_size": 10944, "moe_intermediate_size": 1408,
            "num_hidden_layers": 27, "num_attention_heads": 16, "num_key_value_heads": 16,
            "n_routed_experts": 64, "n_shared_experts": 2, "num_experts_per_tok": 6,
            "first_k_dense_replace": 1, "q_lora_rank": None, "vocab_size": 102400,
        },
    ),
    "dots1": (
        "dots.llm1",
        {"first_k_dense_replace": 1, "num_experts_per_tok": 6, "n_routed_experts": 128},
    ),
    "gpt_oss": ("GPT-OSS-120B", {}),
    "qwen3_next": ("Qwen3-Next-80B-A3B", {}),
    "gemma3_text": (
        "Gemma-3-27B",
        {
            "hidden_size": 5376, "intermediate_size": 21504, "num_hidden_layers": 62,
            "num_attention_heads": 32, "num_key_value_heads": 16, "head_dim": 128,
            "sliding_window": 1024,
        },
    ),
    "mamba2": (
        "Mamba-2-2.7B",
        {
            "hidden_size": 2560, "num_hidden_layers": 64, "num_heads": 80, "n_groups": 1,
            "vocab_size": 50288, "tie_word_embeddings": True,
        },
    ),
    "rwkv": ("RWKV-4-14B", {"hidden_size": 5120, "num_hidden_layers": 40}),
}  # fmt: skip
# How many experts there are, and how many a token meets, by what families call it.
EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
MET = ("num_experts_per_tok", "moe_topk", "moe_k", "top_k_experts")
ROUTED = re.compile(r"(^|\.)experts\.(?!router)")
# What a variant changes, where the family has it; widths keep to multiples that heads divide.
CHANGES: dict[str, list[Any]] = {
    "tie_word_embeddings": [True, False],
    "attention_bias": [True, False],
    "mlp_bias": [True, False],
    "use_bias": [True, False],
    "qkv_bias": [True, False],
    "bias": [True, False],
    "use_qkv_bias": [True, False],
    "use_qk_norm": [True, False],
    "qk_layernorm": [True, False],
    "add_cross_attention": [True, False],
    "use_parallel_residual": [True, False],
    "multi_query": [True, False],
    "num_hidden_layers": [1, 2, 5, 9],
    "hidden_size": [512, 768, 1536],
    "num_attention_heads": [4, 8, 16],
    "num_key_value_heads": [1, 2, 4, None],
    "head_dim": [32, 80, 128, None],
    "intermediate_size": [640, 1111, 3000, None],
    "vocab_size": [250_000, 300_001],
    "max_position_embeddings": [512, 4096],
    "sliding_window": [128, None],
    "num_experts": [4, 10],
    "num_local_experts": [4, 10],
    "n_routed_experts": [16, 32],
    "moe_intermediate_size": [96, 333],
    "first_k_dense_replace": [0, 2],
    "decoder_sparse_step": [1, 2],
    "n_shared_experts": [1, 2],
    "q_lora_rank": [64, 256, None],
    "kv_lora_rank": [64, 128],
    "is_decoder": [True, False],
    "full_attention_interval": [2, 3],
    "hidden_act": ["gelu", "silu"],
}


def variants(family: str) -> list[tuple[str, dict[str, Any]]]:
    """The default, and random changes of some keys that the family has."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    config_class = CONFIG_MAPPING[family]
    own = dict(config_class.attribute_map)
    has = [
        key
        for key in CHANGES
        if key in config_class.__dataclass_fields__
        or own.get(key) in config_class.__dataclass_fields__
        or key in ("head_dim", "attention_bias", "mlp_bias")
    ]
    rng = random.Random(family)
    found: list[tuple[str, dict[str, Any]]] = [("default", {})]
    if family in NAMED:
        found.append(NAMED[family])
    for i in range(N_RANDOM):
        some = rng.sample(has, min(len(has), rng.randint(1, 5)))
        found.append((f"random {i + 1}", {key: rng.choice(CHANGES[key]) for key in some}))
    return found


def build(
    family: str, changes: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any], tuple[int, int]]:
    """A config as a user and as `save_pretrained` writes it; parameters built, all and met."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    signal.alarm(60)
    try:
        config = CONFIG_MAPPING[family](**changes)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
        written = {"model_type": family, "architectures": [type(model).__name__]}
        saved = json.loads(config.to_json_string(use_diff=True)) | written
        n_params = sum(parameter.numel() for parameter in model.parameters())
        return written | changes, saved, (n_params, n_params - _unmet(config, model))
    finally:
        signal.alarm(0)


def _unmet(config: Any, model: Any) -> int:
    """Parameters of the experts that one token does not meet, by the parameters' own names."""
    n_experts = next((n for key in EXPERTS if (n := getattr(config, key, None))), 0)
    n_met = next((n for key in MET if (n := getattr(config, key, None))), n_experts)
    return sum(
        parameter.numel() // n_experts * (n_experts - n_met)
        for name, parameter in model.named_parameters()
        if ROUTED.search(name) and parameter.shape[0] == n_experts
    )


def judge(family: str) -> list[dict[str, Any]]:
    """A row for each config of a family."""
    rows = []
    for label, changes in variants(family):
        row: dict[str, Any] = {"family": family, "config": label, "changes": json.dumps(changes)}
        try:
            written, saved, n_built = build(family, changes)
        except Exception as error:
            rows.append(row | {"verdict": "transformers builds none", "reason": _line(error)})
            continue
        row |= {"built": n_built[0], "active_built": n_built[1]} | _verdict(written, n_built)
        row["saved"] = _verdict(saved, n_built)["verdict"]
        rows.append(row)
    return rows


def _verdict(config: dict[str, Any], built: tuple[int, int]) -> dict[str, Any]:
    try:
        counted = hf_count.hf_count(config)
    except ValueError as error:
        return {"verdict": "refused", "reason": _line(error)}
    verdict = "exact" if (counted.n_params, counted.n_active) == built else "wrong"
    return {"verdict": verdict, "counted": counted.n_params, "n_active": counted.n_active}


def main() -> None:
    """Judge families, all unless some are named; with `--prune` leave out those that miscount."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    parser = argparse.ArgumentParser()
    parser.add_argument("families", nargs="*")
    parser.add_argument("--prune", action="store_true")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGALRM, _too_long)
    rows: list[dict[str, Any]] = []
    if given.families:
        before = pd.read_csv(OUT)
        kept = ~before["family"].isin(given.families)
        rows = pd.DataFrame(before[kept]).to_dict(orient="records")
    for family in given.families or sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES):
        rows += judge(family)
        print(family, [row["verdict"] for row in rows if row["family"] == family], flush=True)
    table = (
        pd.DataFrame(rows)
        .sort_values("family", kind="stable")
        .astype(dict.fromkeys(("built", "counted", "active_built", "n_active"), "Int64"))
    )
    columns = [
        "family",
        "config",
        "verdict",
        "saved",
        "built",
        "counted",
        "active_built",
        "n_active",
        "changes",
        "reason",
    ]
    if given.prune:
        _prune(sorted(set(table[table[["verdict", "saved"]].eq("wrong").any(axis=1)]["family"])))
    table[columns].to_csv(OUT, index=False)
    print(table[["verdict", "saved"]].value_counts().to_string())
    default = table[table["config"] == "default"]
    print("defaults:", pd.Series(default["verdict"]).value_counts().to_dict())


def _prune(wrong: list[str]) -> None:
    document = json.loads(DATA.read_text(encoding="utf-8"))
    for family in wrong:
        del document["counted"][family]
        document["refused"][family] = "its count hangs on more than was read off it"
    DATA.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print("left out:", wrong)


def _line(error: Exception) -> str:
    return " ".join(f"{error}".split())[:120]


def _too_long(*_: Any) -> None:
    raise TimeoutError("took longer than 60 s to build")


if __name__ == "__main__":
    main()
