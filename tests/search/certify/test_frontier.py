"""A frontier's best against a scan's, shape by shape: the same architectures, to the last digit."""

import dataclasses

import numpy as np
import pytest

from anybudget.objectives.loss_at_time import LossAtTime
from anybudget.presets.devices import load_device
from anybudget.presets.laws import load_law
from anybudget.presets.spaces import load_space
from anybudget.search.candidate import Candidate
from anybudget.search.certify.frontier import find_frontiers, serves
from anybudget.search.certify.scan import scan


def best_shapes(frontier, objective, top=10_000):
    assert frontier is not None
    found = frontier.best_shapes(objective, top)
    if found is None:
        return []
    arch, prediction = found
    return Candidate.each(arch, prediction, (np.arange(len(prediction.n_steps)),))


def changed_law(objective, **changes):
    return dataclasses.replace(objective, law=dataclasses.replace(objective.law, **changes))


CHANGES = {
    "as it is": lambda one: one,
    "few steps, so many ties": lambda one: dataclasses.replace(one, time_budget_s=0.05),
    "a long time": lambda one: dataclasses.replace(one, time_budget_s=1e7),
    "without remat": lambda one: dataclasses.replace(one, remat="none"),
    "with remat": lambda one: dataclasses.replace(one, remat="layer"),
    "fused attention": lambda one: dataclasses.replace(
        one, device=dataclasses.replace(one.device, kind="gpu"), attention="fused"
    ),
    "little data": lambda one: dataclasses.replace(one, data_limit_tokens=1e5),
    "critical batch": lambda one: dataclasses.replace(one, critical_batch=True),
    "other N": lambda one: changed_law(one, n_convention="non_embedding"),
    "depth hurts": lambda one: changed_law(one, terms={"inverse_depth": -0.3}),
    "steps help": lambda one: changed_law(one, terms={"inverse_steps": 9.0}),
}


@pytest.fixture(params=["small", "several of every field"])
def space(request, small_space):
    if request.param == "small":
        return small_space
    several = {"vocab_size": (500, 1000), "tied_embeddings": (False, True), "seq_len": (32, 64)}
    return dataclasses.replace(small_space, **several, heads_fill_width=False)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_the_best_of_each_shape_is_a_scan_s(space, objective, change):
    asked = change(objective)
    [frontier] = find_frontiers(space, [asked])
    expected = scan(space, asked, top=1)
    found = best_shapes(frontier, asked)
    assert len(found) > 3
    assert {c.shape: c for c in found} == {c.shape: c for c in expected.shapes}
    assert [c.loss for c in found] == [c.loss for c in expected.shapes]
    assert found[0] == expected.candidates[0]
    for top in (1, 4):
        assert best_shapes(frontier, asked, top) == found[:top]


@pytest.mark.parametrize("memory_bytes", [2.6e6, 5e6, 14e6])
def test_on_several_chips_too(space, chips, memory_bytes):
    device = dataclasses.replace(chips.device, memory_bytes=memory_bytes)
    for budget_s in (0.0018, 600.0):
        asked = dataclasses.replace(chips, device=device, time_budget_s=budget_s)
        [frontier] = find_frontiers(space, [asked])
        assert best_shapes(frontier, asked) == scan(space, asked, top=1).shapes


def test_one_frontier_serves_all_budgets_and_laws(small_space, objective):
    [frontier] = find_frontiers(small_space, [objective])
    for budget in (0.03, 1.0, 60.0, 1e5):
        for law in ("besiroglu-2024", "hoffmann-2022"):
            asked = dataclasses.replace(objective, time_budget_s=budget, law=load_law(law))
            assert best_shapes(frontier, asked) == scan(small_space, asked).shapes


def test_each_device_has_its_own_in_one_walk(small_space, objective):
    small = dataclasses.replace(objective.device, memory_bytes=9e6)
    tiny = dataclasses.replace(objective.device, memory_bytes=1e3)
    asked = [dataclasses.replace(objective, device=d) for d in (objective.device, small, tiny)]
    counts = []
    frontiers = find_frontiers(small_space, asked, on_progress=counts.append)
    assert sum(counts) == small_space.n_architectures
    assert frontiers[2] is None
    for frontier, one in zip(frontiers[:2], asked, strict=False):
        assert best_shapes(frontier, one) == scan(small_space, one).shapes


def test_it_keeps_few(small_space, objective):
    space = dataclasses.replace(small_space, d_ff=tuple(range(128, 769, 8)))
    [frontier] = find_frontiers(space, [objective])
    n_feasible = scan(space, objective).n_valid
    assert frontier is not None
    assert len(frontier.cost.n_params) < 0.4 * n_feasible


def test_nothing_in_the_time(small_space, objective):
    [frontier] = find_frontiers(small_space, [objective])
    hopeless = dataclasses.replace(objective, time_budget_s=1e-6)
    assert best_shapes(frontier, hopeless) == []


def test_a_law_that_steps_harm_is_not_served(objective):
    assert serves(changed_law(objective, terms={"inverse_steps": 0.1, "inverse_depth": -1.0}))
    assert not serves(changed_law(objective, terms={"inverse_sqrt_steps": -0.1}))


@pytest.mark.parametrize("budget_s", [60.0, 86_400.0])
@pytest.mark.parametrize("device", ["tpu-v5e-datasheet", "h100-sxm-datasheet"])
def test_a_part_of_the_default_space(device, budget_s):
    law = load_law("besiroglu-2024")
    objective = LossAtTime(device=load_device(device), law=law, time_budget_s=budget_s)
    space = load_space(settings=["d_model=128:1024:128"], aspect_ratio=law.aspect_ratio_range)
    [frontier] = find_frontiers(space, [objective])
    assert best_shapes(frontier, objective) == scan(space, objective, top=1).shapes
