"""The best batch for a number of tokens, and what a smaller or a larger one costs.

Too large a batch averages away noise that was no hindrance, and leaves few steps; too small a one
leaves noise that no learning rate mends. A run whose batch is x times the best needs

    D = D_best (1 + PRICE (x + 1/x - 2))

tokens for the loss that D_best reach in the best batch: on either side the tokens grow in
proportion in the end, as the hyperbola of McCandlish et al. has it, and near the best nothing is
lost. The best batch is that which makes

    S(D) = LEAST_STEPS + STEPS_AT_1E9 (D / 10^9)^STEPS_EXPONENT

steps of D tokens, whatever the model's size. From all that was measured it follows with an
uncertainty of a third (`BATCH_SPREAD`), which costs 0.1% of loss.

References:
    Li et al. 2025, 'Step Law', arXiv:2503.04715: the 1,911 runs of 18 models and horizons, 214M to
    1.07B parameters and 4 to 100 billion tokens, to which experiments/recipe/steplaw.py fits both
    formulas, each at its best learning rate. AdamW with beta2 0.95 throughout.
    McCandlish et al. 2018, arXiv:1812.06162, equation 2.11, for the hyperbola.
    Bergsma et al. 2025, 'Power Lines', arXiv:2505.13738: that the model's size has no say.
"""

from __future__ import annotations

from typing import Any

import numpy as np

PRICE = 0.147
STEPS_AT_1E9 = 8900.0
STEPS_EXPONENT = 0.547
# From 600,000 tokens, which 1,200 steps serve better than 300 by 2.3% of loss
# (experiments/learning_rate); above 10^9 tokens it is less than a tenth of the steps.
LEAST_STEPS = 1000.0
# Standard deviation of the logarithm of the best batch about the formula.
BATCH_SPREAD = 0.3


def best_batch_tokens(n_tokens: Any) -> Any:
    """Tokens in the batch of the lowest loss, for a run of `n_tokens`.

    It grows with every token, more slowly than they do from 10^7 tokens on.

    Examples:
        >>> [round(best_batch_tokens(10.0**n) / 1000, 1) for n in (6, 9, 12)]
        [0.8, 101.0, 2561.5]
    """
    return n_tokens / (LEAST_STEPS + STEPS_AT_1E9 * (n_tokens / 1e9) ** STEPS_EXPONENT)


def tokens_needed(n_tokens: Any, tokens_per_step: Any) -> Any:
    """How many times the tokens a batch needs for what `n_tokens` would reach in their best batch.

    At least 1, which the best batch has; rising on either side of it.

    Examples:
        >>> best = best_batch_tokens(1e9)
        >>> [round(tokens_needed(1e9, best * x), 2) for x in (1 / 8, 1 / 2, 1, 2, 8)]
        [1.9, 1.07, 1.0, 1.07, 1.9]
    """
    ratio = tokens_per_step / best_batch_tokens(n_tokens)
    return 1 + PRICE * (ratio + 1 / ratio - 2)


def best_batch_worth(n_tokens: Any, tokens_per_step: Any, most_per_step: Any = None) -> Any:
    """Tokens that would do as much in their best batch as `n_tokens` in batches of another size.

    Never more than `n_tokens`. At any one batch it grows with the tokens (for PRICE < 1/2 and a
    best batch that grows no faster than they do), and at any number of tokens it falls on either
    side of the best batch: no run of at most `n_tokens` in batches from a to b is worth more than
    `n_tokens` in whichever of a to b is nearest to their best.

    Args:
        n_tokens: D, tokens trained on.
        tokens_per_step: B, tokens in an optimizer step, or the fewest of a range; all scalars or
            arrays that broadcast.
        most_per_step: the most of the range, the best of which is then taken.
    """
    if most_per_step is not None:
        tokens_per_step = np.clip(best_batch_tokens(n_tokens), tokens_per_step, most_per_step)
    return n_tokens / tokens_needed(n_tokens, tokens_per_step)
