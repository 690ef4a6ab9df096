"""Blocks of all kinds: causal, with right gradients, as loops say, and with the FLOPs counted."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from anybudget.objectives.cost import counts
from anybudget.space.blocks import Attention, Experts, GatedDelta, LatentAttention, Mamba2, Mlp
from anybudget.space.decoder import Block, Decoder
from anybudget.validation.training.blocks import KINDS, forms, gated_delta, mamba2

B, T, D = 2, 8, 6
WINDOW = 3
# The same program, compiled by LLVM in half the time.
QUICK = {"xla_backend_optimization_level": 0}
PARTS = {
    "attention": Attention(n_heads=4, n_kv_heads=2, d_head=4),
    "window": Attention(n_heads=4, n_kv_heads=2, d_head=4, window=WINDOW, gated=True),
    "latent": LatentAttention(n_heads=2, query_rank=6, kv_rank=4, d_nope=4, d_rope=2, d_value=6),
    "mamba2": Mamba2(n_heads=4, d_head=4, d_state=6, n_groups=2, d_conv=3),
    "delta": GatedDelta(n_key_heads=1, n_value_heads=2, d_key=4, d_value=6, d_conv=3),
    "mlp": Mlp(d_ff=16, gated=True),
    "experts": Experts(n_experts=4, n_per_token=2, d_expert=6, gated=True, d_shared=5),
}
WIDE = {
    "attention": Attention(n_heads=8, n_kv_heads=2, d_head=64),
    "window": Attention(n_heads=8, n_kv_heads=8, d_head=64, window=32, gated=True),
    "latent": LatentAttention(
        n_heads=8, query_rank=128, kv_rank=64, d_nope=64, d_rope=32, d_value=64
    ),
    "mamba2": Mamba2(n_heads=16, d_head=64, d_state=64, n_groups=2, d_conv=4),
    "delta": GatedDelta(n_key_heads=4, n_value_heads=8, d_key=64, d_value=64, d_conv=4),
    "mlp": Mlp(d_ff=1024, gated=True),
    "experts": Experts(n_experts=4, n_per_token=2, d_expert=512, gated=True, d_shared=256),
}
EACH = pytest.mark.parametrize("name", PARTS)


def made(name, seed=0):
    """A part's function, its parameters and an input, in float64."""
    part = PARTS[name]
    rng = np.random.default_rng(seed)
    shapes = KINDS[type(part)].param_shapes(part, D)
    params = {
        n: jnp.asarray(rng.normal(size=shape) / shape[0] ** 0.5) for n, shape in shapes.items()
    }
    return part, params, jnp.asarray(rng.normal(size=(B, T, D)))


def decoder(part, **shape):
    """A model of one block that has nothing else."""
    is_mixer = not isinstance(part, Mlp | Experts)
    block = Block(mixer=part if is_mixer else None, feed_forward=None if is_mixer else part)
    return Decoder(**shape, pattern=(block,), vocab_size=10, tied_embeddings=True)


@functools.cache
def compiled(name):
    """A part's output, and its gradients where that is weighed; LLVM compiles in half the time."""
    part, params, x_btd = made(name)

    def weighed(params, x_btd, weights_btd):
        out_btd = KINDS[type(part)].apply(part, params, x_btd)
        return jnp.sum(out_btd * weights_btd), out_btd

    step = jax.value_and_grad(weighed, argnums=(0, 1), has_aux=True)
    lowered = jax.jit(step, compiler_options=QUICK).lower(params, x_btd, x_btd)
    return lowered.compile()


def output(name, params, x_btd):
    return np.asarray(compiled(name)(params, x_btd, x_btd)[0][1])


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


@EACH
def test_parameters_are_those_counted(name):
    part, params, _ = made(name)
    model = decoder(part, d_model=D)
    norms_and_embedding = 2 * D + 10 * D
    assert sum(x.size for x in params.values()) == counts.n_params(model) - norms_and_embedding


