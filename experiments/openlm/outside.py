"""How far off is a shipped law where another corpus's runs lie outside of what it was fitted to?

Command: python experiments/openlm/outside.py openlm_scaling.csv
Wall time: seconds.
Expected: a few percent for each e-fold of parameters and of tokens outside, whichever the law.

Each shipped law is set beside the runs of Gadre et al. 2024 of corpora that are not its own, judged
on their own text and on C4's. Its level on a corpus is taken from the runs inside of its ranges;
what is left outside is the misfit. outside.csv has its mean and root mean square by distance; the
slope of the latter is `BEYOND` of objectives/fit/prior.py, for which a run outside counts less when
it anchors a law.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from openlm import CORPORA, of_corpus, runs_of

from anybudget.presets.laws import known_law

LAWS = [
    "gemstones-2025", "gemstones-2025-cooldown", "besiroglu-2024", "openlm-c4-2024",
    "openlm-redpajama-2024", "openlm-refinedweb-2024",
]  # fmt: skip
FOLDS = [-1, 0, 0.5, 1, 2, 3, 4, 6, 9]


def misfits(table: pd.DataFrame) -> pd.DataFrame:
    """A row for each law and run of another corpus: e-folds outside, and the loss's log misfit."""
    rows = []
    for name in LAWS:
        law = known_law(name).law
        for corpus, (_, words, own) in CORPORA.items():
            if law.corpus == words:
                continue
            for text in (own, "loss_c4_val"):
                runs = runs_of(of_corpus(table, corpus), text)
                outside = law.folds_outside(runs.n_params, runs.n_tokens)
                loss = law.loss(runs.n_params, runs.n_tokens, runs.columns)
                misfit = np.log(runs.measured_loss / loss)
                misfit -= np.median(misfit[outside == 0])
                rows.append(pd.DataFrame({"law": name, "outside": outside, "misfit": misfit}))
    return pd.concat(rows)


def main() -> None:
    """Print and write the misfit by distance, and the slope."""
    found = misfits(pd.read_csv(sys.argv[1]))
    groups = found.groupby(pd.cut(found.outside, FOLDS), observed=True).misfit
    by_distance = groups.agg(n="count", mean="mean", rms=lambda off: np.sqrt((off**2).mean()))
    by_distance.round(4).to_csv(Path(__file__).with_suffix(".csv"))
    print(by_distance.round(3))
    slope = np.sqrt((found.misfit[found.outside > 0] ** 2).sum() / (found.outside**2).sum())
    print(f"misfit for each e-fold outside: {slope:.1%}")


if __name__ == "__main__":
    main()
