"""Blocks of all kinds: the dense one among them, and each against its definition."""

import dataclasses

import numpy as np
import pytest

from anybudget.objectives.cost import counts, features, memory
from anybudget.objectives.cost.blocks import gradients_of
from anybudget.objectives.cost.blocks.attention import seen_keys
from anybudget.objectives.cost.execution import Execution
from anybudget.space.architecture import Architecture
from anybudget.space.blocks import Attention, Experts, GatedDelta, LatentAttention, Mamba2, Mlp
from anybudget.space.decoder import Block, Decoder, kinds_of

DENSE = Architecture.from_shape(d_model=256, n_layers=3, n_kv_heads=2, gated_mlp=True)
ATTENTION = Attention(n_heads=4, n_kv_heads=2, d_head=64)
MLP = Mlp(d_ff=1024, gated=True)
MIXERS = {
    "window": Attention(n_heads=4, n_kv_heads=2, d_head=64, window=128),
    "latent": LatentAttention(
        n_heads=4, query_rank=96, kv_rank=64, d_nope=64, d_rope=32, d_value=64
    ),
    "mamba2": Mamba2(n_heads=8, d_head=64, d_state=64, n_groups=2, d_conv=4),
    "delta": GatedDelta(n_key_heads=2, n_value_heads=4, d_key=64, d_value=64, d_conv=4),
}
EXPERTS = Experts(n_experts=8, n_per_token=2, d_expert=512, gated=True, d_shared=256)
FUSED = Execution(attention="fused")


def decoder(*blocks, **shape):
    usual = {"d_model": 256, "vocab_size": 32_000, "tied_embeddings": True}
    return Decoder(**usual | shape, pattern=blocks)


@pytest.mark.parametrize("execution", [Execution(), FUSED, Execution(remat="layer")])
def test_a_dense_decoder_is_the_architecture_to_the_last_digit(execution):
    same = decoder(*[Block(mixer=ATTENTION, feed_forward=MLP)] * 3)
    assert kinds_of(same) == kinds_of(DENSE)
    for of in (counts.n_params_by_part, counts.n_active_params):
        assert of(same) == of(DENSE)
    for of in (counts.flops_by_part, counts.memcpys_by_part, features.activations_by_part):
        assert of(same, execution) == of(DENSE, execution)
    for of in (memory.memory_by_part, memory.memory_bytes):
        given = {"bytes_per_element": 2, "kind": "gpu"}
        assert of(same, execution, **given) == of(DENSE, execution, **given)


@pytest.mark.parametrize("name", MIXERS)
def test_a_pattern_of_two_kinds_is_the_sum_of_both(name):
    """The stack's parts less the embedding's are half those of each kind twice."""
    one, other = (
        Block(mixer=ATTENTION, feed_forward=MLP),
        Block(mixer=MIXERS[name], feed_forward=EXPERTS),
    )
    for of in (counts.flops_by_part, counts.memcpys_by_part):
        mixed = counts.total(of(decoder(one, other), FUSED))
        apart = [counts.total(of(decoder(block, block), FUSED)) for block in (one, other)]
        assert mixed == pytest.approx(sum(apart) / 2, rel=1e-12)


def test_a_token_meets_its_experts_the_router_and_the_shared_one():
    model = decoder(Block(mixer=ATTENTION, feed_forward=EXPERTS))
    unmet = 6 * 3 * 256 * 512
    assert counts.n_params(model) - counts.n_active_params(model) == unmet
    # As many FLOPs as a dense one of what a token meets, and the router's.
    wide = Mlp(d_ff=2 * 512 + 256, gated=True)
    dense = decoder(Block(mixer=ATTENTION, feed_forward=wide))
    rows = model.tokens_per_step
    router = 3 * 2 * rows * 256 * 8
    assert counts.flops_per_step(model) - counts.flops_per_step(dense) == router


@pytest.mark.parametrize("window", [1, 7, 64, 100])
def test_a_kernel_sees_twice_the_mean_of_the_keys_in_a_window(window):
    """Which its passes halve; of the diagonal it counts half of what lies in a full window."""
    seen = np.minimum(np.arange(100) + 1, window)
    assert seen_keys(100, window) == pytest.approx(2 * seen.mean() - window / 100, rel=1e-12)


