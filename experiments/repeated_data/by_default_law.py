"""What is a repetition worth in tokens of the default law, which is not that of these runs?

Command: python experiments/repeated_data/by_default_law.py
Wall time: 10 s.
Expected: the form that `repeated_data.py` chose, its two numbers fitted by the default law in place
of one of the runs' own, is as good on texts of other lengths as it was by the law of before.

A rule multiplies tokens, so its numbers hold for the law that makes losses of tokens.
`repeated_data.py` compares rules by a law of Muennighoff et al.'s own runs on fresh text; searches
ask the default law. Here the rule is fitted by that, at a level of its own, to the same runs, each
left out with all texts of about its length; models are taken to be 96 times as wide as
deep. Beside it the numbers that were fitted by the runs' own law, with the level alone fitted.
Writes by_default_law.csv. `spread` is the standard deviation of the log of the scale that each size
and text asks for about the rule, `SCALE_SPREAD` of objectives/law/repetition.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from repeated_data import (
    BRACKETED,
    FAILED,
    GROUPS,
    HERE,
    LEAST_TOKENS,
    MOST_REPETITIONS,
    MUENNIGHOFF,
    Runs,
    worth,
)  # fmt: skip
from scipy.optimize import brentq, least_squares

from anybudget.presets.laws import DEFAULT_LAW, known_law

ASPECT_RATIO, VOCAB_SIZE = 96, 50304
# Of all but the vocabulary, 12 d_model^2 a layer; no run below this size went far.
LEAST_SIZE = 44e6
BEFORE = np.log([7.8, 0.41])
LAW = known_law(DEFAULT_LAW).law


def losses(runs: Runs, tokens: Any) -> Any:
    """By the default law."""
    n_layers = np.maximum((runs.n / 12 / ASPECT_RATIO**2) ** (1 / 3), 3)
    d_model = ASPECT_RATIO * n_layers
    shape = {
        "d_model": d_model, "n_layers": n_layers, "vocab_size": VOCAB_SIZE, "n_params": runs.n,
        "n_params_non_embedding": np.maximum(runs.n - 2 * VOCAB_SIZE * d_model, 1e6),
    }  # fmt: skip
    return LAW.loss(runs.n, tokens, shape)


def scale(t: np.ndarray, runs: Runs) -> np.ndarray:
    """Repetitions after which most is had: a / N, no more than of the least size, and b U."""
    of_size = np.exp(t[0]) * 1e9 / np.maximum(runs.n, LEAST_SIZE)
    return of_size + np.minimum(np.exp(t[1]) * runs.u / 1e9, MUENNIGHOFF)


def off(t: np.ndarray, runs: Runs, best: np.ndarray) -> np.ndarray:
    """Logarithms of foretold over best; the last of `t` is the level."""
    return t[-1] + np.log(losses(runs, worth(scale(t, runs), runs)) / best)


def fitted(runs: Runs, best: np.ndarray, numbers: np.ndarray | None) -> np.ndarray:
    """The rule's numbers and the level, or the level alone."""
    if numbers is None:
        start = [*BEFORE, 0.0]
        return least_squares(lambda t: off(t, runs, best), start, loss="soft_l1", f_scale=0.02).x
    level = least_squares(
        lambda t: off(np.r_[numbers, t], runs, best), [0.0], loss="soft_l1", f_scale=0.02
    )
    return np.r_[numbers, level.x]


def spread(t: np.ndarray, runs: Runs, best: np.ndarray) -> float:
    """Of the scales that sizes and texts ask for, those that were read so often that they tell."""
    asked = []
    for n, u in {*zip(runs.n, runs.u, strict=True)}:
        own = (runs.n == n) & (runs.u == u)
        longest = Runs(*(column[own][-1:] for column in runs))
        foretold = scale(t, longest)[0]
        if longest.repetitions[0] <= foretold:
            continue

        def misses(log_scale: float, run: Runs = longest, at: float = best[own][-1]) -> float:
            return t[-1] + float(np.log(losses(run, worth(np.exp(log_scale), run))[0] / at))

        if misses(-3) > 0 > misses(8):
            asked.append(brentq(misses, -3, 8) - np.log(foretold))  # type: ignore[operator]
    return float(np.sqrt(np.mean(np.square(asked))))


def main() -> None:
    """Fit, judge on texts of other lengths, print and write."""
    table: Any = pd.read_csv(HERE / "runs.csv")
    table = table[(table.n_tokens >= LEAST_TOKENS) & ~table.run.isin(FAILED)]
    again = table[table.n_tokens > table.unique_tokens].sort_values("n_tokens")
    cells = again.groupby(["n_params", "unique_tokens"])
    first = cells.n_tokens.transform("min") / again.unique_tokens - 1
    again = again.assign(best=cells.loss.cummin())[first <= BRACKETED]
    again = again[again.n_tokens / again.unique_tokens - 1 <= MOST_REPETITIONS]
    runs = Runs(*again[["n_params", "n_tokens", "unique_tokens"]].to_numpy(float).T)
    best = again.best.to_numpy()
    group = np.array(list(GROUPS))[np.searchsorted(list(GROUPS.values()), runs.u)]
    rows = []
    for name, numbers in {"by the runs' own law": BEFORE, "by the default law": None}.items():
        found = np.empty(len(best))
        for one in GROUPS:
            is_out = group == one
            others = fitted(Runs(*(c[~is_out] for c in runs)), best[~is_out], numbers)
            found[is_out] = off(others, Runs(*(c[is_out] for c in runs)), best[is_out])
        t = fitted(runs, best, numbers)
        errors = {one: np.abs(found[group == one]).mean() for one in GROUPS}
        told = {"a": np.exp(t[0]) * 1e9, "b": np.exp(t[1]) / 1e9, "level": np.exp(t[2])}
        told["spread"] = spread(t, runs, best)
        rows.append({"fitted": name, **told, "error": np.abs(found).mean(), **errors})
    written = pd.DataFrame(rows)
    written.to_csv(HERE / "by_default_law.csv", index=False, float_format="%.4g")
    print(written.T.to_string())


if __name__ == "__main__":
    main()
