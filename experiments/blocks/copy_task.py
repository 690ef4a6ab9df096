"""Does each kind of block learn to copy: eight random tokens, then the same eight again?

    python experiments/blocks/copy_task.py

Wall time: four minutes on one core; writes copy_task.csv. Two blocks of width 64, a mixer and a
feed-forward each, AdamW, at most 1,500 steps of 64 sequences; the loss of the second eight after
every hundred, and it ends where that is below a tenth of the 2.77 nats of a guess among 16 tokens.
Expected: each kind learns it. Found: attention of
all kinds and experts in a hundred steps, the two scans in four hundred; one seed.
"""

from __future__ import annotations

import math
import time
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd

from anybudget.space.blocks import Attention, Experts, GatedDelta, LatentAttention, Mamba2, Mlp
from anybudget.space.decoder import Block, Decoder
from anybudget.validation.training.blocks.decoder import loss, param_shapes

ROWS = Path(__file__).with_name("copy_task.csv")
N_TOKENS, N_COPIED, BATCH, AT_ONCE, MOST = 16, 8, 64, 100, 1500
LEARNED = math.log(N_TOKENS) / 10
N_SEEDS = 1
ATTENTION = Attention(n_heads=4, n_kv_heads=2, d_head=16)
MLP = Mlp(d_ff=128, gated=True)
MODELS = {
    "attention": Block(mixer=ATTENTION, feed_forward=MLP),
    "window of 12": Block(
        mixer=Attention(n_heads=4, n_kv_heads=4, d_head=16, window=12), feed_forward=MLP
    ),
    "latent": Block(
        mixer=LatentAttention(
            n_heads=4, query_rank=None, kv_rank=32, d_nope=16, d_rope=16, d_value=16
        ),
        feed_forward=MLP,
    ),
    "Mamba-2": Block(
        mixer=Mamba2(n_heads=8, d_head=16, d_state=32, n_groups=1, d_conv=4), feed_forward=None
    ),
    "gated delta": Block(
        mixer=GatedDelta(n_key_heads=2, n_value_heads=4, d_key=32, d_value=16, d_conv=4),
        feed_forward=MLP,
    ),
    "4 experts, one a token": Block(
        mixer=ATTENTION,
        feed_forward=Experts(n_experts=4, n_per_token=1, d_expert=128, gated=True),
    ),
    "8 experts, two a token": Block(
        mixer=ATTENTION,
        feed_forward=Experts(n_experts=8, n_per_token=2, d_expert=64, gated=True),
    ),
}


def initial(arch: Decoder, seed: int) -> Any:
    """Matrices of a spread of the root of what they read, norms of ones, the rest near nothing."""
    rng = np.random.default_rng(seed)

    def draw(path: Any, shape: tuple[int, ...]) -> jax.Array:
        if len(shape) == 1:
            is_gain = path[-1].key.endswith("norm")
            return jnp.full(shape, 1.0 if is_gain else 0.0)
        spread = 0.1 if path[-1].key == "embedding" else shape[-2] ** -0.5
        return jnp.asarray(spread * rng.standard_normal(shape), jnp.float32)

    is_shape = lambda node: isinstance(node, tuple)  # noqa: E731
    return jax.tree_util.tree_map_with_path(draw, param_shapes(arch), is_leaf=is_shape)


def train(block: Block, seed: int = 0) -> tuple[int, float]:
    """Steps until the copy's loss is `LEARNED`, or all, and that loss."""
    arch = Decoder(
        d_model=64, pattern=(block,) * 2, vocab_size=N_TOKENS, tied_embeddings=False,
        seq_len=2 * N_COPIED - 1, batch_size=BATCH,
    )  # fmt: skip
    params = initial(arch, seed)
    optimizer = optax.adamw(3e-3, b2=0.98, weight_decay=0.0)
    state = optimizer.init(params)

    @partial(jax.jit, donate_argnums=(0, 1))
    def steps(params: Any, state: Any, tokens_sbt: jax.Array) -> Any:
        def step(carry: Any, tokens_bt: jax.Array) -> Any:
            params, state = carry
            (_, each_bt), slopes = jax.value_and_grad(loss, has_aux=True)(params, tokens_bt, arch)
            updates, state = optimizer.update(slopes, state, params)
            return (optax.apply_updates(params, updates), state), jnp.mean(each_bt[:, -N_COPIED:])

        (params, state), of_copies = jax.lax.scan(step, (params, state), tokens_sbt)
        return params, state, of_copies[-10:].mean()

    rng, n_steps, of_copies = np.random.default_rng(seed + 1), 0, math.inf
    while n_steps < MOST and of_copies > LEARNED:
        first = rng.integers(0, N_TOKENS, (AT_ONCE, BATCH, N_COPIED))
        params, state, of_copies = steps(params, state, jnp.asarray(np.tile(first, 2)))
        n_steps += AT_ONCE
    return n_steps, float(of_copies)


def main() -> None:
    """Train each kind with each seed."""
    rows = []
    for seed in range(N_SEEDS):
        for name, block in MODELS.items():
            start = time.process_time()
            n_steps, of_copies = train(block, seed)
            rows.append({"blocks": name, "seed": seed, "n_steps": n_steps, "copy_loss": of_copies,
                         "cpu_s": time.process_time() - start})  # fmt: skip
            print(rows[-1], flush=True)
            pd.DataFrame(rows).to_csv(ROWS, index=False, float_format="%.3g")


if __name__ == "__main__":
    main()
