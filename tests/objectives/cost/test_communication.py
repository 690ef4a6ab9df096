"""Bytes between chips: from the model's own arrays, and the time that they take."""

import functools
import math

import numpy as np
import pytest

from anybudget.objectives.cost.communication import collective_bytes, sent, step_time_s
from anybudget.objectives.cost.counts import n_params
from anybudget.objectives.cost.execution import Execution, Sharding
from anybudget.space.architecture import Architecture
from anybudget.validation.training.model import param_shapes

SHAPE = {"d_model": 64, "n_layers": 3, "d_head": 16, "n_kv_heads": 2, "seq_len": 16}


def arrays(arch):
    """Elements of every parameter by name, those of all layers together."""
    shapes = param_shapes(arch)
    layers = {name: math.prod(shape) for name, shape in shapes.pop("layers").items()}
    return layers | {name: math.prod(shape) for name, shape in shapes.items()}


@pytest.mark.parametrize("gated_mlp", [False, True])
@pytest.mark.parametrize("tied_embeddings", [False, True])
def test_data_parallel_chips_reduce_every_gradient(gated_mlp, tied_embeddings):
    arch = Architecture.from_shape(
        **SHAPE, gated_mlp=gated_mlp, tied_embeddings=tied_embeddings, vocab_size=100, batch_size=4
    )
    sizes = arrays(arch)
    norms = sum(size for name, size in sizes.items() if "norm" in name)
    lookups, logits = sizes["embedding"], sizes.get("logits", sizes["embedding"])
    matrices = sum(sizes.values()) - norms - lookups - sizes.get("logits", 0)
    for size in (2, 4):
        found = collective_bytes(arch, Execution(), bytes_per_element=size)
        expected = size * (matrices + logits) + 4 * (lookups + norms)
        assert found == {"all_reduce": expected, "all_gather": 0, "reduce_scatter": 0}


@pytest.mark.parametrize("tied_embeddings", [False, True])
@pytest.mark.parametrize("batch_size", [1, 6, 7, 64])
def test_fully_sharded_chips_gather_weights_twice_and_scatter_gradients(
    batch_size, tied_embeddings
):
    arch = Architecture.from_shape(
        **SHAPE, tied_embeddings=tied_embeddings, vocab_size=100, batch_size=batch_size
    )
    sizes = arrays(arch)
    matrices = sum(sizes[name] for name in ("qkv", "attention_output", "mlp_up", "mlp_down"))
    last_mlp = (sizes["mlp_up"] + sizes["mlp_down"]) // 3
    expected = {
        "all_reduce": 4 * (7 * 64),
        "all_gather": 2 * (2 * matrices - last_mlp),
        "reduce_scatter": 2 * matrices,
    }
    if batch_size * 16 < 100:
        # The batch's rows travel there and back: 2 bytes for logits, 4 for lookups.
        activations = (2 + 4) * 64 * batch_size * 16
        travels = {"all_gather": activations, "reduce_scatter": activations}
    else:
        # The vocabulary's do: for lookups and logits there, and for their gradients back.
        table = sizes["embedding"]
        travels = {
            "all_gather": 2 * 2 * table + 4 * table * tied_embeddings,
            "reduce_scatter": 2 * table,
            "all_reduce": 4 * table,
        }
    found = collective_bytes(arch, Execution(sharding="full"), bytes_per_element=2)
    assert found == {kind: n + travels.get(kind, 0) for kind, n in expected.items()}


@pytest.mark.parametrize(
    ("kind", "n_chips", "expected"),
    [
        # Of 8 GB at 1 GB/s, four chips send three quarters; of what is reduced, twice.
        ("all_reduce", 4, 5 + 12),
        ("reduce_scatter", 4, 5 + 6),
        ("reduce_scatter", 2, 5 + 4),
        # What is gathered hides behind 5 s of compute, as far as it can.
        ("all_gather", 4, 6),
        ("all_gather", 2, 5),
        ("all_reduce", 1, 5),
    ],
)
def test_chips_wait_for_what_is_reduced_and_compute_beside_what_is_gathered(
    kind, n_chips, expected
):
    collected = {"all_reduce": 0.0, "all_gather": 0.0, "reduce_scatter": 0.0} | {kind: 8e9}
    found = step_time_s(5.0, collected, gather_s_per_byte=(n_chips - 1) / n_chips / 1e9)
    assert found == pytest.approx(expected)


NO_TENSOR = {"tensor_bytes": 0, "tensor_hops": 0}


