"""A decoder of any blocks: the dense one is the dense model, and an even router costs nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from anybudget.objectives.recipe import Recipe
from anybudget.objectives.recipe import scales as recipe_scales
from anybudget.space.architecture import Architecture
from anybudget.space.blocks import Experts
from anybudget.space.decoder import Block, Decoder, kinds_of
from anybudget.validation.training import model
from anybudget.validation.training.blocks import decoder, experts
from anybudget.validation.training.blocks.scales import scales

DENSE = Architecture.from_shape(
    d_model=16, n_layers=2, n_heads=4, n_kv_heads=2, d_ff=24, gated_mlp=True, vocab_size=11,
    tied_embeddings=False, seq_len=5, batch_size=2,
)  # fmt: skip


def drawn(shapes):
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda shape: jnp.asarray(rng.normal(size=shape) / shape[-1] ** 0.5),
        shapes,
        is_leaf=lambda node: isinstance(node, tuple),
    )


def test_a_dense_decoder_is_the_dense_model():
    params = drawn(model.param_shapes(DENSE))
    layers = params["layers"]

    def block(i):
        mixer = {name: layers[name][i] for name in ("qkv", "attention_output")}
        mlp = {name: layers[name][i] for name in ("mlp_up", "mlp_gate")}
        mlp |= {"mlp_down": layers["mlp_down"][i].T}
        return [
            mixer | {"norm": layers["attention_norm"][i]},
            mlp | {"norm": layers["mlp_norm"][i]},
        ]

    same = {name: params[name] for name in ("embedding", "final_norm", "logits")}
    same |= {"blocks": [block(i) for i in range(2)]}
    ((_, one),) = kinds_of(DENSE)
    names = ("d_model", "vocab_size", "tied_embeddings", "seq_len", "batch_size")
    arch = Decoder(pattern=(one, one), **{name: getattr(DENSE, name) for name in names})
    is_shape = {"is_leaf": lambda node: isinstance(node, tuple)}
    shapes = jax.tree.map(lambda array: array.shape, same)
    assert jax.tree.leaves(shapes, **is_shape) == jax.tree.leaves(
        decoder.param_shapes(arch), **is_shape
    )
    tokens_bt = jnp.asarray(np.random.default_rng(1).integers(0, 11, (2, 6)))
    found, each_bt = decoder.loss(same, tokens_bt, arch)
    assert each_bt.shape == (2, 5)
    assert found == pytest.approx(float(model.loss(params, tokens_bt, DENSE)), rel=1e-5)


def test_a_dense_decoder_begins_and_learns_as_the_dense_model():
    ((_, one),) = kinds_of(DENSE)
    arch = Decoder(d_model=16, pattern=(one, one), vocab_size=11, tied_embeddings=False)
    found, expected = scales(arch, Recipe()), recipe_scales(DENSE, Recipe())
    for whole in ("embedding", "logits", "final_norm"):
        assert found[whole] == expected[whole]
    layers = expected["layers"]
    for part, norm in zip(found["blocks"][1], ("attention_norm", "mlp_norm"), strict=True):
        assert part == {name: layers[norm if name == "norm" else name] for name in part}


def test_an_even_router_adds_what_cannot_be_less():
    part = Experts(n_experts=4, n_per_token=1, d_expert=8, gated=True)
    even = {"router": jnp.eye(4)}
    rows_btd = jnp.eye(4)[None]
    assert experts.imbalance(part, even, rows_btd) == pytest.approx(1.0)
    lopsided = {"router": jnp.zeros((4, 4)).at[:, 1].set(5.0)}
    assert experts.imbalance(part, lopsided, rows_btd) > 3.5
    block = Block(mixer=None, feed_forward=part)
    arch = Decoder(d_model=4, pattern=(block,), vocab_size=7, tied_embeddings=True)
    params = drawn(decoder.param_shapes(arch))
    total, each_bt = decoder.loss(params, jnp.arange(6).reshape(1, 6), arch)
    assert 0.009 < total - each_bt.mean() < 4 * decoder.BALANCE
