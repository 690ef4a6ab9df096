"""The torchtitan export: a config in Python whose model has our parameter count."""

import ast

import pytest

from anybudget.objectives.cost.counts import n_params
from anybudget.show.export.torchtitan import to_torchtitan

SHAPES = [{}, {"n_kv_heads": 2, "d_head": 32}, {"tied_embeddings": False}]


def settings(text):
    """The values that the file assigns to names in capitals, where they are literals."""
    found = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                found[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                continue
    return found


@pytest.mark.parametrize("shape", SHAPES)
def test_our_parameter_count_steps_and_rates(brief_for, shape):
    brief = brief_for(gated_mlp=True, **shape)
    exported = to_torchtitan(brief)
    found = settings(exported.files["anybudget_torchtitan.py"])
    assert exported.config.items() <= found.items()
    model, training, adamw = found["MODEL"], found["TRAINING"], found["OPTIMIZER"]
    d, heads = model["dim"], model["n_heads"] + model["n_kv_heads"]
    layer = 2 * d * heads * model["head_dim"] + 3 * d * model["hidden_dim"] + 2 * d
    embeddings = (1 if model["enable_weight_tying"] else 2) * model["vocab_size"] * d
    assert embeddings + model["n_layers"] * layer + d == n_params(brief.arch)
    tokens = training["steps"] * training["global_batch_size"] * training["seq_len"]
    assert tokens == brief.n_tokens
    assert (adamw["lr"], adamw["weight_decay"]) == (brief.learning_rate, brief.weight_decay)
    assert found["LR_SCHEDULER"]["warmup_steps"] == brief.n_warmup_steps


@pytest.mark.parametrize(
    ("remat", "kind"), [("none", "None"), ("dots", "SelectiveAC.Config()"), ("layer", "FullAC")]
)
def test_what_is_run_again_is_said(brief_for, remat, kind):
    brief = brief_for(gated_mlp=True, remat=remat)
    text = to_torchtitan(brief).files["anybudget_torchtitan.py"]
    assert f"\nACTIVATION_CHECKPOINT = {kind}" in text


def test_a_plain_mlp_is_refused(brief_for):
    with pytest.raises(ValueError, match=r"cannot have gated_mlp=false; .* --set gated_mlp=true"):
        to_torchtitan(brief_for(gated_mlp=False))


# What the trainer imports is not ours to mend.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.extra
@pytest.mark.parametrize("shape", SHAPES)
def test_torchtitan_builds_the_model(brief_for, shape):
    pytest.importorskip("torchtitan", reason="needs the extra: pip install 'anybudget[trainers]'")
    import torch

    brief = brief_for(gated_mlp=True, **shape)
    names: dict = {}
    exec(to_torchtitan(brief).files["anybudget_torchtitan.py"], names)
    config = names["anybudget"]()
    with torch.device("meta"):
        model = config.model_spec.model.build()
    assert sum(p.numel() for p in model.parameters()) == n_params(brief.arch)
    assert config.training.steps == brief.n_steps
    assert config.optimizer.param_groups[0].optimizer_kwargs["lr"] == brief.learning_rate