def count(chips_per_host=8, **how):
    """What one chip sends of a small model, two bytes an element, two sequences a pass."""
    execution = Execution(**how)
    batch_size = 2 * execution.n_split * execution.n_accumulation
    arch = Architecture.from_shape(d_model=64, n_layers=4, seq_len=32, batch_size=batch_size)
    counted = sent(arch, execution, bytes_per_element=2, chips_per_host=chips_per_host)
    return arch, {name: float(units) for name, units in counted.items()}


def test_a_chip_alone_sends_nothing():
    assert set(count(n_chips=1)[1].values()) == {0}


def test_the_gradient_is_reduced_once_a_step_and_shared_weights_travel_every_pass():
    arch, once = count(n_chips=8, n_accumulation=5)
    state = 2 * n_params(arch)
    assert once == pytest.approx(
        {"host_bytes": 2 * state * 7 / 8, "network_bytes": 0, "hops": 2 * 4 * 7} | NO_TENSOR
    )
    _, every = count(n_chips=8, n_accumulation=5, sharding="full")
    assert every == pytest.approx({name: 5 * 3 / 2 * units for name, units in once.items()})


def test_a_host_takes_what_it_lacks_over_the_links_of_all_its_chips():
    arch, two = count(n_chips=16)
    state = 2 * n_params(arch)
    assert two["host_bytes"] == pytest.approx(2 * state * 7 / 8)
    assert two["network_bytes"] == pytest.approx(2 * state / 2 / 8)
    _, apart = count(n_chips=16, chips_per_host=1)
    assert (apart["host_bytes"], apart["network_bytes"]) == pytest.approx((0, 2 * state * 15 / 16))


@pytest.mark.parametrize(("remat", "reductions"), [("none", 4), ("dots", 6), ("layer", 6)])
def test_tensor_parallel_chips_reduce_activations_in_every_layer(remat, reductions):
    _, counted = count(n_chips=4, tensor_parallel=4, n_accumulation=3, remat=remat)
    activations = 2 * 2 * 32 * 64
    assert counted == pytest.approx(
        {
            "host_bytes": 0,
            "network_bytes": 0,
            "hops": 0,
            "tensor_bytes": reductions * 4 * 3 * activations * 2 * 3 / 4,
            "tensor_hops": reductions * 4 * 3 * 2 * 3,
        }
    )


def test_copies_of_a_shared_state_reduce_each_chip_s_share_once_a_step():
    how = {"n_accumulation": 5, "sharding": "full"}
    arch, alone = count(n_chips=8, **how)
    _, hybrid = count(n_chips=32, n_replicas=4, **how)
    share = 2 * n_params(arch) / 8
    assert hybrid["host_bytes"] == pytest.approx(alone["host_bytes"])
    assert hybrid["network_bytes"] == pytest.approx(2 * share * 3 / 4)
    assert hybrid["hops"] == pytest.approx(alone["hops"] + 2 * 4 * 3)
    _, whole = count(n_chips=32, **how)
    assert count(n_chips=32, n_replicas=1, **how)[1] == whole


def test_stages_hand_on_activations_and_their_gradient():
    activations = 2 * 2 * 32 * 64
    _, near = count(n_chips=2, pipeline_parallel=2, n_accumulation=2)
    assert near == pytest.approx(
        {"host_bytes": 2 * 3 * activations, "network_bytes": 0, "hops": 2 * 3} | NO_TENSOR
    )
    _, far = count(n_chips=2, pipeline_parallel=2, n_accumulation=2, chips_per_host=1)
    assert (far["host_bytes"], far["network_bytes"]) == (0, near["host_bytes"])
    # Cut in three, each stage sends three times as often, and waits for a third of a pass.
    _, pieces = count(n_chips=2, pipeline_parallel=2, virtual_stages=3, n_accumulation=2)
    assert pieces["host_bytes"] == pytest.approx(2 * 3 * (2 + 1 / 3) * activations)


def test_what_is_sent_of_many_at_once():
    arch = Architecture.from_shape(d_model=64, n_layers=4, seq_len=32, batch_size=64)
    n_chips, shardings = np.array([1, 8, 64]), np.array(Sharding)[:, None]
    for counted in (
        functools.partial(sent, arch, bytes_per_element=2, chips_per_host=8),
        functools.partial(collective_bytes, arch, bytes_per_element=2),
    ):
        together = counted(Execution(n_chips=n_chips, sharding=shardings))
        for i, j in np.ndindex(3, 3):
            alone = counted(Execution(n_chips=int(n_chips[j]), sharding=Sharding(i)))
            for name, units in alone.items():
                assert np.broadcast_to(together[name], (3, 3))[i, j] == pytest.approx(units)
