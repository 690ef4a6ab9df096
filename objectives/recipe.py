"""How every architecture is trained: initialisation, learning rates, AdamW, schedule.

One learning rate that suits some shapes and not others would fake any comparison of shapes, so
initialisation and learning rates follow width and depth as in CompleteP (Dey et al. 2025,
arXiv:2505.01618; its widths are those of muP, Yang et al. 2022, arXiv:2203.03466). Adam's updates
do not depend on the scale of the gradient, so a multiplier on what a matrix puts out is the same
as a smaller beginning and a smaller learning rate of the matrix itself: the model needs no
multipliers, and all rules stand in one table, `scales`.

What is left follows the batch and the horizon, in `recipe_for`: training, the forecast's words and
every exported config take it from there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

from ..space.architecture import Architecture
from ..space.sparse import is_sparse
from .cost.counts import n_active_params
from .law.batch_price import best_batch_tokens

# Highest learning rate of a matrix that reads 256 features, in the batch that its noise asks for:
# 0.0080 (D / 10^9)^0.135. Fitted at width^-1 to the best rates of 151 batches of Li et al. 2025
# (arXiv:2503.04715; 960 to 2,048 wide, to 100 billion tokens) and of six of ours (64 to 384 wide,
# 600,000 tokens); experiments/recipe/steplaw.py.
PEAK_RATE = 0.0080
PEAK_EXPONENT = 0.135
# In larger and in smaller batches the best rate is less, by 2 / (sqrt(x) + 1 / sqrt(x)) at x times
# that batch (Li et al. 2024, arXiv:2405.14578, equation 22): far below it falls with the root. It
# is 328,000 (D / 10^9)^0.60 tokens in the same runs: other than the best batch, it knows of no
# least number of steps.
NOISE_TOKENS = 328e3
NOISE_EXPONENT = 0.60
# Standard deviation of the logarithm of the best rate about the formula.
RATE_SPREAD = 0.25
# Where what blocks add does not shrink with depth, as in most trainers, the rate falls with it: as
# depth^-0.33 (0.11) in the same runs of Li et al., whose depths are around 8.
PLAIN_DEPTH = 8
PLAIN_DEPTH_EXPONENT = -0.33
# The more experts, the lower the best rate (Ludziejewski et al. 2025, arXiv:2502.05172, eq. 8).
EXPERTS_EXPONENT = -0.25
# The share of a run over which AdamW averages: 1.084 (D / N)^-0.527 (Bergsma et al. 2025,
# arXiv:2505.13738, figure 1), for a rate that falls to zero on a line.
DECAY_SHARE = 1.084
DECAY_SHARE_EXPONENT = -0.527
# A tenth of the run, as in all of ours, or 375 million tokens where that is less (Brown et al.
# 2020, arXiv:2005.14165, appendix B).
WARMUP_SHARE = 0.1
WARMUP_TOKENS = 375e6
# At the best batch and above; below it the second moment averages over as many tokens as there,
# which keeps small batches from being unstable (Marek et al. 2025, arXiv:2507.07101).
BETA2 = 0.95


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """What one run is trained by; `recipe_for` has the numbers that suit it.

    Attributes:
        rule: whose rule set the numbers; empty where they were set by hand.
        learning_rate: the highest, of a matrix as wide as `base_d_model`.
        embedding_rate: the embedding's learning rate over that, at any width.
        embedding_std: spread of the embedding at the beginning.
        output_gain: what the last norm multiplies by at the beginning, at `base_d_model`.
        base_d_model: the width at which the rules of width change nothing.
        base_n_layers: the depth at which the rules of depth change nothing.
        warmup: share of training in which the learning rate rises from zero; then it falls to
            zero, both on a line (Bergsma et al. 2025, arXiv:2502.15938).
        weight_decay: of matrices; times the scheduled learning rate, whatever the width.
        beta1: of Adam.
        beta2: of Adam.
        clip_norm: the longest gradient, all parameters together.
    """

    rule: str = ""
    learning_rate: float = 0.004
    embedding_rate: float = 15.0
    embedding_std: float = 0.2
    output_gain: float = 0.3
    base_d_model: int = 256
    base_n_layers: int = 4
    warmup: float = WARMUP_SHARE
    weight_decay: float = 0.1
    beta1: float = 0.9
    beta2: float = BETA2
    clip_norm: float = 1.0

    @property
    def label(self) -> str:
        """The rule's name, or what differs from the default besides the learning rate."""
        if self.rule:
            return self.rule
        changed = [
            f"{field.name}={getattr(self, field.name)}"
            for field in dataclasses.fields(self)
            if field.name != "learning_rate" and getattr(self, field.name) != field.default
        ]
        return " ".join(["completep", *changed])


