"""Architectures from Hugging Face configs, against the released models' sizes."""

import json

import pytest

from anybudget.objectives.cost.counts import n_active_params, n_params
from anybudget.space.architecture import Architecture
from anybudget.space.blocks import Attention, Experts, GatedDelta, LatentAttention, Mamba2, Mlp
from anybudget.space.decoder import Decoder
from anybudget.space.hf_config import architecture_from_hf, hf_from_architecture
from anybudget.space.hf_count import hf_count

LLAMA_3_8B = {
    "model_type": "llama",
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "vocab_size": 128256,
    "tie_word_embeddings": False,
    "rope_theta": 500000.0,
}
GPT2 = {
    "model_type": "gpt2",
    "n_embd": 768,
    "n_layer": 12,
    "n_head": 12,
    "n_inner": None,
    "vocab_size": 50257,
    "n_positions": 1024,
}


@pytest.fixture
def write(tmp_path):
    def write(config):
        path = tmp_path / "config.json"
        path.write_text(config if isinstance(config, str) else json.dumps(config))
        return path

    return write


def test_llama_3_8b(write):
    arch, note = architecture_from_hf(write(LLAMA_3_8B), seq_len=8192, batch_size=1)
    assert n_params(arch) == 8_030_261_248
    assert (arch.seq_len, arch.batch_size, note) == (8192, 1, "")


def test_gpt2_without_what_the_note_leaves_out(write):
    arch, note = architecture_from_hf(write(GPT2))
    # The released 124,439,808 less learned positions, biases of 12 layers and the norms' shifts.
    biases = 12 * (3 * 768 + 768 + 3072 + 768)
    assert n_params(arch) == 124_439_808 - 1024 * 768 - biases - 25 * 768
    assert note.startswith("transformers builds 124,439,808 parameters: biases, learned positions")
    assert arch.tied_embeddings


def test_qwen3_has_heads_that_do_not_fill_the_width(write):
    # Qwen3-0.6B, 596,049,920 parameters with 28 layers of two norms of 128 that are not counted.
    config = {
        "model_type": "qwen3",
        "hidden_size": 1024,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "intermediate_size": 3072,
        "vocab_size": 151936,
        "tie_word_embeddings": True,
    }
    arch, note = architecture_from_hf(write(config))
    assert n_params(arch) == 596_049_920 - 28 * 2 * 128
    assert "transformers builds 596,049,920 parameters" in note


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "lama"}, "`model_type` 'lama' is not a known decoder; did you mean llama"),
        ({"model_type": "bert"}, "`model_type` 'bert' .* but its blocks are not known"),
        ({"model_type": "llama5"}, "`model_type` 'llama5' is not a known decoder$"),
        ({"model_type": "gpt_bigcode2"}, "`model_type` 'gpt_bigcode2' is not a known decoder$"),
        ({"model_type": "llava", "text_config": {}}, "`text_config` is the config of the decoder"),
        ({"model_type": "dbrx"}, "`model_type` 'dbrx' is not counted yet"),
        ({"architectures": ["LlamaModel"]}, r"`architectures` must be \['LlamaForCausalLM'\]"),
        ({"auto_map": {"AutoModel": "a.B"}}, "`auto_map` names code of the model's own"),
        ({"auto_map": {"AutoModelForCausalLM": "a.B"}}, "model's own, B, which is not read"),
        ({"auto_map": ["a.B"]}, "`auto_map` names code of the model's own"),
        ({"num_local_experts": 8}, "`num_local_experts` is not of this family"),
        ({"per_layer_config": {"1": {}}}, "`per_layer_config` is not of this family"),
        ({"attention_bias": "yes"}, "`attention_bias` must be true or false, but got 'yes'"),
        ({"sliding_window": 512}, "`sliding_window` is not of this family"),
        ({"layer_types": ["linear_attention"] * 32}, "'linear_attention' are not counted"),
        ({"model_type": None}, "`model_type` None is not a known decoder"),
        ({"model_type": ["llama"]}, r"`model_type` \['llama'\] is not a known decoder"),
        ({"hidden_size": None}, "`hidden_size` must be a whole number >= 1, but got None"),
        ({"hidden_size": "4096"}, "`hidden_size` must be a whole number >= 1, but got '4096'"),
        ({"num_hidden_layers": 0}, "`num_hidden_layers` must be a whole number >= 1, but got 0"),
        ({"vocab_size": True}, "`vocab_size` must be a whole number >= 1, but got True"),
        ({"num_key_value_heads": 5}, "`n_kv_heads` must divide `n_heads`"),
        ({"num_attention_heads": 24}, "heads must divide the width, but got 24 heads and a width"),
        ({"tie_word_embeddings": "no"}, "`tie_word_embeddings` must be true or false"),
    ],
)
def test_a_config_that_does_not_fit(write, change, message):
    with pytest.raises(ValueError, match=message):
        architecture_from_hf(write(LLAMA_3_8B | change))


