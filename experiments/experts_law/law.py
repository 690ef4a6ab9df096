"""The joint law of dense models and models with experts, and how sure its source lets one be.

    python experiments/experts_law/law.py [--write]

Wall time: a minute on one core. Ludziejewski et al. 2025 (arXiv:2502.05172) give the numbers
(their Table 3), the runs (Appendix E: `runs.csv`, losses not among them) and the scatter, an RMSE
of 0.0062 on the runs and 0.0039 on 30 held out, but no interval. So runs are made up: at each of
theirs a loss of the law with twice that scatter, relative, to which the nine numbers of the law
are fitted anew, a thousand times. Those are the draws. Twice, for a law's scatter is not all that
is not known of it: its form was chosen on the same runs, and their loss is the training loss.

Prints the law reduced to each number of experts beside their Table 4 (expected: within 0.5%, their
rounding), and the 95% interval of the loss inside and outside of what they ran. `--write` makes the
preset `ludziejewski-2025`.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import least_squares

from anybudget.objectives.law.experts import ExpertsTerm
from anybudget.objectives.law.loss_law import LossLaw
from anybudget.presets.laws import KnownLaw, save_law

HERE = Path(__file__).parent
PRESETS = Path(__file__).parents[2] / "presets" / "laws"
# Table 3; a negative power of N or D is an exponent below the line here.
A, ALPHA, DELTA, GAMMA = 35.91, -0.1889, -0.2285, 0.0098
B, BETA, OMEGA, ZETA = 35.98, -0.1775, 0.5529, -0.0259
START, LIMIT, FLOOR = 2.0732, 290.4521, 1.3637
RMSE = 0.0062
VOCABULARY = 50_257
# Table 4: number of experts, scale and power of N, of D.
TABLE_4 = (
    (1, 30.3640, 0.1817, 53.9838, 0.1965),
    (2, 27.7982, 0.1780, 66.8401, 0.2065),
    (4, 24.8462, 0.1731, 87.7022, 0.2192),
    (8, 21.8330, 0.1676, 119.9126, 0.2338),
    (16, 19.0159, 0.1617, 167.5073, 0.2494),
    (32, 16.5424, 0.1557, 234.6726, 0.2652),
)
SOURCE = (
    "Ludziejewski et al. 2025, 'Joint MoE Scaling Laws', arXiv:2502.05172, equations 4 and 6, "
    "Table 3; N with embeddings, of experts one a token (Switch); ranges from Appendix E; no "
    "interval is given: the draws are fits to losses made up at their runs with twice their scatter"
)


def published() -> LossLaw:
    """The law in the terms of a dense one and of what experts change of it."""
    log_start = math.log(START)
    return LossLaw(
        name="ludziejewski-2025",
        E=FLOOR,
        A=A * START**DELTA,
        B=B * START**OMEGA,
        alpha=-(ALPHA + GAMMA * log_start),
        beta=-(BETA + ZETA * log_start),
        n_convention="total",
        corpus="FineWeb-Edu, training loss",
        source=SOURCE,
        n_params_range=(79e6, 2.7e9),
        n_tokens_range=(0.5e9, 80e9),
        aspect_ratio_range=(64.0, 80.0),
        vocab_size=VOCABULARY,
        schedule="linear decay to 0 over the last 20%",
        ranges={
            "d_model": (512.0, 2304.0), "n_layers": (8.0, 36.0), "d_head": (64.0, 128.0),
            "gated_mlp": (1.0, 1.0), "tied_embeddings": (0.0, 0.0), "ff_ratio": (3.0, 3.0),
            "heads_per_kv_head": (1.0, 1.0), "tokens_per_param": (0.36, 73.0),
        },
        experts=ExpertsTerm(
            start=START, limit=LIMIT, size=DELTA, size_exponent=GAMMA, tokens=OMEGA,
            tokens_exponent=ZETA, n_experts_range=(1, 32),
        ),
        residual_std=RMSE,
        level_std=0.2,
    )  # fmt: skip


def runs() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Active parameters (their equation 10), tokens and experts of each run."""
    table = pd.read_csv(HERE / "runs.csv")
    d, n = table["d_model"].to_numpy(float), table["n_layers"].to_numpy(float)
    n_params = 2 * d * VOCABULARY + 13 * n * d**2
    return n_params, table["n_tokens"].to_numpy(float), table["n_experts"].to_numpy(float)


