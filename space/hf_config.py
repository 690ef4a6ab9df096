"""An architecture from the `config.json` of a Hugging Face model, and the config of one of ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..files.read import read_json
from .architecture import Architecture
from .hf_count import HfCount, Polynomial, families, hf_count, product

# Families whose blocks cost what those of `Architecture` do, as far as their matrices are the same,
# which is checked. What sets them apart besides: kinds of norm, biases, learned positions, blocks
# whose attention and MLP stand side by side.
DENSE = (
    *("arcee", "bloom", "codegen", "cohere", "cohere2", "cwm", "ernie4_5", "exaone", "exaone4"),
    *("gemma", "gemma2", "gemma3_text", "glm", "glm4", "gpt2", "gpt_neox", "gptj", "granite"),
    *("helium", "internlm3", "llama", "ministral3", "mistral", "nemotron", "olmo", "olmo2"),
    *("olmo3", "opt", "phi", "phi3", "qwen2", "qwen3", "seed_oss", "smollm3", "stablelm"),
    *("starcoder2",),
)


def architecture_from_hf(path: Path, **training_shape: int) -> tuple[Architecture, str]:
    """The architecture of a Hugging Face config, and what it leaves out ("" where nothing).

    Args:
        path: a `config.json`, or the folder that holds one.
        training_shape: `seq_len` and `batch_size`, which a config does not say.

    Raises:
        ValueError: the file is not such a config, `transformers` would build another model than is
            known here, or that model is no dense decoder.
    """
    path = path / "config.json" if path.is_dir() else path
    config = _read_object(path)
    try:
        count = hf_count(config)
        arch = _architecture(count, training_shape)
        _check_window(config, arch)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return arch, "; ".join(_notes(count))


def _notes(count: HfCount) -> Iterator[str]:
    """What the architecture leaves out, and what the config did."""
    vectors = _vectors(count.layer or {}), _vectors(count.outside)
    if vectors != ({"hidden_size": 2}, {"hidden_size": 1}):
        yield (
            f"transformers builds {count.n_params:,} parameters: biases, learned positions, and "
            "norms other than two gains a block are not counted"
        )
    if count.assumed:
        assumed = ", ".join(f"{key} {value}" for key, value in sorted(count.assumed.items()))
        yield f"not said, so as transformers has it: {assumed}"


def _architecture(count: HfCount, training_shape: dict[str, int]) -> Architecture:
    """A count as the dense decoder that it is.

    Raises:
        ValueError: it is not one.
    """
    family, sizes = count.family, count.sizes
    if count.family not in DENSE or count.layer is None:
        met = (
            f", {count.n_active:,} of them met by a token"
            if count.n_active < count.n_params
            else ""
        )
        raise ValueError(
            f"`model_type` {family!r} builds {count.n_params:,} parameters{met}, but step time and "
            "loss are known only of dense decoders"
        )
    d_model, n_heads = sizes["hidden_size"], sizes["num_attention_heads"]
    n_kv_heads = sizes.get("num_key_value_heads", n_heads)
    d_head = sizes.get("head_dim", d_model // n_heads)
    d_ff = sizes.get("intermediate_size", 4 * d_model)
    vectors = _vectors(count.layer)
    matrices = {one: n for one, n in count.layer.items() if one not in vectors}
    n_mlp = matrices.get("hidden_size*intermediate_size", 2)
    n_weights = 2 * (n_heads + n_kv_heads) * d_head * d_model + n_mlp * d_model * d_ff
    vocabularies = count.outside.get("hidden_size*vocab_size", 0)
    built = sum(n * product(one, sizes) for one, n in matrices.items())
    if n_mlp not in (2, 3) or built != n_weights or vocabularies not in (1, 2):
        raise ValueError(
            f"it builds {count.n_params:,} parameters, and its blocks are not those of a dense "
            "decoder: attention, an MLP of two or three matrices, and nothing else"
        )
    return Architecture(
        d_model=d_model,
        n_layers=sizes["num_hidden_layers"],
        n_heads=n_heads,
        n_kv_heads=n_kv_heads,
        d_head=d_head,
        d_ff=d_ff,
        gated_mlp=n_mlp == 3,
        vocab_size=sizes["vocab_size"],
        tied_embeddings=vocabularies == 1,
        **training_shape,
    )


def _vectors(polynomial: Polynomial) -> dict[str, int]:
    """Of a polynomial what is no matrix: gains, biases, positions."""
    return {
        one: n
        for one, n in polynomial.items()
        if "*" not in one or "hidden_size" not in one.split("*")
    } | {one: n for one, n in polynomial.items() if "max_position_embeddings" in one}


def _check_window(config: dict[str, Any], arch: Architecture) -> None:
    """That attention sees the whole sequence, which is what is counted.

    Raises:
        ValueError: a sequence is longer than its window.
    """
    said = families()["counted"][config["model_type"]]["window"] | config
    window = said.get("sliding_window")
    if window is not None and not isinstance(window, int):
        raise ValueError(f"`sliding_window` must be a whole number, but got {window!r}")
    if window and said.get("use_sliding_window", True) and window < arch.seq_len:
        raise ValueError(
            f"`sliding_window` must be at least `seq_len`, {arch.seq_len}, for attention is "
            f"counted over the whole sequence, but got {window}; give a smaller --seq-len"
        )


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
    config = read_json(path)
    if not isinstance(config, dict):
        raise ValueError(f"{path} must hold a JSON object, but holds a {type(config).__name__}")
    return config
