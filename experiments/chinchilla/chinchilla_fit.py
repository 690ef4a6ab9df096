"""Does our fit give the published re-estimate of Chinchilla's law, and its uncertainty?

Command: python experiments/chinchilla/chinchilla_fit.py
Wall time: 6 s on one core, of which 4,000 bootstrap draws of one fit take 1 s.
Expected: with the published objective E, alpha and beta are within 0.002 of the published values,
A and B within 5% (a tenth of their standard errors), and the standard errors agree as far as they
are printed. Another Huber threshold moves E by up to 0.05, two standard errors.

Data: `chinchilla_extracted.csv`, 245 points of Hoffmann et al. 2022 (arXiv:2203.15556), figure 4,
as Besiroglu et al. 2024 (arXiv:2404.10102) extracted them; n_tokens is flops / (6 n_params), and
the five points of highest loss have the status `outlier`, for their fit leaves those out. So
`anybudget fit experiments/chinchilla/chinchilla_extracted.csv` fits the same 240 points.
Writes chinchilla_fit.csv, the table that is printed, and chinchilla_draws.csv, the laws drawn.
"""

import math
import time
from pathlib import Path

import pandas as pd

from anybudget.objectives.fit.bootstrap import bootstrap_law
from anybudget.objectives.fit.law import REFERENCE_DELTA, fit_varpro
from anybudget.objectives.fit.multi_start import fit_multi_start
from anybudget.objectives.fit.runs import law_runs
from anybudget.objectives.fit.scores import extrapolate, leave_shape_out

HERE = Path(__file__).parent
N_DRAWS = 4000
# Besiroglu et al. 2024, table 1, as printed.
PUBLISHED = {"E": 1.8172, "A": 482.01, "B": 2085.43, "alpha": 0.3478, "beta": 0.3658}
PUBLISHED_ERRORS = {"E": 0.03, "A": 124.58, "B": 1293.23, "alpha": 0.02, "beta": 0.02}
FITS = {
    "published objective": {"delta": REFERENCE_DELTA},
    "tuned threshold": {"delta": None},
    "least squares": {"delta": math.inf},
}


def main() -> None:
    """Fit, draw, print, and write the two tables."""
    table = pd.read_csv(HERE / "chinchilla_extracted.csv")
    runs = law_runs({name: table[name].to_numpy() for name in table})
    rows = [{"fit": "Besiroglu et al. 2024", **PUBLISHED}, {"fit": "±", **PUBLISHED_ERRORS}]
    for name, options in FITS.items():
        start = time.perf_counter()
        fit = fit_varpro(runs, **options)
        draws = bootstrap_law(runs, fit, n_draws=N_DRAWS)
        seconds = time.perf_counter() - start
        scores = {"leave_shape_out": leave_shape_out(runs, fit)}
        scores |= {f"larger_{by}": extrapolate(runs, fit, by) for by in ("n_params", "n_tokens")}
        mapes = {f"mape_{key}": score.mape for key, score in scores.items() if score}
        rows.append({"fit": name, **fit.values, "delta": fit.delta, **mapes})
        rows.append({"fit": "±", **draws.standard_errors()})
        print(f"{name}: fit and {N_DRAWS} draws in {seconds:.1f} s, {draws.n_failed} failed")
        if name == "published objective":
            frame = pd.DataFrame(draws.values, columns=list(draws.names))
            frame.to_csv(HERE / "chinchilla_draws.csv", index=False, float_format="%.6g")
    reference = fit_multi_start(runs, n_starts=50)
    rows.append({"fit": "published objective, 50 starts of L-BFGS", **reference.values})
    result = pd.DataFrame(rows)
    result.to_csv(HERE / "chinchilla_fit.csv", index=False, float_format="%.6g")
    print(result.to_string(index=False, float_format=lambda x: f"{x:.5g}", na_rep=""))


if __name__ == "__main__":
    main()
