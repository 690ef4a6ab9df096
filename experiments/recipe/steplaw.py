"""What batch and rate are best, and what others cost: 1,911 runs of Li et al., and our rules.

Command: python experiments/recipe/steplaw.py dense_lr_bs_loss.csv
  The file: github.com/step-law/steplaw, data/dense_lr_bs_loss.csv (Li et al. 2025,
  arXiv:2503.04715): 17 pairs of a model (214M to 1.07B parameters outside the vocabulary) and a
  horizon (4 to 100 billion tokens), each on a grid of batches and learning rates.
Wall time: half a minute.
Expected: the constants of objectives/law/batch_price.py and objectives/recipe.py within two errors
of what is fitted here; prices within a third of the measured ones with each model size left out;
the recipe's rate within 0.3% of loss of the best on average.

The best rate of a batch is the vertex of a parabola through the best run and its neighbours. What a
batch loses is turned into tokens by the law L = E + A / N^a + B / D^b of the best runs. The least
of ten noisy losses is lower than it should be, so that near the best all seem to lose 0.07%: the
table takes that off. Writes constants.csv, price.csv and regret.csv beside it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import least_squares

from anybudget.objectives import recipe
from anybudget.objectives.law import batch_price

HERE = Path(__file__).parent
SEQ_LEN = 2048
# A parabola needs neighbours, and runs that did not diverge.
MOST_LOSS, FEWEST_RATES = 5.0, 4
# Best rates of ours (experiments/learning_rate), parabolas through four: width, depth, B, D, and
# the rate of the matrices that read the residual stream. Each counts five times, for they are few.
OURS = (
    (64, 4, 2048, 614400, 0.0140), (192, 1, 2048, 614400, 0.0042), (64, 16, 2048, 614400, 0.0100),
    (384, 2, 2048, 614400, 0.0016), (64, 4, 512, 614400, 0.0080), (192, 1, 512, 614400, 0.0025),
)  # fmt: skip
N_OURS = 5
# The batches that rules take; the others that of `batch_price`.
OWN_BATCH = {
    "Step Law": lambda tokens: 0.58 * tokens**0.571,
    "0.004 at width 256, at any horizon": lambda tokens: 8 * 1024,
}


def vertex(rates: np.ndarray, losses: np.ndarray) -> tuple[float, float, bool]:
    """The best rate, its loss, and whether it lies inside of those tried, which are ascending."""
    at = int(np.argmin(losses))
    if not 0 < at < len(rates) - 1:
        return rates[at], losses[at], False
    near = slice(at - 1, at + 2)
    fit = np.polyfit(np.log(rates[near]), losses[near], 2)
    log_rate = -fit[1] / 2 / fit[0]
    return float(np.exp(log_rate)), float(np.polyval(fit, log_rate)), True


def at_rate(rates: np.ndarray, losses: np.ndarray, rate: float) -> float:
    """The loss at a rate, on the parabola through the three runs nearest to it."""
    near = np.sort(np.argsort(np.abs(np.log(rates / rate)))[:3])
    return float(np.polyval(np.polyfit(np.log(rates[near]), losses[near], 2), np.log(rate)))


def best_rates(runs: Any) -> Any:
    """A row for each batch of each pair: the best rate, its loss, and the runs themselves."""
    rows = []
    for (width, _, depth, n, tokens, batch), group in runs.groupby(
        ["h", "ffnh", "numl", "N", "D", "batch"]
    ):
        rates, losses = group["lr"].to_numpy(), group["loss"].to_numpy()
        if len(rates) >= FEWEST_RATES:
            rate, loss, inside = vertex(rates, losses)
            rows.append((width, depth, n, tokens, batch, rate, loss, inside, rates, losses))
    names = ["width", "depth", "N", "D", "B", "rate", "loss", "inside", "rates", "losses"]
    table = pd.DataFrame(rows, columns=names)
    table["excess"] = table["loss"] / table.groupby(["N", "D"])["loss"].transform("min") - 1
    return table


def law_of(best: Any) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """L(N, D) of the best runs."""

    def law(at: np.ndarray, n: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        size, data = at[1] - at[2] * np.log(n / 1e8), at[3] - at[4] * np.log(tokens / 1e9)
        return np.exp(at[0]) + np.exp(size) + np.exp(data)

    n, tokens, loss = (best[name].to_numpy(float) for name in ("N", "D", "loss"))
    fit = least_squares(lambda at: np.log(law(at, n, tokens) / loss), [0, 0, 0.3, 0, 0.3])
    return lambda n, tokens: law(fit.x, n, tokens)


def excess_of(needed: np.ndarray, table: Any, law: Callable) -> np.ndarray:
    """What a run loses that needs so many times the tokens, as a share."""
    n, tokens = table["N"].to_numpy(float), table["D"].to_numpy(float)
    return law(n, tokens / needed) / law(n, tokens) - 1


def tokens_needed(at: np.ndarray, batch: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """`batch_price.tokens_needed` with other constants."""
    steps = batch_price.LEAST_STEPS + np.exp(at[0]) * (tokens / 1e9) ** at[1]
    ratio = batch * steps / tokens
    return 1 + np.exp(at[2]) * (ratio + 1 / ratio - 2)


def fit_price(table: Any, law: Callable) -> tuple[np.ndarray, np.ndarray]:
    """The logarithms of STEPS_AT_1E9 and PRICE around STEPS_EXPONENT, and their errors."""
    batch, tokens = table["B"].to_numpy(float), table["D"].to_numpy(float)
    measured = table["excess"].to_numpy()

    def off(at: np.ndarray) -> np.ndarray:
        return 100 * (excess_of(tokens_needed(at, batch, tokens), table, law) - measured)

    return _fitted(off, [9.0, 0.5, -2.0], f_scale=0.15)


def fit_rate(table: Any) -> tuple[np.ndarray, np.ndarray]:
    """Logs of PEAK_RATE and NOISE_TOKENS, each before its exponent, and PLAIN_DEPTH_EXPONENT."""
    ours = pd.DataFrame(OURS * N_OURS, columns=["width", "depth", "B", "D", "rate"])
    seen: Any = pd.concat([table.assign(plain=True), ours.assign(plain=False)])
    tokens, batch = seen["D"].to_numpy(float), seen["B"].to_numpy(float)
    deep = seen["depth"].to_numpy(float) / recipe.PLAIN_DEPTH
    depth = np.log(deep) * seen["plain"].to_numpy()
    longer = np.log(tokens / 1e9)

    def off(at: np.ndarray) -> np.ndarray:
        half = (np.log(batch) - at[2] - at[3] * longer) / 2
        log_rate = at[0] + at[1] * longer - np.log(np.cosh(half)) + at[4] * depth
        return log_rate + np.log(256 / seen["width"]) - np.log(seen["rate"])

    return _fitted(off, [-5.0, 0.15, 13.0, 0.5, -0.3], f_scale=0.2)


def _fitted(off: Callable, start: list[float], f_scale: float) -> tuple[np.ndarray, np.ndarray]:
    fit = least_squares(off, start, loss="soft_l1", f_scale=f_scale)
    errors = np.sqrt(np.diag(np.linalg.inv(fit.jac.T @ fit.jac)) * np.var(off(fit.x)))
    return fit.x, errors


def constants(table: Any, law: Callable) -> Any:
    """Ours beside what is fitted here."""
    price, price_errors = fit_price(table[table["inside"] | (table["excess"] < 0.003)], law)
    rate, rate_errors = fit_rate(table[table["inside"]])
    logs = {"STEPS_AT_1E9", "PRICE", "PEAK_RATE", "NOISE_TOKENS"}
    names = ["STEPS_AT_1E9", "STEPS_EXPONENT", "PRICE"]
    names += ["PEAK_RATE", "PEAK_EXPONENT", "NOISE_TOKENS", "NOISE_EXPONENT"]
    names += ["PLAIN_DEPTH_EXPONENT"]
    found = zip(names, [*price, *rate], [*price_errors, *rate_errors], strict=True)
    rows = []
    for name, value, error in found:
        ours = getattr(batch_price, name, None) or getattr(recipe, name)
        value, error = (np.exp(value), np.exp(value) * error) if name in logs else (value, error)
        rows.append({"constant": name, "ours": ours, "fitted": value, "error": error})
    return pd.DataFrame(rows)


def critical_batch_needs(table: Any) -> np.ndarray:
    """By the hyperbola of Bergsma et al. 2025, arXiv:2505.13738: B_crit = 0.0471 D^0.462 x 2048.

    Relative to the best batch that was measured, for it knows of no best.
    """
    needs = 1 + table["B"] / (SEQ_LEN * 0.0471 * table["D"].astype(float) ** 0.462)
    best = table.loc[table.groupby(["N", "D"])["loss"].transform("idxmin"), "B"].to_numpy()
    return (needs / (1 + best / (SEQ_LEN * 0.0471 * table["D"].astype(float) ** 0.462))).to_numpy()


def prices(table: Any, law: Callable) -> Any:
    """Measured against predicted, with each model size left out, by how far from the best batch."""
    seen = table[table["inside"] | (table["excess"] < 0.003)].copy()
    seen["hyperbola"] = excess_of(critical_batch_needs(seen), seen, law)
    for n in seen["N"].unique():
        held, others = seen[seen["N"] == n], seen[seen["N"] != n]
        at, _ = fit_price(others, law)
        batch, tokens = held["B"].to_numpy(float), held["D"].to_numpy(float)
        seen.loc[held.index, "ours"] = excess_of(tokens_needed(at, batch, tokens), held, law)
    best = batch_price.best_batch_tokens(seen["D"].to_numpy(float))
    seen["over_best"] = 2.0 ** np.round(np.log2(seen["B"] / best))
    rows = seen.groupby("over_best")[["excess", "ours", "hyperbola"]].mean() * 100
    rows["n_batches"] = seen.groupby("over_best").size()
    rows["measured"] = rows.pop("excess") - 0.07
    rows["ours_over_measured"] = rows["ours"] / rows["measured"]
    return rows.reset_index()


def regrets(table: Any) -> Any:
    """What each rule's rate loses at every batch, and its rate and batch together at every pair."""
    rules = {"recipe": _recipe, "0.004 at width 256, at any horizon": _fixed, "Step Law": _step_law}
    rows = []
    for name, rule in rules.items():
        excess, ratio = [], []
        for row in table.itertuples():
            rate = rule(row)
            if row.rates[0] / 1.5 <= rate <= row.rates[-1] * 1.5:
                excess.append(at_rate(row.rates, row.losses, rate) / row.loss - 1)
            ratio.append(rate / row.rate)
        low, median, high = np.quantile(ratio, (0.05, 0.5, 0.95))
        rows.append({
            "rate by": name, "n_batches": len(excess), "ratio_median": median, "ratio_5%": low,
            "ratio_95%": high, "loss_%_mean": 100 * np.mean(excess),
            "loss_%_worst": 100 * np.max(excess),
        } | _at_own_batch(table, name, rule))  # fmt: skip
    return pd.DataFrame(rows)


