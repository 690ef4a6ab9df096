"""Reading a space: value lists, the shipped default, files and settings on top of it."""

import contextlib
import dataclasses

import numpy as np
import pytest

from anybudget.presets.spaces import default_space, load_space, parse_values, space_names
from anybudget.search.candidate import Candidate
from anybudget.show.export.brief import Brief
from anybudget.show.export.export import TRAINERS
from anybudget.space.architecture import Architecture


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (7, (7,)),
        ("7", (7,)),
        ([8, 7, 8], (7, 8)),
        ("8,7", (7, 8)),
        ("3:5", (3, 4, 5)),
        ("2:9:3", (2, 5, 8)),
        ("2:8:3", (2, 5, 8)),
        ("5:5", (5,)),
        ("1:3,10:30:10", (1, 2, 3, 10, 20, 30)),
        (["1:3", 10], (1, 2, 3, 10)),
        ([], ()),
    ],
)
def test_parse_values(value, expected):
    assert parse_values(value) == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (True, "whole numbers"),
        (1.5, "whole numbers"),
        ([1, None], "whole numbers"),
        ("", "whole numbers, or low:high:step"),
        ("abc", "whole numbers, or low:high:step"),
        ("1.5", "whole numbers, or low:high:step"),
        ("1:", "whole numbers, or low:high:step"),
        ("5:3", "low <= high and step >= 1"),
        ("1:5:0", "low <= high and step >= 1"),
        ("1:5:1:1", "low <= high and step >= 1"),
        ("1:100000000", "at most 100,000 values"),
    ],
)
def test_values_that_are_none(value, message):
    with pytest.raises(ValueError, match=message):
        parse_values(value)


def test_the_default_takes_its_aspect_ratio_from_the_law():
    assert load_space(aspect_ratio=(40.0, 109.0)).aspect_ratio == (40.0, 109.0)
    settings = ["aspect_ratio=30:50"]
    assert load_space(settings=settings, aspect_ratio=(40.0, 109.0)).aspect_ratio == (30.0, 50.0)


def test_settings_replace_what_the_file_says_and_the_file_what_the_default_says(tmp_path):
    path = tmp_path / "space.toml"
    path.write_text('d_model = [512, 256]\nn_layers = "2:4"\ntied_embeddings = [true, false]\n')
    space = load_space(path, settings=["n_layers=6", " gated_mlp = true "])
    assert space.d_model == (256, 512)
    assert space.n_layers == (6,)
    assert space.gated_mlp == (True,)
    assert space.tied_embeddings == (False, True)
    assert space.vocab_size == load_space().vocab_size


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("d_model", "--set must be field=values, but got 'd_model'"),
        ("d_modle=512", "--set: unknown key `d_modle`; did you mean d_model"),
        ("d_model=", r"--set: `d_model`: it must be whole numbers, or low:high:step \(got ''\)"),
        ("d_model=wide", "--set: `d_model`: it must be whole numbers"),
        ("d_model=512:256", "--set: `d_model`: a range must be low:high:step with low <= high"),
        ("d_model=0", "`d_model` must be from 1 to 2,147,483,647, but got 0"),
        ("gated_mlp=maybe", "--set: `gated_mlp`: it must be true or false, or both"),
        ("heads_fill_width=true,false", "--set: `heads_fill_width`: it must be true or false"),
        ("aspect_ratio=40:a", r"--set: `aspect_ratio`: it must be low:high \(got '40:a'\)"),
        ("aspect_ratio=90:40", "--set: `aspect_ratio`: .* 0 <= low <= high"),
        ("ff_ratio=nan:4", "--set: `ff_ratio`: .* 0 <= low <= high"),
        ("d_model=100", "space: no architecture is valid: no attention in the space"),
    ],
)
def test_a_bad_setting(setting, message):
    with pytest.raises(ValueError, match=message):
        load_space(settings=[setting])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("d_modle = 512", "space.toml: unknown key `d_modle`; did you mean d_model"),
        (
            'aspect_ratio = "40:a"',
            r"space.toml: `aspect_ratio`: it must be low:high \(got '40:a'\)",
        ),
        ("aspect_ratio = [40, 50, 60]", "space.toml: `aspect_ratio`: it must be low:high"),
        ("aspect_ratio = true", "space.toml: `aspect_ratio`: it must be low:high"),
        ("heads_fill_width = [true, false]", "space.toml: `heads_fill_width`: it must be true or"),
        ("gated_mlp = 1", "space.toml: `gated_mlp`: it must be true or false"),
        ("gated_mlp = []", "space.toml: `gated_mlp`: it must be true or false"),
        ("n_layers = []", "`n_layers` must have a value"),
        ("n_layers = 2.5", "space.toml: `n_layers`: it must be whole numbers"),
        ("n_layers = ", "space.toml is not valid TOML"),
    ],
)
def test_a_bad_file(tmp_path, text, message):
    path = tmp_path / "space.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        load_space(path)


