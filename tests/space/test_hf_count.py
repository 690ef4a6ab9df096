"""Counts of configs, with the models that `transformers` builds without memory as the judge."""

import json
import warnings

import pytest

from anybudget.space.hf_blocks import DENSE
from anybudget.space.hf_count import families, hf_count

COUNTED = families()["counted"]
# Two blocks are enough to see that a block is counted right; what is said of each layer needs more.
N_LAYERS = 2


def build(family, changes):
    """Parameters of a family's model, and its config as `save_pretrained` writes it."""
    torch = pytest.importorskip("torch", reason="needs PyTorch, of the extra dev")
    from transformers import AutoModelForCausalLM
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = CONFIG_MAPPING[family](**changes)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
    saved = json.loads(config.to_json_string(use_diff=True))
    saved |= {"model_type": family, "architectures": [type(model).__name__]}
    return sum(parameter.numel() for parameter in model.parameters()), saved


def test_there_are_families_enough():
    assert len(COUNTED) >= 160
    assert set(DENSE) <= set(COUNTED)
    named = {"mixtral", "deepseek_v3", "gpt_oss", "qwen3_next", "gemma3_text", "mamba2", "rwkv"}
    assert named <= set(COUNTED)
    assert not set(COUNTED) & set(families()["refused"])


def test_no_family_is_miscounted():
    """Every counted family with two layers, each other tied: exact, or refused with a reason."""
    wrong, exact = [], set()
    for i, (family, known) in enumerate(COUNTED.items()):
        changes = {known["names"].get("num_hidden_layers", "num_hidden_layers"): N_LAYERS}
        changes |= {"tie_word_embeddings": True} if i % 2 else {}
        try:
            built, saved = build(family, changes)
        except Exception:  # transformers itself refuses so few layers
            continue
        for config in (saved, {"model_type": family, **changes}):
            try:
                counted = hf_count(config).n_params
            except ValueError:
                continue
            exact.add(family)
            if counted != built:
                wrong.append((family, changes, built, counted))
    assert not wrong
    # The others have rules of their own on how many layers there are.
    assert len(exact) >= 120


@pytest.mark.parametrize("family", ["llama", "qwen2", "olmo2", "starcoder2", "gemma2", "phi"])
def test_odd_variants_of_dense_families(family):
    n_exact = 0
    for changes in (
        {"attention_bias": True},
        {"mlp_bias": True, "tie_word_embeddings": True},
        {"num_key_value_heads": 2},
        {"head_dim": 80, "num_attention_heads": 8},
        {"use_bias": False, "intermediate_size": 1111},
    ):
        try:
            built, saved = build(family, {"num_hidden_layers": N_LAYERS} | changes)
            counted = hf_count(saved).n_params
        except ValueError:
            continue
        assert counted == built, changes
        n_exact += 1
    assert n_exact >= 2
