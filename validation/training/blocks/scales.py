"""How the arrays of any decoder begin and how fast they learn: the dense model's rules.

What is no matmul's weight begins as its paper has it, on a grid where that draws at random.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from ....objectives.recipe import Recipe, Scale
from ....space.decoder import Decoder
from .decoder import param_shapes

# Matrices that write to the residual stream, and of them those that read a feed-forward's width.
WRITERS = ("attention_output", "scan_out", "mlp_down", "experts_down", "shared_down")
OF_HIDDEN = ("mlp_down", "experts_down", "shared_down")
# Of state-space heads: what a step is long, and how fast the state decays over a step of 1
# (Gu and Dao 2023, arXiv:2312.00752, section 3.6; Dao and Gu 2024, arXiv:2405.21060).
STEPS, DECAYS = (1e-3, 1e-1), (1.0, 16.0)


def scales(arch: Decoder, recipe: Recipe) -> dict[str, Any]:
    """The `Scale` of every array, in the tree of `param_shapes`, see `objectives.recipe.scales`.

    A branch shrinks with their number, which in a dense decoder is twice that of its layers.

    Args:
        arch: the decoder.
        recipe: how it is trained.
    """
    n_branches = sum(bool(block.mixer) + bool(block.feed_forward) for block in arch.pattern)
    branch = 2 * recipe.base_n_layers / n_branches / (2 * recipe.base_n_layers) ** 0.5
    last_gain = recipe.output_gain * recipe.base_d_model / arch.d_model
    whole = {
        "embedding": Scale(0.0, recipe.embedding_std, recipe.embedding_rate),
        "logits": Scale(0.0, recipe.embedding_std, recipe.embedding_rate),
        "final_norm": Scale(last_gain, 0.0, last_gain),
    }

    def scale(path: Any, shape: tuple[int, ...]) -> Scale:
        name = path[-1].key
        if name in whole:
            return whole[name]
        if len(shape) == 1:
            return _of_vector(name, shape[0])
        fan_in = shape[-2]
        if name == "taps":
            return Scale(0.0, fan_in**-0.5, 1.0)
        multiplier = branch if name in WRITERS else 1.0
        base = recipe.base_d_model * (4 if name in OF_HIDDEN else 1)
        return Scale(0.0, multiplier * fan_in**-0.5, multiplier * base / fan_in)

    is_shape = lambda node: isinstance(node, tuple)  # noqa: E731
    return jax.tree_util.tree_map_with_path(scale, param_shapes(arch), is_leaf=is_shape)


def _of_vector(name: str, n: int) -> Scale:
    mean: Any = 1.0 if name.endswith("norm") or name == "skip" else 0.0
    if name == "log_decay":
        mean = np.log(np.linspace(*DECAYS, n))
    if name == "step_bias":  # what a softplus makes the step of
        mean = np.log(np.expm1(np.geomspace(*STEPS, n)))
    return Scale(mean, 0.0, 1.0)
