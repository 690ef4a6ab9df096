"""The nanoGPT export: documented names, our parameter count, and every other shape refused."""

import pytest

from anybudget.objectives.cost.counts import n_params
from anybudget.show.export.nanogpt import to_nanogpt


def read(text):
    """As nanoGPT does: the file's names replace those of train.py."""
    names = {}
    exec(text, {}, names)
    return names


def test_documented_names_and_our_parameter_count(brief_for, trainer_keys):
    brief = brief_for(n_layers=3)
    exported = to_nanogpt(brief)
    config = read(exported.files["anybudget_nanogpt.py"])
    assert config == exported.config
    assert set(config) <= set(trainer_keys["nanogpt"]["keys"])
    # As its `get_num_params` counts: without positions, no biases, the embedding once.
    d = config["n_embd"]
    count = 300 * d + config["n_layer"] * (12 * d * d + 2 * d) + d
    assert count == n_params(brief.arch)


def test_the_loop_makes_as_many_steps(brief_for):
    brief = brief_for()
    config = to_nanogpt(brief).config
    # It ends once the number of steps made is more than `max_iters`.
    assert next(n for n in range(1, 10**9) if n > config["max_iters"]) == brief.n_steps
    assert config["batch_size"] * config["block_size"] == brief.arch.tokens_per_step
    assert config["gradient_accumulation_steps"] == 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"gated_mlp": True}, "gated_mlp=true; .* --set gated_mlp=false$"),
        ({"d_ff": 128}, r"d_ff=128 \(only 4 d_model, 256\); .* --set ff_ratio=4:4$"),
        ({"n_kv_heads": 2}, r"n_kv_heads=2 \(.*, 4\); .* --set n_heads=4 --set n_kv_heads=4$"),
        ({"d_head": 32}, r"4 heads of 32 \(they .*\); .* --set heads_fill_width=true$"),
        ({"tied_embeddings": False}, "tied_embeddings=false; .* --set tied_embeddings=true$"),
        ({"vocab_size": 70_000}, r"vocab_size=70000 \(.*16 bits\); .* --set vocab_size=50304$"),
        (
            {"gated_mlp": True, "d_ff": 128},
            "gated_mlp=true, d_ff=128 .* --set gated_mlp=false --set ff_ratio=4:4$",
        ),
    ],
)
def test_another_shape_is_refused_with_the_search_that_avoids_it(brief_for, fields, message):
    with pytest.raises(ValueError, match=f"nanogpt cannot have {message}"):
        to_nanogpt(brief_for(**fields))
