"""The LitGPT export: what its own classes make of it has our parameter count, steps and rates."""

import pytest
import yaml

from anybudget.objectives.cost.counts import n_params
from anybudget.show.export.litgpt import to_litgpt

SHAPES = [
    {},
    {"gated_mlp": True, "n_kv_heads": 2, "d_head": 32},
    {"gated_mlp": True, "tied_embeddings": False},
]


def count(model, train):
    """Parameters of LitGPT's model, from its `model.py`."""
    d, head = model["n_embd"], model["head_size"]
    heads = model["n_head"] + model["n_query_groups"]
    mlp = (3 if model["mlp_class_name"] == "LLaMAMLP" else 2) * d * model["intermediate_size"]
    embeddings = (1 if train["tie_embeddings"] else 2) * model["padded_vocab_size"] * d
    return embeddings + model["n_layer"] * (2 * d * heads * head + mlp + 2 * d) + d


@pytest.mark.parametrize("shape", SHAPES)
def test_our_parameter_count_steps_and_rates(brief_for, shape):
    brief = brief_for(**shape)
    exported = to_litgpt(brief)
    config = yaml.safe_load(exported.files["litgpt.yaml"])
    assert config == exported.config
    train = config["train"]
    assert count(config["model_config"], train) == n_params(brief.arch)
    # A pass has micro_batch_size sequences, a step as many passes as fit into the global batch.
    passes = train["max_tokens"] // (train["micro_batch_size"] * train["max_seq_length"])
    accumulated = train["global_batch_size"] // config["devices"] // train["micro_batch_size"]
    assert passes == brief.n_steps * accumulated
    adamw = config["optimizer"]["init_args"]
    assert (adamw["lr"], adamw["weight_decay"]) == (brief.learning_rate, brief.weight_decay)


# What the trainer imports is not ours to mend.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.extra
@pytest.mark.parametrize("shape", SHAPES)
def test_litgpt_builds_the_model(brief_for, shape):
    pytest.importorskip("litgpt", reason="needs the extra: pip install 'anybudget[trainers]'")
    import torch
    from litgpt.args import TrainArgs
    from litgpt.config import Config
    from litgpt.model import GPT

    brief = brief_for(**shape)
    config = to_litgpt(brief).config
    with torch.device("meta"):
        model = GPT(Config(**config["model_config"]))
    train = TrainArgs(**config["train"])
    if train.tie_embeddings:
        model.transformer.wte.weight = model.lm_head.weight
    assert sum(p.numel() for p in model.parameters()) == n_params(brief.arch)
    accumulated = train.gradient_accumulation_iters(config["devices"])
    assert accumulated == brief.execution.n_accumulation