def test_rules_in_a_file_may_be_lists_or_text(tmp_path):
    path = tmp_path / "space.toml"
    path.write_text('aspect_ratio = [40, 109.5]\nff_ratio = "2:3"\nheads_fill_width = false\n')
    space = load_space(path, settings=["d_model=512", "n_heads=8", "heads_per_kv_head=2:2"])
    assert (space.aspect_ratio, space.ff_ratio) == ((40.0, 109.5), (2.0, 3.0))
    assert space.heads_per_kv_head == (2.0, 2.0)
    assert space.heads_fill_width is False


def test_a_space_by_name_lies_on_the_default():
    dense = ["cpu", "default", "gpt2", "llama", "tpu"]
    assert set(space_names()) == {*dense, "moe", "hybrid", "linear", "mla", "window"}
    assert load_space("default") == load_space()
    small = load_space("cpu", settings=["n_layers=3"], aspect_ratio=(40.0, 109.0))
    assert (small.vocab_size, small.n_layers) == ((1024,), (3,))
    assert small.aspect_ratio == (12.0, 128.0)
    # As the runs behind the law of small models had it.
    assert (small.d_head, small.heads_per_kv_head, small.gated_mlp) == ((16, 32), (1, 1), (False,))
    assert small.ff_ratio == (2.0, 6.0)
    assert small.heads_fill_width == load_space().heads_fill_width


def test_a_tpus_space_has_whole_tiles():
    space = load_space(default_space("tpu"))
    assert all(n % 128 == 0 for name in ("d_model", "d_ff") for n in getattr(space, name))
    assert default_space("gpu") == "default"


def test_a_name_that_no_space_has():
    with pytest.raises(ValueError, match=r"no space is called 'cpi'; did you mean cpu\? \(a file"):
        load_space("cpi")


@pytest.mark.parametrize(
    ("name", "trainers"),
    [
        ("llama", {"hf", "levanter", "litgpt", "maxtext", "torchtitan"}),
        ("gpt2", {"hf", "litgpt", "maxtext", "nanogpt"}),
    ],
)
def test_a_family_s_space_has_only_what_its_trainers_take(objective, name, trainers):
    space = load_space(name, held=(("d_head", "32"), ("gated_mlp", "false")))
    assert set(space.gated_mlp) == {name == "llama"}
    rng, objective = np.random.default_rng(0), dataclasses.replace(objective, time_budget_s=1e12)
    for _ in range(20):
        arch = space.decode({field: float(rng.random()) for field in space.free_coordinates})
        brief = Brief(candidate=Candidate.of(arch, objective), objective=objective)
        taken = set()
        for trainer, export in TRAINERS.items():
            with contextlib.suppress(ValueError):
                export(brief)
                taken.add(trainer)
        assert taken == trainers


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("llama", {"d_model": 4096, "n_layers": 32, "d_ff": 11008, "d_head": 128}),
        ("llama", {"d_model": 4096, "n_layers": 32, "d_ff": 14336, "d_head": 128, "n_kv_heads": 8}),
        ("llama", {"d_model": 8192, "n_layers": 80, "d_ff": 28672, "d_head": 128, "n_kv_heads": 8}),
        ("llama", {"d_model": 2048, "n_layers": 22, "d_ff": 5632, "d_head": 64, "n_kv_heads": 4}),
        ("gpt2", {"d_model": 768, "n_layers": 12, "d_ff": 3072, "d_head": 64}),
        ("gpt2", {"d_model": 1280, "n_layers": 36, "d_ff": 5120, "d_head": 64}),
    ],
)
def test_a_family_s_space_has_its_released_models(name, shape):
    space = load_space(name)
    n_heads = shape["d_model"] // shape["d_head"]
    fields = {"n_kv_heads": n_heads} | shape | {"n_heads": n_heads, "batch_size": 8}
    fields |= {key: getattr(space, key)[0] for key in ("gated_mlp", "vocab_size", "seq_len")}
    arch = Architecture(tied_embeddings=name == "gpt2", **fields)
    assert space.decode(space.encode(arch)) == arch


@pytest.mark.parametrize("kind", ["cpu", "gpu", "tpu"])
def test_the_space_of_every_kind_of_device_holds_what_the_law_s_runs_held(kind):
    held = (("d_head", "64"), ("ff_ratio", "4:4"))
    space = load_space(default_space(kind), held=held)
    assert space.d_head == (64,)
    assert space.ff_ratio == (4.0, 4.0)
