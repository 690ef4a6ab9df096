"""What a comparison means, in one sentence that says no more than its numbers do."""

from __future__ import annotations

import math

from scipy import stats

from .compare import Agreement, Comparison

# Fewer points than this order themselves by chance too easily.
MIN_RANKED = 4
# From this rank correlation on a ranking held; a lower one that is no chance held in part.
HELD = 0.8
# The chance to call a difference real where there is none.
ERROR_RATE = 0.05


def verdict(comparison: Comparison, *, corpus: str, law_corpus: str) -> str:
    """One honest sentence: the winner's place, the ranking, the levels.

    Args:
        comparison: what to judge.
        corpus: the text that was trained on.
        law_corpus: the text whose loss the law predicts.
    """
    parts = [_winner_clause(comparison), _ranking_clause(comparison.loss)]
    error = comparison.loss.mean_error
    if error is not None:
        side = "above" if error > 0 else "below"
        parts.append(f"predicted losses lie {abs(error):.3f} nats {side} the measured on average")
        if corpus != law_corpus:
            parts[-1] += (
                f", which says little: the law is of {law_corpus} and training was on {corpus}, "
                "so only the ranking compares"
            )
    text = "; ".join(filter(None, parts))
    return f"{text[0].upper()}{text[1:]}."


def _winner_clause(comparison: Comparison) -> str:
    winner, best, models = comparison.winner, comparison.best, comparison.models
    known = [model for model in models if model.losses]
    if comparison.regret_nats is None:
        return f"the predicted winner {winner.label} has no loss ({winner.failures})"
    if len(known) == 1:
        return f"only {winner.label} has a loss, so there is nothing to compare it with"
    if winner is best:
        gap, other = known[1].measured_loss - best.measured_loss, known[1]  # type: ignore[operator]
        text = f"the predicted winner {winner.label} came first of {len(known)}, {gap:.4f} nats "
        text += f"ahead of {other.label}"
    else:
        gap, other = comparison.regret_nats, best
        text = (
            f"the predicted winner {winner.label} came {_ordinal(known.index(winner) + 1)} of "
            f"{len(known)}, {gap:.4f} nats ({comparison.regret_share:.2%}) behind {other.label}"
        )
    noise = comparison.seed_noise_nats
    if noise is None:
        return text + ", and one seed each cannot say whether that is more than seed noise"
    # A t-test with the noise of all models, whose seeds give the degrees of freedom.
    standard_error = noise * math.sqrt(1 / len(winner.losses) + 1 / len(other.losses))
    freedom = sum(len(model.losses) - 1 for model in known)
    within = gap <= stats.t.isf(ERROR_RATE / 2, freedom) * standard_error
    return text + (", within" if within else ", more than") + f" seed noise (std {noise:.4f})"


def _ranking_clause(loss: Agreement) -> str:
    if loss.spearman is None or loss.spearman_p is None or loss.n < MIN_RANKED:
        return f"{loss.n} losses are too few to judge the ranking" if loss.n > 1 else ""
    if loss.spearman_p > ERROR_RATE:
        judgement = "cannot be told from chance"
    elif loss.spearman < 0:
        judgement = "was reversed"
    else:
        judgement = "held" if loss.spearman >= HELD else "held in part"
    return f"the ranking {judgement} (Spearman {loss.spearman:.2f} over {loss.n} models)"


def _ordinal(n: int) -> str:
    ending = "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{ending}"
