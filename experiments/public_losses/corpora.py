"""How near is a loss on a known corpus, once others' runs on it have moved the law?

Command: python experiments/public_losses/corpora.py
Wall time: half a minute.
Expected, written before the first score: anchored by the other families on the Pile, each family's
losses within 5%, where the law of another corpus is 31 to 45% off. Of C4, added later, and again
before its score: the default law within 20%, anchored by the other widths within 3%.

Writes presets/anchors/CORPUS.csv, the runs of facts.csv as `--anchor CORPUS` takes them, and
corpora.csv: the default law's errors on each family, anchored by the other families of its corpus.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from public_losses import HERE, foretold, moved_to, of_another, run_of

from anybudget.presets.anchors import ANCHORS
from anybudget.presets.laws import DEFAULT_LAW, known_law

# Families by corpus, in the order of their tables; all have GPT-2's vocabulary, padded or nearly.
CORPORA = {
    "c4": ("C4 GPT-2",),
    "pile": ("Cerebras-GPT", "Pythia", "GPT-J and NeoX"),
    "openwebtext": ("OpenWebText 124M",),
    "fineweb": ("FineWeb 124M",),
}
TITLES = {"c4": "C4", "pile": "the Pile", "openwebtext": "OpenWebText", "fineweb": "FineWeb"}
VOCAB_SIZE = 50304


def table_of(facts: pd.DataFrame, corpus: str) -> pd.DataFrame:
    """Runs on a corpus as `fit` takes them, each with its source."""
    rows = [
        run_of(fact) | {"vocab_size": VOCAB_SIZE, "corpus": TITLES[corpus],
                        "recipe": fact["recipe"], "run": f"{fact['family']} {fact['model']}",
                        "source": fact["source"]}
        for fact in facts.to_dict("records")
    ]  # fmt: skip
    return pd.DataFrame(rows)


def score(corpus: str, facts: pd.DataFrame) -> list[dict[str, Any]]:
    """Each family of a corpus by the default law, as it is and moved by the others' runs.

    Of a corpus with one family each width is left out in its place, and is of the others' recipe.
    """
    known, rows = known_law(DEFAULT_LAW), []
    part = "family" if facts.family.nunique() > 1 else "d_model"
    for _, own in facts.groupby(part, sort=False):
        family = own.family.iloc[0]
        others = pd.DataFrame(facts[facts[part] != own[part].iloc[0]])
        laws = {"as it is": known}
        if len(others):
            moved = moved_to(known, table_of(others, corpus))
            if part == "family":
                moved = of_another(moved, others.recipe)
            laws["anchored by the others"] = moved
        for how, law in laws.items():
            for fact in own.to_dict("records"):
                loss, low, high = foretold(law, run_of(fact))
                rows.append({
                    "corpus": corpus, "family": family, "how": how, "n_anchors": len(others),
                    "model": fact["model"], "measured": fact["loss"], "foretold": loss,
                    "error": loss / fact["loss"] - 1, "low": low, "high": high,
                    "holds": low <= fact["loss"] <= high,
                })  # fmt: skip
    return rows


def main() -> None:
    """Write the shipped runs and the scores of those left out."""
    facts = pd.read_csv(HERE / "facts.csv")
    rows = []
    for corpus, families in CORPORA.items():
        own = pd.DataFrame(facts[facts.family.isin(families)])
        table_of(own, corpus).to_csv(ANCHORS / f"{corpus}.csv", index=False, float_format="%.8g")
        rows += score(corpus, own)
    scores = pd.DataFrame(rows)
    scores.to_csv(HERE / "corpora.csv", index=False, float_format="%.4g")
    scores["off"] = scores.error.abs()
    scores["width"] = scores.high / scores.low - 1
    groups = scores.groupby(["corpus", "family", "how"], sort=False)
    told = groups.agg({"n_anchors": "first", "off": "mean", "error": "mean", "holds": "mean"})
    print(told.join(groups["width"].median()).round(3).to_string())


if __name__ == "__main__":
    main()
