"""The Hugging Face export: `transformers` takes it, and its model is the same function as ours."""

import json

import jax
import numpy as np
import pytest

from anybudget.objectives.recipe import Recipe
from anybudget.show.export.hf import to_hf
from anybudget.validation.training.model import logits
from anybudget.validation.training.recipe import init_params


@pytest.mark.parametrize("remat", ["none", "layer"])
def test_the_trainer_takes_the_arguments(brief_for, tmp_path, remat):
    from transformers import TrainingArguments

    brief = brief_for(remat=remat)
    content = json.loads(to_hf(brief).files["training_args.json"])
    args = TrainingArguments(**(content | {"output_dir": str(tmp_path)}))
    assert (args.max_steps, args.seed, args.bf16) == (brief.n_steps, 7, False)
    assert args.per_device_train_batch_size * brief.arch.seq_len == brief.arch.tokens_per_step
    assert args.get_warmup_steps(brief.n_steps) == brief.n_warmup_steps
    assert args.activation_checkpointing is (remat == "layer")
    assert (args.learning_rate, args.weight_decay) == (brief.learning_rate, brief.weight_decay)


@pytest.mark.parametrize("fields", [{}, {"gated_mlp": True, "tied_embeddings": False}])
def test_every_parameter_has_the_recipes_own_settings(brief_for, fields):
    torch = pytest.importorskip("torch", reason="needs PyTorch, of the extra dev")
    from transformers import AutoConfig, AutoModelForCausalLM

    brief = brief_for(d_model=128, **fields)
    exported, recipe = to_hf(brief), brief.recipe
    config = AutoConfig.for_model(**exported.config["config.json"])
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    rows = exported.config["recipe.json"]
    shrinks = recipe.learning_rate * recipe.weight_decay
    assert {name.split(".")[-2] for name, _ in model.named_parameters()} == set(rows)
    for name, parameter in model.named_parameters():
        row = rows[name.split(".")[-2]]
        # Matrices shrink by the same share at the same schedule, norms do not.
        decay = row["learning_rate"] * row["weight_decay"]
        assert decay == pytest.approx(shrinks * (parameter.ndim == 2), rel=1e-3)
    # At half the base width: twice the rate, and a spread of 1 / sqrt(fan-in).
    assert rows["q_proj"] == rows["up_proj"]
    for name, factor, std in (("q_proj", 2, 0.08839), ("embed_tokens", 15, 0.2)):
        rate = rows[name]["learning_rate"]
        assert rate == pytest.approx(factor * recipe.learning_rate, rel=1e-3)
        assert rows[name]["std"] == std


def hf_weights(params, arch):
    """Our parameters by the names of `transformers`, matrices as (out, in)."""
    weights = {
        "model.embed_tokens": params["embedding"],
        "model.norm": params["final_norm"],
        "lm_head": params["embedding" if arch.tied_embeddings else "logits"],
    }
    ends = np.cumsum([arch.n_heads, arch.n_kv_heads]) * arch.d_head
    stacks = params["layers"]
    for i in range(arch.n_layers):
        layer = {
            "input_layernorm": stacks["attention_norm"][i],
            "post_attention_layernorm": stacks["mlp_norm"][i],
            "self_attn.o_proj": stacks["attention_output"][i].T,
            "mlp.up_proj": stacks["mlp_up"][i].T,
            "mlp.down_proj": stacks["mlp_down"][i],
        }
        for name, matrix in zip("qkv", np.split(stacks["qkv"][i], ends, axis=1), strict=True):
            layer[f"self_attn.{name}_proj"] = matrix.T
        if arch.gated_mlp:
            layer["mlp.gate_proj"] = stacks["mlp_gate"][i].T
        weights |= {f"model.layers.{i}.{name}": array for name, array in layer.items()}
    return {f"{name}.weight": array for name, array in weights.items()}


@pytest.mark.parametrize(
    "fields",
    [{}, {"gated_mlp": True, "n_kv_heads": 2, "d_head": 32, "tied_embeddings": False}],
    ids=["plain", "gated-grouped-untied"],
)
def test_its_model_with_our_weights_gives_our_logits(brief_for, tmp_path, fields):
    torch = pytest.importorskip("torch", reason="needs PyTorch, of the extra dev")
    from transformers import AutoConfig, AutoModelForCausalLM

    brief = brief_for(**fields)
    arch = brief.arch
    (tmp_path / "config.json").write_text(to_hf(brief).files["config.json"])
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(tmp_path))
    params = init_params(arch, Recipe(), seed=0)
    weights = hf_weights(params, arch)
    model.load_state_dict({k: torch.tensor(v.copy()) for k, v in weights.items()}, strict=True)
    tokens = np.random.default_rng(0).integers(0, arch.vocab_size, (2, arch.seq_len))
    with torch.no_grad():
        theirs = model(torch.tensor(tokens)).logits.numpy().reshape(-1, arch.vocab_size)
    ours = jax.jit(lambda p, x: logits(p, x, arch))(params, tokens)
    # Both in float32, with sums in another order.
    np.testing.assert_allclose(theirs, ours, atol=1e-5 * np.abs(ours).max())