CROSS = GPT2 | {"add_cross_attention": True, "architectures": ["GPT2LMHeadModel"]}
LLAMA_LIKE = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 2048,
    "num_hidden_layers": 22,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "tie_word_embeddings": False,
}
PYTHIA_LIKE = {
    "model_type": "gpt_neox",
    "architectures": ["GPTNeoXForCausalLM"],
    "vocab_size": 50304,
    "hidden_size": 512,
    "num_hidden_layers": 6,
    "num_attention_heads": 8,
    "tie_word_embeddings": False,
}


def test_what_a_config_does_not_say_is_as_transformers_has_it(write):
    # Its default is a number of the family's: 11,008 of Llama's, 24,576 of GPT-NeoX's.
    assert hf_count(LLAMA_LIKE).n_params == 1_826_711_552
    assert hf_count(PYTHIA_LIKE).n_params == 208_973_824
    arch, note = architecture_from_hf(write(LLAMA_LIKE))
    assert (arch.d_ff, n_params(arch)) == (11_008, 1_826_711_552)
    assert note == "not said, so as transformers has it: intermediate_size 11008, vocab_size 32000"


def test_cross_attention_is_counted_and_is_no_decoder_of_ours(write):
    assert hf_count(CROSS).n_params == 152_806_656
    with pytest.raises(ValueError, match="builds 152,806,656 parameters, and its blocks are not"):
        architecture_from_hf(write(CROSS))


def test_cross_attention_that_a_class_does_not_read_is_said(write):
    plain, _ = architecture_from_hf(write(LLAMA_3_8B))
    arch, note = architecture_from_hf(write(LLAMA_3_8B | {"add_cross_attention": True}))
    assert arch == plain
    assert note.startswith("`add_cross_attention` is not read by transformers' class")


def test_a_folder_is_its_config(write):
    path = write(LLAMA_3_8B)
    assert architecture_from_hf(path.parent) == architecture_from_hf(path)


def test_a_name_that_transformers_takes_for_a_familys_own_is_taken(write):
    renamed = {"hidden_size" if key == "n_embd" else key: n for key, n in GPT2.items()}
    assert architecture_from_hf(write(renamed)) == architecture_from_hf(write(GPT2))
    with pytest.raises(ValueError, match="`hidden_size` is `n_embd` here, but got 512 and 768"):
        architecture_from_hf(write(GPT2 | {"hidden_size": 512}))


# A family's default: Mixtral-8x7B, DeepSeek-V3, GPT-OSS-120B, Qwen3-Next-80B-A3B, a Mamba-2 of 7B.
BLOCKS = {
    "mixtral": {(Attention, Experts): 32},
    "deepseek_v3": {(LatentAttention, Mlp): 3, (LatentAttention, Experts): 58},
    "gpt_oss": {(Attention, Experts): 36},
    "qwen3_next": {(GatedDelta, Experts): 36, (Attention, Experts): 12},
    "mamba2": {(Mamba2, type(None)): 64},
}


