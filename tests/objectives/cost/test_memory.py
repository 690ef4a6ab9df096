"""Memory of training, by hand on a small model."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from anybudget.objectives.cost.counts import n_params
from anybudget.objectives.cost.execution import Execution, Remat
from anybudget.objectives.cost.memory import memory_by_part, memory_bytes, squeezed_bytes
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
# Bytes that a block keeps of each row: around its norms; q k v, rotated q, the heads' output and 6
# scores for each of 3 heads in float32; the MLP's hidden layer.
BFLOAT16 = {
    ("none", False): {
        "residual": 2 * 3 * 8,
        "attention": 2 * (20 + 12 + 12) + 4 * 18,
        "mlp": 2 * 10,
    },
    ("dots", False): {"residual": 2 * 2 * 8, "attention": 2 * 20, "mlp": 2 * 10},
    ("layer", False): {"residual": 2 * 8},
    ("none", True): {
        "residual": (2 * 3 + 4 * 6) * 8,
        "attention": 2 * 20 + (2 + 4) * 18,
        "mlp": 2 * 6 * 10,
    },
}


def test_a_squeezed_step_has_no_holes_and_unrolled_keeps_only_the_inputs_of_blocks():
    def both(remat: str, scan_layers: bool = False, seq_len: int = TOY.seq_len):
        arch = dataclasses.replace(TOY, seq_len=seq_len)
        execution = Execution(remat=remat, scan_layers=scan_layers)
        return (
            squeezed_bytes(arch, execution, bytes_per_element=2),
            memory_by_part(arch, execution, bytes_per_element=2, kind="tpu"),
        )

    def whole(seq_len: int):
        arch = dataclasses.replace(TOY, seq_len=seq_len)
        return memory_bytes(arch, bytes_per_element=2, kind="tpu")

    for remat, scan_layers in (("dots", False), ("layer", False), ("none", True)):
        squeezed, parts = both(remat, scan_layers)
        assert squeezed == sum(parts.values()) - parts["holes"]
    # Of many tokens a third at most can be run again; of few there is less than that.
    for seq_len, least in ((1, both("layer", seq_len=1)[0]), (600, 0.66 * whole(600))):
        assert both("none", seq_len=seq_len)[0] == least


@pytest.mark.parametrize(("how", "per_row"), BFLOAT16.items())
def test_parts_by_hand(how, per_row):
    remat, scan_layers = how
    arch = dataclasses.replace(TOY, vocab_size=100)
    execution = Execution(remat=remat, scan_layers=scan_layers)
    parts = memory_by_part(arch, execution, bytes_per_element=2, kind="tpu")
    state = {"weights": 4, "optimizer": 8, "gradients": 2}
    expected = {part: size * n_params(arch) for part, size in state.items()}
    expected |= {part: 30 * 3 * n for part, n in per_row.items()}
    # Logits in float32 and their gradient, more than a block's backward pass works on.
    expected["working_set"] = 30 * 100 * (4 + 2)
    block = 30 * sum(per_row.values())
    expected["holes"] = 3 * math.floor(0.03 * block) + math.floor(0.03 * expected["working_set"])
    assert parts == expected


def test_with_few_tokens_in_the_vocabulary_a_block_needs_most():
    # An MLP of 10 has gone when the scores have their two gradients; one of 100 has its own.
    for d_ff, more in ((10, 2 * 2 * 18 - 2 * 10 - 2 * 8), (100, 2 * 100 + 2 * 8)):
        arch = dataclasses.replace(TOY, vocab_size=5, d_ff=d_ff)
        block = sum(BFLOAT16["none", False].values()) + 2 * (d_ff - 10)
        embedding = 4 * 5 * 8
        for remat, kept in (("none", block), ("dots", 72 + 2 * d_ff), ("layer", 16)):
            execution = Execution(remat=remat)
            parts = memory_by_part(arch, execution, bytes_per_element=2, kind="tpu")
            assert parts["working_set"] == 30 * (block + more - kept) + embedding
        # A loop's stack is not freed layer by layer.
        parts = memory_by_part(arch, Execution(scan_layers=True), bytes_per_element=2)
        assert parts["working_set"] == 30 * (block + more) + embedding


def test_a_gate_keeps_one_more_hidden_layer():
    gated = dataclasses.replace(TOY, gated_mlp=True)
    plain_bytes, gated_bytes = (
        memory_by_part(arch, bytes_per_element=4)["mlp"] for arch in (TOY, gated)
    )
    assert gated_bytes - plain_bytes == 4 * 30 * 3 * 10


@pytest.mark.parametrize("remat", ["none", "dots", "layer"])
def test_of_fused_attention_nothing_grows_with_the_square_of_the_length(remat):
    lengths = [
        dataclasses.replace(TOY, seq_len=seq_len, batch_size=4096 // seq_len)
        for seq_len in (32, 4096)
    ]
    how: dict[str, Any] = {"bytes_per_element": 2, "kind": "tpu"}
    fused = Execution(attention="fused", remat=remat)
    short, long = (memory_bytes(arch, fused, **how) for arch in lengths)
    assert short == long < memory_bytes(lengths[1], Execution(remat=remat), **how)
    parts = memory_by_part(lengths[0], fused, **how)
    if (
        remat == "none"
    ):  # queries, keys, values and output as of heads 128 wide; two numbers a query
        padded = 128 * 2 * (TOY.n_heads + TOY.n_kv_heads)
        per_row = 2 * (padded + TOY.n_heads * TOY.d_head) + 4 * 2 * TOY.n_heads
        assert parts["attention"] == pytest.approx(4096 * TOY.n_layers * per_row)


def test_a_cpu_keeps_logits_of_some_rows_at_a_time():
    arch = dataclasses.replace(TOY, vocab_size=30_000, d_model=4, seq_len=64, batch_size=64)
    on_cpu, on_gpu = (
        memory_by_part(arch, bytes_per_element=4, kind=kind)["working_set"]
        for kind in ("cpu", "gpu")
    )
    assert on_gpu == 8 * 4096 * 30_000
    assert on_cpu == 4 * (3 * 512 * 30_000 + (4096 + 30_000) * 4)


def test_where_heads_are_not_padded_narrow_ones_keep_no_more():
    fused = Execution(attention="fused")
    unpadded, padded = (
        memory_by_part(TOY, fused, bytes_per_element=2, kind=kind)["attention"]
        for kind in ("gpu", "tpu")
    )
    rows, d_queries = 30, TOY.n_heads * TOY.d_head
    d_qkv = d_queries + 2 * TOY.n_kv_heads * TOY.d_head
    per_row = 2 * (d_qkv + 2 * d_queries) + 4 * 2 * TOY.n_heads
    assert unpadded == TOY.n_layers * rows * per_row < padded


@pytest.mark.parametrize("bytes_per_element", [2, 4])
@pytest.mark.parametrize("remat", Remat)
@pytest.mark.parametrize("scan_layers", [False, True])
@pytest.mark.parametrize("attention", ["plain", "fused"])
def test_total_is_the_sum_and_arrays_hold_the_scalars(
    bytes_per_element, remat, scan_layers, attention
):
    depths = np.array([1.0, 3.0, 9.0])
    vocabularies = np.array([5.0, 50.0]).reshape(2, 1)
    execution = Execution(attention=attention, remat=remat, scan_layers=scan_layers)
    how = {"bytes_per_element": bytes_per_element, "kind": "tpu"}
    mesh = dataclasses.replace(TOY, n_layers=depths, vocab_size=vocabularies)
    for (i, j), total in np.ndenumerate(memory_bytes(mesh, execution, **how)):
        one = dataclasses.replace(TOY, n_layers=int(depths[j]), vocab_size=int(vocabularies[i, 0]))
        assert total == sum(memory_by_part(one, execution, **how).values())


@pytest.mark.parametrize("remat", Remat)
@pytest.mark.parametrize("attention", ["plain", "fused"])
@pytest.mark.parametrize(
    "field", ["d_model", "n_layers", "n_heads", "d_head", "d_ff", "vocab_size", "seq_len"]
)
def test_memory_grows_with_every_count(remat, attention, field):
    """The search passes over meshes whose smallest member does not fit."""
    for vocab_size in (5, 500):
        arch = dataclasses.replace(TOY, vocab_size=vocab_size)
        larger = dataclasses.replace(arch, **{field: 2 * getattr(arch, field)})
        least, most = (
            memory_bytes(
                one, Execution(attention=attention, remat=remat), bytes_per_element=2, kind="tpu"
            )
            for one in (arch, larger)
        )
        assert least < most
