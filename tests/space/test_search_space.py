"""The space's two views, enumeration and the sampler's cube, against a brute-force filter."""

import dataclasses
import itertools
import math

import numpy as np
import pytest

from anybudget.space.architecture import FIELDS, Architecture
from anybudget.space.search_space import ATTENTION, COORDINATES, SearchSpace

VARIANTS = [
    {},
    {"heads_fill_width": False, "d_model": (64, 96), "n_layers": (1, 2, 4)},
    {"aspect_ratio": (30.0, 32.0), "ff_ratio": (8 / 3, 8 / 3)},
    {"heads_per_kv_head": (2.0, 2.0)},
    {"tied_embeddings": (False, True), "seq_len": (32, 64), "n_heads": (2,)},
]


@pytest.fixture(params=VARIANTS, ids=str)
def space(request, small_space):
    return dataclasses.replace(small_space, **request.param)


def key(arch):
    return tuple(getattr(arch, name) for name in FIELDS)


def brute_force(space):
    """Every member of the raw product that obeys the rules, written out once more."""
    kept = set()
    for values in itertools.product(*(getattr(space, name) for name in FIELDS)):
        row = dict(zip(FIELDS, values, strict=True))
        heads_fit = row["n_heads"] * row["d_head"] == row["d_model"]
        if row["n_heads"] % row["n_kv_heads"] or (space.heads_fill_width and not heads_fit):
            continue
        aspect, ff = row["d_model"] / row["n_layers"], row["d_ff"] / row["d_model"]
        low_aspect, high_aspect = space.aspect_ratio
        low_ff, high_ff = space.ff_ratio
        low_heads, high_heads = space.heads_per_kv_head
        if not low_heads <= row["n_heads"] / row["n_kv_heads"] <= high_heads:
            continue
        if low_aspect <= aspect <= high_aspect and low_ff <= ff <= high_ff:
            kept.add(values)
    return kept


def members(meshes):
    """The models of open meshes, one tuple each."""
    for mesh in meshes:
        columns = np.broadcast_arrays(*(getattr(mesh, name) for name in FIELDS))
        yield from zip(*(column.ravel().tolist() for column in columns), strict=True)


@pytest.mark.parametrize("max_size", [1, 7, 1 << 18])
def test_enumeration_is_the_brute_force_filter(space, max_size):
    enumerated = list(members(space.blocks(max_size)))
    assert len(enumerated) == len(set(enumerated)) == space.n_architectures
    assert set(enumerated) == brute_force(space)


@pytest.mark.parametrize("max_size", [1, 7, 100])
def test_blocks_keep_to_their_size(small_space, max_size):
    sizes = [np.broadcast(*mesh.as_dict().values()).size for mesh in small_space.blocks(max_size)]
    assert max(sizes) <= max_size


def test_a_fine_grid_of_positions_reaches_exactly_the_enumerated_models(space):
    # Midpoints of as many cells as the longest list has entries: some lie in every cell.
    lengths = {
        name: [len(axes[name]) for axes in space.widths.values()] for name in COORDINATES[1:]
    }
    counts = {"d_model": len(space.widths)} | {name: max(n) for name, n in lengths.items()}
    grids = [[(i + 0.5) / count for i in range(count)] for count in counts.values()]
    reached = {
        key(space.decode(dict(zip(counts, position, strict=True))))
        for position in itertools.product(*grids)
    }
    assert reached == set(members(space.blocks()))


def test_encode_is_the_inverse_of_decode(space):
    for values in members(space.blocks()):
        arch = Architecture(**dict(zip(FIELDS, values, strict=True)))
        position = space.encode(arch)
        assert all(0 < number < 1 for number in position.values())
        assert key(space.decode(position)) == values


def test_every_position_is_a_valid_model(space):
    valid = brute_force(space)
    rng = np.random.default_rng(0)
    positions = [*rng.random((2000, len(COORDINATES))), np.zeros(9), np.ones(9), np.eye(9)[0]]
    for position in positions:
        arch = space.decode(dict(zip(COORDINATES, position.tolist(), strict=True)))
        assert key(arch) in valid
        assert arch in space


def test_every_field_has_its_allowed_values():
    names = tuple(field.name for field in dataclasses.fields(SearchSpace))
    assert names[: len(FIELDS)] == FIELDS
    # Each lies in one coordinate, the three of attention in one together.
    assert sorted((*COORDINATES, *ATTENTION)) == sorted((*FIELDS, "attention"))


