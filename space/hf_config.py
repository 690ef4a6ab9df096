"""An architecture from the `config.json` of a Hugging Face model, and the config of one of ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..files.read import read_json
from .architecture import FIELDS, Architecture
from .blocks import Attention, Mlp
from .decoder import Decoder, Model
from .hf_blocks import decoder_of, vectors
from .hf_count import HfCount, families, hf_count, own_code


def architecture_from_hf(path: Path, **training_shape: int) -> tuple[Model, str]:
    """The model of a Hugging Face config, and what it leaves out ("" where nothing).

    Args:
        path: a `config.json`, or the folder that holds one.
        training_shape: `seq_len` and `batch_size`, which a config does not say.

    Returns:
        An `Architecture` of what is a dense decoder whose attention sees all of a sequence, and
        else a `Decoder`.

    Raises:
        ValueError: the file is not such a config, `transformers` would build another model than is
            known here, or that model's blocks are not known.
    """
    path = path / "config.json" if path.is_dir() else path
    config = _read_object(path)
    try:
        count = hf_count(config)
        decoder = decoder_of(count, config, training_shape)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return dense(decoder) or decoder, "; ".join(_notes(count, config))


def dense(decoder: Decoder) -> Architecture | None:
    """A decoder of one dense block, all of whose tokens are seen; None where it is no such."""
    (_, block), *others = decoder.kinds
    mixer, mlp = block.mixer, block.feed_forward
    if others or not isinstance(mixer, Attention) or not isinstance(mlp, Mlp):
        return None
    if mixer.window or mixer.gated:
        return None
    fields = {name: getattr(decoder, name) for name in FIELDS if hasattr(decoder, name)}
    heads = {name: getattr(mixer, name) for name in ("n_heads", "n_kv_heads", "d_head")}
    return Architecture(**fields | heads, d_ff=mlp.d_ff, gated_mlp=mlp.gated)


def _notes(count: HfCount, config: dict[str, Any]) -> Iterator[str]:
    """What the architecture leaves out, and what the config did."""
    if own_code(config):
        yield (
            "its `auto_map` names code of the model's own, which is not read: counted is "
            f"transformers' {own_code(config)}"
        )
    block = vectors(count.layers[0])
    alike = all(layer == count.layers[0] for layer in count.layers)
    if not alike or (block, vectors(count.outside)) != ({"hidden_size": 2}, {"hidden_size": 1}):
        yield (
            f"transformers builds {count.n_params:,} parameters: biases, learned positions, and "
            "norms other than two gains a block are not counted"
        )
    if unread := [key for key in families()["counted"][count.family]["unread"] if config.get(key)]:
        yield f"`{unread[0]}` is not read by transformers' class, which has no such part"
    if count.assumed:
        assumed = ", ".join(f"{key} {value}" for key, value in sorted(count.assumed.items()))
        yield f"not said, so as transformers has it: {assumed}"


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