@pytest.mark.parametrize(("family", "blocks"), BLOCKS.items(), ids=BLOCKS)
def test_blocks_of_a_family(write, family, blocks):
    path = write({"model_type": family})
    decoder, _ = architecture_from_hf(path, seq_len=4096)
    count = hf_count({"model_type": family})
    assert isinstance(decoder, Decoder)
    found = {}
    for block in decoder.pattern:
        kinds = type(block.mixer), type(block.feed_forward)
        found[kinds] = found.get(kinds, 0) + 1
    assert found == blocks
    # All but biases and gains of norms within heads.
    assert count.n_params * (1 - 5e-4) <= n_params(decoder) <= count.n_params
    assert n_active_params(decoder) == pytest.approx(count.n_active, rel=2e-3)
    exact = family in ("mixtral", "deepseek_v3", "mamba2")
    assert (n_params(decoder) == count.n_params) == exact


def test_a_window_shorter_than_the_sequence_makes_a_pattern(write):
    path = write({"model_type": "gemma3_text", "sliding_window": 512})
    short, _ = architecture_from_hf(path, seq_len=512)
    assert isinstance(short, Architecture)
    long, _ = architecture_from_hf(path, seq_len=1024)
    windows = [block.mixer.window for block in long.pattern[:6]]
    assert windows == [512] * 5 + [None]
    assert n_params(long) == n_params(short)
    unsaid = write({"model_type": "qwen2", "use_sliding_window": True, "sliding_window": 512})
    with pytest.raises(ValueError, match="`layer_types` must say which layers have the window"):
        architecture_from_hf(unsaid, seq_len=1024)


@pytest.mark.parametrize(
    ("family", "n_all", "n_active"),
    [
        # As released: 46.7B and 12.9B; 671B and 37B; 116.8B and 5.1B besides the input embedding.
        ("mixtral", 46.7e9, 12.9e9),
        ("deepseek_v3", 671e9, 37.4e9),
        ("gpt_oss", 116.8e9, 5.1e9 + 201_088 * 2880),
    ],
)
def test_models_with_experts_by_their_default_config(family, n_all, n_active):
    count = hf_count({"model_type": family})
    assert count.n_params == pytest.approx(n_all, rel=0.002)
    assert count.n_active == pytest.approx(n_active, rel=0.01)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (json.dumps(LLAMA_3_8B)[:80], "config.json is not valid JSON"),
        ("", "config.json is not valid JSON"),
        ("[1, 2]", "config.json must hold a JSON object, but holds a list"),
    ],
)
def test_a_file_that_is_no_config(write, text, message):
    with pytest.raises(ValueError, match=message):
        architecture_from_hf(write(text))


SHAPE = {"d_model": 64, "n_layers": 2, "n_heads": 4, "d_ff": 96, "vocab_size": 300}
VARIANTS = {
    "plain": {},
    "gated": {"gated_mlp": True},
    "grouped": {"n_kv_heads": 2},
    "gated-grouped": {"gated_mlp": True, "n_kv_heads": 1},
    "untied": {"tied_embeddings": False},
    "gated-untied": {"gated_mlp": True, "tied_embeddings": False},
    "wide-heads": {"d_head": 32},
    "gated-narrow-heads": {"gated_mlp": True, "d_head": 8, "n_kv_heads": 2},
    "heads-do-not-divide": {"gated_mlp": True, "n_heads": 6, "n_kv_heads": 3, "d_head": 16},
}


@pytest.mark.parametrize("fields", VARIANTS.values(), ids=VARIANTS)
def test_transformers_builds_our_parameter_count_and_we_read_it_back(write, fields):
    torch = pytest.importorskip("torch", reason="needs PyTorch, of the extra dev")
    from transformers import AutoConfig, AutoModelForCausalLM

    arch = Architecture.from_shape(**(SHAPE | fields))
    path = write(hf_from_architecture(arch))
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(path.parent))
    assert sum(parameter.numel() for parameter in model.parameters()) == n_params(arch)
    shape = {"seq_len": arch.seq_len, "batch_size": arch.batch_size}
    assert architecture_from_hf(path, **shape) == (arch, "")


def test_transformers_has_no_plain_model_whose_heads_do_not_divide_the_width():
    arch = Architecture.from_shape(**(SHAPE | {"n_heads": 6, "d_head": 16}))
    with pytest.raises(ValueError, match=r"must divide `d_model` .* n_heads=6, d_model=64"):
        hf_from_architecture(arch)
