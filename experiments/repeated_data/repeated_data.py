"""What is a token worth that was read before, and to a model of which size?

Command: python experiments/repeated_data/repeated_data.py
Wall time: half a minute.
Expected, written before the first fit: Muennighoff et al.'s equation 5 with one scale for all sizes
(15.39 repetitions) says too much of large models on little text, which learn it by heart; a scale
that falls with size, as a power of N over the unique tokens, halves the error.

runs.csv holds the runs of Muennighoff et al. 2023, 'Scaling Data-Constrained Language Models', on
C4: final losses on held-out text, from plotstables/return_alloc.ipynb of
https://github.com/huggingface/datablations at 13701315b163f1c54642b94ad237b2699187c3ee. The law of
runs that read nothing twice is fitted first, alpha and beta near 0.35; then each rule on all
but one group of unique tokens, judged on that group. What is judged is the best loss so far, for
a run that has begun to learn by heart can be ended sooner. Left out: runs of under 1.4 billion
tokens (a thousand steps), over 450 repetitions, four of 8.7 billion parameters on 12 billion tokens
that are worse than half their size; and, for the best so far is not known of them, sizes of which
no run read the text fewer than 16 times. Writes scores.csv and rules.csv.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.optimize import brentq, least_squares

from anybudget.objectives.law.repetition import repetitions_scale

HERE = Path(__file__).parent
LEAST_TOKENS, MOST_REPETITIONS, BRACKETED = 1.4e9, 450, 15
FAILED = ["8b712b12b", "8b712b1b5", "8b712b400m", "8b712b100m"]
# Unique tokens of the groups, each of which is left out once.
GROUPS = {"0.1B": 2e8, "0.4B": 5e8, "1.5B": 2e9, "4 to 12B": 1.3e10, "over 12B": np.inf}
MUENNIGHOFF = 15.39
MUENNIGHOFF_OF_SIZE = 5.31
# What of a loss is no scatter.
A_RISE = 0.01
# Relative scatter of a run about a law of fresh text, and the widths of what holds the exponents.
SCATTER, EXPONENT, EXPONENT_STD = 0.015, 0.35, 0.03


class Runs(NamedTuple):
    """What the rules read, (runs,) each: parameters, tokens, unique tokens."""

    n: np.ndarray
    d: np.ndarray
    u: np.ndarray

    @property
    def repetitions(self) -> np.ndarray:
        """Passes over the text beyond the first."""
        return np.maximum(self.d / self.u - 1, 0)


def law(p: np.ndarray, n: Any, d: Any) -> Any:
    """Loss of a run on fresh text; `p` holds log E, log A, log B, alpha and beta."""
    return np.exp(p[0]) + np.exp(p[1]) * n ** -p[3] + np.exp(p[2]) * d ** -p[4]


def worth(scale: Any, runs: Runs) -> np.ndarray:
    """Tokens that count, where repetitions lose their worth in a number of them."""
    return runs.u * (1 + scale * (1 - np.exp(-runs.repetitions / scale)))


def fresh_law(runs: Runs, loss: np.ndarray) -> np.ndarray:
    """The law of runs that read nothing twice."""

    def misses(p: np.ndarray) -> np.ndarray:
        off = np.log(law(p, runs.n, runs.d) / loss) / SCATTER
        return np.r_[off, (p[3:] - EXPONENT) / EXPONENT_STD]

    fits = [
        least_squares(misses, [e, a, b, EXPONENT, EXPONENT], loss="soft_l1")
        for e in (0.3, 0.7) for a in (4, 6) for b in (5, 7)
    ]  # fmt: skip
    return min(fits, key=lambda fit: fit.cost).x


def rules(p: np.ndarray) -> dict[str, tuple[Callable[[np.ndarray, Runs], Any], list[float]]]:
    """Losses of runs by each rule, and where its fit starts; t holds the rule's numbers."""

    def of_scale(scale: Callable[[np.ndarray, Runs], Any]) -> Callable[[np.ndarray, Runs], Any]:
        return lambda t, runs: law(p, runs.n, worth(scale(t, runs), runs))

    def both_lose(t: np.ndarray, runs: Runs) -> Any:
        # Parameters beyond the best for the unique tokens lose their worth too.
        best_n = (p[3] / p[4] * np.exp(p[1] - p[2])) ** (1 / p[3]) * runs.u ** (p[4] / p[3])
        of_use = np.minimum(runs.n, best_n)
        extra = runs.n / of_use - 1
        n = of_use * (1 + np.exp(t[1]) * (1 - np.exp(-extra / np.exp(t[1]))))
        return law(p, n, worth(np.exp(t[0]), runs))

    def by_heart(t: np.ndarray, runs: Runs) -> Any:
        # A penalty on top of tokens that all count, where a run ends when it is best.
        shares = np.linspace(0, 1, 100)[:, None] ** 2
        repetitions = runs.repetitions * shares
        penalty = np.exp(t[0]) * repetitions ** np.exp(t[1]) * (runs.n / runs.u) ** np.exp(t[2])
        return np.min(law(p, runs.n, runs.u * (1 + repetitions)) + penalty, axis=0)

    def power(t: np.ndarray, runs: Runs) -> Any:
        return np.exp(t[0]) / (runs.n / 1e9) ** t[1] * (runs.u / 1e9) ** t[2]

    def with_floor(t: np.ndarray, runs: Runs) -> Any:
        floor = np.minimum(np.exp(t[1]) * runs.u / 1e9, MUENNIGHOFF)
        return np.exp(t[0]) / (runs.n / 1e9) + floor

    def of_ratio(t: np.ndarray, runs: Runs) -> Any:
        return (np.exp(t[0]) + np.exp(t[1]) * runs.u / 1e9) / (runs.n / 1e9)

    def constant(t: np.ndarray, runs: Runs) -> Any:
        return MUENNIGHOFF * np.ones(len(runs.n))

    published = np.log([MUENNIGHOFF, MUENNIGHOFF_OF_SIZE])
    return {
        "15.39 for all": (of_scale(constant), []),
        "parameters too, published": (lambda t, runs: both_lose(published, runs), []),
        "parameters too, fitted": (both_lose, [2.7, 1.7]),
        "one scale, fitted": (of_scale(lambda t, runs: np.exp(t[0])), [2.7]),
        "penalty for learning by heart": (by_heart, [-5.0, 0.0, 0.0]),
        "a / N": (of_scale(lambda t, runs: np.exp(t[0]) / (runs.n / 1e9)), [2.0]),
        "powers of N and U": (of_scale(power), [2.0, 0.9, 0.1]),
        "(a + b U) / N": (of_scale(of_ratio), [2.0, 0.0]),
        "a / N + b U": (of_scale(with_floor), [2.0, -1.0]),
    }


