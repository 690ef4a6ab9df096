"""The polish: never worse, never outside, and at rest only where nothing near is better."""

import dataclasses

import numpy as np

from anybudget.search.candidate import Candidate
from anybudget.search.certify.scan import best_of, scan
from anybudget.search.explore.polish import polish


def random_candidates(space, objective, count):
    rng = np.random.default_rng(0)
    for numbers in rng.random((count, len(space.free_coordinates))).tolist():
        position = dict(zip(space.free_coordinates, numbers, strict=True))
        yield Candidate.of(space.decode(position), objective)


def test_a_neighbourhood_as_wide_as_the_space_holds_the_optimum(small_space, objective):
    best = scan(small_space, objective, top=1).candidates[0]
    for start in random_candidates(small_space, objective, 20):
        near = small_space.neighbours(start.arch, radius=100)
        assert best_of(near, objective).key == best.key


def test_of_one_list_every_width_is_a_neighbour(small_space, objective):
    (start,) = random_candidates(small_space, objective, 1)
    near = list(small_space.neighbours(start.arch, radius=1, along={"d_model", "n_layers"}))
    assert [mesh.d_model for mesh in near] == list(small_space.widths)
    assert {np.size(mesh.d_ff) for mesh in near} == {1}
    assert max(np.size(mesh.n_layers) for mesh in near) > 1


def test_one_list_alone_keeps_the_width(small_space, objective):
    (start,) = random_candidates(small_space, objective, 1)
    (near,) = small_space.neighbours(start.arch, radius=100, along={"n_layers"})
    assert near.d_model == start.arch.d_model
    assert np.ravel(near.n_layers).tolist() == small_space.widths[near.d_model]["n_layers"]


def test_it_never_loses_and_stays_in_the_space(small_space, objective):
    for start in random_candidates(small_space, objective, 50):
        polished = polish(start, small_space, objective)
        assert polished.arch in small_space
        assert polished.key == start.key or polished.beats(start)


def test_it_rests_where_no_single_step_is_better(small_space, objective):
    """Walk to each next and previous entry of each list, one field at a time."""
    for start in random_candidates(small_space, objective, 20):
        rest = polish(start, small_space, objective)
        if not rest.prediction.feasible:
            continue
        lists = small_space.widths[rest.arch.d_model]
        for field in ("n_layers", "d_ff", "batch_size", "gated_mlp"):
            at = lists[field].index(getattr(rest.arch, field))
            for value in lists[field][max(at - 1, 0) : at + 2]:
                near = dataclasses.replace(rest.arch, **{field: value})
                assert not Candidate.of(near, objective).beats(rest)


def test_a_polished_model_is_at_rest(small_space, objective):
    for start in random_candidates(small_space, objective, 10):
        once = polish(start, small_space, objective)
        assert polish(once, small_space, objective).key == once.key


def test_from_a_model_that_does_not_fit_to_one_that_does(small_space, objective):
    starts = [
        start
        for start in random_candidates(small_space, objective, 50)
        if not start.prediction.feasible
    ]
    assert starts
    assert all(polish(s, small_space, objective).prediction.feasible for s in starts)


def test_where_nothing_fits_the_start_is_left_as_it_is(small_space, objective):
    hopeless = dataclasses.replace(objective, time_budget_s=1e-6)
    (start,) = random_candidates(small_space, hopeless, 1)
    assert polish(start, small_space, hopeless) is start
