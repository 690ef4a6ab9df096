"""Does P(best) mean what it says?

Command: OPENBLAS_NUM_THREADS=1 python experiments/p_best/p_best.py
Wall time: 5 min on one core; rows are appended to p_best.csv, repetitions there are skipped.
Expected: of the candidates given a chance of 20 to 30%, some 25% turn out the best of their set,
and so on through ten bins; every bin within three standard errors of its mean chance.

In each of 900 repetitions 60 runs are made from a known law and 40 step times from a known
step-time model, both with noise; law and model are fitted, 500 of each are drawn, and two to eight
architectures, from narrow to wide for an hour on a toy chip, are ranked. Then all of them are
"trained": loss by the true law and true step time, each with the scatter of its fit. `p_best.csv`
has one row for each candidate: the chance it was given, and whether it was the best.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from anybudget.objectives.cost.counts import flops_per_step, memcpys_per_step, n_params
from anybudget.objectives.device import Device
from anybudget.objectives.fit.bootstrap import bootstrap_law
from anybudget.objectives.fit.law import fit_varpro
from anybudget.objectives.fit.runs import as_loss_law, law_runs
from anybudget.objectives.fit.step_time import Steps, draw_coefficients, fit_step_time
from anybudget.objectives.loss_at_time import LossAtTime
from anybudget.objectives.uncertainty import Draws, rank
from anybudget.presets.laws import load_law
from anybudget.space.architecture import Architecture

CSV = Path(__file__).with_suffix(".csv")
N_REPETITIONS = 900
N_DRAWS = 500
TRUTH = load_law("besiroglu-2024")
LOSS_NOISE, TIME_NOISE = 0.005, 0.05
# Seconds per memory copy, FLOP and step of the toy chip.
SECONDS = np.array([4e-12, 1e-14, 2e-3])
CANDIDATES = [
    Architecture.from_shape(d_model=64 * i, n_layers=6, batch_size=8) for i in range(3, 20)
]


def made_law(rng: np.random.Generator) -> tuple:
    """A law fitted to 60 noisy runs of the true one, and its draws."""
    sizes, tokens = (
        axis.ravel()
        for axis in np.meshgrid(np.geomspace(1e7, 1e10, 10), np.geomspace(5e8, 5e11, 6))
    )
    loss = TRUTH.loss(sizes, tokens) * np.exp(LOSS_NOISE * rng.standard_normal(60))
    runs = law_runs({"n_params": sizes, "n_tokens": tokens, "measured_loss": loss})
    fit = fit_varpro(runs)
    law = as_loss_law(fit, runs, name="fitted", corpus="made", source="made")
    return law, bootstrap_law(runs, fit, n_draws=N_DRAWS, seed=int(rng.integers(2**31))).values


def made_device(rng: np.random.Generator) -> tuple:
    """A chip calibrated on 40 noisy step times, its draws and the scatter about the model."""
    widths, depths = (
        axis.ravel() for axis in np.meshgrid(64.0 * np.arange(2, 18, 2), [2.0, 4, 8, 12, 16])
    )
    arch = Architecture(
        d_model=widths, n_layers=depths, n_heads=widths / 64, n_kv_heads=widths / 64, d_head=64,
        d_ff=4 * widths, batch_size=8,
    )  # fmt: skip
    measured_s = step_times_s(arch) * np.exp(TIME_NOISE * rng.standard_normal(40))
    steps = Steps(arch=arch, measured_s=measured_s)
    fit = fit_step_time(steps, "paper")
    device = Device(
        name="toy", kind="tpu", peak_flops_per_s=1e14, bandwidth_bytes_per_s=5e11,
        memory_bytes=1e12, dtype="bfloat16", source="made", basis="measured", step_time=fit.model,
    )  # fmt: skip
    draws = draw_coefficients(steps, fit.model, n_draws=N_DRAWS, seed=int(rng.integers(2**31)))
    low, high = fit.ratio_95
    return device, draws, float(np.log(high / low) / (2 * 1.96))


def step_times_s(arch: Architecture) -> np.ndarray:
    """The true time of a step."""
    return SECONDS[0] * memcpys_per_step(arch) + SECONDS[1] * flops_per_step(arch) + SECONDS[2]


def repetition(seed: int) -> list[dict]:
    """Fit, rank, then see which candidate is the best."""
    rng = np.random.default_rng(seed)
    law, laws = made_law(rng)
    device, seconds, time_residual = made_device(rng)
    objective = LossAtTime(
        device=device, law=law, time_budget_s=3600, remat="none", attention="plain"
    )
    chosen = rng.permutation(len(CANDIDATES))[: rng.choice([2, 3, 5, 8])]
    ranked = sorted(
        (CANDIDATES[i] for i in chosen), key=lambda arch: objective.predict(arch).predicted_loss
    )
    draws = Draws(
        laws=laws, law_residual=law.residual_std, seconds_per_unit=seconds,
        time_residual=time_residual,
    )  # fmt: skip
    standings = rank(objective, ranked, [objective.predict(arch) for arch in ranked], draws)
    losses = []
    for arch in ranked:
        step_s = step_times_s(arch) * np.exp(TIME_NOISE * rng.standard_normal())
        n_tokens = (3600 // step_s) * arch.tokens_per_step
        loss = TRUTH.loss(n_params(arch), n_tokens)
        losses.append(loss * np.exp(LOSS_NOISE * rng.standard_normal()))
    best = int(np.argmin(losses))
    return [
        {
            "repetition": seed,
            "d_model": arch.d_model,
            "p_best": standing.p_best,
            "is_best": i == best,
            "loss_in_interval": standing.loss_low <= losses[i] <= standing.loss_high,
            "tied": standing.tied,
        }
        for i, (arch, standing) in enumerate(zip(ranked, standings, strict=True))
    ]


def main() -> None:
    """Make the repetitions that are missing, then print the reliability table."""
    done = set(pd.read_csv(CSV)["repetition"]) if CSV.exists() else set()
    for seed in range(N_REPETITIONS):
        if seed not in done:
            table = pd.DataFrame(repetition(seed))
            table.to_csv(CSV, mode="a", header=not CSV.exists(), index=False)
    table = pd.read_csv(CSV)
    table["bin"] = np.minimum((10 * table.p_best).astype(int), 9)
    bins = table.groupby("bin").agg(
        n=("is_best", "size"), chance=("p_best", "mean"), came_true=("is_best", "mean")
    )
    bins["standard_error"] = np.sqrt(bins.chance * (1 - bins.chance) / bins.n)
    bins["z"] = (bins.came_true - bins.chance) / bins.standard_error
    print(bins.round(3).to_string())
    winners = table[table.is_best]
    print(f"loss inside its 95% interval: {table.loss_in_interval.mean():.1%}")
    print(f"the best among those said to be tied: {winners.tied.mean():.1%}")


if __name__ == "__main__":
    main()
