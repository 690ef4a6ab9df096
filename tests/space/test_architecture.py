"""Architecture: what it accepts, what it refuses, what it fills in."""

import dataclasses

import numpy as np
import pytest

from anybudget.space.architecture import (
    ABOUT,
    DEFAULTS,
    FIELDS,
    MARKED,
    Architecture,
    help_of,
    marks,
    marks_mean,
)

SHAPE = {
    "d_model": 512,
    "n_layers": 6,
    "n_heads": 8,
    "n_kv_heads": 2,
    "d_head": 64,
    "d_ff": 2048,
}


@pytest.mark.parametrize("value", [0, -1, 1.5, float("nan"), float("inf"), "512", True])
@pytest.mark.parametrize("name", ["d_model", "n_kv_heads", "vocab_size", "batch_size"])
def test_a_count_must_be_a_positive_whole_number(name, value):
    with (
        np.errstate(invalid="ignore"),
        pytest.raises(ValueError, match=f"`{name}` must be a whole"),
    ):
        Architecture(**(SHAPE | {name: value}))


@pytest.mark.parametrize("value", [1, 0, "true", None, 1.0])
def test_a_flag_must_be_true_or_false(value):
    with pytest.raises(ValueError, match="`gated_mlp` must be true or false"):
        Architecture(**SHAPE, gated_mlp=value)


def test_kv_heads_must_divide_heads():
    with pytest.raises(ValueError, match="must divide `n_heads`, but got n_heads=8, n_kv_heads=3"):
        Architecture(**(SHAPE | {"n_kv_heads": 3}))


def test_one_bad_entry_of_an_array_is_refused():
    widths = np.array([512.0, 0.0])
    with pytest.raises(ValueError, match="`d_model` must be a whole number"):
        Architecture(**(SHAPE | {"d_model": widths}))


def test_arrays_broadcast_into_many_models():
    arch = Architecture(
        **(SHAPE | {"d_model": np.array([[256], [512]]), "n_layers": np.array([4, 8, 16])})
    )
    np.testing.assert_array_equal(arch.aspect_ratio, [[64, 32, 16], [128, 64, 32]])


def test_tokens_per_step():
    assert Architecture(**SHAPE, seq_len=100, batch_size=7).tokens_per_step == 700


def test_it_is_frozen_and_named():
    arch = Architecture(**SHAPE)
    with pytest.raises(dataclasses.FrozenInstanceError):
        arch.d_model = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        Architecture(512, 6, 8, 2, 64, 2048)  # type: ignore[misc]
    assert Architecture(**arch.as_dict()) == arch


def test_every_field_says_what_it_is():
    assert {*FIELDS} == {field.name for field in dataclasses.fields(Architecture)}
    for name, about in ABOUT.items():
        assert help_of(name)[0].isupper()
        # Only what `from_shape` knows is not given where nobody says.
        assert name in ("d_model", "n_layers") or about.usual or name in DEFAULTS
        assert (name in MARKED) == bool(about.word) == bool(about.mark)
    assert help_of("batch_size") == "Sequences in an optimizer step; default 8."


def test_a_flag_is_marked_where_it_is_true():
    plain = Architecture(**SHAPE)
    gated = Architecture(**SHAPE, gated_mlp=True)
    assert (plain.words, gated.words) == ([], ["gated"])
    assert (marks(plain.as_dict()), marks(gated.as_dict())) == ("", "g")
    assert marks_mean([plain.as_dict(), gated.as_dict(), gated.as_dict()]) == ["g: gated MLP"]
    assert marks_mean([plain.as_dict()]) == []


@pytest.mark.parametrize(
    ("given", "filled"),
    [
        ({}, {"n_heads": 12, "n_kv_heads": 12, "d_head": 64, "d_ff": 3072}),
        ({"n_heads": 6}, {"n_heads": 6, "n_kv_heads": 6, "d_head": 128, "d_ff": 3072}),
        ({"d_head": 32}, {"n_heads": 24, "n_kv_heads": 24, "d_head": 32, "d_ff": 3072}),
        ({"n_heads": 5, "d_head": 100}, {"n_heads": 5, "d_head": 100}),
        ({"n_kv_heads": 4, "d_ff": 1000}, {"n_heads": 12, "n_kv_heads": 4, "d_ff": 1000}),
    ],
)
def test_from_shape_fills_in_what_is_customary(given, filled):
    arch = Architecture.from_shape(d_model=768, n_layers=12, **given)
    assert arch.as_dict() | filled == arch.as_dict()


def test_from_shape_of_a_width_below_one_head():
    arch = Architecture.from_shape(d_model=48, n_layers=2)
    assert (arch.n_heads, arch.d_head) == (1, 48)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"d_model": 100}, "`d_head` must divide `d_model`, but got d_head=64, d_model=100"),
        ({"n_heads": 7}, "`n_heads` must divide `d_model`, but got n_heads=7, d_model=768"),
        ({"n_heads": 0}, "`n_heads` must divide `d_model`, but got n_heads=0"),
        ({"d_model": 0}, "`d_model` must be a whole number >= 1, but got 0"),
        ({"d_model": 7.5}, "`d_model` must be a whole number >= 1, but got 7.5"),
        ({"width": 3}, "an architecture has no field 'width'"),
    ],
)
def test_from_shape_refuses_what_does_not_fit(fields, message):
    with pytest.raises(ValueError, match=message):
        Architecture.from_shape(**({"d_model": 768, "n_layers": 12} | fields))
