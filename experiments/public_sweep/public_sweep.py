"""Others' sweeps of AdamW at real size: are losses, batches' prices, rates and decays as foretold?

Command: python experiments/public_sweep/public_sweep.py [dense_lr_bs_loss.csv]
Wall time: 10 s.
Expected, written before the first score: the default law, anchored by the smallest model's five
horizons, 3% off and too good for the larger; what a batch costs within a third; rates that lose
0.3% on average and 1% at most to the best of those tried, being about half of it; decays within a
factor of two.

facts.csv holds the AdamW runs of Wen et al. 2025, 'Fantastic pretraining optimizers', as their
tables in marin's repository have them (Apache-2.0): Llama-shaped models of 32 layers, widths 512 to
1,536, 134 million to 1.2 billion parameters without the vocabulary's, on 20 to 320 tokens for each
of these of a DCLM mixture in Llama 3's vocabulary, judged on C4 in nats a token. Each horizon
has a best run, and runs beside it with another rate, batch or decay, the rest unchanged. None had a
part in anything of ours. Runs above 5 nats diverged.

losses.csv: the best runs by the default law and by that of C4, as they are and anchored by all runs
of the smallest model. batches.csv: how many times the tokens another batch needs, measured on the
line of its size's best runs and foretold; where the rise took a third of the steps or more it is
set aside, for at another batch it kept its steps. rates.csv: the recipe's rate and decay at their
batch over the best of those tried, and what the recipe's rate loses by a parabola through the
logarithms of the rates beside it, of runs that did not diverge.

The file, github.com/step-law/steplaw's data, adds the best run of each of 17 models and horizons of
Li et al. 2025, arXiv:2503.04715, judged on their own text: steplaw.csv, by the default law as it
is. The price of batches is fitted to these runs, no law is; their vocabulary, 65,536, is assumed.
"""
# ruff: noqa: E402

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anybudget.objectives.law.batch_price import best_batch_tokens, tokens_needed
from anybudget.objectives.recipe import recipe_for, single_rate
from anybudget.presets.laws import DEFAULT_LAW, known_law
from anybudget.space.architecture import Architecture

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "public_losses"))
from public_losses import foretold, moved_to, run_of  # pyright: ignore

WIDTHS = {"130m": 512, "300m": 768, "520m": 1024, "1.2b": 1536}
N_LAYERS, SEQ_LEN = 32, 4096
LAWS = {"default": DEFAULT_LAW, "C4": "openlm-c4-2024"}
DIVERGED = 5.0
MOST_WARMUP = 1 / 3


def fields_of(row: dict[str, Any]) -> dict[str, Any]:
    """A model of theirs, in a row's batches."""
    width = WIDTHS[row["size"]]
    return {
        "d_model": width, "n_layers": N_LAYERS, "n_heads": width // 64, "d_ff": 4 * width,
        "gated_mlp": True, "vocab_size": 128256, "tied_embeddings": False, "seq_len": SEQ_LEN,
        "batch_size": row["batch_size"],
    }  # fmt: skip


def n_tokens_of(row: dict[str, Any]) -> float:
    """Twenty tokens for each parameter of the blocks' matrices, as often as the horizon says."""
    return 20.0 * 16 * N_LAYERS * WIDTHS[row["size"]] ** 2 * row["chinchilla"]


def fact_of(row: dict[str, Any]) -> dict[str, Any]:
    """A run as `public_losses` has its facts."""
    counted = {"n_tokens": n_tokens_of(row), "unique_tokens": np.nan, "loss": row["loss"]}
    return fields_of(row) | counted


def losses(best: Any) -> pd.DataFrame:
    """The best runs, foretold."""
    rows = []
    runs = [run_of(fact_of(row)) for row in best.to_dict("records")]
    smallest = pd.DataFrame(runs)[(best["size"] == "130m").to_numpy()]
    for which, name in LAWS.items():
        known = known_law(name)
        for how, law in {"as it is": known, "anchored": moved_to(known, smallest)}.items():
            for row, run in zip(best.to_dict("records"), runs, strict=True):
                if how == "anchored" and row["size"] == "130m":
                    continue
                loss, low, high = foretold(law, run)
                rows.append({
                    "law": which, "how": how, "size": row["size"], "chinchilla": row["chinchilla"],
                    "measured": row["loss"], "foretold": loss, "error": loss / row["loss"] - 1,
                    "low": low, "high": high, "holds": low <= row["loss"] <= high,
                })  # fmt: skip
    return pd.DataFrame(rows)


def as_many_tokens(best: Any, size: str, loss: float) -> float:
    """Tokens after which a size's best runs have a loss: on lines in the logarithm of tokens."""
    own = best[best["size"] == size].sort_values("loss")
    at, log_tokens = (
        own.loss.to_numpy(),
        np.log([n_tokens_of(row) for row in own.to_dict("records")]),
    )
    if loss > at[-1]:
        slope = (log_tokens[-1] - log_tokens[-2]) / (at[-1] - at[-2])
        return float(np.exp(log_tokens[-1] + slope * (loss - at[-1])))
    return float(np.exp(np.interp(loss, at, log_tokens)))


