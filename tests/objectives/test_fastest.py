"""The execution that each model is given, against a search of all ways one by one."""

import dataclasses
import itertools

import numpy as np
import pytest

from anybudget.objectives import fastest
from anybudget.objectives.cost.execution import Remat, Sharding
from anybudget.objectives.cost.ways import one_by_one, passes_of, that_split
from anybudget.objectives.loss_at_time import LossAtTime
from anybudget.objectives.step_cost import step_memory_bytes, step_time_s
from anybudget.presets.devices import load_device
from anybudget.presets.laws import load_law
from anybudget.space.architecture import COUNT_FIELDS, Architecture
from anybudget.space.mesh import flat, open_mesh

LAW = load_law("besiroglu-2024")
DEVICES = ("tpu-v5e", "tpu-v4", "h100-sxm", "a100-40gb")
CLUSTERS = [*itertools.product(DEVICES, (1, 2, 8, 16, 64)), ("a100-80gb", 512)]


def some_architectures(n, seed=0, many=False):
    """Unlike models as one, each field an array; some need far more than a chip's memory."""
    rng = np.random.default_rng(seed)
    n_heads, d_head = rng.choice([4, 8, 16, 32, 64], n), rng.choice([32, 64, 128], n)
    return Architecture(
        d_model=n_heads * d_head,
        n_layers=rng.integers(1, 60, n),
        n_heads=n_heads,
        n_kv_heads=n_heads // rng.choice([1, 2, 4], n),
        d_head=d_head,
        d_ff=n_heads * d_head * rng.integers(2, 7, n),
        gated_mlp=rng.random(n) < 0.5,
        vocab_size=rng.choice([1000, 32_000, 128_000], n),
        tied_embeddings=rng.random(n) < 0.5,
        seq_len=rng.choice([512, 1024, 4096], n),
        batch_size=rng.choice([512, 1536, 2048] if many else [64, 192, 256], n),
    )


def all_ways(objective, batch_size):
    return [way for families in objective.ways(batch_size) for family in families for way in family]


def by_brute_force(objective, arch):
    """Of each model of a flat array the seconds of the fastest way that fits; whether one does."""
    n = len(arch.batch_size)
    fastest_s, fits = np.full(n, np.inf), np.full(n, False)
    for way in all_ways(objective, arch.batch_size):
        splits, n_parts = way.divides(arch.batch_size), way.n_split * way.n_accumulation
        each = dataclasses.replace(arch, batch_size=np.where(splits, arch.batch_size, n_parts))
        needed = step_memory_bytes(objective.device, each, way)
        fit = splits & (needed <= objective.device.room_bytes)
        seconds = step_time_s(objective.device, each, way)
        fastest_s = np.where(fit, np.minimum(fastest_s, seconds), fastest_s)
        fits |= fit
    return fastest_s, fits


def objective_of(device, n_chips, **pins):
    """An hour on a cluster, whose memory is as it may be."""
    return LossAtTime(device=device, law=LAW, time_budget_s=3600.0, n_chips=n_chips, **pins)


@pytest.mark.parametrize(("name", "n_chips"), CLUSTERS)
def test_the_chosen_way_is_the_fastest_of_all_that_fit(name, n_chips):
    objective = objective_of(load_device(name), n_chips)
    arch = some_architectures(1000, many=n_chips > 64)
    cost = objective.cost(arch)
    fastest_s, fits = by_brute_force(objective, arch)
    assert fits.sum() > 20
    np.testing.assert_array_equal(fits, cost.memory_bytes <= objective.device.room_bytes)
    # Two orders of the same sums.
    np.testing.assert_allclose(cost.step_time_s[fits], fastest_s[fits], rtol=1e-12)
    own_s = step_time_s(objective.device, arch, cost.execution)
    np.testing.assert_allclose(cost.step_time_s, own_s, rtol=1e-12)


