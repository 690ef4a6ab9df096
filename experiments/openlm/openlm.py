"""How a law moves between corpora: one of three, anchored with a few runs of another.

Command: python experiments/openlm/openlm.py DATA            # scores, 20 s
         python experiments/openlm/openlm.py DATA --presets  # and the shipped laws
DATA is a table of the 104 runs of Gadre et al. 2024, arXiv:2403.08540 (github.com/mlfoundations/
scaling, MIT): corpus, d_model, n_layers, n_params, n_params_non_embedding, n_tokens, vocab_size,
and losses on several texts, of which `loss_c4_val` (C4, foreign to two of the corpora) and
`measured_loss` (OpenLM's own validation text) are judged.
Expected: on C4's text laws of three corpora lie within 4% of each other, and the three cheapest
runs bring another's within 2% in three of six pairs, to 2.2 to 3.2% in the others; Gemstones' laws,
2.3 to 4.0% off as they are, to 2.4 to 3.9%. On OpenLM's text they lie up to 39% apart, and three
leave 4 to 23%.

For each of the six pairs: the law of one corpus as it is, moved by the one, three and six cheapest
runs of the other (by n_params n_tokens), and the other's own law, each judged by its mean error on
the other's runs but its six cheapest; the shipped laws of Gemstones on all three. All six have 10
million parameters and differ in tokens, so that `anchor` takes the longest of three or six. A law
bends from such runs: `anchored_3_less_misfit` has the longest less what the first corpus's run of
the same model and tokens is off its own law. Copying is off.
Writes openlm.csv, and published_prior.csv: the numbers of `objectives/fit/prior.py`, each table's
law on a text of its own kind, with and without a coupling of size and tokens. And levels.csv: how
far the losses of equal runs lie apart, in log, over three corpora and seven texts, with the share
within 1.96 of what the product takes: `prior.OWN_LEVEL`, of an unanchored loss, for corpora on
text of their kind, else `prior.LEVEL`. One vocabulary, so tokenizers are not in it.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pandas as pd

from anybudget.objectives.fit.bootstrap import bootstrap_law
from anybudget.objectives.fit.law import LawFit, fit_varpro
from anybudget.objectives.fit.prior import LEVEL, OWN_LEVEL, anchor
from anybudget.objectives.fit.runs import LawRuns, as_loss_law, law_runs
from anybudget.objectives.law.loss_law import LossLaw
from anybudget.objectives.law.terms import FORMS
from anybudget.presets.laws import KnownLaw, known_law, save_law

HERE = Path(__file__).parent
LAWS = HERE.parents[1] / "presets" / "laws"
CHINCHILLA = HERE.parent / "chinchilla" / "chinchilla_extracted.csv"
COLUMNS = ("n_params", "n_tokens", "d_model", "n_layers", "n_params_non_embedding", "vocab_size")
TEXTS = ("loss_c4_val", "measured_loss")
# Laws of others' runs, judged beside.
SHIPPED = ("gemstones-2025", "gemstones-2025-cooldown")
# What runs of several corpora have in common.
RUN = ("d_model", "n_layers", "chinchilla_multiplier")
# Of each corpus: the preset's name, its words, and the losses on a text of its own kind.
CORPORA = {
    "c4_original": ("openlm-c4-2024", "C4", "loss_c4_val"),
    "rpj": ("openlm-redpajama-2024", "RedPajama", "loss_paloma_redpajama"),
    "rw_original": ("openlm-refinedweb-2024", "RefinedWeb", "loss_paloma_falcon-refinedweb"),
}
FORM = "size in tokens"
ANCHORS = (0, 1, 3, 6)
N_ANCHORS = max(ANCHORS)
SOURCE = (
    "Gadre et al. 2024, 'Language models scale reliably with over-training', arXiv:2403.08540, "
    "{} runs on {}, losses in the column {}, fitted by experiments/openlm/openlm.py; size and "
    "tokens rise together in most of them"
)


def main() -> None:
    """Judge all pairs, print and write the scores, and write the presets if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--presets", action="store_true", help="write the shipped laws too")
    options = parser.parse_args()
    table = pd.read_csv(options.data)
    scores = pd.DataFrame([row for text in TEXTS for row in judged(table, text)])
    print(scores.to_string(index=False, float_format=lambda value: f"{value:.2%}"))
    scores.to_csv(HERE / "openlm.csv", index=False, float_format="%.4g")
    levels = pd.DataFrame(apart(table))
    print(levels.to_string(index=False, float_format=lambda value: f"{value:.3f}"))
    levels.to_csv(HERE / "levels.csv", index=False, float_format="%.4g")
    published = pd.DataFrame(published_numbers(table))
    print(published.to_string(index=False))
    published.to_csv(HERE / "published_prior.csv", index=False, float_format="%.4g")
    if options.presets:
        for corpus in CORPORA:
            write_preset(table, corpus)