def batches(facts: Any, best: Any) -> pd.DataFrame:
    """How many times the tokens other batches need, by their loss and by their price."""
    rows = []
    for row in facts[facts.varied == "batch"].to_dict("records"):
        at = best[(best["size"] == row["size"]) & (best.chinchilla == row["chinchilla"])].iloc[0]
        n_tokens = n_tokens_of(row)
        tried, other = SEQ_LEN * at.batch_size, SEQ_LEN * row["batch_size"]
        n_steps = n_tokens / other
        rows.append({
            "size": row["size"], "chinchilla": row["chinchilla"],
            "batch": row["batch_size"], "best_tried": at.batch_size,
            "best_foretold": best_batch_tokens(n_tokens) / SEQ_LEN, "n_steps": n_steps,
            "loss_more": row["loss"] / at.loss - 1,
            "measured": n_tokens / as_many_tokens(best, row["size"], row["loss"]),
            "foretold": tokens_needed(n_tokens, other) / tokens_needed(n_tokens, tried),
            "counts": row["loss"] < DIVERGED and row["n_warmup_steps"] / n_steps < MOST_WARMUP,
        })  # fmt: skip
    return pd.DataFrame(rows)


def rates(facts: Any, best: Any) -> pd.DataFrame:
    """The recipe's rate and decay over the best of those tried, and what the rate loses."""
    rows = []
    for at in best.to_dict("records"):
        arch = Architecture.from_shape(**fields_of(at))
        recipe = recipe_for(arch, n_tokens_of(at))
        rate = single_rate(arch, recipe)
        here = facts[(facts["size"] == at["size"]) & (facts.chinchilla == at["chinchilla"])]
        tried = here[here.varied.isin(["", "rate"]) & (here.loss < DIVERGED)]
        least = here[here.varied.isin(["", "decay"]) & (here.loss < DIVERGED)]
        row = {
            "size": at["size"], "chinchilla": at["chinchilla"], "best_rate": at["learning_rate"],
            "ours": rate, "rate_ratio": rate / tried.learning_rate[tried.loss.idxmin()],
            "decay_ratio": recipe.weight_decay * recipe.learning_rate / rate
            / least.weight_decay[least.loss.idxmin()], "n_rates": len(tried),
        }  # fmt: skip
        if len(tried) >= 3:
            curve = np.polynomial.Polynomial.fit(np.log(tried.learning_rate), tried.loss, 2)
            row["regret"] = curve(np.log(rate)) / tried.loss.min() - 1
        rows.append(row)
    return pd.DataFrame(rows)


def of_steplaw(path: str) -> pd.DataFrame:
    """The best run of each model and horizon of another sweep."""
    table: Any = pd.read_csv(path)
    law, rows = known_law(DEFAULT_LAW).law, []
    for row in table.loc[table.groupby(["N", "D"])["smooth loss"].idxmin()].to_dict("records"):
        run = run_of({
            "d_model": row["h"], "n_layers": row["numl"], "n_heads": row["numh"],
            "d_ff": row["ffnh"], "gated_mlp": True, "vocab_size": 65536, "tied_embeddings": False,
            "seq_len": 2048, "batch_size": row["bs"], "n_tokens": row["D"],
            "unique_tokens": np.nan, "loss": row["smooth loss"],
        })  # fmt: skip
        loss = float(law.loss(run[law.n_column], run["n_tokens"], run))
        found = {"foretold": loss, "log_ratio": np.log(loss / row["smooth loss"])}
        rows.append({name: row[name] for name in ("N", "D", "bs", "smooth loss")} | found)
    return pd.DataFrame(rows)


def main() -> None:
    """Print and write the tables."""
    facts: Any = pd.read_csv(HERE / "facts.csv", keep_default_na=False)
    best = facts[facts.varied == ""].reset_index(drop=True)
    tables = {
        "losses": losses(best), "batches": batches(facts, best), "rates": rates(facts, best),
    }  # fmt: skip
    if sys.argv[1:]:
        tables["steplaw"] = of_steplaw(sys.argv[1])
    for name, table in tables.items():
        table.to_csv(HERE / f"{name}.csv", index=False, float_format="%.4g")
        print(table.round(4).to_string(index=False))
    told: Any = tables["losses"]
    told["off"] = told.error.abs()
    print(told.groupby(["law", "how"])[["off", "error", "holds"]].mean().round(3))
    if "steplaw" in tables:
        print(tables["steplaw"].log_ratio.agg(["mean", "std"]).round(4).to_dict())
    priced: Any = tables["batches"]
    priced = priced[priced.counts]
    print(np.exp(np.log(priced[["measured", "foretold"]].astype(float)).mean()).round(3).to_dict())
    print(np.exp(np.log(tables["rates"][["rate_ratio", "decay_ratio"]]).mean()).round(3).to_dict())


if __name__ == "__main__":
    main()
