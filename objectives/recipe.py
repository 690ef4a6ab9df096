"""How every architecture is trained alike: initialisation, learning rates, AdamW, schedule.

One learning rate that suits some shapes and not others would fake any comparison of shapes, so
initialisation and learning rates follow width and depth as in CompleteP (Dey et al. 2025,
arXiv:2505.01618; its widths are those of muP, Yang et al. 2022, arXiv:2203.03466). Adam's updates
do not depend on the scale of the gradient, so a multiplier on what a matrix puts out is the same
as a smaller beginning and a smaller learning rate of the matrix itself: the model needs no
multipliers, and all rules stand in one table, `scales`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

from ..space.architecture import Architecture


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """The constants of the recipe, chosen on small models (experiments/learning_rate).

    Attributes:
        learning_rate: the highest, of a matrix as wide as `base_d_model`, in batches of
            `base_tokens_per_step` or more.
        embedding_rate: the embedding's learning rate over that, at any width.
        embedding_std: spread of the embedding at the beginning.
        output_gain: what the last norm multiplies by at the beginning, at `base_d_model`.
        base_d_model: the width at which the rules of width change nothing.
        base_n_layers: the depth at which the rules of depth change nothing.
        base_tokens_per_step: the batch, in tokens, below which the learning rate falls.
        warmup: share of training in which the learning rate rises from zero; then it falls to
            zero, both on a line (Bergsma et al. 2025, arXiv:2502.15938).
        weight_decay: of matrices; times the scheduled learning rate, whatever the width.
        beta1: of Adam.
        beta2: of Adam.
        clip_norm: the longest gradient, all parameters together.
    """

    learning_rate: float = 0.004
    embedding_rate: float = 15.0
    embedding_std: float = 0.2
    output_gain: float = 0.3
    base_d_model: int = 256
    base_n_layers: int = 4
    base_tokens_per_step: int = 2048
    warmup: float = 0.1
    weight_decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.95
    clip_norm: float = 1.0

    @property
    def label(self) -> str:
        """The recipe's name, with what differs from the default besides the learning rate."""
        changed = [
            f"{field.name}={getattr(self, field.name)}"
            for field in dataclasses.fields(self)
            if field.name != "learning_rate" and getattr(self, field.name) != field.default
        ]
        return " ".join(["completep", *changed])


# So small that no update depends on the size of the gradient, on which `scales` relies.
EPSILON = 1e-12


class Scale(NamedTuple):
    """How an array begins, normal around `mean` or equal to it, and its learning rate's factor."""

    mean: float
    std: float
    rate: float


def scales(arch: Architecture, recipe: Recipe) -> dict[str, Any]:
    """The `Scale` of every parameter, in the tree of the model's arrays.

    A matrix begins with a spread of 1/sqrt(fan-in), so that what it puts out is of the size of
    what it takes in, and learns in proportion to 1/fan-in. What a block adds to the residual
    stream shrinks with the number of layers. Tied or not, the logits shrink with the width, by the
    last norm's gain.
    """

    def matrix(fan_in: int, base_fan_in: int, multiplier: float = 1.0) -> Scale:
        return Scale(0.0, multiplier * fan_in**-0.5, multiplier * base_fan_in / fan_in)

    d, base = arch.d_model, recipe.base_d_model
    branch = recipe.base_n_layers / arch.n_layers / (2 * recipe.base_n_layers) ** 0.5
    gain = Scale(1.0, 0.0, 1.0)
    last_gain = recipe.output_gain * base / d
    embedding = Scale(0.0, recipe.embedding_std, recipe.embedding_rate)
    layers = {
        "attention_norm": gain,
        "qkv": matrix(d, base),
        "attention_output": matrix(arch.n_heads * arch.d_head, base, branch),
        "mlp_norm": gain,
        "mlp_up": matrix(d, base),
        "mlp_down": matrix(arch.d_ff, 4 * base, branch),
    }
    if arch.gated_mlp:
        layers["mlp_gate"] = matrix(d, base)
    final_norm = Scale(last_gain, 0.0, last_gain)
    tree = {"embedding": embedding, "layers": layers, "final_norm": final_norm}
    return tree if arch.tied_embeddings else tree | {"logits": embedding}


def named_scales(arch: Architecture, recipe: Recipe) -> dict[str, Scale]:
    """The `Scale` of every parameter by its name alone, the tree's branches by the alphabet."""
    return dict(_leaves(scales(arch, recipe)))


def _leaves(tree: dict[str, Any]) -> Iterator[tuple[str, Scale]]:
    for name, node in sorted(tree.items()):
        yield from _leaves(node) if isinstance(node, dict) else [(name, node)]


def peak_learning_rate(arch: Architecture, recipe: Recipe) -> float:
    """The highest learning rate in an architecture's batches.

    It falls with the root of the batch, as Adam's does (Malladi et al. 2022, arXiv:2205.10287): at
    512 tokens the rate of 2,048 costs 2 to 3% of loss (experiments/learning_rate). Above the
    base nothing was measured, and it stays.
    """
    return recipe.learning_rate * min(
        1.0, (arch.tokens_per_step / recipe.base_tokens_per_step) ** 0.5
    )
