"""Counts against released models, a hand calculation and the definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from anybudget.objectives.cost import counts
from anybudget.objectives.cost.execution import Execution
from anybudget.objectives.cost.passes import ATTENDING
from anybudget.space.architecture import COUNT_FIELDS, Architecture

LLAMA_2_7B = Architecture(
    d_model=4096,
    n_layers=32,
    n_heads=32,
    n_kv_heads=32,
    d_head=128,
    d_ff=11008,
    gated_mlp=True,
    vocab_size=32000,
    tied_embeddings=False,
    seq_len=4096,
    batch_size=2,
)
LLAMA_3_8B = Architecture(
    d_model=4096,
    n_layers=32,
    n_heads=32,
    n_kv_heads=8,
    d_head=128,
    d_ff=14336,
    gated_mlp=True,
    vocab_size=128256,
    tied_embeddings=False,
)
TINYLLAMA = Architecture(
    d_model=2048,
    n_layers=22,
    n_heads=32,
    n_kv_heads=4,
    d_head=64,
    d_ff=5632,
    gated_mlp=True,
    vocab_size=32000,
    tied_embeddings=False,
)
# d_model 8, two layers, 3 heads of 4 (not the width), 1 kv head, plain MLP, tied.
TOY = Architecture(
    d_model=8,
    n_layers=2,
    n_heads=3,
    n_kv_heads=1,
    d_head=4,
    d_ff=10,
    vocab_size=50,
    seq_len=6,
    batch_size=5,
)
QUANTITIES = (
    counts.n_params,
    counts.n_params_non_embedding,
    counts.flops_per_step,
    counts.memcpys_per_step,
)


@pytest.mark.parametrize(
    ("arch", "expected"),
    [
        # Parameters of the released checkpoints.
        (LLAMA_2_7B, 6_738_415_616),
        (LLAMA_3_8B, 8_030_261_248),
        (TINYLLAMA, 1_100_048_384),
    ],
)
def test_parameters_of_released_models(arch, expected):
    assert counts.n_params(arch) == expected


def test_non_embedding_parameters_leave_out_both_vocabulary_matrices():
    assert counts.n_params_non_embedding(LLAMA_2_7B) == 6_738_415_616 - 2 * 32000 * 4096


def test_parameters_by_part():
    assert counts.n_params_by_part(TOY) == {
        "qkv": 2 * 8 * (3 + 1 + 1) * 4,
        "attention_output": 2 * (3 * 4) * 8,
        "mlp_up": 2 * 8 * 10,
        "mlp_down": 2 * 10 * 8,
        "norms": 5 * 8,
        "embedding": 50 * 8,
        "logits": 0,
    }


def test_flops_of_llama_2_7b_by_hand():
    # 8192 tokens in 2 sequences; 2mkn for each matmul, 3 passes, 32 layers.
    assert counts.flops_by_part(LLAMA_2_7B) == {
        "qkv": 3 * 32 * 2 * 8192 * 4096 * (3 * 4096),
        "scores": 3 * 32 * (2 * 32) * 2 * 4096 * 128 * 4096,
        "weighted_values": 3 * 32 * (2 * 32) * 2 * 4096 * 4096 * 128,
        "attention_output": 3 * 32 * 2 * 8192 * 4096 * 4096,
        "mlp_up": 3 * 32 * 2 * (2 * 8192 * 4096 * 11008),
        "mlp_down": 3 * 32 * 2 * 8192 * 11008 * 4096,
        "logits": 3 * 2 * 8192 * 4096 * 32000,
    }


def test_flops_of_llama_2_7b_per_token():
    # 6N + 12LHQT per token (Chowdhery et al. 2022, appendix B, arXiv:2204.02311), where N has
    # neither the norms nor the input embedding.
    weights = 6_738_415_616 - 65 * 4096 - 32000 * 4096
    per_token = 6 * weights + 12 * 32 * 32 * 128 * 4096
    assert counts.flops_per_step(LLAMA_2_7B) == 8192 * per_token


def test_memory_copies_from_their_definition():
    # 30 rows; mk + kn + mn for each matmul, 3 passes, 2 layers.
    assert counts.memcpys_by_part(TOY) == {
        "qkv": 3 * 2 * (30 * 8 + 8 * 20 + 30 * 20),
        "scores": 3 * 2 * 15 * (6 * 4 + 4 * 6 + 6 * 6),
        "weighted_values": 3 * 2 * 15 * (6 * 6 + 6 * 4 + 6 * 4),
        "attention_output": 3 * 2 * (30 * 12 + 12 * 8 + 30 * 8),
        "mlp_up": 3 * 2 * (30 * 8 + 8 * 10 + 30 * 10),
        "mlp_down": 3 * 2 * (30 * 10 + 10 * 8 + 30 * 8),
        "logits": 3 * (30 * 8 + 8 * 50 + 30 * 50),
    }


def test_a_gate_is_a_second_up_projection_and_nothing_else():
    gated = Architecture(**(TOY.as_dict() | {"gated_mlp": True}))
    for by_part in (counts.n_params_by_part, counts.flops_by_part, counts.memcpys_by_part):
        plain = by_part(TOY)
        assert by_part(gated) == plain | {"mlp_up": 2 * plain["mlp_up"]}


def test_untied_logits_are_parameters_but_no_more_work():
    untied = Architecture(**(TOY.as_dict() | {"tied_embeddings": False}))
    assert counts.n_params(untied) == counts.n_params(TOY) + 50 * 8
    assert counts.n_params_non_embedding(untied) == counts.n_params_non_embedding(TOY)
    assert counts.flops_per_step(untied) == counts.flops_per_step(TOY)


@pytest.mark.parametrize("by_part", [counts.flops_by_part, counts.memcpys_by_part])
@pytest.mark.parametrize(
    ("remat", "once_more"),
    [
        ("none", set()),
        ("dots", {"scores", "weighted_values"}),
        ("layer", {"qkv", "scores", "weighted_values", "attention_output", "mlp_up"}),
    ],
)
def test_rematerialisation_runs_some_matmuls_a_fourth_time(by_part, remat, once_more):
    once, again = by_part(TOY), by_part(TOY, Execution(remat=remat))
    for part, count in once.items():
        assert 3 * again[part] == (4 if part in once_more else 3) * count


@pytest.mark.parametrize(("remat", "more"), [("none", 0), ("dots", 1)])
def test_a_fused_kernel_writes_no_scores_and_leaves_out_half(remat, more):
    flops, memcpys = (
        by_part(TOY, Execution(remat=remat, attention="fused"))
        for by_part in (counts.flops_by_part, counts.memcpys_by_part)
    )
    heads, seq_len, d_head = TOY.batch_size * TOY.n_heads, TOY.seq_len, TOY.d_head
    # Forward 1, backward 2, of the scores one more; half of each lies in the future. Queries, keys,
    # values and output, and with them their gradients, are read and written whole.
    for part, again in (("scores", 1), ("weighted_values", 0)):
        once = TOY.n_layers * heads * seq_len * d_head
        assert flops[part] == (3 + again + more) / 2 * once * 2 * seq_len
        assert memcpys[part] == (3 + more) * once * 2
    for by_part, fused in ((counts.flops_by_part, flops), (counts.memcpys_by_part, memcpys)):
        others = {part: n for part, n in fused.items() if part not in ATTENDING}
        assert others.items() <= by_part(TOY, Execution(remat=remat)).items()


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_a_mesh_holds_the_scalars(quantity):
    widths, depths, gates = (64, 128, 320), (1, 5), (False, True)
    mesh = Architecture(
        **TOY.as_dict()
        | {
            "d_model": np.array(widths, dtype=float).reshape(3, 1, 1),
            "n_layers": np.array(depths, dtype=float).reshape(1, 2, 1),
            "gated_mlp": np.array(gates).reshape(1, 1, 2),
        }
    )
    expected = [
        [
            [
                quantity(
                    Architecture(**TOY.as_dict() | {"d_model": w, "n_layers": n, "gated_mlp": gate})
                )
                for gate in gates
            ]
            for n in depths
        ]
        for w in widths
    ]
    assert isinstance(expected[0][0][0], int)
    np.testing.assert_array_equal(quantity(mesh), expected)


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_jax_arrays_give_the_same_counts(quantity):
    fields = {
        name: jnp.asarray(value, dtype=jnp.float32 if name in COUNT_FIELDS else bool)
        for name, value in LLAMA_2_7B.as_dict().items()
    }
    count = quantity(Architecture(**fields))
    assert isinstance(count, jax.Array)
    # float32 keeps 24 bits; the sums have some ten terms.
    np.testing.assert_allclose(float(count), quantity(LLAMA_2_7B), rtol=1e-6)
