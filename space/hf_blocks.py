"""The blocks of a Hugging Face config: what its layers are made of, checked against its count."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from .blocks import Attention, Experts, GatedDelta, LatentAttention, Mamba2, Mlp
from .decoder import Block, Decoder, FeedForward, Mixer
from .hf_count import HfCount, families
from .hf_polynomials import Polynomial, product

# Families whose blocks are those of `blocks`, as far as their matrices are the same, which is
# checked. What sets them apart besides: kinds of norm, biases, learned positions, blocks whose
# attention and MLP stand side by side.
DENSE = (
    *("arcee", "bloom", "codegen", "cohere", "cohere2", "cwm", "ernie4_5", "exaone", "exaone4"),
    *("gemma", "gemma2", "gemma3_text", "glm", "glm4", "gpt2", "gpt_neox", "gptj", "granite"),
    *("helium", "internlm3", "llama", "ministral3", "mistral", "nemotron", "olmo", "olmo2"),
    *("olmo3", "opt", "phi", "phi3", "qwen2", "qwen3", "seed_oss", "smollm3", "stablelm"),
    *("starcoder2", "apertus", "hunyuan_v1_dense"),
)
OTHERS = (
    *("mixtral", "qwen2_moe", "qwen3_moe", "olmoe", "flex_olmo", "phimoe", "granitemoe"),
    *("gpt_oss", "ernie4_5_moe", "glm4_moe", "minimax_m2", "solar_open", "granitemoeshared"),
    *("deepseek_v2", "deepseek_v3", "minicpm3", "youtu", "mamba2", "qwen3_next"),
    *("bamba", "granitemoehybrid", "nemotron_h", "dots1", "afmoe", "glm4_moe_lite"),
    *("hunyuan_v1_moe", "qwen3_5_text", "qwen3_5_moe_text"),
)
# What families call the numbers of a state space: heads, state, groups, convolution; and its width,
# as so many times the model's, or as the width of a head.
STATE_SPACES = {
    "state_size": ("num_heads", "state_size", "n_groups", "conv_kernel", "expand"),
    "mamba_d_state": (
        *("mamba_n_heads", "mamba_d_state", "mamba_n_groups", "mamba_d_conv", "mamba_expand"),
    ),
    "ssm_state_size": (
        *("mamba_num_heads", "ssm_state_size", "n_groups", "conv_kernel", "mamba_head_dim"),
    ),
}
WINDOW = "sliding_attention"
# Of an MLP; the latter where it is what is left without experts.
WIDTHS = ("intermediate_size", "shared_intermediate_size")


def decoder_of(
    count: HfCount, config: Mapping[str, Any], training_shape: Mapping[str, int]
) -> Decoder:
    """A count as the decoder that it is.

    Args:
        count: of the config.
        config: for the window of its attention.
        training_shape: `seq_len` and `batch_size`.

    Raises:
        ValueError: it is not one of known blocks.
    """
    if count.family not in DENSE + OTHERS:
        met = f", {count.n_active:,} of them met by a token" * (count.n_active < count.n_params)
        raise ValueError(
            f"`model_type` {count.family!r} builds {count.n_params:,} parameters{met}, but its "
            "blocks are not known, nor what they cost"
        )
    vocabularies = count.outside.get("hidden_size*vocab_size", 0)
    if vocabularies not in (1, 2):
        raise _unlike(count)
    # Layers of one kind have one polynomial.
    blocks = {id(layer): layer for layer in count.layers}
    block_of = {key: _block(layer, count) for key, layer in blocks.items()}
    decoder = Decoder(
        d_model=count.sizes["hidden_size"],
        pattern=tuple(block_of[id(layer)] for layer in count.layers),
        vocab_size=count.sizes["vocab_size"],
        tied_embeddings=vocabularies == 1,
        **training_shape,
    )
    return _windowed(decoder, count, config)


def vectors(polynomial: Polynomial) -> dict[str, int]:
    """Of a polynomial what is no matmul's: gains, biases, positions, convolutions."""
    return {one: n for one, n in polynomial.items() if not _is_matrix(one)}


def _is_matrix(monomial: str) -> bool:
    names = monomial.split("*")
    if "max_position_embeddings" in names or names == ["experts", "hidden_size"]:
        return False
    for expand in {"expand", "mamba_expand"} & {*names}:  # times the width it is one of its own
        names.remove(expand)
        names.remove("hidden_size")
        names.append("inner")
    return len(names) > 1 and ("hidden_size" in names or any("lora_rank" in one for one in names))


def _block(layer: Polynomial, count: HfCount) -> Block:
    """A layer's parts, by what its polynomial is made of.

    Raises:
        ValueError: they do not have as many weights as the layer.
    """
    matrices = {one: n for one, n in layer.items() if _is_matrix(one)}
    block = Block(mixer=_mixer(matrices, count), feed_forward=_feed_forward(matrices, count))
    built = sum(n * product(one, count.sizes) for one, n in matrices.items())
    ours = sum(w.count * w.k * w.n for w in block.weights(count.sizes["hidden_size"]))
    if built != ours:
        raise _unlike(count)
    return block