def recipe_for(arch: Architecture, n_tokens: float) -> Recipe:
    """The recipe of a run of `n_tokens`, in the architecture's batches.

    Args:
        arch: one architecture.
        n_tokens: D, tokens in all of its steps.

    Examples:
        >>> arch = Architecture.from_shape(d_model=1024, n_layers=12, batch_size=128, seq_len=1024)
        >>> recipe = recipe_for(arch, 4e9)
        >>> round(recipe.learning_rate * 256 / 1024, 4), recipe.warmup, round(recipe.beta2, 3)
        (0.0017, 0.09375, 0.967)
    """
    batch_tokens, best = arch.tokens_per_step, best_batch_tokens(n_tokens)
    peak = peak_learning_rate(batch_tokens, n_tokens)
    if is_sparse(arch):
        peak *= arch.as_dict()["n_experts"] ** EXPERTS_EXPONENT
    share = DECAY_SHARE * (n_tokens / n_active_params(arch)) ** DECAY_SHARE_EXPONENT
    return Recipe(
        rule="horizon",
        learning_rate=peak,
        warmup=min(WARMUP_SHARE, WARMUP_TOKENS / n_tokens),
        weight_decay=batch_tokens / n_tokens / share / peak,
        beta2=BETA2 ** min(batch_tokens / best, 1.0),
    )


def peak_learning_rate(batch_tokens: Any, n_tokens: Any) -> Any:
    """The highest learning rate of a matrix that reads 256 features.

    Args:
        batch_tokens: B, tokens in a step.
        n_tokens: D, tokens in all steps.
    """
    ratio = batch_tokens / (NOISE_TOKENS * (n_tokens / 1e9) ** NOISE_EXPONENT)
    at_the_peak = PEAK_RATE * (n_tokens / 1e9) ** PEAK_EXPONENT
    return at_the_peak * 2 / (ratio**0.5 + ratio**-0.5)


def single_rate(arch: Architecture, recipe: Recipe) -> float:
    """The highest learning rate where all parameters have one, and blocks add at full strength.

    It is that of the matrices that read the residual stream, which hold most of the parameters.
    """
    depth = (arch.n_layers / PLAIN_DEPTH) ** PLAIN_DEPTH_EXPONENT
    return recipe.learning_rate * named_scales(arch, recipe)["qkv"].rate * depth


class Settings(NamedTuple):
    """What a trainer is told that has one learning rate for all parameters, see `settings_for`."""

    n_warmup_steps: int
    learning_rate: float
    weight_decay: float
    beta1: float
    beta2: float
    clip_norm: float


def settings_for(arch: Architecture, recipe: Recipe, n_steps: int) -> Settings:
    """The recipe under one learning rate, with matrices that shrink as fast as under its own.

    Args:
        arch: one architecture.
        recipe: of its run.
        n_steps: of the run; at least one of them warms up.
    """
    rate = single_rate(arch, recipe)
    return Settings(
        n_warmup_steps=max(1, round(recipe.warmup * n_steps)),
        learning_rate=rate,
        weight_decay=recipe.weight_decay * recipe.learning_rate / rate,
        beta1=recipe.beta1,
        beta2=recipe.beta2,
        clip_norm=recipe.clip_norm,
    )


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
