"""What other rules say at five sizes, and what eighteen published models were trained with.

Command: python experiments/recipe/published.py
Wall time: seconds.
Expected: our batch and rate lie between those of the published rules where these have runs (70M to
7B); of the models, rates that were searched for within a factor of two, and rates that were chosen
by custom below ours; the outliers explained beside them.

Rates are those of trainers that have one. Writes rules.csv, each rule at 20 tokens for a parameter,
and models.csv, ours over theirs: the batch, and at *their* batch the rate and the weight decay.
Either rate is AdamW's one peak rate for all matrices. Nothing of ours is fitted to these models.

Rules:
- Step Law, Li et al. 2025, arXiv:2503.04715: rate 1.79 N^-0.713 D^0.307, batch 0.58 D^0.571 tokens.
- Power Lines, Bergsma et al. 2025, arXiv:2505.13738: batch 0.0306 D^0.383 sequences of 2,048; decay
  such that AdamW averages over 1.084 (D / N)^-0.527 of the run (it takes the rate from muP).
- DeepSeek LLM, Bi et al. 2024, arXiv:2401.02954: rate 0.3118 C^-0.125, batch 0.292 C^0.3271.
- MiniCPM, Hu et al. 2024, arXiv:2404.06395: batch 1.21e9 / L^6.24 tokens, here at the loss of
  Besiroglu et al. 2024.
- Kaplan et al. 2020, arXiv:2001.08361: rate 0.003239 - 0.0001395 ln N.

Why ours: it is fitted to the runs behind Step Law and to ours of a thousandth of their size at
once. Step Law's rate knows N alone; our models follow width, and depth at one width hardly moves
them. Its batch grows faster than its own best runs do (D^0.45 from 4 to 100 billion tokens). No
other rule says what the rate is in a batch that is not the best. Bjorck et al. 2024
(arXiv:2409.19913) find that in one batch the rate falls as D^-0.32; in batches of half a million
tokens ours falls as D^-0.06 at 25 billion tokens and as D^-0.15 at 800 billion, and the two
disagree. CompleteP (Dey et al. 2025, arXiv:2505.01618) tells widths and depths apart within a
model.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pandas as pd

from anybudget.objectives.cost.counts import n_params, n_params_non_embedding
from anybudget.objectives.law.batch_price import best_batch_tokens
from anybudget.objectives.recipe import recipe_for, single_rate
from anybudget.presets.laws import load_law
from anybudget.space.architecture import FIELDS, Architecture

HERE = Path(__file__).parent
LLAMA = {"gated_mlp": True, "vocab_size": 32000, "tied_embeddings": False, "seq_len": 2048}
SIZES = {
    "70M": {"d_model": 512, "n_layers": 8, "d_ff": 1408},
    "400M": {"d_model": 1024, "n_layers": 24, "d_ff": 2816},
    "1B": {"d_model": 2048, "n_layers": 16, "d_ff": 5632},
    "7B": {"d_model": 4096, "n_layers": 32, "d_ff": 11008},
    "70B": {"d_model": 8192, "n_layers": 80, "d_ff": 28672, "n_kv_heads": 8},
}
TOKENS_PER_PARAM = 20
# What is published, with where, whether the rate was searched for ("tuned") or chosen by custom,
# and what explains a ratio beyond two.
MODELS = HERE / "published.csv"
# A count of ours may lack biases and learned positions.
MOST_APART = 0.06


def rules() -> Any:
    """Batch in tokens and rate by each rule."""
    law, rows = load_law("besiroglu-2024"), []
    for name, shape in SIZES.items():
        arch = Architecture.from_shape(**LLAMA, **shape)
        n, n_tokens = n_params_non_embedding(arch), TOKENS_PER_PARAM * n_params(arch)
        flops = 6.0 * n * n_tokens
        best = best_batch_tokens(n_tokens)
        batch = dataclasses.replace(arch, batch_size=max(round(best / arch.seq_len), 1))
        recipe = recipe_for(batch, n_tokens)
        rate = single_rate(batch, recipe)
        loss = law.loss(n_params(arch), n_tokens, {})
        rows.append({
            "model": name, "n_params": n_params(arch), "n_tokens": n_tokens,
            "batch: ours": best, "batch: Step Law": 0.58 * n_tokens**0.571,
            "batch: Power Lines": 2048 * 0.0306 * n_tokens**0.383,
            "batch: DeepSeek": 0.292 * flops**0.3271, "batch: MiniCPM": 1.21e9 / loss**6.24,
            "rate: ours": rate, "rate: Step Law": _step_law(arch, n_tokens),
            "rate: DeepSeek": 0.3118 * flops**-0.125,
            "rate: Kaplan": 0.003239 - 0.0001395 * math.log(n),
            "decay: ours, Power Lines'": recipe.weight_decay * recipe.learning_rate / rate,
        })  # fmt: skip
    return pd.DataFrame(rows)


def models() -> Any:
    """Ours over theirs, and why."""
    rows = []
    published: Any = pd.read_csv(MODELS)
    for theirs in published.itertuples():
        fields = {name: getattr(theirs, name) for name in FIELDS if hasattr(theirs, name)}
        arch = Architecture.from_shape(
            **fields, batch_size=round(theirs.batch_tokens / theirs.seq_len)
        )
        if abs(n_params(arch) / theirs.n_params - 1) > MOST_APART:
            raise ValueError(f"{theirs.model}: counted {n_params(arch):,} parameters")
        recipe = recipe_for(arch, theirs.n_tokens)
        rate = single_rate(arch, recipe)
        decay = recipe.weight_decay * recipe.learning_rate / rate
        ratios = {
            "batch_ratio": best_batch_tokens(theirs.n_tokens) / theirs.batch_tokens,
            "rate_ratio": rate / theirs.learning_rate,
            "decay_ratio": decay / theirs.weight_decay if theirs.weight_decay else math.nan,
            "step_law_rate_ratio": _step_law(arch, theirs.n_tokens) / theirs.learning_rate,
        }
        is_far = any(not 0.5 <= ratio <= 2 for ratio in list(ratios.values())[:3])
        told = {"why": theirs.why if is_far else "", "source": theirs.source}
        rows.append({"model": theirs.model, "rate_is": theirs.rate_is, **ratios, **told})
    return pd.DataFrame(rows)


def centres(compared: Any) -> Any:
    """The geometric mean of each ratio, of rates searched for and of rates chosen."""
    ratios = [name for name in compared if name.endswith("ratio")]
    logs = compared.set_index("rate_is")[ratios].map(math.log)
    return logs.groupby(level=0).mean().map(math.exp)


def _step_law(arch: Architecture, n_tokens: float) -> float:
    return 1.79 * n_params_non_embedding(arch) ** -0.713 * n_tokens**0.307


def main() -> None:
    """Print and write both tables."""
    tables = {"rules": rules(), "models": models()}
    print(centres(tables["models"]).to_string(float_format="{:.2f}".format), end="\n\n")
    for name, table in tables.items():
        told = ["source", "why", "rate_is"]
        shown = table.drop(columns=told, errors="ignore").set_index("model")
        print(shown.T.to_string(float_format="{:.3g}".format), end="\n\n")
        table.to_csv(HERE / f"{name}.csv", index=False, float_format="%.4g")


if __name__ == "__main__":
    main()
