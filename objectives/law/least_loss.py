"""The lowest loss that a law may give to any run between two: what a search by bounds rests on."""

from __future__ import annotations

from typing import Any

import numpy as np

from .copying import copying_factor
from .loss_law import LossLaw
from .terms import TERMS, Columns


def least_loss(law: LossLaw, n_params: Any, n_tokens: Any, first: Columns, last: Columns) -> Any:
    """A loss that no run between two has less than, nats per token.

    The law's own parts fall with parameters and with tokens, each term says what it lies between
    (`Term.between`), and the chance to copy grows with depth and tokens.

    Args:
        law: the law.
        n_params: the most that one of the runs has, as the law counts them.
        n_tokens: the most, as the law counts them.
        first: the columns of the run with the fewest layers, parameters and steps, as the terms
            read them.
        last: of that with the most; both of one width.
    """
    least: dict[str, Any] = {}
    for name, coefficient in law.terms.items():
        term = TERMS[name]
        ends = [coefficient * end for end in term.between(first, last)]
        least[term.place] = least.get(term.place, 0) + np.minimum(*ends)
    size = law.A / n_params**law.alpha * np.exp(least.get("size", 0))
    tokens = law.B / n_tokens**law.beta * np.exp(least.get("tokens", 0))
    loss = law.E + size + tokens + least.get("sum", 0)
    if law.kappa != 1:
        # A negative sum has no power, and no loss.
        loss = np.maximum(loss, 0) ** law.kappa
    if not law.copying:
        return loss
    factor = copying_factor(law.copying.gain, law.copying.onset_tokens, n_tokens, last)
    return np.where(loss > 0, loss * factor, loss)