def runs_of(rows: pd.DataFrame, text: str, *, few: bool = False) -> LawRuns:
    """Runs with their losses on a text."""
    columns = {name: rows[name].to_numpy() for name in COLUMNS}
    return law_runs(columns | {"measured_loss": rows[text].to_numpy()}, few=few)


def of_corpus(table: pd.DataFrame, corpus: str) -> pd.DataFrame:
    """The rows of one corpus."""
    return pd.DataFrame(table[table.corpus == corpus])


def fitted(runs: LawRuns, name: str, form: str = FORM) -> tuple[LawFit, LossLaw]:
    """The law of one corpus."""
    fit = fit_varpro(runs, terms=FORMS[form])
    return fit, as_loss_law(fit, runs, name=name, corpus=name, source="")


def error(law: LossLaw, runs: LawRuns) -> float:
    """Mean relative error on some runs."""
    predicted = law.loss(runs.n_params, runs.n_tokens, runs.columns)
    return float(np.abs(predicted / runs.measured_loss - 1).mean())


def judged(table: pd.DataFrame, text: str) -> list[dict]:
    """A row for each pair of corpora."""
    rows: dict[str, pd.DataFrame] = {}
    laws: dict[str, tuple[LossLaw, np.ndarray]] = {}
    for corpus in CORPORA:
        own = of_corpus(table, corpus)
        # Of whole numbers the product is beyond 64 bits.
        rows[corpus] = own.iloc[np.argsort((own.n_params * own.n_tokens.astype(float)).to_numpy())]
        runs = runs_of(own, text)
        fit, law = fitted(runs, corpus)
        laws[corpus] = law, bootstrap_law(runs, fit).values
    shipped = [
        {"text": text, "law_of": name, "judged_on": other} | _row(known.law, known.draws, own, text)
        for name in SHIPPED
        for known in [known_law(name)]
        if known.draws is not None
        for other, own in rows.items()
    ]
    return shipped + [
        {"text": text, "law_of": one, "judged_on": other}
        | _row(*laws[one], rows[other], text)
        | {"anchored_3_less_misfit": less_misfit(*laws[one], rows[one], rows[other], text)}
        | {"own_law": error(laws[other][0], runs_of(rows[other].iloc[N_ANCHORS:], text))}
        for one in CORPORA
        for other in CORPORA
        if one != other
    ]


def _row(law: LossLaw, draws: np.ndarray, rows: pd.DataFrame, text: str) -> dict[str, float]:
    rest, found = runs_of(rows.iloc[N_ANCHORS:], text), {}
    for n in ANCHORS:
        moved = anchor(law, draws, runs_of(rows.iloc[:n], text, few=True)).law if n else law
        found["unanchored" if not n else f"anchored_{n}"] = error(moved, rest)
    return found


