"""Memory of training, by hand on a small model."""

import numpy as np
import pytest

from anybudget.objectives.counts import n_params
from anybudget.objectives.memory import memory_by_part, memory_bytes
from anybudget.space.architecture import Architecture

# 30 rows in 5 sequences of 6; q, k, v are 12 + 4 + 4 wide.
TOY = Architecture(
    d_model=8,
    n_layers=3,
    n_heads=3,
    n_kv_heads=1,
    d_head=4,
    d_ff=10,
    vocab_size=50,
    seq_len=6,
    batch_size=5,
)
# A block keeps, per row: 4 x 8 around its norms, q k v, 6 probabilities for each of 3 heads, the
# heads' output, and the MLP's hidden layer before and after its activation.
PER_ROW = 4 * 8 + (12 + 4 + 4) + 3 * 6 + 12 + 2 * 10


@pytest.mark.parametrize(
    ("bytes_per_element", "bytes_per_weight"),
    [(4, 4), (2, 4 + 2)],  # bfloat16 has a working copy beside the float32 master
)
def test_parts_by_hand(bytes_per_element, bytes_per_weight):
    params = n_params(TOY)
    assert memory_by_part(TOY, bytes_per_element=bytes_per_element) == {
        "weights": bytes_per_weight * params,
        "gradients": 4 * params,
        "optimizer": 8 * params,
        "activations": bytes_per_element * 30 * 3 * PER_ROW,
        "logits": 30 * 50 * (4 + 4),
    }


def test_rematerialisation_keeps_inputs_and_one_block():
    kept = memory_by_part(TOY, bytes_per_element=2)
    again = memory_by_part(TOY, bytes_per_element=2, remat=True)
    assert again.pop("activations") == 2 * 30 * (3 * 8 + PER_ROW)
    kept.pop("activations")
    assert again == kept


def test_a_gate_keeps_one_more_hidden_layer():
    gated = Architecture(**(TOY.as_dict() | {"gated_mlp": True}))
    plain_bytes, gated_bytes = (
        memory_by_part(arch, bytes_per_element=4)["activations"] for arch in (TOY, gated)
    )
    assert gated_bytes - plain_bytes == 4 * 30 * 3 * 10


def test_total_is_the_sum_and_arrays_hold_the_scalars():
    depths = np.array([1.0, 3.0, 9.0])
    mesh = Architecture(**(TOY.as_dict() | {"n_layers": depths}))
    remat = np.array([False, True, True])
    expected = [
        sum(
            memory_by_part(
                Architecture(**(TOY.as_dict() | {"n_layers": int(n)})),
                bytes_per_element=2,
                remat=bool(again),
            ).values()
        )
        for n, again in zip(depths, remat, strict=True)
    ]
    np.testing.assert_array_equal(memory_bytes(mesh, bytes_per_element=2, remat=remat), expected)
