"""Configs as the hub has them, which hold more and less than what a family's class would save."""

import json

import pytest

from anybudget.space.hf_config import architecture_from_hf
from anybudget.space.hf_count import hf_count

# As they were published: names from before the family's, code of their own, sizes said twice.
PUBLISHED = {
    "BLOOM-560M": (
        {"model_type": "bloom", "n_embed": 1024, "n_layer": 24, "num_attention_heads": 16,
         "vocab_size": 250880, "architectures": ["BloomForCausalLM"]},
        559_214_592,
    ),
    "OPT-1.3B": (
        {"model_type": "opt", "hidden_size": 2048, "ffn_dim": 8192, "num_hidden_layers": 24,
         "num_attention_heads": 32, "vocab_size": 50272, "max_position_embeddings": 2048,
         "do_layer_norm_before": True, "word_embed_proj_dim": 2048},
        1_315_758_080,
    ),
    "Phi-3-mini": (
        {"model_type": "phi3", "hidden_size": 3072, "intermediate_size": 8192,
         "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32,
         "vocab_size": 32064, "tie_word_embeddings": False, "sliding_window": 2047,
         "auto_map": {"AutoConfig": "configuration_phi3.Phi3Config",
                      "AutoModelForCausalLM": "modeling_phi3.Phi3ForCausalLM"}},
        3_821_079_552,
    ),
    "GPT-OSS-20B": (
        {"model_type": "gpt_oss", "hidden_size": 2880, "intermediate_size": 2880,
         "num_hidden_layers": 24, "num_attention_heads": 64, "num_key_value_heads": 8,
         "head_dim": 64, "num_local_experts": 32, "num_experts_per_tok": 4,
         "experts_per_token": 4, "sliding_window": 128, "vocab_size": 201088,
         "layer_types": ["sliding_attention", "full_attention"] * 12,
         "quantization_config": {"quant_method": "mxfp4"}},
        20_914_757_184,
    ),
    "DeepSeek-V3": (
        {"model_type": "deepseek_v3", "hidden_size": 7168, "intermediate_size": 18432,
         "moe_intermediate_size": 2048, "num_hidden_layers": 61, "first_k_dense_replace": 3,
         "moe_layer_freq": 1, "num_attention_heads": 128, "num_key_value_heads": 128,
         "n_routed_experts": 256, "n_shared_experts": 1, "num_experts_per_tok": 8,
         "q_lora_rank": 1536, "kv_lora_rank": 512, "qk_rope_head_dim": 64,
         "qk_nope_head_dim": 128, "v_head_dim": 128, "vocab_size": 129280,
         "tie_word_embeddings": False, "num_nextn_predict_layers": 1, "ep_size": 1,
         "auto_map": {"AutoModelForCausalLM": "modeling_deepseek.DeepseekV3ForCausalLM"}},
        671_026_404_352,  # and 256 router biases in 58 blocks, which are no parameters
    ),
    "DeepSeek-V2-Lite": (
        {"model_type": "deepseek_v2", "hidden_size": 2048, "intermediate_size": 10944,
         "moe_intermediate_size": 1408, "num_hidden_layers": 27, "first_k_dense_replace": 1,
         "moe_layer_freq": 1, "num_attention_heads": 16, "num_key_value_heads": 16,
         "n_routed_experts": 64, "n_shared_experts": 2, "num_experts_per_tok": 6,
         "q_lora_rank": None, "kv_lora_rank": 512, "qk_rope_head_dim": 64,
         "qk_nope_head_dim": 128, "v_head_dim": 128, "vocab_size": 102400,
         "tie_word_embeddings": False,
         "auto_map": {"AutoModelForCausalLM": "modeling_deepseek.DeepseekV2ForCausalLM"}},
        15_706_484_224,
    ),
    "Granite-4.0-H-Tiny": (
        {"model_type": "granitemoehybrid", "hidden_size": 1536, "intermediate_size": 512,
         "layer_types": (["mamba"] * 5 + ["attention"] + ["mamba"] * 4) * 4,
         "num_hidden_layers": 40, "num_attention_heads": 12, "num_key_value_heads": 4,
         "mamba_n_heads": 48, "mamba_d_head": 64, "mamba_d_state": 128, "mamba_n_groups": 1,
         "mamba_expand": 2, "mamba_d_conv": 4, "num_local_experts": 64, "num_experts_per_tok": 6,
         "shared_intermediate_size": 1024, "position_embedding_type": "nope",
         "tie_word_embeddings": True, "vocab_size": 100352},
        6_939_037_248,
    ),
    "Bamba-9B": (
        {"model_type": "bamba", "attn_layer_indices": [9, 18, 27], "hidden_size": 4096,
         "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
         "num_key_value_heads": 8, "mamba_n_heads": 128, "mamba_d_head": 64, "mamba_d_state": 128,
         "mamba_n_groups": 1, "mamba_expand": 2, "mamba_d_conv": 4, "vocab_size": 128256,
         "tie_word_embeddings": False},
        9_780_235_392,
    ),
    "ERNIE-4.5-21B-A3B": (
        {"model_type": "ernie4_5_moe", "hidden_size": 2560, "intermediate_size": 12288,
         "moe_intermediate_size": 1536, "moe_capacity": [64, 64, 64], "moe_k": 6,
         "moe_layer_start_index": 1, "moe_layer_end_index": 27, "moe_layer_interval": 1,
         "moe_num_experts": 64, "moe_num_shared_experts": 2, "num_hidden_layers": 28,
         "num_attention_heads": 20, "num_key_value_heads": 4, "use_bias": False,
         "tie_word_embeddings": True, "vocab_size": 103424},
        21_825_437_888,
    ),
    "Granite-4.0-micro": (
        {"model_type": "granitemoehybrid", "hidden_size": 2560, "intermediate_size": 8192,
         "layer_types": ["attention"] * 40, "num_hidden_layers": 40, "num_attention_heads": 40,
         "num_key_value_heads": 8, "num_local_experts": 0, "num_experts_per_tok": 0,
         "mamba_n_heads": 80, "shared_intermediate_size": 8192, "vocab_size": 100352,
         "position_embedding_type": "rope", "tie_word_embeddings": True},
        3_402_836_480,
    ),
    "Nemotron-3-Nano-30B-A3B": (
        {"model_type": "nemotron_h", "hidden_size": 2688, "intermediate_size": 1856,
         "hybrid_override_pattern": "MEMEM*" + "EMEMEM*" * 4 + "EMEMEMEM*" + "EMEMEMEME",
         "num_hidden_layers": 52, "num_attention_heads": 32, "num_key_value_heads": 2,
         "head_dim": 128, "mamba_num_heads": 64, "mamba_head_dim": 64, "ssm_state_size": 128,
         "n_groups": 8, "conv_kernel": 4, "n_routed_experts": 128, "num_experts_per_tok": 6,
         "moe_intermediate_size": 1856, "moe_shared_expert_intermediate_size": 3712,
         "n_shared_experts": 1, "tie_word_embeddings": False, "vocab_size": 131072,
         "auto_map": {"AutoModelForCausalLM": "modeling_nemotron_h.NemotronHForCausalLM"}},
        31_577_937_344,
    ),
}  # fmt: skip
# Counted, of blocks that are not known.
COUNTED = {
    "Falcon-H1-0.5B": (
        {"model_type": "falcon_h1", "hidden_size": 1024, "intermediate_size": 2048, "head_dim": 64,
         "num_hidden_layers": 36, "num_attention_heads": 8, "num_key_value_heads": 2,
         "mamba_d_ssm": 1536, "mamba_n_heads": 24, "mamba_d_head": 64, "mamba_d_state": 128,
         "mamba_n_groups": 1, "mamba_d_conv": 4, "mamba_use_mlp": True, "mlp_bias": False,
         "tie_word_embeddings": False, "vocab_size": 32784},
        521_411_104,
    ),
    "LFM2-1.2B": (
        {"model_type": "lfm2", "block_ff_dim": 12288, "block_auto_adjust_ff_dim": True,
         "block_multiple_of": 256, "conv_L_cache": 3, "conv_bias": False,
         "full_attn_idxs": [2, 5, 8, 10, 12, 14], "hidden_size": 2048, "num_hidden_layers": 16,
         "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 65536},
        1_170_340_608,
    ),
    "LFM2-8B-A1B": (
        {"model_type": "lfm2_moe", "hidden_size": 2048, "intermediate_size": 7168,
         "moe_intermediate_size": 1792, "num_dense_layers": 2, "num_experts": 32,
         "num_experts_per_tok": 4, "num_hidden_layers": 24, "num_attention_heads": 32,
         "num_key_value_heads": 8, "conv_L_cache": 3, "conv_bias": False, "vocab_size": 65536,
         "layer_types": ["conv"] * 2 + ["full_attention"] + (["conv"] * 3 + ["full_attention"]) * 4
                        + ["conv"] * 2 + ["full_attention"] + ["conv"] * 2},
        8_339_929_856,
    ),
    "Gemma-4-26B-A4B": (
        {"model_type": "gemma4_text", "hidden_size": 2816, "intermediate_size": 2112,
         "num_hidden_layers": 30, "num_attention_heads": 16, "num_key_value_heads": 8,
         "num_global_key_value_heads": 2, "head_dim": 256, "global_head_dim": 512,
         "attention_k_eq_v": True, "hidden_size_per_layer_input": 0, "enable_moe_block": True,
         "num_experts": 128, "top_k_experts": 8, "moe_intermediate_size": 704,
         "final_logit_softcapping": 30.0, "num_kv_shared_layers": 0, "vocab_size": 262144,
         "layer_types": (["sliding_attention"] * 5 + ["full_attention"]) * 5},
        25_233_141_760,
    ),
    "Llama-4-Maverick": (
        {"model_type": "llama4_text", "hidden_size": 5120, "intermediate_size": 8192,
         "intermediate_size_mlp": 16384, "interleave_moe_layer_step": 2, "head_dim": 128,
         "num_hidden_layers": 48, "num_attention_heads": 40, "num_key_value_heads": 8,
         "num_local_experts": 128, "num_experts_per_tok": 1, "vocab_size": 202048},
        400_711_848_960,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", COUNTED)
def test_hybrids_of_other_blocks_are_counted(name):
    config, n_built = COUNTED[name]
    assert hf_count(config).n_params == n_built


@pytest.mark.parametrize("name", PUBLISHED)
def test_files_as_they_were_published(tmp_path, name):
    config, n_built = PUBLISHED[name]
    assert hf_count(config).n_params == n_built
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    _, note = architecture_from_hf(path, seq_len=64, batch_size=1)
    assert ("transformers' " in note) == ("auto_map" in config)


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "kimi_linear", "first_k_dense_replace": 2},
        {"model_type": "opt", "word_embed_proj_dim": 512},
        {"model_type": "ernie4_5_moe", "moe_layer_end_index": 20},
        {"model_type": "electra", "embedding_size": 256},  # its width: without a projection then
        {"model_type": "electra", "hidden_size": 257},
        {"model_type": "gemma4_text", "layer_types": ["sliding_attention"] * 30},
        {"model_type": "hunyuan_v1_moe", "moe_topk": [1, 2] * 16},
        {"model_type": "lfm2_moe"},
        {"model_type": "llama", "per_layer_config": {"1": {"intermediate_size": 8}}},
        {"model_type": "mamba", "intermediate_size": 1024},
        {"model_type": "nemotron_h", "hybrid_override_pattern": "MEX"},
        {"model_type": "nemotron_h", "num_hidden_layers": 52},
        {"model_type": "lfm2", "tie_embedding": False},
        {"model_type": "qwen3_next", "full_attention_interval": 2},
        {"model_type": "qwen3_next", "mlp_only_layers": [1]},
        {"model_type": "cohere2_moe", "first_k_dense_replace": 2},
        {"model_type": "glm_moe_dsa", "index_topk_freq": 4},
        {"model_type": "lfm2", "block_ffn_dim_multiplier": 2.0},
        {"model_type": "lfm2", "full_attn_idxs": "all"},
        {"model_type": "hrm_text", "num_layers_per_stack": 16},
        {"model_type": "deepseek_v3", "moe_layer_freq": 2},
        {"model_type": "gemma3_text", "sliding_window_pattern": 2},
        {"model_type": "gpt_oss", "experts_per_token": 8},
        {"model_type": "kimi_linear", "linear_attn_config": {"full_attn_layers": [4, 8]}},
    ],
)
def test_what_a_family_takes_without_listing_it_is_not_passed_over(config):
    with pytest.raises(
        ValueError, match=r"must (be|say|differ|divide)|is not of this family|are not counted"
    ):
        hf_count(config)


@pytest.mark.parametrize(
    ("family", "key"),
    [
        ("deepseek_v3", "first_k_dense_replace"),
        ("qwen3_moe", "decoder_sparse_step"),
    ],
)
def test_a_number_beyond_all_layers_makes_all_of_them_dense(family, key):
    # However large, it takes no list of its own length.
    config = {"num_hidden_layers": 4, "model_type": family}
    many, enough = (hf_count(config | {key: n}).n_params for n in (2_000_000_000, 5))
    assert many == enough


def test_a_reason_is_one_line_however_long_what_it_is_about():
    with pytest.raises(ValueError, match="one a layer, but got") as error:
        hf_count({"model_type": "llama", "layer_types": ["full_attention"] * 10_000})
    assert len(str(error.value)) < 250
