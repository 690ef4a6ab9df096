"""What a large batch costs: the critical batch size, and the tokens that a run is worth.

A batch far below the critical one averages away noise at no price; far above it, further sequences
teach nothing new. To reach the loss of D_min tokens seen in small batches, batches of B need

    D = D_min (1 + B / B_crit),

so that at the critical batch size a loss takes twice the tokens.

References:
    McCandlish et al. 2018, arXiv:1812.06162, equation 2.11, for the hyperbola.
    Bergsma et al. 2025, 'Power Lines', arXiv:2505.13738, equations 6 and 7, for B_crit(D_min).
"""

from __future__ import annotations

from typing import Any

# Power Lines, figure 1: B_crit = 0.0471 D_min^0.462 sequences of 2,048 tokens, D_min in tokens, on
# models of 111M to 3.3B parameters.
COEFFICIENT = 0.0471
EXPONENT = 0.462
SEQUENCE_TOKENS = 2048

# Newton's method on logs, where the slope is between 0.54 and 1: four steps reach rounding.
N_NEWTON_STEPS = 5


def critical_batch_tokens(small_batch_tokens: Any) -> Any:
    """Critical batch size in tokens, for a loss that `small_batch_tokens` reach in small batches.

    Examples:
        2048 * 0.0471 * 10^(9 * 0.462): 96.46 times 10^4.158, which is 14,388.

        >>> round(critical_batch_tokens(1e9) / 1e6, 3)
        1.388

    References:
        Bergsma et al. 2025, arXiv:2505.13738, equation 7.
    """
    return SEQUENCE_TOKENS * COEFFICIENT * small_batch_tokens**EXPONENT


def small_batch_tokens(n_tokens: Any, tokens_per_step: Any) -> Any:
    """Tokens that would do as much in small batches as `n_tokens` in batches of `tokens_per_step`.

    Solves D = D_min (1 + B / B_crit(D_min)) for D_min, for scalars and arrays alike.

    Examples:
        At the critical batch size half of the tokens are wasted; at three times it three quarters.

        >>> critical = critical_batch_tokens(1e9)
        >>> round(small_batch_tokens(2e9, critical))
        1000000000
        >>> round(small_batch_tokens(4e9, 3 * critical))
        1000000000

    Args:
        n_tokens: D, tokens trained on.
        tokens_per_step: B, tokens in an optimizer step.
    """
    share = tokens_per_step / (SEQUENCE_TOKENS * COEFFICIENT)
    found = n_tokens * 1.0
    for _ in range(N_NEWTON_STEPS):
        extra = share * found ** (1 - EXPONENT)
        slope = (found + (1 - EXPONENT) * extra) / (found + extra)
        found = found * (n_tokens / (found + extra)) ** (1 / slope)
    return found
