"""An architecture from the `config.json` of a Hugging Face model, and the config of one of ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..files.read import did_you_mean, read_text
from .architecture import Architecture

# Families that are the decoder `Architecture` describes. What sets a family apart from it is said
# in the note that comes with the answer.
GATED = {"llama": "", "mistral": "", "qwen3": "two small norms on queries and keys are not counted"}
GATED["qwen2"] = "biases of query, key and value are not counted"
PLAIN = {
    "arcee": "",
    "gpt2": "biases, learned positions and the norms' shifts are not counted",
    "gpt_neox": "biases and the norms' shifts are not counted",
}
GPT2_NAMES = {
    "hidden_size": "n_embd",
    "num_hidden_layers": "n_layer",
    "num_attention_heads": "n_head",
    "intermediate_size": "n_inner",
}
# Families for which leaving these out does not mean as many as query heads.
SAY_KV_HEADS = ("mistral", "qwen2", "qwen3")
# What `transformers` takes where a config does not say.
TIED_BY_DEFAULT = {"gpt2": True}


def architecture_from_hf(path: Path, **training_shape: int) -> tuple[Architecture, str]:
    """The architecture of a Hugging Face config, and what it leaves out ("" where nothing).

    Args:
        path: a `config.json`.
        training_shape: `seq_len` and `batch_size`, which a config does not say.

    Raises:
        ValueError: the file is not such a config, or of a family that does not fit.
    """
    config = _read_object(path)
    family = config.get("model_type")
    families = GATED | PLAIN
    if not isinstance(family, str) or family not in families:
        near = did_you_mean(str(family), families)
        raise ValueError(f"{path}: `model_type` {family!r} is not a known decoder{near}")
    names = GPT2_NAMES if family == "gpt2" else {}

    def whole(name: str, default: int | None = None) -> int:
        value = config.get(names.get(name, name))
        value = default if value is None else value
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(
                f"{path}: `{names.get(name, name)}` must be a whole number >= 1, but got {value!r}"
            )
        return value

    d_model, n_heads = whole("hidden_size"), whole("num_attention_heads")
    if config.get("head_dim") is None and d_model % n_heads:
        raise ValueError(
            f"{path}: without `head_dim`, heads must divide the width, "
            f"but got {n_heads} heads and a width of {d_model}"
        )
    tied = config.get("tie_word_embeddings", TIED_BY_DEFAULT.get(family, False))
    if not isinstance(tied, bool):
        raise ValueError(f"{path}: `tie_word_embeddings` must be true or false, but got {tied!r}")
    arch = Architecture(
        d_model=d_model,
        n_layers=whole("num_hidden_layers"),
        n_heads=n_heads,
        n_kv_heads=whole("num_key_value_heads", None if family in SAY_KV_HEADS else n_heads),
        d_head=whole("head_dim", None if family == "qwen3" else d_model // n_heads),
        d_ff=whole("intermediate_size", 4 * d_model),
        gated_mlp=family in GATED,
        vocab_size=whole("vocab_size"),
        tied_embeddings=tied,
        **training_shape,
    )
    return arch, families[family]


def hf_from_architecture(arch: Architecture) -> dict[str, Any]:
    """The Hugging Face config of one of our models: the same function with as many parameters.

    Gated, it is a Llama; plain, an Arcee, which is a Llama without the gate. Both want heads that
    divide the width, whatever `head_dim` says; Mistral, a Llama here, does not.

    Raises:
        ValueError: a plain model's heads do not divide its width.

    References:
        The configs of `transformers` 5.24, models/llama, models/mistral and models/arcee.
    """
    heads_divide = arch.d_model % arch.n_heads == 0
    if not (arch.gated_mlp or heads_divide):
        raise ValueError(
            "`n_heads` must divide `d_model` for a plain MLP in transformers, "
            f"but got n_heads={arch.n_heads}, d_model={arch.d_model}; "
            "take another candidate, or search with heads_fill_width=true"
        )
    family = ("llama" if heads_divide else "mistral") if arch.gated_mlp else "arcee"
    config = {
        "architectures": [f"{family.capitalize()}ForCausalLM"],
        "model_type": family,
        "vocab_size": arch.vocab_size,
        "hidden_size": arch.d_model,
        "num_hidden_layers": arch.n_layers,
        "num_attention_heads": arch.n_heads,
        "num_key_value_heads": arch.n_kv_heads,
        "head_dim": arch.d_head,
        "intermediate_size": arch.d_ff,
        "hidden_act": "silu" if arch.gated_mlp else "gelu_pytorch_tanh",
        "max_position_embeddings": arch.seq_len,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0},
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": arch.tied_embeddings,
        # Their defaults are ids of another vocabulary.
        "bos_token_id": None,
        "eos_token_id": None,
    }
    if family == "mistral":
        return config | {"sliding_window": None}
    return config | {"attention_bias": False, "mlp_bias": False}


def _read_object(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(config, dict):
        raise ValueError(f"{path} must hold a JSON object, but holds a {type(config).__name__}")
    return config
