"""Bytes between chips: from the model's own arrays, and the time that they take."""

import math

import pytest

from anybudget.objectives.cost.communication import collective_bytes, step_time_s
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
        found = collective_bytes(arch, bytes_per_element=size)
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
    found = collective_bytes(arch, bytes_per_element=2, fully_sharded=True)
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
    found = step_time_s(5.0, collected, n_chips=n_chips, bytes_per_s=1e9)
    assert found == pytest.approx(expected)
