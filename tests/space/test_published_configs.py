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
}  # fmt: skip


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
        {"model_type": "deepseek_v3", "moe_layer_freq": 2},
        {"model_type": "gemma3_text", "sliding_window_pattern": 2},
        {"model_type": "gpt_oss", "experts_per_token": 8},
        {"model_type": "kimi_linear", "linear_attn_config": {"full_attn_layers": [4, 8]}},
    ],
)
def test_what_a_family_takes_without_listing_it_is_not_passed_over(config):
    with pytest.raises(ValueError, match=r"must be|is not of this family"):
        hf_count(config)
