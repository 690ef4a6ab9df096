"""The objective: time to steps, steps to tokens, tokens to loss."""

import dataclasses
import math

import numpy as np
import pytest

from anybudget.objectives.cost.communication import collective_bytes
from anybudget.objectives.cost.counts import flops_per_step, memcpys_per_step, n_params
from anybudget.objectives.cost.execution import PLAIN, Execution, Remat, Sharding
from anybudget.objectives.cost.memory import memory_bytes
from anybudget.objectives.cost.step_time import MODELS, StepTimeModel
from anybudget.objectives.step_cost import step_memory_bytes, with_communication
from anybudget.objectives.step_cost import step_time_s as time_of_step
from anybudget.presets.devices import load_device
from anybudget.space.architecture import Architecture

ARCH = Architecture.from_shape(d_model=128, n_layers=4, vocab_size=1000, seq_len=64, batch_size=4)

FOUR, FULL = Execution(n_chips=4), Execution(n_chips=4, sharding="full")


def step_time_s(execution=PLAIN):
    """On the toy device: float32 at 1e10 bytes/s, then 1e12 FLOP/s."""
    moving = 4 * memcpys_per_step(ARCH, execution) / 1e10
    return moving + flops_per_step(ARCH, execution) / 1e12


def test_the_chain_from_time_to_loss(roomy):
    predicted = roomy.predict(ARCH)
    steps = math.floor(600 / step_time_s())
    assert predicted.step_time_s == pytest.approx(step_time_s(), rel=1e-12)
    assert predicted.n_steps == steps
    assert predicted.n_tokens == steps * 4 * 64
    assert predicted.n_params == n_params(ARCH)
    expected = 1.8 + 480 / n_params(ARCH) ** 0.35 + 2000 / (steps * 256) ** 0.37
    assert predicted.predicted_loss == pytest.approx(expected, rel=1e-12)
    assert predicted.feasible


@pytest.mark.parametrize(("share", "steps"), [(0.99, 0), (1.01, 1), (1.99, 1), (7.5, 7)])
def test_only_whole_steps_count(roomy, share, steps):
    budget = dataclasses.replace(roomy, time_budget_s=share * step_time_s())
    predicted = budget.predict(ARCH)
    assert (predicted.n_steps, predicted.n_tokens) == (steps, steps * 256)
    assert bool(predicted.feasible) == (steps > 0)


def test_without_a_whole_step_the_loss_is_that_of_one(roomy):
    none, one = (
        dataclasses.replace(roomy, time_budget_s=share * step_time_s()).predict(ARCH)
        for share in (0.5, 1.5)
    )
    assert none.predicted_loss == one.predicted_loss
    assert not none.feasible


def test_the_law_counts_parameters_its_own_way(roomy):
    law = dataclasses.replace(roomy.law, n_convention="non_embedding")
    predicted = dataclasses.replace(roomy, law=law).predict(ARCH)
    without = n_params(ARCH) - 1000 * 128
    assert predicted.n_params_non_embedding == without
    assert predicted.predicted_loss == pytest.approx(
        1.8 + 480 / without**0.35 + 2000 / predicted.n_tokens**0.37, rel=1e-12
    )


@pytest.mark.parametrize(
    ("epochs", "worth"),
    [
        (0.5, 0.5),
        (1, 1),
        # Muennighoff et al. 2023, equation 5: U + U R* (1 - exp(-R / R*)), R* = 15.39.
        (2, 1 + 15.39 * (1 - math.exp(-1 / 15.39))),
        (16.39, 1 + 15.39 * (1 - 1 / math.e)),
        (1e6, 16.39),
    ],
)
def test_repeated_tokens_are_worth_less(roomy, epochs, worth):
    limited = dataclasses.replace(roomy, data_limit_tokens=1e6)
    assert limited.effective_tokens(epochs * 1e6, 1) == pytest.approx(worth * 1e6, rel=1e-12)


def test_a_data_limit_raises_the_loss_and_leaves_the_tokens(roomy):
    free = roomy.predict(ARCH)
    enough = dataclasses.replace(roomy, data_limit_tokens=float(free.n_tokens)).predict(ARCH)
    scarce = dataclasses.replace(roomy, data_limit_tokens=free.n_tokens / 10).predict(ARCH)
    assert enough.predicted_loss == pytest.approx(free.predicted_loss, rel=1e-12)
    assert scarce.n_tokens == free.n_tokens
    worth = free.n_tokens / 10 * (1 + 15.39 * (1 - math.exp(-9 / 15.39)))
    expected = 1.8 + 480 / n_params(ARCH) ** 0.35 + 2000 / worth**0.37
    assert scarce.predicted_loss == pytest.approx(expected, rel=1e-12)


