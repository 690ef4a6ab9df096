"""What a step costs on several chips, and that the fastest execution of those that fit is taken."""

import dataclasses

import numpy as np
import pytest

from anybudget.objectives.cost.communication import collective_bytes
from anybudget.objectives.cost.counts import n_params
from anybudget.objectives.cost.execution import Execution, Sharding
from anybudget.objectives.cost.memory import memory_bytes
from anybudget.objectives.cost.step_time import MODELS, StepTimeModel
from anybudget.objectives.step_cost import step_memory_bytes, with_communication
from anybudget.objectives.step_cost import step_time_s as time_of_step
from anybudget.presets.devices import load_device
from anybudget.space.architecture import Architecture

ARCH = Architecture.from_shape(d_model=128, n_layers=4, vocab_size=1000, seq_len=64, batch_size=4)
FOUR, FULL = Execution(n_chips=4), Execution(n_chips=4, sharding="full")


def test_on_several_chips_each_computes_its_share_and_waits_for_the_others(chips):
    predicted = chips.predict(ARCH)
    assert predicted.n_tokens == predicted.n_steps * ARCH.tokens_per_step
    share = dataclasses.replace(ARCH, batch_size=1)
    needed = memory_bytes(ARCH, FOUR, bytes_per_element=4)
    assert needed == memory_bytes(share, bytes_per_element=4)
    alone_s = chips.device.step_time_model.step_time_s(share)
    reduced = collective_bytes(ARCH, FOUR, bytes_per_element=4)["all_reduce"]
    # Four chips send twice three quarters of the gradient, at 5e8 bytes/s.
    expected = alone_s + 1.5 * reduced / 5e8
    assert time_of_step(chips.device, ARCH, FOUR) == pytest.approx(expected, rel=1e-12)
    assert chips.machine == "4 × toy"


def some_models(n, seed=0):
    """Unlike architectures as one, every field but the vocabulary an array."""
    rng = np.random.default_rng(seed)
    n_kv_heads = rng.choice([1, 2, 4], n)
    return Architecture(
        d_model=64 * rng.integers(1, 65, n),
        n_layers=rng.integers(1, 49, n),
        n_heads=n_kv_heads * rng.choice([1, 2, 8], n),
        n_kv_heads=n_kv_heads,
        d_head=rng.choice([32, 64, 128], n),
        d_ff=128 * rng.integers(1, 129, n),
        gated_mlp=rng.random(n) < 0.5,
        seq_len=rng.choice([256, 1024, 4096], n),
        batch_size=64 * rng.integers(1, 9, n),
    )


CLUSTERS = [
    (name, n_chips, attention)
    for name in ("tpu-v5e", "tpu-v5p", "h100-sxm", "a100-80gb", "tpu-v4")
    for n_chips in (1, 8)
    for attention in ("plain", "fused")
]


@pytest.mark.parametrize(("name", "n_chips", "attention"), CLUSTERS)
def test_the_fastest_that_fits_is_taken_as_by_brute_force(objective, name, n_chips, attention):
    device = load_device(name)
    asked = dataclasses.replace(objective, device=device, n_chips=n_chips, attention=attention)
    archs = some_models(1000)
    found = asked.cost(archs)
    ways = [
        (step_memory_bytes(device, archs, way), time_of_step(device, archs, way))
        for way in asked.executions
    ]
    fits = np.array([needed <= device.memory_bytes for needed, _ in ways])
    times_s = np.where(fits, np.array([seconds for _, seconds in ways]), np.inf)
    some = fits.any(axis=0)
    assert np.count_nonzero(some) > 0
    np.testing.assert_array_equal(found.memory_bytes <= device.memory_bytes, some)
    np.testing.assert_allclose(found.step_time_s[some], times_s.min(axis=0)[some], rtol=1e-12)


