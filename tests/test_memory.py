"""Memory of training, by hand on a small model."""

import dataclasses

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
# A block keeps, per row: 4 x 8 around its norms; q k v, 6 probabilities for each of 3 heads and the
# heads' output; the MLP's hidden layer before and after its activation.
PER_ROW = {"residual": 4 * 8, "attention": (12 + 4 + 4) + 3 * 6 + 12, "mlp": 2 * 10}


@pytest.mark.parametrize(
    ("bytes_per_element", "copies"),
    [(4, {}), (2, {"working_copy": 2})],  # bfloat16 has a copy beside the float32 master
)
def test_parts_by_hand(bytes_per_element, copies):
    per_param = {"weights": 4, "gradients": 4, "optimizer": 8} | copies
    expected = {part: size * n_params(TOY) for part, size in per_param.items()}
    expected |= {part: bytes_per_element * 30 * 3 * n for part, n in PER_ROW.items()}
    expected["logits"] = 30 * 50 * (4 + 4)
    assert memory_by_part(TOY, bytes_per_element=bytes_per_element) == expected


def test_rematerialisation_keeps_inputs_and_one_block():
    kept = memory_by_part(TOY, bytes_per_element=2)
    again = memory_by_part(TOY, bytes_per_element=2, remat=True)
    assert again.pop("block_inputs") == 2 * 30 * 3 * 8
    assert again == kept | {part: 2 * 30 * n for part, n in PER_ROW.items()}


def test_a_gate_keeps_one_more_hidden_layer():
    gated = dataclasses.replace(TOY, gated_mlp=True)
    plain_bytes, gated_bytes = (
        memory_by_part(arch, bytes_per_element=4)["mlp"] for arch in (TOY, gated)
    )
    assert gated_bytes - plain_bytes == 4 * 30 * 3 * 10


@pytest.mark.parametrize("bytes_per_element", [2, 4])
@pytest.mark.parametrize("remat", [False, True])
def test_total_is_the_sum_and_arrays_hold_the_scalars(bytes_per_element, remat):
    depths = np.array([1.0, 3.0, 9.0])
    how = {"bytes_per_element": bytes_per_element, "remat": remat}
    expected = [
        sum(memory_by_part(dataclasses.replace(TOY, n_layers=int(n)), **how).values())
        for n in depths
    ]
    total = memory_bytes(dataclasses.replace(TOY, n_layers=depths), **how)
    np.testing.assert_array_equal(total, expected)