def _mixer(matrices: Polynomial, count: HfCount) -> Mixer | None:
    sizes = families()["counted"][count.family]["fixed"] | count.sizes
    names = {name for one in matrices for name in one.split("*")}
    if "kv_lora_rank" in names:
        return LatentAttention(
            n_heads=sizes["num_attention_heads"],
            query_rank=sizes["q_lora_rank"] if "q_lora_rank" in names else None,
            kv_rank=sizes["kv_lora_rank"],
            d_nope=sizes["qk_nope_head_dim"],
            d_rope=sizes["qk_rope_head_dim"],
            d_value=sizes["v_head_dim"],
        )
    if "linear_num_value_heads" in names:
        return GatedDelta(
            n_key_heads=sizes["linear_num_key_heads"],
            n_value_heads=sizes["linear_num_value_heads"],
            d_key=sizes["linear_key_head_dim"],
            d_value=sizes["linear_value_head_dim"],
            d_conv=sizes["linear_conv_kernel_dim"],
        )
    for state in STATE_SPACES.keys() & names:
        return _state_space(count, *STATE_SPACES[state])
    if "hidden_size*hidden_size" not in matrices and all(_is_fed(name) for name in names):
        return None
    n_heads = sizes["num_attention_heads"]
    return Attention(
        n_heads=n_heads,
        n_kv_heads=sizes.get("num_key_value_heads", n_heads),
        d_head=sizes.get("head_dim", sizes["hidden_size"] // n_heads),
        gated=matrices.get("head_dim*hidden_size*num_attention_heads") == 3,
    )


def _is_fed(name: str) -> bool:
    """Whether a size is none of a mixer's: the model's width, or a feed-forward's."""
    return name == "hidden_size" or "intermediate_size" in name or "experts" in name


def _state_space(
    count: HfCount, heads: str, state: str, groups: str, conv: str, width: str
) -> Mamba2:
    sizes = count.sizes
    n_heads, d_inner = sizes[heads], sizes[width] * sizes["hidden_size"]
    fixed = families()["counted"][count.family]["fixed"]
    d_head = fixed.get("head_dim", d_inner // n_heads)
    if "expand" not in width:
        d_head, d_inner = sizes[width], n_heads * sizes[width]
    if d_inner != n_heads * d_head:
        raise ValueError(
            "heads of a state-space layer must fill `expand` * `hidden_size`, "
            f"but got {n_heads} of {d_head} and a width of {d_inner}"
        )
    return Mamba2(
        n_heads=n_heads,
        d_head=d_head,
        d_state=sizes[state],
        n_groups=sizes[groups],
        d_conv=sizes[conv],
    )


def _feed_forward(matrices: Polynomial, count: HfCount) -> FeedForward | None:
    """Experts where there are any, else an MLP, else nothing."""
    sizes = count.sizes
    names = {name for one in matrices for name in one.split("*")}
    routed = next((one for one in matrices if "experts" in one.split("*")), None)
    if routed:
        n_matrices = matrices[routed]
        (width,) = {*routed.split("*")} - {"experts", "hidden_size"}
        shared = sum(n * product(one, sizes) for one, n in matrices.items() if "shared" in one)
        return Experts(
            n_experts=sizes["experts"],
            n_per_token=sizes["num_experts_per_tok"],
            d_expert=sizes[width],
            gated=n_matrices == 3,
            d_shared=shared // (n_matrices * sizes["hidden_size"]),
        )
    width = next((name for name in WIDTHS if name in names), "")
    if not width and "hidden_size*hidden_size" not in matrices:
        return None
    gated = matrices.get(f"hidden_size*{width}", 2) == 3
    return Mlp(d_ff=sizes.get(width, 4 * sizes["hidden_size"]), gated=gated)


def _windowed(decoder: Decoder, count: HfCount, config: Mapping[str, Any]) -> Decoder:
    """The decoder, with windows where its attention has any shorter than the sequence.

    Raises:
        ValueError: which layers have one is not said.
    """
    family = families()["counted"][count.family]
    said = family["window"] | config
    window = said.get("sliding_window")
    if window is not None and not family["window"]:
        raise ValueError("`sliding_window` is not of this family, so it is not known what it sees")
    if window is not None and (
        isinstance(window, bool) or not isinstance(window, int) or window < 1
    ):
        raise ValueError(f"`sliding_window` must be a whole number >= 1, but got {window!r}")
    if not window or window >= decoder.seq_len or not said.get("use_sliding_window", True):
        return decoder
    period = config.get("sliding_window_pattern", config.get("_sliding_window_pattern"))
    again = family["pattern"].get("layer_types", {}).get("again", [])
    if not config.get("layer_types") and (
        config.get("use_sliding_window") or period not in (None, len(again))
    ):
        raise ValueError(
            f"`layer_types` must say which layers have the window of {window}, which is shorter "
            f"than `seq_len`, {decoder.seq_len}"
        )
    pattern = tuple(
        dataclasses.replace(block, mixer=dataclasses.replace(block.mixer, window=window))
        if isinstance(block.mixer, Attention) and kind in (WINDOW, "")
        else block
        for block, kind in zip(decoder.pattern, count.types, strict=True)
    )
    return dataclasses.replace(decoder, pattern=pattern)


def _unlike(count: HfCount) -> ValueError:
    return ValueError(
        f"it builds {count.n_params:,} parameters, and its blocks are not those of a known kind: "
        "a mixer, a feed-forward, and nothing else"
    )