def test_free_coordinates_are_those_with_a_choice(small_space):
    assert small_space.free_coordinates == (
        "d_model",
        "batch_size",
        "gated_mlp",
        "attention",
        "n_layers",
        "d_ff",
    )
    fixed = dataclasses.replace(small_space, d_model=(96,), batch_size=(4,), gated_mlp=(True,))
    assert fixed.free_coordinates == ("attention", "n_layers", "d_ff")


@pytest.mark.parametrize(
    "change", [{"d_model": 80}, {"vocab_size": 999}, {"d_head": 64, "n_heads": 2}, {"n_layers": 9}]
)
def test_a_model_outside_is_not_contained(small_space, change):
    inside = small_space.decode(dict.fromkeys(small_space.free_coordinates, 0.5))
    outside = Architecture(**(inside.as_dict() | change))
    assert inside in small_space
    assert outside not in small_space
    with pytest.raises(ValueError, match="is not in the space"):
        small_space.encode(outside)


@pytest.mark.parametrize("radius", [1, 2])
def test_neighbours_are_the_models_within_a_radius(small_space, radius):
    arch = Architecture(
        d_model=128,
        n_layers=3,
        n_heads=4,
        n_kv_heads=2,
        d_head=32,
        d_ff=384,
        gated_mlp=True,
        vocab_size=1000,
        seq_len=64,
        batch_size=4,
    )
    neighbours = list(members(small_space.neighbours(arch, radius)))
    assert len(neighbours) == len(set(neighbours))
    assert key(arch) in neighbours
    assert set(neighbours) <= brute_force(small_space)
    # At its own width the lists are those below, and the model sits at the third depth (2, 3, 4,
    # 6 layers: the second) and the second MLP width of 256, 384, 512.
    own_width = {values for values in neighbours if values[0] == 128}
    assert {v[FIELDS.index("n_layers")] for v in own_width} == (
        {2, 3, 4} if radius == 1 else {2, 3, 4, 6}
    )
    assert {v[FIELDS.index("d_ff")] for v in own_width} == {256, 384, 512}
    assert {v[0] for v in neighbours} == ({96, 128, 192} if radius == 1 else {64, 96, 128, 192})


def test_bounds_names_each_range_and_rule_that_binds(small_space):
    arch = Architecture(
        d_model=192,
        n_layers=3,
        n_heads=6,
        n_kv_heads=2,
        d_head=32,
        d_ff=384,
        gated_mlp=True,
        vocab_size=1000,
        seq_len=64,
        batch_size=8,
    )
    assert [sentence.split()[0] for sentence in small_space.bounds(arch)] == [
        "d_model",
        "batch_size",
        "aspect_ratio",
        "ff_ratio",
    ]


def test_nothing_binds_in_the_middle(small_space):
    wide = dataclasses.replace(small_space, batch_size=(2, 4, 8))
    arch = Architecture(
        d_model=128,
        n_layers=3,
        n_heads=4,
        n_kv_heads=2,
        d_head=32,
        d_ff=384,
        vocab_size=1000,
        seq_len=64,
        batch_size=4,
    )
    assert wide.bounds(arch) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"d_ff": ()}, "`d_ff` must have a value"),
        ({"d_ff": (256, 128)}, "`d_ff` must be ascending"),
        ({"d_ff": (128, 128)}, "`d_ff` must be ascending"),
        ({"vocab_size": (0,)}, "`vocab_size` must be from 1 to 2,147,483,647, but got 0"),
        ({"aspect_ratio": (64.0, 20.0)}, "`aspect_ratio` must be low:high, but got 64:20"),
        ({"ff_ratio": (-1.0, 2.0)}, "`ff_ratio` must be low:high"),
        ({"aspect_ratio": (math.nan, 1.0)}, "`aspect_ratio` must be low:high"),
        ({"n_heads": (5, 7)}, "no attention in the space satisfies heads_fill_width=true"),
        ({"heads_per_kv_head": (9.0, 9.5)}, "no attention in .* heads_per_kv_head=9:9.5"),
        ({"heads_per_kv_head": (2.0, 1.0)}, "`heads_per_kv_head` must be low:high, but got 2:1"),
        ({"n_kv_heads": (16,)}, "no attention in the space satisfies"),
        (
            {"aspect_ratio": (500.0, 600.0)},
            "no n_layers in the space satisfies aspect_ratio=500:600",
        ),
        ({"ff_ratio": (9.0, 10.0)}, "no d_ff in the space satisfies ff_ratio=9:10"),
        ({"d_model": (64, 192), "n_heads": (1, 6), "d_head": (32,), "d_ff": (128,)}, "no width"),
    ],
)
def test_a_space_that_is_wrong_or_empty_says_why(small_space, change, message):
    with pytest.raises(ValueError, match=f"space: .*{message}"):
        dataclasses.replace(small_space, **change)