@EACH
def test_flops_are_those_xla_counts(name):
    """On widths at which matmuls outweigh the rest by far, in a program that is not even compiled.

    On twelve shapes of each: `experiments/blocks/xla_flops.py`.
    """
    part, d_model = WIDE.get(name, PARTS[name]), 512
    kind = KINDS[type(part)]
    even = forms.Forms(grouped=forms.balanced)
    shapes = kind.param_shapes(part, d_model)
    params = {n: jax.ShapeDtypeStruct(shape, jnp.float32) for n, shape in shapes.items()}
    x_btd = jax.ShapeDtypeStruct((1, 512, d_model), jnp.float32)
    step = jax.value_and_grad(lambda p, x: jnp.sum(kind.apply(part, p, x, even)), argnums=(0, 1))
    by_xla = (jax.jit(step).lower(params, x_btd).cost_analysis() or {})["flops"]
    model = decoder(part, d_model=d_model, batch_size=1, seq_len=512)
    parts = counts.flops_by_part(model)
    # Elementwise work is above it; below, the gradient of a scan's first state, which is constant.
    assert 0.98 < (counts.total(parts) - parts["logits"]) / by_xla < 1.003


@EACH
def test_no_position_sees_a_later_one(name):
    """And in a window none sees an earlier one than it reaches: by what a change at one changes."""
    _, params, x_btd = made(name)
    after = output(name, params, x_btd.at[:, 3].add(1.0))
    changed = np.abs(after - output(name, params, x_btd)).sum(axis=(0, 2)) > 0
    reach = {"mlp": 1, "experts": 1, "window": WINDOW}.get(name, T)
    assert changed.tolist() == [3 <= t < 3 + reach for t in range(T)]


@EACH
def test_gradients_are_those_of_differences(name):
    _, params, x_btd = made(name)
    run, rng = compiled(name), np.random.default_rng(3)
    given = {**params, "": x_btd}
    along = {n: jnp.asarray(rng.normal(size=x.shape)) for n, x in given.items()}

    def loss(step):
        moved = {n: x + step * along[n] for n, x in given.items()}
        return run({n: moved[n] for n in params}, moved[""], x_btd)

    slopes, of_x = loss(0.0)[1]
    slope = sum(np.vdot(along[n], g) for n, g in {**slopes, "": of_x}.items())
    (high, _), (low, _) = loss(1e-6)[0], loss(-1e-6)[0]
    np.testing.assert_allclose(slope, (high - low) / 2e-6, rtol=1e-6)