def test_a_smaller_model_is_never_slower_than_a_larger_one(objective):
    grown = ("d_model", "n_layers", "n_heads", "d_head", "d_ff", "batch_size")
    for name, n_chips, attention in CLUSTERS:
        device = load_device(name)
        asked = dataclasses.replace(objective, device=device, n_chips=n_chips, attention=attention)
        small = some_models(1000, seed=1)
        growth = np.random.default_rng(2).integers(1, 4, (len(grown), 1000))
        larger = {
            field: getattr(small, field) * by for field, by in zip(grown, growth, strict=True)
        }
        costs = [asked.cost(one) for one in (small, dataclasses.replace(small, **larger))]
        fits = costs[1].memory_bytes <= device.memory_bytes
        assert np.all(costs[0].memory_bytes[fits] <= device.memory_bytes)
        assert np.all(costs[0].step_time_s[fits] <= costs[1].step_time_s[fits] * (1 + 1e-12))


def test_what_does_not_fit_runs_again_or_is_shared_whichever_is_faster(chips):
    ways = chips.executions
    needed = [memory_bytes(ARCH, way, bytes_per_element=4) for way in ways]
    times_s = [time_of_step(chips.device, ARCH, way) for way in ways]
    for room in (*needed, *(n - 1 for n in needed)):
        device = dataclasses.replace(chips.device, memory_bytes=room)
        predicted = dataclasses.replace(chips, device=device).predict(ARCH)
        fit = [at for at, n in enumerate(needed) if n <= room]
        assert predicted.feasible == bool(fit)
        if fit:
            assert predicted.execution == ways[min(fit, key=times_s.__getitem__)]


def test_shared_chips_wait_for_what_is_scattered(chips):
    alone_s = chips.device.step_time_model.step_time_s(dataclasses.replace(ARCH, batch_size=1))
    collected = collective_bytes(ARCH, FULL, bytes_per_element=4)
    waited = 1.5 * collected["all_reduce"] + 0.75 * collected["reduce_scatter"]
    expected = max(alone_s, 0.75 * collected["all_gather"] / 5e8) + waited / 5e8
    assert time_of_step(chips.device, ARCH, FULL) == pytest.approx(expected, rel=1e-12)


def test_fully_sharded_chips_update_a_part_each(chips):
    seconds = {name: float(name == "params") for name in MODELS["stacked"]}
    model = StepTimeModel(name="stacked", seconds_per_unit=seconds, ridge=1.0)
    fields = {"step_time": model, "basis": "compiled", "memory_bytes": 1e12}
    device = dataclasses.replace(chips.device, **fields)
    chips = dataclasses.replace(chips, device=device)
    large = dataclasses.replace(ARCH, n_layers=64)
    all_s, part_s = (time_of_step(device, large, way) for way in (FOUR, FULL))
    assert part_s < 0.3 * all_s
    both = dataclasses.replace(FOUR, sharding=np.array(Sharding))
    both_s = time_of_step(device, large, both)
    assert both_s.tolist() == [all_s, part_s]
    # Whether it makes a step is asked of its fastest way.
    hurried = dataclasses.replace(chips, time_budget_s=0.5 * all_s)
    assert hurried.admits(large)


def test_timed_links_cost_what_they_were_fitted_to_and_no_less_than_the_wire(chips):
    seconds = chips.device.step_time_model.seconds_per_unit
    model = dataclasses.replace(
        chips.device.step_time_model,
        seconds_per_unit=seconds | {"host_bytes": 1e-9, "hops": 1e-3},
    )
    timed = dataclasses.replace(chips.device, step_time=model, basis="published")
    compute_s, gradient_bytes = 3.0, 2 * timed.bytes_per_element * n_params(ARCH)
    sent_bytes = gradient_bytes * 3 / 4
    expected = compute_s + 1e-9 * sent_bytes + 1e-3 * 2 * ARCH.n_layers * 3
    assert with_communication(timed, compute_s, ARCH, FOUR) == pytest.approx(expected)
    wire_s = sent_bytes / timed.collective_bytes_per_s
    assert with_communication(timed, 0.0, ARCH, FOUR) == pytest.approx(
        max(wire_s, expected - compute_s)
    )
    free = dataclasses.replace(model, seconds_per_unit=seconds | {"host_bytes": 0.0})
    free = dataclasses.replace(timed, step_time=free)
    assert with_communication(free, 0.0, ARCH, FOUR) == pytest.approx(wire_s)
