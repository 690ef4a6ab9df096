"""Do P(best) and intervals mean what they say where a law knows shape, and where it was anchored?

Command: OPENBLAS_NUM_THREADS=1 python experiments/p_best/shapes.py
Wall time: 10 min on one core; rows are appended to shapes.csv, repetitions there are skipped.
Expected: intervals of 95% hold 96% by a fitted law, 94 to 99% by an anchored one, whose runs are
taken to be 1% off a law of another corpus where they are 0.4% off here; where corpora lie twice as
far apart as `anchor` takes them to, 75% with one run or three and 90% with six. P(best) of a fitted
law comes true within three standard errors in five bins; that of an anchored one says too little of
the likeliest (94% for 99%).

In each of 250 repetitions a truth is drawn, `gemstones-2025-cooldown` moved as far as corpora lie
apart (`between_corpora`): 72 runs of 18 shapes are made from it with noise, the law is fitted, and
two to eight shapes of unlike width and depth are ranked for three days on a toy chip that was
calibrated with noise too. Then all are "trained", as in p_best.py. A second truth is the first one
moved again, once or twice as far; the law is anchored with the one, three and six cheapest of its
runs and ranks the same shapes. A row for each candidate and law; shapes.png has the reliability of
P(best).
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from p_best import TIME_NOISE, made_device, step_times_s

from anybudget.objectives.fit.bootstrap import bootstrap_law
from anybudget.objectives.fit.law import REFERENCE_DELTA, fit_varpro
from anybudget.objectives.fit.prior import anchor, between_corpora
from anybudget.objectives.fit.runs import LawRuns, as_loss_law, law_runs
from anybudget.objectives.law.loss_law import PARAMETERS, LossLaw
from anybudget.objectives.law.terms import FORMS
from anybudget.objectives.loss_at_time import LossAtTime
from anybudget.objectives.uncertainty import Draws, rank
from anybudget.presets.laws import load_law
from anybudget.space.architecture import Architecture

CSV = Path(__file__).with_suffix(".csv")
FORM = "shape of size, size in tokens"
MODEL = load_law("gemstones-2025-cooldown")
N_REPETITIONS, N_DRAWS, BUDGET_S = 250, 300, 3 * 86_400
LOSS_NOISE, MOST_NATS = 0.004, 6.9
TOKENS = np.geomspace(1e9, 6e10, 4)
SHAPES = [(width, depth) for width in (256, 512, 768, 1024, 1536, 2048) for depth in (6, 14, 32)]
ANCHORS, FAR = (1, 3, 6), (1, 2)
CANDIDATES = [
    Architecture.from_shape(d_model=width, n_layers=depth, batch_size=8, vocab_size=50_304)
    for width in (384, 512, 640, 768, 1024, 1280)
    for depth in (4, 8, 16, 32)
]


def moved(law: LossLaw, rng: np.random.Generator, far: int = 1) -> LossLaw:
    """A law as far from this one as corpora lie apart, or so many times as far.

    Where its losses would be taken for perplexities, from 7 nats on, another is drawn.
    """
    own = np.array([*law.numbers.values()])
    other = between_corpora(law, None, seed=int(rng.integers(2**31)))[0]
    signs = np.sign(own)
    numbers = signs * np.abs(own) * (np.abs(other) / np.abs(own)) ** far
    named = dict(zip(law.numbers, numbers.tolist(), strict=True))
    found = dataclasses.replace(
        law,
        **{name: named[name] for name in PARAMETERS},
        terms={name: named[name] for name in law.terms},
        level_std=0.0,
    )
    table = design()
    highest = found.loss(table["n_params"], table["n_tokens"], table).max()
    return found if highest < MOST_NATS else moved(law, rng, far)


def design() -> dict[str, np.ndarray]:
    """All runs, as a law reads them: untied vocabulary, 12 width² parameters a block."""
    rows = [(*shape, n_tokens) for shape in SHAPES for n_tokens in TOKENS]
    width, depth, n_tokens = np.array(rows).T
    blocks = 12 * depth * width**2
    return {
        "d_model": width,
        "n_layers": depth,
        "n_params_non_embedding": blocks,
        "n_params": blocks + 2 * 50_304 * width,
        "n_tokens": n_tokens,
    }


def made_runs(truth: LossLaw, rng: np.random.Generator, n: int | None = None) -> LawRuns:
    """Noisy runs of the truth, all or the cheapest."""
    table = design()
    n_tokens = table["n_tokens"]
    loss = truth.loss(table["n_params"], n_tokens, table)
    table["measured_loss"] = loss * np.exp(LOSS_NOISE * rng.standard_normal(len(loss)))
    order = np.argsort(table["n_params"] * n_tokens)[:n]
    return law_runs({name: values[order] for name, values in table.items()}, few=True)


def repetition(seed: int) -> list[dict]:
    """Fit, anchor, rank, then see which candidate is the best."""
    rng = np.random.default_rng(seed)
    truth = moved(MODEL, rng)
    runs = made_runs(truth, rng)
    fit = fit_varpro(runs, delta=REFERENCE_DELTA, terms=FORMS[FORM])
    law = as_loss_law(fit, runs, name="fitted", corpus="made", source="made")
    laws = bootstrap_law(runs, fit, n_draws=N_DRAWS, seed=seed).values
    device, seconds, time_residual = made_device(rng)
    chosen = rng.permutation(len(CANDIDATES))[: rng.choice([2, 3, 5, 8])]
    archs = [CANDIDATES[i] for i in chosen]
    known = [("fitted", 0, truth, law, laws)]
    for far in FAR:
        other = moved(truth, rng, far)
        for n in ANCHORS:
            anchored = anchor(law, laws, made_runs(other, rng, n), seed=seed)
            known.append((f"anchored by {n}", far, other, anchored.law, anchored.draws))
    rows = []
    for name, far, true, own, draws in known:
        joint = Draws(
            laws=draws, law_residual=own.residual_std, seconds_per_unit=seconds,
            time_residual=time_residual,
        )  # fmt: skip
        asked = LossAtTime(
            device=device, law=own, time_budget_s=BUDGET_S, remat="none", attention="plain"
        )
        told = judged(asked, archs, joint, true, rng)
        rows += [{"repetition": seed, "law": name, "far": far} | row for row in told]
    return rows


def judged(
    asked: LossAtTime, archs: list[Architecture], draws: Draws, truth: LossLaw,
    rng: np.random.Generator,
) -> list[dict]:  # fmt: skip
    """A row for each candidate: its chance, and what it came to."""
    ranked = sorted(archs, key=lambda arch: asked.predict(arch).predicted_loss)
    standings = rank(asked, ranked, [asked.predict(arch) for arch in ranked], draws)
    losses = []
    for arch in ranked:
        step_s = step_times_s(arch) * np.exp(TIME_NOISE * rng.standard_normal())
        n_tokens = float(BUDGET_S // step_s * arch.tokens_per_step)
        prediction = asked.predict(arch)
        run = {
            "d_model": arch.d_model,
            "n_layers": arch.n_layers,
            "n_params": prediction.n_params,
            "n_params_non_embedding": prediction.n_params_non_embedding,
        }
        loss = float(truth.loss(float(prediction.n_params), n_tokens, run))
        losses.append(loss * np.exp(LOSS_NOISE * rng.standard_normal()))
    best = int(np.argmin(losses))
    return [
        {
            "shape": f"{arch.d_model}x{arch.n_layers}",
            "p_best": standing.p_best,
            "is_best": i == best,
            "loss_in_interval": standing.loss_low <= losses[i] <= standing.loss_high,
            "width": np.log(standing.loss_high / standing.loss_low),
            "tied": standing.tied,
        }
        for i, (arch, standing) in enumerate(zip(ranked, standings, strict=True))
    ]


def draw(table: pd.DataFrame) -> None:
    """What came true against the chance given, in five bins, for the laws that say alike."""
    figure, axes = plt.subplots(figsize=(5, 4.4), layout="constrained")
    axes.plot([0, 1], [0, 1], color="0.7", lw=1)
    of_kind = {
        "fitted": table[table.far == 0],
        "anchored": table[table.far == 1],
        "anchored, twice as far": table[table.far == 2],
    }
    for name, own in of_kind.items():
        bins = reliability(own)
        axes.errorbar(
            bins.chance, bins.came_true, 2 * bins.standard_error, fmt="o", ms=4, label=name
        )
        print(f"\n{name}\n{bins.round(3).to_string()}")
    axes.set(xlabel="P(best) said", ylabel="came true, ± 2 standard errors")
    axes.legend(frameon=False)
    figure.savefig(CSV.with_suffix(".png"), dpi=110)


def reliability(rows: pd.DataFrame) -> pd.DataFrame:
    """Of each bin of the chance, how often it came true."""
    bins = rows.groupby(np.minimum((5 * rows.p_best).astype(int), 4)).agg(
        n=("is_best", "size"), chance=("p_best", "mean"), came_true=("is_best", "mean")
    )
    bins["standard_error"] = np.sqrt(bins.chance * (1 - bins.chance) / bins.n)
    bins["z"] = (bins.came_true - bins.chance) / bins.standard_error
    return bins


def main() -> None:
    """Make the repetitions that are missing, then print and draw how reliable they are."""
    done = set(pd.read_csv(CSV)["repetition"]) if CSV.exists() else set()
    for seed in range(N_REPETITIONS):
        if seed not in done:
            rows = pd.DataFrame(repetition(seed))
            rows.to_csv(CSV, mode="a", header=not CSV.exists(), index=False, float_format="%.4g")
    table = pd.read_csv(CSV)
    held = table.groupby(["law", "far"]).agg(
        n=("width", "size"), held=("loss_in_interval", "mean"), width=("width", "median")
    )
    print(held.round(3).to_string())
    draw(table)


if __name__ == "__main__":
    main()
