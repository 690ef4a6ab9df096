"""What holds of any space and any position in it, tried on spaces that nobody thought of."""

import dataclasses
import math

import numpy as np
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from anybudget.objectives.cost.counts import n_params, n_params_non_embedding
from anybudget.space.architecture import BOOL_FIELDS, FIELDS, Architecture
from anybudget.space.search_space import COORDINATES, SearchSpace

# The same spaces every time, and no clock: a shared machine may be slow.
seeded = settings(derandomize=True, deadline=None, max_examples=40)
SIZES = {"d_model": 64, "d_head": 16, "d_ff": 64}


def lists(name):
    """Some allowed values of a field: widths are multiples, so that heads may fill them."""
    if name in BOOL_FIELDS:
        return st.sets(st.booleans(), min_size=1).map(lambda kept: tuple(sorted(kept)))
    counts = st.sets(st.integers(1, 6), min_size=1, max_size=2)
    return counts.map(lambda kept: tuple(sorted(SIZES.get(name, 1) * n for n in kept)))


@st.composite
def spaces(draw):
    """A space with at least one model."""
    values = {name: draw(lists(name)) for name in FIELDS}
    ratios = st.tuples(st.floats(0, 40), st.floats(40, 400))
    try:
        return SearchSpace(
            **values, heads_fill_width=draw(st.booleans()), aspect_ratio=draw(ratios)
        )
    except ValueError:
        reject()


positions = st.fixed_dictionaries({name: st.floats(0, 1) for name in COORDINATES})


@seeded
@given(spaces(), positions)
def test_a_position_is_a_model_whose_position_is_that_model(space, position):
    arch = space.decode(position)
    assert arch in space
    assert space.decode(space.encode(arch)) == arch
    # A model's own position is a fixed point: the middle of its cell.
    assert space.encode(space.decode(space.encode(arch))) == space.encode(arch)


@seeded
@given(spaces(), positions, st.integers(0, 2))
def test_neighbours_are_in_the_space_and_hold_the_model_itself(space, position, radius):
    arch = space.decode(position)
    found = set()
    for mesh in space.neighbours(arch, radius):
        columns = np.broadcast_arrays(*mesh.as_dict().values())
        rows = list(zip(*(column.ravel().tolist() for column in columns), strict=True))
        found.update(rows)
        for row in (rows[0], rows[-1]):
            assert Architecture(**dict(zip(FIELDS, row, strict=True))) in space
    assert tuple(arch.as_dict().values()) in found
    if radius == 0:
        assert len(found) == 1


@seeded
@given(spaces(), st.integers(10, 500))
def test_blocks_of_any_size_hold_each_model_once(space, max_size):
    rows = []
    for mesh in space.blocks(max_size):
        columns = np.broadcast_arrays(*mesh.as_dict().values())
        rows += zip(*(column.ravel().tolist() for column in columns), strict=True)
    assert len(rows) == len(set(rows)) == space.n_architectures


@seeded
@given(spaces(), positions, positions)
def test_more_of_any_count_is_more_parameters(space, one, other):
    """Of two models alike in all but one list, the larger count has the more parameters."""
    arch = space.decode(one)
    for name in ("n_layers", "d_ff"):
        changed = space.decode(one | {name: other[name]})
        larger = getattr(changed, name) - getattr(arch, name)
        more = n_params(changed) - n_params(arch)
        assert math.copysign(1, larger) == math.copysign(1, more) or larger == more == 0
        assert n_params(changed) >= n_params_non_embedding(changed)


@seeded
@given(spaces(), positions)
def test_a_field_held_fixed_is_a_smaller_space_with_the_same_model(space, position):
    arch = space.decode(position)
    narrow = dataclasses.replace(space, **{name: (getattr(arch, name),) for name in FIELDS})
    assert narrow.n_architectures == 1
    assert narrow.decode({}) == arch