def test_auto_takes_the_fastest_rematerialisation_that_fits(roomy):
    ways = [Execution(remat=remat) for remat in Remat]
    needed = [memory_bytes(ARCH, way, bytes_per_element=4) for way in ways]
    assert needed[0] > needed[1] > needed[2]
    assert step_time_s(ways[0]) < step_time_s(ways[1]) < step_time_s(ways[2])
    cases = [
        (needed[0], 0, True),
        (needed[0] - 1, 1, True),
        (needed[1] - 1, 2, True),
        (needed[2] - 1, 2, False),
    ]
    for room, place, feasible in cases:
        device = dataclasses.replace(roomy.device, memory_bytes=float(room))
        predicted = dataclasses.replace(roomy, device=device).predict(ARCH)
        assert (predicted.execution, bool(predicted.feasible)) == (ways[place], feasible)
        assert predicted.memory_bytes == needed[place]
        assert predicted.step_time_s == pytest.approx(step_time_s(ways[place]), rel=1e-12)


@pytest.mark.parametrize("remat", Remat)
def test_remat_as_asked(objective, remat):
    predicted = dataclasses.replace(objective, remat=str(remat)).predict(ARCH)
    assert predicted.execution == Execution(remat=remat)
    expected = memory_bytes(ARCH, Execution(remat=remat), bytes_per_element=4)
    assert predicted.memory_bytes == expected


def test_a_mesh_holds_the_scalars(objective):
    depths, gates, batches = (1, 2, 4, 40), (False, True), (1, 64)
    limited = dataclasses.replace(objective, data_limit_tokens=1e6, time_budget_s=5.0)
    mesh = Architecture(
        **ARCH.as_dict()
        | {
            "n_layers": np.array(depths, dtype=float).reshape(4, 1, 1),
            "gated_mlp": np.array(gates).reshape(1, 2, 1),
            "batch_size": np.array(batches, dtype=float),
        }
    )
    predicted = limited.predict(mesh)
    assert 0 < np.count_nonzero(predicted.feasible) < predicted.feasible.size
    remat = predicted.execution.remat
    assert 0 < np.count_nonzero(remat) < remat.size
    for i, j, k in np.ndindex(4, 2, 2):
        changed = {"n_layers": depths[i], "gated_mlp": gates[j], "batch_size": batches[k]}
        one = limited.predict(Architecture(**(ARCH.as_dict() | changed)))
        many = predicted.columns()
        for name, value in one.columns().items():
            # Powers of arrays and of scalars may differ in the last place.
            found = np.broadcast_to(many[name], (4, 2, 2))[i, j, k]
            np.testing.assert_allclose(found, value, rtol=1e-14)


def test_under_the_critical_batch_rule_the_largest_batch_is_not_the_best(roomy):
    sizes = 2.0 ** np.arange(0, 14)
    mesh = dataclasses.replace(ARCH, batch_size=sizes)
    # A step's overhead makes small batches slow; for the pure law alone, larger is always better.
    slow = dataclasses.replace(roomy.device.step_time_model, seconds_per_unit={
        "memcpys": 0.0, "flops": 1e-13, "steps": 1e-3})  # fmt: skip
    chip = dataclasses.replace(roomy.device, memory_bytes=1e15, basis="measured", step_time=slow)
    pure = dataclasses.replace(roomy, device=chip, remat="none")
    ruled = dataclasses.replace(pure, critical_batch=True)
    assert np.argmin(pure.predict(mesh).predicted_loss) > np.argmin(
        ruled.predict(mesh).predicted_loss
    )
    assert np.all(ruled.predict(mesh).predicted_loss > pure.predict(mesh).predicted_loss)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"time_budget_s": 0.0}, "`time_budget_s` must be a positive number, but got 0"),
        ({"time_budget_s": math.inf}, "`time_budget_s` must be a positive number, but got inf"),
        ({"data_limit_tokens": -5.0}, "`data_limit_tokens` must be at least 1"),
        ({"data_limit_tokens": math.nan}, "`data_limit_tokens` must be at least 1"),
        ({"remat": "block"}, "`remat` must be none, dots, layer or auto, but got 'block'"),
        ({"attention": "flash"}, "`attention` must be plain or fused, but got 'flash'"),
    ],
)
def test_refused(objective, change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(objective, **change)


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


def test_chips_must_divide_the_batch_and_have_links(chips, objective):
    with pytest.raises(ValueError, match=r"multiple of the 4 chips, but got 6; take batch_size=8"):
        chips.predict(dataclasses.replace(ARCH, batch_size=6))
    with pytest.raises(ValueError, match="but got 2; take batch_size=4"):
        chips.check_batch((4, 2, 8))
    with pytest.raises(ValueError, match="`interconnect_bytes_per_s`, but toy has none"):
        dataclasses.replace(objective, n_chips=2)
    with pytest.raises(ValueError, match="`n_chips` must be at least 1, but got 0"):
        dataclasses.replace(objective, n_chips=0)