def test_attention_is_a_loop_over_positions():
    _, params, x_btd = made("window")
    heads = (x_btd @ params["qkv"]).reshape(B, T, -1, 4)
    q, k, v = heads[:, :, :4], heads[:, :, 4:6], heads[:, :, 6:8]
    found = np.asarray(jax.jit(forms.attend, static_argnums=3)(q, k, v, WINDOW))
    q, k, v = map(np.asarray, (q, k, v))
    for b, t, h in np.ndindex(B, T, 4):
        of = slice(max(t + 1 - WINDOW, 0), t + 1)
        weights = np.exp(k[b, of, h // 2] @ q[b, t, h] / 2)
        expected = weights / weights.sum() @ v[b, of, h // 2]
        np.testing.assert_allclose(found[b, t, h], expected, rtol=1e-10)


@pytest.mark.parametrize("n_positions", [8, 7])
def test_bands_see_what_a_window_sees(n_positions):
    rng = np.random.default_rng(4)
    q, k, v = (rng.normal(size=(B, n_positions, h, 4)) for h in (4, 2, 2))
    found = jax.jit(forms.attend_on_one_cpu, static_argnums=3)(q, k, v, WINDOW)
    expected = jax.jit(forms.attend, static_argnums=3)(q, k, v, WINDOW)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_rows_by_expert_are_those_of_all_experts():
    """With an expert of no rows, one of less than a block, and two whose last block is not full."""
    rng, sizes = np.random.default_rng(5), jnp.array([0, 70, 3, 77])
    x, w, along = (jnp.asarray(rng.normal(size=n)) for n in ((150, 3), (4, 3, 5), (150, 5)))

    def weighed(grouped, x, w):
        return jnp.sum(grouped(x, w, sizes) * along)

    by_blocks, by_all = (
        jax.jit(jax.value_and_grad(functools.partial(weighed, grouped), argnums=(0, 1)))(x, w)
        for grouped in (forms.ON_ONE_CPU.grouped, forms.by_ragged_dot)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9), by_blocks, by_all)


@pytest.mark.parametrize("n_chunk", [3, 256])
def test_a_state_space_scan_is_its_recurrence(n_chunk):
    rng = np.random.default_rng(1)
    x, write, read = (rng.normal(size=(B, T, *n)) for n in ((4, 3), (2, 5), (2, 5)))
    log_kept = -rng.uniform(size=(B, T, 4))
    scan = jax.jit(mamba2.scan, static_argnums=4, compiler_options=QUICK)
    found = np.asarray(scan(x, log_kept, write, read, n_chunk))
    for b, h in np.ndindex(B, 4):
        state = np.zeros((5, 3))
        for t in range(T):
            state = np.exp(log_kept[b, t, h]) * state + np.outer(write[b, t, h // 2], x[b, t, h])
            np.testing.assert_allclose(found[b, t, h], read[b, t, h // 2] @ state, rtol=1e-9)


@pytest.mark.parametrize("n_chunk", [3, 64])
def test_the_delta_rule_is_its_recurrence(n_chunk):
    rng = np.random.default_rng(2)
    q, k, v = (rng.normal(size=(B, T, 2, n)) for n in (4, 4, 3))
    k /= np.linalg.norm(k, axis=-1, keepdims=True)
    log_kept, write = -rng.uniform(size=(B, T, 2)), rng.uniform(size=(B, T, 2))
    scan = jax.jit(gated_delta.scan, static_argnums=5, compiler_options=QUICK)
    found = np.asarray(scan(q, k, v, log_kept, write, n_chunk))
    for b, h in np.ndindex(B, 2):
        state = np.zeros((4, 3))
        for t in range(T):
            state = np.exp(log_kept[b, t, h]) * state
            wrong = v[b, t, h] - k[b, t, h] @ state
            state = state + write[b, t, h] * np.outer(k[b, t, h], wrong)
            np.testing.assert_allclose(found[b, t, h], q[b, t, h] @ state, rtol=1e-8, atol=1e-12)


def test_each_token_meets_its_experts_however_many_others_do():
    """The router sends most tokens to one expert, and none is dropped."""
    _, params, x_btd = made("experts")
    params["router"] = params["router"].at[:, 0].set(3 * jnp.abs(params["router"][:, 0]))
    x_btd = x_btd + 1.0
    found = output("experts", params, x_btd).reshape(-1, D)
    params = {name: np.asarray(array) for name, array in params.items()}
    for x, out in zip(np.asarray(x_btd).reshape(-1, D), found, strict=True):
        scores = x @ params["router"]
        chosen = np.argsort(-scores)[:2]
        shares = np.exp(scores[chosen]) / np.exp(scores[chosen]).sum()
        expected = swiglu(x, *(params[f"shared_{name}"] for name in ("up", "gate", "down")))
        for e, share in zip(chosen, shares, strict=True):
            own = (params[f"experts_{name}"][e] for name in ("up", "gate", "down"))
            expected = expected + share * swiglu(x, *own)
        np.testing.assert_allclose(out, expected, rtol=1e-8, atol=1e-10)


def swiglu(x, up, gate, down):
    gates = x @ gate
    return (x @ up) * gates / (1 + np.exp(-gates)) @ down