@pytest.mark.parametrize(("name", "n_chips"), CLUSTERS)
def test_a_smaller_model_never_takes_longer_than_a_larger(name, n_chips):
    objective = objective_of(load_device(name), n_chips)
    small = some_architectures(1000, seed=1, many=n_chips > 64)
    rng = np.random.default_rng(2)
    factor = {field: rng.choice([1, 1, 2, 3], 1000) for field in COUNT_FIELDS}
    grown = {
        field: getattr(small, field) * factor[field]
        for field in ("d_model", "n_layers", "d_head", "d_ff", "vocab_size", "seq_len")
    }
    grown["n_heads"] = small.n_heads * factor["n_heads"]
    large = dataclasses.replace(small, **grown, gated_mlp=small.gated_mlp | (factor["d_ff"] == 2))
    costs = [objective.cost(arch) for arch in (small, large)]
    fit, fits = (cost.memory_bytes <= objective.device.room_bytes for cost in costs)
    assert np.all(fit[fits])
    assert fits.sum() > 20
    assert np.all(costs[0].step_time_s[fits] <= costs[1].step_time_s[fits] * (1 + 1e-12))


def test_many_hosts_share_the_state_in_groups():
    objective = objective_of(load_device("a100-80gb"), 512)
    costs = objective.cost(some_architectures(1000, many=True))
    how = costs.execution
    assert {1, 8, 64} <= set(np.unique(how.n_replicas * np.ones(1000)))


@pytest.mark.parametrize(("name", "n_chips", "most"), [("a100-80gb", 512, 8), ("tpu-v4", 64, 2)])
def test_layers_are_split_where_that_is_faster(name, n_chips, most):
    objective, arch = objective_of(load_device(name), n_chips), some_architectures(1000, many=True)
    costs = objective.cost(arch)
    assert {1, most} <= set(np.unique(costs.execution.tensor_parallel * np.ones(1000)))
    slower = dataclasses.replace(objective, tensor_parallel=1).cost(arch)
    fits = slower.memory_bytes <= objective.device.room_bytes
    assert np.all(costs.step_time_s[fits] <= slower.step_time_s[fits] * (1 + 1e-12))


def test_one_model_is_given_what_it_is_given_among_others():
    objective, arch = objective_of(load_device("tpu-v5e"), 4), some_architectures(40)
    together = objective.cost(arch)
    for at in range(40):
        one = Architecture(**{name: value[at].item() for name, value in arch.as_dict().items()})
        alone = objective.cost(one)
        assert alone.step_time_s == pytest.approx(together.step_time_s[at], rel=1e-12)
        assert alone.memory_bytes == pytest.approx(together.memory_bytes[at], rel=1e-12)
        for name, value in alone.execution.as_dict().items():
            assert np.broadcast_to(getattr(together.execution, name), 40)[at] == value


@pytest.mark.parametrize(("name", "n_chips"), [("tpu-v5e", 1), ("h100-sxm", 8), ("a100-80gb", 64)])
def test_a_large_mesh_is_given_what_its_models_are_given_as_a_flat_array(
    name, n_chips, monkeypatch
):
    lists = {
        "n_layers": [2, 8, 40, 2000],
        "attention": [(8, 8, 64), (64, 8, 64), (64, 64, 128)],
        "d_ff": [1024, 8192, 80_000],
        "batch_size": [64, 128, 192, 320, 1024],
        "seq_len": [512, 4096],
        "vocab_size": [50_304],
        "gated_mlp": [True],
        "tied_embeddings": [False],
    }
    mesh = open_mesh(4096, lists)
    monkeypatch.setattr(fastest, "AT_ONCE", 1 << 8)
    monkeypatch.setattr(fastest, "MANY", 1 << 6)
    objective = objective_of(load_device(name), n_chips)
    costs = objective.cost(mesh), objective.cost(flat([mesh]))
    fits = costs[0].memory_bytes <= objective.device.room_bytes
    assert 0 < fits.sum() < fits.size
    in_mesh, alone = (cost.columns() for cost in costs)
    for column, values in in_mesh.items():
        values = np.broadcast_to(values, fits.shape).ravel()
        np.testing.assert_array_equal(values, np.broadcast_to(alone[column], values.shape))


def test_accumulation_makes_room_for_what_no_single_pass_fits():
    device = load_device("tpu-v5e")
    arch = Architecture.from_shape(d_model=1024, n_layers=24, seq_len=2048, batch_size=256)
    objective = objective_of(device, 1)
    whole = dataclasses.replace(objective, micro_batch_size=256, remat="layer").cost(arch)
    assert whole.memory_bytes > device.memory_bytes
    chosen = objective.cost(arch)
    assert chosen.memory_bytes <= device.memory_bytes
    assert chosen.execution.n_accumulation > 1


