"""The MaxText export: documented keys, our parameter count, our schedule."""

import pytest
import yaml

from anybudget.objectives.cost.counts import n_params
from anybudget.show.export.maxtext import to_maxtext


def count(c):
    """Parameters of MaxText's llama2 decoder block, from its source."""
    d, heads, groups = c["base_emb_dim"], c["base_num_query_heads"], c["base_num_kv_heads"]
    attention = 2 * d * (heads + groups) * c["head_dim"]
    mlp = (len(c["mlp_activations"]) + 1) * d * c["base_mlp_dim"]
    embeddings = (1 if c["logits_via_embedding"] else 2) * c["vocab_size"] * d
    return embeddings + c["base_num_decoder_layers"] * (attention + mlp + 2 * d) + d


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"gated_mlp": True},
        {"n_kv_heads": 1, "d_head": 32},
        {"tied_embeddings": False, "gated_mlp": True},
    ],
)
def test_documented_keys_and_our_parameter_count(brief_for, trainer_keys, fields):
    brief = brief_for(**fields)
    exported = to_maxtext(brief)
    config = yaml.safe_load(exported.files["maxtext.yml"])
    assert config == exported.config
    assert set(config) <= set(trainer_keys["maxtext"]["keys"])
    assert count(config) == n_params(brief.arch)


def test_the_schedule_is_the_recipes(brief_for):
    brief = brief_for()
    config = to_maxtext(brief).config
    assert config["steps"] == brief.n_steps
    assert config["per_device_batch_size"] * config["max_target_length"] == 2 * 16
    # MaxText refuses more than all, and would hold the rate in between if they were less.
    assert config["warmup_steps_fraction"] + config["wsd_decay_steps_fraction"] == 1
    told = (config["learning_rate"], config["adam_weight_decay"])
    assert told == (brief.learning_rate, brief.weight_decay)


def test_what_is_run_again_is_said(brief_for):
    assert to_maxtext(brief_for()).config["remat_policy"] == "minimal_with_context"
    assert to_maxtext(brief_for(remat="dots")).config["remat_policy"] == "minimal"
    assert to_maxtext(brief_for(remat="layer")).config["remat_policy"] == "full"
