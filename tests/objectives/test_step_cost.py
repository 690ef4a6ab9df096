"""What a step costs on several chips."""

import dataclasses

import numpy as np
import pytest

from anybudget.objectives.cost.communication import collective_bytes
from anybudget.objectives.cost.counts import n_params
from anybudget.objectives.cost.execution import Execution, Sharding
from anybudget.objectives.cost.memory import memory_bytes
from anybudget.objectives.cost.step_time import MODELS, StepTimeModel
from anybudget.objectives.step_cost import step_time_s as time_of_step
from anybudget.objectives.step_cost import with_communication
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


def test_what_does_not_fit_runs_again_or_is_shared_whichever_is_faster(chips):
    chips = dataclasses.replace(chips, micro_batch_size=1)
    ways = [way for families in chips.ways(4) for (way,) in families]
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
    both = dataclasses.replace(FOUR, sharding=np.array([Sharding.DATA, Sharding.FULL]))
    both_s = time_of_step(device, large, both)
    assert both_s.tolist() == [all_s, part_s]
    # Whether it makes a step is asked of its fastest way.
    hurried = dataclasses.replace(chips, time_budget_s=0.5 * all_s)
    assert hurried.admits(large)


def test_a_tpu_waits_for_what_tensor_parallel_chips_reduce(chips):
    # Two reductions of each layer forward, and two backward, of one sequence: each chip of two
    # sends as many bytes as it has. Either has half of the gradient, which two copies reduce.
    way = Execution(n_chips=4, tensor_parallel=2)
    activations = 4 * (ARCH.batch_size // 2) * ARCH.seq_len * ARCH.d_model
    gradient = collective_bytes(ARCH, FOUR, bytes_per_element=4)["all_reduce"] / 2
    expected = 3.0 + (4 * ARCH.n_layers * activations + 1.5 * gradient) / 5e8
    assert with_communication(chips.device, 3.0, ARCH, way) == pytest.approx(expected, rel=1e-12)


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
