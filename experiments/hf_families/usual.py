"""What families call their numbers, and what is to be shown of them for all of it to be seen."""

from __future__ import annotations

import dataclasses
import functools
import re
from typing import Any

# What a config may say of each layer; how many have no experts before the others do, or between.
KINDS = ("layer_types", "mlp_layer_types")
FIRST_DENSE, SPARSE_STEP = "first_k_dense_replace", "sparse_step"
# Blocks of a probed model, where its family has models of so many.
N_LAYERS = 8
# Of families whose default has layers of one kind alone: a config that has all, at `N_LAYERS`.
# Lists of such layers are shown at every depth where a family has none that follows from it.
SHOWN: dict[str, dict[str, list[Any]]] = {
    "bamba": {"attn_layer_indices": [1, 4, 6]},
    "granitemoehybrid": {"layer_types": ["linear_attention", "full_attention"] * (N_LAYERS // 2)},
    "lfm2": {"layer_types": ["conv", "full_attention"] * (N_LAYERS // 2)},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * (N_LAYERS // 2)},
    "nemotron_h": {
        "layers_block_type": ["linear_attention", "moe", "full_attention", "mlp"] * (N_LAYERS // 4)
    },
}
# Keys by which a config numbers the layers of one kind: what the others are called, and these.
INDEXED = {
    "bamba": {"attn_layer_indices": ("linear_attention", "full_attention")},
    "lfm2": {"full_attn_idxs": ("conv", "full_attention")},
}
# Keys by which a config has a letter for each layer.
SPELLED = {
    "nemotron_h": {
        "hybrid_override_pattern": {
            "M": "linear_attention", "E": "moe", "*": "full_attention", "-": "mlp",
        }
    },
}  # fmt: skip
# What a model may read although its config does not list it.
UNLISTED = {
    "head_dim": None,
    "num_key_value_heads": None,
    "attention_bias": False,
    "mlp_bias": False,
    "use_bias": False,
    "qkv_bias": False,
    "add_cross_attention": False,
    "global_head_dim": 512,
    "num_global_key_value_heads": None,
}
# The usual names of what families call otherwise.
USUAL = {
    "intermediate_size": ("n_inner", "ffn_dim", "ffn_hidden_size", "dff", "dim_ff"),
    "max_position_embeddings": ("n_positions",),
    "hidden_size": ("n_embd", "d_model"),
    "num_key_value_heads": ("num_kv_heads",),
    "head_dim": ("dim_head", "attention_head_dim"),
    "num_hidden_layers": ("decoder_layers", "n_layers", "num_layers"),
    "num_attention_heads": ("decoder_attention_heads", "n_heads"),
    "num_experts": ("moe_num_experts",),
    "num_experts_per_tok": ("moe_topk", "moe_k", "top_k_experts"),
    FIRST_DENSE: ("num_dense_layers", "moe_layer_start_index"),
    SPARSE_STEP: ("interleave_moe_layer_step", "decoder_sparse_step"),
}
# Sizes of a family's own are tried too; not what only says which layers are of which kind, or how
# attention looks and tokens are routed.
NO_SIZE = re.compile(
    r"(?<!per_)layer|first_k|interval|period|offset|start|end|step$|pattern|freq|topk|top_k|per_tok|window|position"
    r"|_token|_id$|scal|factor|theta|chunk|capacity|predict|n_group$|mtp|beam|multiple|length|init|repeat"
)
# No size of a model.
NO_NUMBER = re.compile(r"token_id|num_labels")


@functools.cache
def usual_numbers() -> set[str]:
    """Keys that are whole numbers in some family's config, and two that are in none's any more."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    classes = [CONFIG_MAPPING[name] for name in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES]
    fields = [field for one in classes for field in dataclasses.fields(one)]
    names = {field.name for field in fields if type(field.default) is int}
    return {"n_embed", "block_ff_dim"} | {name for name in names if not NO_NUMBER.search(name)}


def next_prime(n: int) -> int:
    """The least prime above a number."""
    return next(p for p in range(n + 1, 2 * n) if all(p % q for q in range(2, int(p**0.5) + 1)))