def draws(law: LossLaw, n_draws: int = 1000, seed: int = 0) -> np.ndarray:
    """Numbers of the law fitted to losses made up at its runs, (draws, numbers)."""
    n_params, n_tokens, n_experts = runs()
    rng = np.random.default_rng(seed)
    own = np.array(list(law.numbers.values()))
    positive = np.arange(len(own)) < 5
    column = {"n_experts": n_experts}
    log_loss = np.log(law.loss(n_params, n_tokens, column))

    def numbers(theta: np.ndarray) -> np.ndarray:
        return np.where(positive, own * np.exp(theta * positive), own + theta)

    def fitted(target: np.ndarray) -> np.ndarray:
        def misfit(theta: np.ndarray) -> np.ndarray:
            return np.log(law.loss_under(numbers(theta), n_params, n_tokens, column)) - target

        return numbers(least_squares(misfit, np.zeros(len(own)), x_scale="jac").x)

    noise = 2 * RMSE * rng.standard_normal((n_draws, len(log_loss)))
    return np.array([fitted(log_loss + one) for one in noise])


def reduced(law: LossLaw) -> pd.DataFrame:
    """The law at each number of experts over Table 4."""
    assert law.experts
    rows = []
    for n_experts, m, mu, n, nu in TABLE_4:
        log_ratio = float(law.experts.log_ratio(n_experts))
        rows.append({
            "n_experts": n_experts,
            "A": law.A * math.exp(law.experts.size * log_ratio) / m,
            "alpha": (law.alpha - law.experts.size_exponent * log_ratio) / mu,
            "B": law.B * math.exp(law.experts.tokens * log_ratio) / n,
            "beta": (law.beta - law.experts.tokens_exponent * log_ratio) / nu,
        })  # fmt: skip
    return pd.DataFrame(rows)


def intervals(law: LossLaw, values: np.ndarray) -> pd.DataFrame:
    """The loss and its 95% interval for some runs, and what eight experts gain."""
    rows = []
    for n_params, n_tokens in ((3e8, 8e9), (1e9, 2e10), (2.7e9, 8e10), (1e10, 3e11)):
        dense, sparse = (
            law.loss_under(values.T, n_params, n_tokens, {"n_experts": n}) for n in (1, 8)
        )
        loss = law.loss(n_params, n_tokens)
        rows.append({
            "n_params": n_params, "n_tokens": n_tokens, "loss": loss,
            "low": np.quantile(dense, 0.025), "high": np.quantile(dense, 0.975),
            "gain_of_8": loss - law.loss(n_params, n_tokens, {"n_experts": 8}),
            "gain_low": np.quantile(dense - sparse, 0.025),
            "gain_high": np.quantile(dense - sparse, 0.975),
        })  # fmt: skip
    return pd.DataFrame(rows)


def main() -> None:
    """Print what can be checked; write the preset where it is asked for."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--write", action="store_true", help="make the preset")
    write = parser.parse_args().write
    law = published()
    print(reduced(law).round(4).to_string(index=False))
    values = draws(law)
    found = intervals(law, values)
    found.to_csv(HERE / "intervals.csv", index=False, float_format="%.5g")
    print(found.round(4).to_string(index=False))
    if write:
        rounded = dataclasses.replace(law, **{n: float(f"{getattr(law, n):.6g}") for n in "AB"})
        rounded = dataclasses.replace(rounded, alpha=round(law.alpha, 6), beta=round(law.beta, 6))
        # Four digits are more than a draw is known to.
        known = KnownLaw(law=rounded, draws=np.vectorize(lambda x: float(f"{x:.7g}"))(values))
        save_law(PRESETS / f"{law.name}.toml", known)


if __name__ == "__main__":
    main()
