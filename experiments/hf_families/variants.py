"""What a judge changes of a family's default config: models by name, odd files, random ones."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

from anybudget.experiments.hf_families.family import USUAL

N_RANDOM = 6
# Models by name, as far as their files differ from their family's default.
NAMED: list[tuple[str, str, dict[str, Any]]] = [
    ("mixtral", "Mixtral-8x7B", {}),
    ("deepseek_v3", "DeepSeek-V3", {}),
    (
        "deepseek_v3",
        "Kimi-K2",
        {
            "first_k_dense_replace": 1, "n_routed_experts": 384, "num_attention_heads": 64,
            "num_key_value_heads": 64, "vocab_size": 163840,
        },
    ),
    (
        "deepseek_v2",
        "DeepSeek-V2-Lite",
        {
            "hidden_size": 2048, "intermediate_size": 10944, "moe_intermediate_size": 1408,
            "num_hidden_layers": 27, "num_attention_heads": 16, "num_key_value_heads": 16,
            "n_routed_experts": 64, "n_shared_experts": 2, "num_experts_per_tok": 6,
            "first_k_dense_replace": 1, "q_lora_rank": None, "vocab_size": 102400,
        },
    ),
    (
        "dots1",
        "dots.llm1",
        {"first_k_dense_replace": 1, "num_experts_per_tok": 6, "n_routed_experts": 128},
    ),
    (
        "gemma3_text",
        "Gemma-3-27B",
        {
            "hidden_size": 5376, "intermediate_size": 21504, "num_hidden_layers": 62,
            "num_attention_heads": 32, "num_key_value_heads": 16, "head_dim": 128,
            "sliding_window": 1024,
        },
    ),
    (
        "gemma4_text",
        "Gemma-4-26B-A4B",
        {
            "hidden_size": 2816, "intermediate_size": 2112, "num_attention_heads": 16,
            "num_key_value_heads": 8, "num_global_key_value_heads": 2, "attention_k_eq_v": True,
            "hidden_size_per_layer_input": 0, "enable_moe_block": True, "num_experts": 128,
            "top_k_experts": 8, "moe_intermediate_size": 704,
        },
    ),
    (
        "gemma4_text",
        "Gemma-4-31B",
        {
            "hidden_size": 5376, "intermediate_size": 21504, "num_hidden_layers": 60,
            "num_attention_heads": 32, "num_key_value_heads": 16, "num_global_key_value_heads": 4,
            "attention_k_eq_v": True, "hidden_size_per_layer_input": 0,
        },
    ),
    ("gpt_oss", "GPT-OSS-120B", {}),
    (
        "granitemoehybrid",
        "Granite-4.0-micro",
        {
            "hidden_size": 2560, "intermediate_size": 8192, "num_hidden_layers": 40,
            "layer_types": ["attention"] * 40, "num_attention_heads": 40,
            "num_key_value_heads": 8, "num_local_experts": 0, "num_experts_per_tok": 0,
            "mamba_n_heads": 80, "shared_intermediate_size": 8192, "vocab_size": 100352,
            "tie_word_embeddings": True, "position_embedding_type": "rope",
        },
    ),
    (
        "granitemoehybrid",
        "Granite-4.0-H-Small",
        {
            "hidden_size": 4096, "intermediate_size": 768, "num_hidden_layers": 40,
            "layer_types": (["mamba"] * 5 + ["attention"] + ["mamba"] * 4) * 4,
            "num_attention_heads": 32, "num_key_value_heads": 8, "num_local_experts": 72,
            "num_experts_per_tok": 10, "mamba_n_heads": 128, "mamba_d_state": 128,
            "shared_intermediate_size": 1536, "vocab_size": 100352, "tie_word_embeddings": True,
        },
    ),
    (
        "lfm2_moe",
        "LFM2-8B-A1B",
        {
            "num_hidden_layers": 24,
            "layer_types": (
                ["conv"] * 2 + ["full_attention"] + (["conv"] * 3 + ["full_attention"]) * 4
                + ["conv"] * 2 + ["full_attention"] + ["conv"] * 2
            ),
        },
    ),
    (
        "llama4_text",
        "Llama-4-Maverick",
        {"interleave_moe_layer_step": 2, "num_local_experts": 128},
    ),
    (
        "mamba2",
        "Mamba-2-2.7B",
        {
            "hidden_size": 2560, "num_hidden_layers": 64, "num_heads": 80, "n_groups": 1,
            "vocab_size": 50288, "tie_word_embeddings": True,
        },
    ),
    (
        "nemotron_h",
        "Nemotron-3-Nano-30B-A3B",
        {
            "hidden_size": 2688, "intermediate_size": 1856, "mamba_num_heads": 64,
            "hybrid_override_pattern": "MEMEM*" + "EMEMEM*" * 4 + "EMEMEMEM*" + "EMEMEMEME",
            "num_key_value_heads": 2, "n_routed_experts": 128, "num_experts_per_tok": 6,
            "moe_intermediate_size": 1856, "moe_shared_expert_intermediate_size": 3712,
        },
    ),
    ("qwen3_next", "Qwen3-Next-80B-A3B", {}),
    ("rwkv", "RWKV-4-14B", {"hidden_size": 5120, "num_hidden_layers": 40}),
]  # fmt: skip
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
    """The default, five odd files, and random changes of some keys that the family has."""
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
    found += [(label, changes) for name, label, changes in NAMED if name == family]
    for i in range(N_RANDOM):
        some = rng.sample(has, min(len(has), rng.randint(1, 5)))
        found.append((f"random {i + 1}", {key: rng.choice(CHANGES[key]) for key in some}))
    return [*found, *odd(config_class).items()]


def odd(config_class: Any) -> dict[str, dict[str, Any]]:
    """Five files that are not as their family has it; every key is in the file, known or not.

    A file without `intermediate_size` has another width than the family, which does not move it.
    """
    fields = {field.name: field.default for field in dataclasses.fields(config_class)}

    def mine(usual: str) -> str:
        names = (usual, config_class.attribute_map.get(usual), *USUAL.get(usual, ()))
        return next((name for name in names if name in fields), usual)

    biases = {key: not n for key, n in fields.items() if "bias" in key and isinstance(n, bool)}
    shared, width = mine("num_key_value_heads"), mine("hidden_size")
    queries = "multi_query"
    keys = {queries: not fields[queries]} if queries in fields else {}
    usual_width = fields.get(width)
    return {
        "biases": biases or {"attention_bias": True, "mlp_bias": True},
        "untied": {"tie_word_embeddings": not fields.get("tie_word_embeddings", True)},
        "shared keys": keys or {shared: 2 if fields.get(shared) == 1 else 1},
        "no intermediate_size": {width: 2 * usual_width if type(usual_width) is int else 1024},
        "cross attention": {"add_cross_attention": True, "is_decoder": True},
    }