def test_windows_take_work_from_a_kernel_and_none_from_plain_matmuls():
    full = decoder(Block(mixer=ATTENTION, feed_forward=MLP))
    windowed = decoder(Block(mixer=MIXERS["window"], feed_forward=MLP))
    assert counts.flops_per_step(windowed) == counts.flops_per_step(full)
    assert counts.flops_per_step(windowed, FUSED) < counts.flops_per_step(full, FUSED)
    assert counts.n_params(windowed) == counts.n_params(full)


@pytest.mark.parametrize("name", ["mamba2", "delta"])
def test_a_scan_costs_as_much_a_token_at_any_length(name):
    block = Block(mixer=MIXERS[name], feed_forward=None)
    short = decoder(block, seq_len=1024, batch_size=8)
    long = dataclasses.replace(short, seq_len=8192, batch_size=1)
    for of in (counts.flops_per_step, counts.memcpys_per_step):
        assert of(short, FUSED) == of(long, FUSED)


@pytest.mark.parametrize(("name", "chunk"), [("mamba2", 256), ("delta", 64)])
def test_a_plain_scan_has_as_many_decays_as_a_chunk_has_pairs_and_a_kernel_hides_them(name, chunk):
    mixer = MIXERS[name]
    model = decoder(Block(mixer=mixer, feed_forward=None), seq_len=1024, batch_size=2)
    n_heads = mixer.n_heads if name == "mamba2" else mixer.n_value_heads
    found = features.softmax_by_part(model, Execution(), kind="tpu")
    assert found == {"scores": 3 * 2 * 1024 * chunk * n_heads}
    assert features.softmax_by_part(model, FUSED, kind="tpu") == {"scores": 0}


@pytest.mark.parametrize(
    ("name", "one_chunk", "elements"),
    # Inputs and outputs of 512, of two groups' keys and queries of 64; four heads' four of 64.
    [("mamba2", 256, 512 + 512 + 2 * 2 * 64), ("delta", 64, 4 * 4 * 64)],
)
def test_what_goes_in_and_out_of_chunks_is_counted_where_there_are_several(
    name, one_chunk, elements
):
    scan, full = (Block(mixer=mixer, feed_forward=MLP) for mixer in (MIXERS[name], ATTENTION))
    model = decoder(scan, full, scan, seq_len=2 * one_chunk, batch_size=3)
    rows = 3 * 2 * one_chunk
    assert features.units_by_part("chunked", model, kind="tpu") == {"scan": 3 * rows * 2 * elements}
    short = dataclasses.replace(model, seq_len=one_chunk)
    assert features.units_by_part("chunked", short, kind="tpu") == {}
    assert features.units_by_part("chunked", DENSE, kind="tpu") == {}


def test_plain_scores_wait_in_the_compute_dtype_but_a_dense_models_wide():
    def scores_bytes(mixer, seq_len):
        model = decoder(Block(mixer=mixer, feed_forward=MLP), seq_len=seq_len, batch_size=1)
        of = memory.memory_by_part(model, bytes_per_element=2, kind="tpu", holes=0)
        return int(of["attention"])

    n_heads = ATTENTION.n_heads
    for mixer, size in ((ATTENTION, 4), (dataclasses.replace(ATTENTION, window=64), 2)):
        twice = scores_bytes(mixer, 1024) - 2 * scores_bytes(mixer, 512)
        assert twice == size * n_heads * (1024**2 - 2 * 512**2)


@pytest.mark.parametrize("name", ["mamba2", "delta"])
def test_the_memory_of_a_sequence_shorter_than_a_chunk_falls_with_its_length(name):
    """Of all that a plain scan holds within a chunk, at no more than so many tokens of each row."""
    mixer = MIXERS[name]
    model = decoder(Block(mixer=mixer, feed_forward=None), seq_len=64)
    each = [gradients_of(model.pattern[0], dataclasses.replace(model, seq_len=n), 2, 0)
            for n in (16, 32, 48)]  # fmt: skip
    n_heads = mixer.n_heads if name == "mamba2" else mixer.n_value_heads
    assert np.diff(each).tolist() == [2 * 2 * 16 * n_heads] * 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pattern": ()}, "a decoder must have at least one block"),
        ({"d_model": 0}, "`d_model` must be a whole number >= 1, but got 0"),
        ({"seq_len": 2**31}, "`seq_len` must be at most 2,147,483,647"),
    ],
)
def test_what_is_no_decoder(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(decoder(Block(mixer=ATTENTION, feed_forward=MLP)), **change)