def fitted(rule: tuple[Any, list[float]], runs: Runs, best: np.ndarray) -> np.ndarray:
    """A rule's numbers by the runs."""
    losses, start = rule
    if not start:
        return np.array(start)
    off = lambda t: np.log(losses(t, runs) / best)  # noqa: E731
    return least_squares(off, start, loss="soft_l1", f_scale=0.02).x


def asked_scale(p: np.ndarray, run: Runs, reached: float) -> float | None:
    """The scale with which one run comes to its loss; None where none does."""

    def off(log_scale: float) -> float:
        return float(np.log(law(p, run.n, worth(np.exp(log_scale), run))[0] / reached))

    if not off(-3) > 0 > off(8):
        return None
    return math.exp(float(brentq(off, -3, 8)))  # type: ignore[arg-type]


def of_cells(p: np.ndarray, again: pd.DataFrame) -> pd.DataFrame:
    """Of each size and text: the scale shipped, the one asked for, and when it was at its best."""
    rows = []
    cells = again[["n_params", "unique_tokens"]].drop_duplicates().to_numpy(float)
    for n, u in cells[np.lexsort(cells.T[::-1])]:
        own = again[(again.n_params == n) & (again.unique_tokens == u)]
        repetitions, loss = np.array(own.n_tokens / u - 1), np.array(own.loss)
        within = repetitions <= MOST_REPETITIONS
        longest = Runs(np.array([n]), u * (1 + repetitions[within][-1:]), np.array([u]))
        scale, best = float(repetitions_scale(n, u)), loss.argmin()
        asks = longest.repetitions[0] > scale
        rows.append(
            {"n_params": n, "unique_tokens": u, "n_params_per_token": n / u, "scale": scale,
             "asked": asked_scale(p, longest, loss[within].min()) if asks else None,
             "best_repetitions": repetitions[best], "most_repetitions": repetitions[-1],
             "rise": loss[-1] / loss[best] - 1}
        )  # fmt: skip
    return pd.DataFrame(rows)