def less_misfit(
    law: LossLaw, draws: np.ndarray, own: pd.DataFrame, rows: pd.DataFrame, text: str
) -> float:
    """Error of the law moved by three runs less what its own, of the same, are off it."""
    few, same = rows.iloc[:3], list(RUN)
    source = own.merge(few[same], on=same)
    assert source[same].values.tolist() == few[same].values.tolist()
    runs = runs_of(source, text, few=True)
    misfit = runs.measured_loss / law.loss(runs.n_params, runs.n_tokens, runs.columns)
    known = few.assign(**{text: few[text] / misfit})
    moved = anchor(law, draws, runs_of(known, text, few=True)).law
    return error(moved, runs_of(rows.iloc[N_ANCHORS:], text))


def apart(table: pd.DataFrame) -> list[dict]:
    """How far equal runs of two corpora, judged on two texts, lie apart."""
    texts = ["measured_loss", *(name for name in table if name.startswith("loss_"))]
    losses = np.log(table.pivot_table(index=list(RUN), columns="corpus", values=texts).dropna())
    of_own = [(text, corpus) for corpus, (_, _, text) in CORPORA.items()]
    pairs = list(itertools.combinations(losses, 2))
    kinds = {
        "any two": pairs,
        "each on a text of its kind": list(itertools.combinations(of_own, 2)),
        "one corpus on two texts": [(a, b) for a, b in pairs if a[1] == b[1]],
        "two corpora on one text": [(a, b) for a, b in pairs if a[0] == b[0]],
        **{f"both on {text}": [(a, b) for a, b in pairs if a[0] == b[0] == text] for text in TEXTS},
    }
    rows = []
    for kind, apart in kinds.items():
        gaps = np.concatenate([losses[one] - losses[other] for one, other in apart])
        level = OWN_LEVEL if "its kind" in kind else LEVEL
        within = np.mean(np.abs(gaps) < 1.96 * level)
        rms = np.sqrt(np.mean(gaps**2))
        rows.append({"corpora_and_texts": kind, "rms": rms, "level": level, "held": within})
    return rows


def published_numbers(table: pd.DataFrame) -> list[dict]:
    """E, alpha, beta and the coupling of four tables, and the spread that foretells a fifth."""
    points = pd.read_csv(CHINCHILLA, comment="#")
    runs = {"Hoffmann et al. 2022": law_runs({name: points[name].to_numpy() for name in points})}
    for corpus, (_, words, text) in CORPORA.items():
        runs[words] = runs_of(of_corpus(table, corpus), text)
    rows = []
    for form in ("none", FORM):
        found = [
            {"form": form, "table": name}
            | {
                "log_E": np.log(fit.values["E"]),
                "alpha": fit.values["alpha"],
                "beta": fit.values["beta"],
                "tokens_log_size": fit.values.get("tokens_log_size", np.nan),
            }
            for name, own in runs.items()
            for fit, _ in [fitted(own, name, form)]
        ]
        numbers = pd.DataFrame(found).drop(columns=["form", "table"])
        spread = numbers.std(ddof=1) * np.sqrt(1 + 1 / len(numbers))
        rows += [*found, {"form": form, "table": "mean"} | numbers.mean().to_dict()]
        rows += [{"form": form, "table": "to foretell a fifth, ±"} | spread.to_dict()]
    return rows


def write_preset(table: pd.DataFrame, corpus: str) -> None:
    """A shipped law of a corpus, on a text of its own kind, and its draws."""
    name, words, text = CORPORA[corpus]
    runs = runs_of(of_corpus(table, corpus), text)
    fit, law = fitted(runs, name)
    pure = fitted(runs, name, "none")[0].values
    law = dataclasses.replace(
        law,
        corpus=words,
        schedule="cosine",
        level_std=OWN_LEVEL,
        source=SOURCE.format(runs.n_runs, words, text),
        pure=tuple(pure[number] for number in ("E", "A", "B", "alpha", "beta")),
    )
    save_law(LAWS / f"{name}.toml", KnownLaw(law=law, draws=bootstrap_law(runs, fit).values))


if __name__ == "__main__":
    main()
