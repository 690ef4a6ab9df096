"""The scan against a brute-force loop, model by model."""

import dataclasses
import itertools

import numpy as np
import pytest

from anybudget.objectives.loss_at_time import LossAtTime
from anybudget.presets.devices import load_device
from anybudget.presets.laws import load_law
from anybudget.presets.spaces import load_space
from anybudget.search.certify.scan import best_of, scan
from anybudget.space.architecture import FIELDS, Architecture
from anybudget.space.search_space import SearchSpace


def every_model(space):
    """The valid models of a space, in no order of the scan's."""
    for values in itertools.product(*(getattr(space, name) for name in FIELDS)):
        row = dict(zip(FIELDS, values, strict=True))
        if row["n_heads"] % row["n_kv_heads"] == 0:
            arch = Architecture(**row)
            if arch in space:
                yield arch


def ranked(space, objective):
    """Feasible models by predicted loss, each predicted on its own in Python's own numbers."""
    predictions = [(arch, objective.predict(arch)) for arch in every_model(space)]
    feasible = [(p.predicted_loss, arch) for arch, p in predictions if p.feasible]
    return sorted(feasible, key=lambda row: row[0]), len(predictions)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"time_budget_s": 0.05},
        {"remat": "none"},
        {"remat": "layer", "data_limit_tokens": 1e5},
        {"attention": "fused"},
    ],
    ids=str,
)
def test_the_scan_ranks_as_brute_force_does(small_space, objective, change):
    accelerator = dataclasses.replace(objective.device, kind="tpu")
    asked = dataclasses.replace(objective, device=accelerator, **change)
    expected, n_in_rules = ranked(small_space, asked)
    found = scan(small_space, asked, top=25)
    assert found.n_in_rules == n_in_rules == small_space.n_architectures
    assert found.n_valid == len(expected)
    assert 0 < found.n_valid < n_in_rules
    # Powers of arrays and of scalars may differ in the last place.
    np.testing.assert_allclose(
        [c.loss for c in found.candidates], [loss for loss, _ in expected[:25]], rtol=1e-14
    )
    assert found.candidates[0].loss == min(c.loss for c in found.candidates)
    worst = expected[24][0] * (1 + 1e-14)
    may_be_in = [arch for loss, arch in expected if loss <= worst]
    assert all(candidate.arch in may_be_in for candidate in found.candidates)
    assert len({candidate.key for candidate in found.candidates}) == 25


@pytest.mark.parametrize(
    "change",
    [
        # Some fit data parallel, some fully sharded, some rematerialised, some not at all.
        {"memory_bytes": 5e6},
        # A budget of one step: small models, data parallel, are slower than larger ones, sharded.
        {"memory_bytes": 2.6e6, "time_budget_s": 0.0018},
        {"memory_bytes": 6e6, "remat": "layer", "critical_batch": True},
    ],
    ids=str,
)
def test_on_several_chips_it_ranks_as_brute_force_does(small_space, chips, change):
    memory = {"memory_bytes": change.pop("memory_bytes")}
    device = dataclasses.replace(chips.device, **memory)
    asked = dataclasses.replace(chips, device=device, **change)
    expected, _ = ranked(small_space, asked)
    found = scan(small_space, asked, top=25)
    assert 0 < found.n_valid == len(expected) < small_space.n_architectures
    np.testing.assert_allclose(
        [c.loss for c in found.candidates], [loss for loss, _ in expected[:25]], rtol=1e-14
    )


def test_candidates_are_plain_numbers_and_equal_a_prediction_of_their_own(small_space, objective):
    for candidate in scan(small_space, objective, top=5).candidates:
        assert all(type(value) in (int, bool) for value in candidate.arch.as_dict().values())
        alone = objective.predict(candidate.arch)
        assert candidate.prediction.execution == alone.execution
        expected = alone.columns()
        for name, ours in candidate.prediction.columns().items():
            assert isinstance(ours, int | float)
            assert ours == pytest.approx(expected[name], rel=1e-14)


def test_top_beyond_the_space_returns_all_that_is_valid(small_space, objective):
    found = scan(small_space, objective, top=10_000)
    assert len(found.candidates) == found.n_valid
    losses = [candidate.loss for candidate in found.candidates]
    assert losses == sorted(losses)


def test_fewer_asked_for_are_the_first_of_more(small_space, objective):
    many = scan(small_space, objective, top=200).candidates
    for top in (1, 2, 17):
        few = scan(small_space, objective, top=top).candidates
        assert [c.key for c in few] == [c.key for c in many[:top]]


@pytest.mark.parametrize("top", [5, 20, 100])
@pytest.mark.parametrize("max_size", [16, 1 << 18])
def test_on_a_tie_the_earlier_stays_ahead(small_space, flat, monkeypatch, max_size, top):
    space = dataclasses.replace(small_space, d_ff=tuple(range(128, 769, 8)))
    blocks = SearchSpace.blocks
    monkeypatch.setattr(SearchSpace, "blocks", lambda self: blocks(self, max_size))
    in_order = [
        (loss, values)
        for mesh in space.blocks()
        for *values, loss, feasible in zip(*columns(mesh, flat.predict(mesh)), strict=True)
        if feasible
    ]
    expected = sorted(in_order, key=lambda row: row[0])[:top]
    assert len({loss for loss, _ in expected}) < top
    found = scan(space, flat, top=top).candidates
    assert [(c.loss, list(c.key)) for c in found] == expected


def columns(mesh, predicted):
    """A mesh's fields, its losses and their feasibility, one flat list each."""
    fields = [getattr(mesh, name) for name in FIELDS]
    values = np.broadcast_arrays(*fields, predicted.predicted_loss, predicted.feasible)
    return [column.ravel().tolist() for column in values]


@pytest.mark.parametrize("n_layers", [(3,), (2, 3)])
def test_the_best_of_a_shape_is_the_best_over_all_other_fields(small_space, roomy, n_layers):
    space = dataclasses.replace(small_space, n_layers=n_layers, aspect_ratio=(1.0, 1000.0))
    expected: dict[tuple[int, int], float] = {}
    for loss, arch in ranked(space, roomy)[0]:
        expected.setdefault((arch.d_model, arch.n_layers), loss)
    found = scan(space, roomy, top=1)
    assert {c.shape: pytest.approx(c.loss, rel=1e-14) for c in found.shapes} == expected
    assert found.shapes[0].loss == found.candidates[0].loss


def test_nothing_feasible(small_space, objective):
    hopeless = dataclasses.replace(objective, time_budget_s=1e-6)
    found = scan(small_space, hopeless)
    assert (found.candidates, found.n_valid) == ([], 0)
    assert found.n_in_rules == small_space.n_architectures
    assert best_of(small_space.blocks(), hopeless) is None


def test_what_is_passed_over_holds_nothing_feasible(small_space, objective):
    device = dataclasses.replace(objective.device, memory_bytes=5e6)
    tight = dataclasses.replace(objective, device=device)
    expected, _ = ranked(small_space, tight)
    assert 0 < scan(small_space, tight).n_valid == len(expected)


def test_progress_counts_every_model_once(small_space, objective):
    counts = []
    scan(small_space, objective, on_progress=counts.append)
    assert sum(counts) == small_space.n_architectures


def test_the_default_space_holds_two_million_for_the_default_device():
    law = load_law("besiroglu-2024")
    objective = LossAtTime(device=load_device(None), law=law, time_budget_s=3 * 3600)
    found = scan(load_space(aspect_ratio=law.aspect_ratio_range), objective)
    assert found.n_valid >= 2_000_000
    assert len(found.candidates) == 10
