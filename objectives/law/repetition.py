"""What tokens are worth that were read before, to a model of which size.

Repetitions lose their worth after a number of them (Muennighoff et al. 2023, arXiv:2305.16264, eq.
5), but not the same number for all: the more parameters, the sooner a text is learnt by heart.
Fitted on that paper's own 229 runs (experiments/repeated_data), for what is lost is counted in
tokens of the law that is asked, by the default law: left out by how much text there was, they are
foretold within 3.5% on average (within 2.3% by a law of their own, which chose the form).
"""

from __future__ import annotations

from typing import Any

import numpy as np

# Repetitions in which tokens lose their worth: SHORT / N, no more than of 44 million parameters,
# the smallest of which runs went so far; and so many for each unique token, up to what Muennighoff
# et al. found on long texts.
SHORT, MOST_OF_SHORT = 1.81e9, 41.1
A_TOKEN, MOST = 0.57e-9, 15.39
# Standard deviation of its log, over sizes and texts on which runs went that far.
SCALE_SPREAD = 1.3
# Models with at least so many parameters a unique token end worse than they were, once repetitions
# times those reach the other number: all 14 sizes and texts of which runs went on, which were at
# their best at 43 to 153.
LEARNS_BY_HEART, AT_BEST = 0.73, 45.0


def repetitions_scale(n_params: Any, n_unique: float) -> Any:
    """Repetitions after which 1 - 1/e of all that they can give is had."""
    return np.minimum(SHORT / n_params, MOST_OF_SHORT) + min(A_TOKEN * n_unique, MOST)


def fresh_worth(n_tokens: Any, n_unique: float, n_params: Any, spread: Any = 1.0) -> Any:
    """Fresh tokens that are worth as much as `n_tokens`, of which only `n_unique` are fresh.

    It is that of the best moment so far: a run that has begun to lose is taken to be ended there.

    Args:
        n_tokens: D, tokens trained on.
        n_unique: tokens of the text.
        n_params: N, all of them.
        spread: times the scale, where what is not known of it is drawn.
    """
    scale = repetitions_scale(n_params, n_unique) * spread
    repetitions = np.maximum(n_tokens / n_unique - 1, 0)
    return np.minimum(n_tokens, n_unique) + n_unique * scale * -np.expm1(-repetitions / scale)


def enough_epochs(n_params: Any, n_unique: float) -> Any:
    """Passes over the text that give 95% of what repeating it can give."""
    return 1 + 3 * repetitions_scale(n_params, n_unique)


def best_epochs(n_params: Any, n_unique: float) -> Any:
    """Passes over the text after which a run of its own length is at its best; infinite of few."""
    a_token = n_params / n_unique
    return np.where(a_token >= LEARNS_BY_HEART, 1 + AT_BEST / a_token, np.inf)