def _at_own_batch(table: Any, name: str, rule: Callable) -> dict[str, float]:
    """The loss at a rule's own batch and rate, between the two batches around it."""
    excess = []
    for (_, tokens), group in table.groupby(["N", "D"]):
        tokens = float(tokens)
        batch = (
            0.58 * tokens**0.571 if name == "Step Law" else batch_price.best_batch_tokens(tokens)
        )
        if name.startswith("0.004"):
            batch = 8 * 1024
        known = group.sort_values("B")
        if not known["B"].iloc[0] <= batch <= known["B"].iloc[-1]:
            continue
        losses = [at_rate(row.rates, row.losses, rule(row)) for row in known.itertuples()]
        loss = np.interp(np.log(batch), np.log(known["B"]), losses)
        excess.append(loss / known["loss"].min() - 1)
    if not excess:
        return {}
    return {
        "own_batch_n": len(excess),
        "own_batch_loss_%_mean": 100 * float(np.mean(excess)),
        "own_batch_loss_%_worst": 100 * max(excess),
    }


def _recipe(row: Any) -> float:
    depth = (row.depth / recipe.PLAIN_DEPTH) ** recipe.PLAIN_DEPTH_EXPONENT
    return recipe.peak_learning_rate(float(row.B), float(row.D)) * 256 / row.width * depth


def _fixed(row: Any) -> float:
    return 0.004 * 256 / row.width


def _step_law(row: Any) -> float:
    return 1.79 * float(row.N) ** -0.713 * float(row.D) ** 0.307


def main(path: str) -> None:
    """Fit, compare, print, and write the three tables."""
    runs: Any = pd.read_csv(path)
    runs["loss"], runs["batch"] = runs["smooth loss"], runs["bs"] * SEQ_LEN
    table = best_rates(runs[runs["loss"] < MOST_LOSS].sort_values("lr"))
    law = law_of(table[table["excess"] == 0])
    found = {"constants": constants(table, law), "price": prices(table, law)}
    found["regret"] = regrets(table)
    for name, rows in found.items():
        print(rows.to_string(index=False, float_format="{:.3g}".format), end="\n\n")
        rows.to_csv(HERE / f"{name}.csv", index=False, float_format="%.4g")


if __name__ == "__main__":
    main(*sys.argv[1:])
