"""The lowest loss that a law may give to any run between two: what a search by bounds rests on."""

from __future__ import annotations

from typing import Any

import numpy as np

from .copying import copying_factor
from .experts import experts_factors
from .loss_law import LossLaw
from .terms import TERMS, Columns


def least_loss(law: LossLaw, n_params: Any, n_tokens: Any, first: Columns, last: Columns) -> Any:
    """A loss that no run between two has less than, nats per token.

    The law's own parts fall with parameters and with tokens (with experts one may grow, and is
    taken for nothing), each term says what it lies between (`Term.between`), and the chance to copy
    grows with depth and tokens.

    Args:
        law: the law.
        n_params: the most that one of the runs has, as the law counts them.
        n_tokens: the most, as the law counts them.
        first: the columns of the run with the fewest layers, parameters and steps, as the terms
            read them.
        last: of that with the most; both of one width and with as many experts.
    """
    least: dict[str, Any] = {}
    for name, coefficient in law.terms.items():
        term = TERMS[name]
        ends = [coefficient * end for end in term.between(first, last)]
        least[term.place] = least.get(term.place, 0) + np.minimum(*ends)
    size = law.A / n_params**law.alpha * np.exp(least.get("size", 0))
    tokens = law.B / n_tokens**law.beta * np.exp(least.get("tokens", 0))
    if law.experts and "n_experts" in first:
        n_experts, powers = first["n_experts"], law.experts.powers
        of_size, of_tokens = experts_factors(law.experts, powers, n_experts, n_params, n_tokens)
        size_falls, tokens_fall = law.experts.falling(n_experts, law.alpha, law.beta)
        size = np.where(size_falls, size * of_size, 0)
        tokens = np.where(tokens_fall, tokens * of_tokens, 0)
    loss = law.E + size + tokens + least.get("sum", 0)
    if law.kappa != 1:
        # A negative sum has no power, and no loss.
        loss = np.maximum(loss, 0) ** law.kappa
    if not law.copying:
        return loss
    factor = copying_factor(law.copying.gain, law.copying.onset_tokens, n_tokens, last)
    return np.where(loss > 0, loss * factor, loss)