def test_parts_can_be_pinned():
    arch = Architecture.from_shape(d_model=512, n_layers=4, batch_size=64)
    objective = objective_of(
        load_device("tpu-v5e"), 4, remat="dots", sharding="full", micro_batch_size=2,
        attention="plain",
    )  # fmt: skip
    execution = objective.cost(arch).execution
    assert (execution.remat, execution.sharding) == (Remat.DOTS, Sharding.FULL)
    assert (execution.n_accumulation, execution.fused) == (8, False)
    with pytest.raises(ValueError, match="must divide the 16 sequences of a chip, but got 3"):
        dataclasses.replace(objective, micro_batch_size=3).cost(arch)
    with pytest.raises(
        ValueError, match="`sharding` must be data, full, optimizer or auto, but got 'some'"
    ):
        dataclasses.replace(objective, sharding="some")
    with pytest.raises(ValueError, match=r"`micro_batch_size` must be from 1 to .*, but got 0"):
        dataclasses.replace(objective, micro_batch_size=0)


def test_what_fits_nowhere_is_told_of_its_last_way():
    huge = Architecture.from_shape(d_model=16_384, n_layers=200, batch_size=8)
    objective = objective_of(load_device("tpu-v5e"), 2)
    cost = objective.cost(huge)
    assert cost.memory_bytes > objective.device.memory_bytes
    last = all_ways(objective, 8)[-1]
    assert cost.execution == last
    assert cost.step_time_s == step_time_s(objective.device, huge, last)


def test_passes_divide_the_sequences():
    assert passes_of(12) == (1, 2, 3, 4, 6, 12)
    assert passes_of(np.array([4, 6])) == (1, 2, 3, 4, 6)


PIPELINES = [("a100-80gb", 64, 4, 1), ("h100-sxm", 512, 7, 3), ("a100-40gb", 8, 8, 2)]


@pytest.mark.parametrize(("name", "n_chips", "stages", "pieces"), PIPELINES)
def test_in_a_pipeline_more_passes_may_be_faster_and_stages_need_not_come_out_even(
    name, n_chips, stages, pieces
):
    chips = n_chips // stages * stages
    pins = {"pipeline_parallel": stages, "virtual_stages": pieces, "tensor_parallel": 1}
    if chips % 8:
        chips = 8 * stages
    objective = objective_of(load_device(name), chips, **pins)
    arch = some_architectures(200, seed=3, many=True)
    arch = dataclasses.replace(arch, batch_size=arch.batch_size * (chips // stages))
    cost = objective.cost(arch)
    fastest_s, fits = by_brute_force(objective, arch)
    assert fits.sum() > 20
    np.testing.assert_array_equal(fits, cost.memory_bytes <= objective.device.room_bytes)
    np.testing.assert_allclose(cost.step_time_s[fits], fastest_s[fits], rtol=1e-12)
    assert np.any(cost.execution.n_accumulation > 1)
    assert np.any(arch.n_layers % stages)


def test_a_batch_smaller_than_the_chips_is_split_by_layers_too():
    objective = objective_of(load_device("h100-sxm"), 512)
    arch = Architecture.from_shape(d_model=8192, n_layers=40, seq_len=4096, batch_size=128)
    cost = objective.cost(arch)
    assert cost.memory_bytes <= objective.device.room_bytes
    assert cost.execution.tensor_parallel >= 4
    both = np.array([128, 512])
    split, places = that_split(128, objective.ways(both), None)
    assert {way.tensor_parallel for way in one_by_one(split)} == {4, 8}
    assert len(places) == len(one_by_one(split))
    together = objective.cost(dataclasses.replace(arch, batch_size=both))
    assert together.step_time_s[0] == pytest.approx(cost.step_time_s, rel=1e-12)
    with pytest.raises(ValueError, match="multiple of the 64 chips that split it at least"):
        objective.cost(dataclasses.replace(arch, batch_size=96))