def main() -> None:
    """Fit, judge and write."""
    table = pd.read_csv(HERE / "runs.csv")
    table = table[(table.n_tokens >= LEAST_TOKENS) & ~table.run.isin(FAILED)]
    is_fresh = table.n_tokens <= table.unique_tokens
    columns = ["n_params", "n_tokens", "unique_tokens"]
    fresh, again = pd.DataFrame(table[is_fresh]), pd.DataFrame(table[~is_fresh])
    p = fresh_law(Runs(*fresh[columns].to_numpy(float).T), np.array(fresh.loss))
    print("law of fresh text:", np.exp(p[:3]).round(3), p[3:].round(3))
    again = again.sort_values(columns[1])
    cells = again.groupby(["n_params", "unique_tokens"])
    again["best"] = cells.loss.cummin()
    again["first"] = cells.n_tokens.transform("min") / again.unique_tokens - 1
    again = pd.DataFrame(again[again["first"] <= BRACKETED])
    cells = of_cells(p, again)
    cells.to_csv(HERE / "cells.csv", index=False, float_format="%.4g")
    asked = np.log(cells.asked / cells.scale).dropna()
    print(f"{len(asked)} cells ask for scales that lie {(asked**2).mean() ** 0.5:.2f} off in log")
    rose = cells[cells.rise > A_RISE]
    by_heart = rose.best_repetitions * rose.n_params_per_token
    print(f"{len(rose)} rose again, best at {by_heart.min():.0f} to {by_heart.max():.0f} r N / U,")
    print(f"with N / U from {rose.n_params_per_token.min():.2f} on; the others:")
    print(
        cells[(cells.rise <= A_RISE) & (cells.n_params_per_token > rose.n_params_per_token.min())]
    )
    again = again[again.n_tokens / again.unique_tokens - 1 <= MOST_REPETITIONS]
    runs, best = Runs(*again[columns].to_numpy(float).T), np.array(again.best)
    group = np.array(list(GROUPS))[np.searchsorted(list(GROUPS.values()), runs.u)]
    scores, numbers = [], []
    for name, rule in rules(p).items():
        off = np.empty(len(best))
        for one in GROUPS:
            is_out = group == one
            others = Runs(*(column[~is_out] for column in runs))
            t = fitted(rule, others, best[~is_out])
            off[is_out] = np.log(rule[0](t, Runs(*(c[is_out] for c in runs))) / best[is_out])
        t = fitted(rule, runs, best)
        numbers.append({"rule": name, "numbers": " ".join(f"{x:.4g}" for x in t)})
        for one in ("all", *GROUPS):
            of = off[group == one] if one in GROUPS else off
            scores.append(
                {"rule": name, "unique_tokens": one, "n": len(of), "mean_error": abs(of).mean(),
                 "mean_off": of.mean(), "worst": abs(of).max()}
            )  # fmt: skip
    written = pd.DataFrame(scores)
    written.to_csv(HERE / "scores.csv", index=False, float_format="%.4f")
    pd.DataFrame(numbers).to_csv(HERE / "rules.csv", index=False)
    print(written.pivot(index="rule", columns="unique_tokens", values="mean_error").round(4))
    print(pd.DataFrame(numbers))


if __name__ == "__main__":
    main()
