"""The Levanter export: documented keys in each section, our parameter count, gated models only."""

import pytest
import yaml

from anybudget.objectives.cost.counts import n_params
from anybudget.show.export.levanter import to_levanter


def count(model, vocab_size):
    """Parameters of Levanter's llama, from its `total_trainable_params`."""
    d, heads = model["hidden_dim"], model["num_heads"] + model["num_kv_heads"]
    layer = 2 * d * heads * model["head_dim"] + 3 * d * model["intermediate_dim"] + 2 * d
    embeddings = (1 if model["tie_word_embeddings"] else 2) * vocab_size * d
    return embeddings + model["num_layers"] * layer + d


@pytest.mark.parametrize("fields", [{}, {"n_kv_heads": 2, "d_head": 8}, {"tied_embeddings": False}])
def test_documented_keys_and_our_parameter_count(brief_for, trainer_keys, fields):
    brief = brief_for(gated_mlp=True, **fields)
    exported = to_levanter(brief)
    config = yaml.safe_load(exported.files["levanter.yaml"])
    assert config == exported.config
    known = trainer_keys["levanter"]
    assert set(config) <= set(known["keys"])
    for section in ("model", "trainer", "optimizer"):
        assert set(config[section]) <= set(known[section])
    assert count(config["model"], brief.arch.vocab_size) == n_params(brief.arch)


def test_steps_batch_and_rate_are_the_recipes(brief_for):
    brief = brief_for(gated_mlp=True)
    config = to_levanter(brief).config
    assert config["trainer"]["num_train_steps"] == brief.n_steps
    assert config["trainer"]["train_batch_size"] * config["train_seq_len"] == 2 * 16
    assert config["model"]["max_seq_len"] == config["train_seq_len"]
    assert config["optimizer"]["learning_rate"] == brief.learning_rate
    assert config["optimizer"]["weight_decay"] == brief.weight_decay


def test_what_is_run_again_is_said(brief_for):
    for remat, again in (("none", False), ("dots", True), ("layer", True)):
        model = to_levanter(brief_for(gated_mlp=True, remat=remat)).config["model"]
        assert model["gradient_checkpointing"] is again


def test_a_plain_model_is_refused(brief_for):
    with pytest.raises(ValueError, match=r"levanter cannot have gated_mlp=false; .*=true$"):
        to_levanter(brief_for())
