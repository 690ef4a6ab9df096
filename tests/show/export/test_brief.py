"""What every trainer is told: the recipe's rates as one, and refusals with a way out."""

import dataclasses

import pytest

from anybudget.objectives.recipe import recipe_for
from anybudget.search.candidate import Candidate
from anybudget.show.export.brief import commented, refuse
from anybudget.show.export.hf import to_hf
from anybudget.show.export.maxtext import to_maxtext
from anybudget.show.export.nanogpt import to_nanogpt


@pytest.mark.parametrize("shape", [{"d_model": 128}, {"n_layers": 8}])
def test_one_rate_and_a_weight_decay_that_shrinks_as_much(brief_for, shape):
    brief = brief_for(**shape)
    recipe = recipe_for(brief.arch, brief.candidate.prediction.n_tokens)
    # In proportion to 1 / fan-in from a width of 256, and falling with depth from 8 layers.
    factor = 256 / brief.arch.d_model * (brief.arch.n_layers / 8) ** -0.33
    assert brief.learning_rate == pytest.approx(recipe.learning_rate * factor, rel=1e-3)
    shrinks = recipe.learning_rate * recipe.weight_decay
    assert brief.learning_rate * brief.weight_decay == pytest.approx(shrinks, rel=1e-3)


def test_steps_are_those_of_the_prediction_and_a_tenth_warms_up(brief_for):
    brief = brief_for()
    assert brief.n_steps * brief.arch.tokens_per_step == brief.candidate.prediction.n_tokens
    assert brief.n_warmup_steps == round(brief.n_steps / 10)
    assert brief.beta2 == pytest.approx(brief.recipe.beta2, rel=1e-3)


@pytest.mark.parametrize("n_chips", [1, 2])
def test_each_chip_has_its_share_of_the_batch(brief_for, n_chips):
    brief = brief_for()
    device = dataclasses.replace(brief.objective.device, interconnect_bytes_per_s=1e9)
    many = dataclasses.replace(brief.objective, device=device, n_chips=n_chips)
    candidate = Candidate.of(brief.arch, many)
    brief = dataclasses.replace(brief, candidate=candidate, objective=many)
    configs = [
        to_hf(brief).config["training_args.json"],
        to_maxtext(brief).config,
        to_nanogpt(brief).config,
    ]
    found = [value for one in configs for name, value in one.items() if "batch_size" in name]
    assert found == [2 // n_chips] * 3
    assert configs[2]["gradient_accumulation_steps"] == n_chips
    kind = candidate.prediction.execution.sharding.phrase
    told = f"for 2 devices, {kind}" if n_chips == 2 else "for one device; for n, divide"
    for export in (to_hf, to_maxtext, to_nanogpt):
        assert any(told in note for note in export(brief).notes)


def test_the_dtype_is_the_devices(brief_for):
    brief = brief_for()
    device = dataclasses.replace(brief.objective.device, dtype="bfloat16")
    other = dataclasses.replace(
        brief, objective=dataclasses.replace(brief.objective, device=device)
    )
    assert (brief.is_bfloat16, other.is_bfloat16) == (False, True)


def test_all_that_one_rate_cannot_say_is_a_comment(brief_for):
    brief = brief_for(d_model=128, n_layers=2, d_ff=512)
    text = commented(brief, "Trainer", ["it is slow"], "run FILE", "a: 1\n")
    *comments, empty, body = text.splitlines()
    assert all(line.startswith("#") for line in comments)
    assert (empty, body) == ("", "a: 1")
    assert "# Start: run FILE" in comments
    assert "# - it is slow" in comments
    rows = [line.removeprefix("# ").split() for line in comments]
    # Twice as wide as the base and half as deep; see `recipe.scales`.
    rate = brief.recipe.learning_rate
    for name, factor, *begins in (
        ("embedding", 15, "normal,", "spread", "0.2"),
        ("qkv", 2, "normal,", "spread", "0.08839"),
        ("mlp_down", 2**0.5, "normal,", "spread", "0.03125"),
        ("final_norm", 0.6, "all", "0.6"),
    ):
        assert [name, str(float(f"{factor * rate:.4g}")), *begins] in rows


def test_a_refusal_names_what_clashes_and_the_search_that_avoids_it():
    refuse("trainer", {})
    with pytest.raises(ValueError, match=r"trainer cannot have x=1, y=2; .* --set x=0 --set y=0$"):
        refuse("trainer", {"x=1": "x=0", "y=2": "y=0 x=0"})
