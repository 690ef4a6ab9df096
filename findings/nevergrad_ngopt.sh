#!/usr/bin/env bash
# Guess: nevergrad's own choice of optimizer, NGOpt, minimises a sphere over a box of six numbers.
# Seen: with NumPy 2.4.6 nevergrad 1.0.12 ends in a TypeError after 50 calls: NGOpt takes a
#   metamodel where the budget is 50 to 500 times the numbers, all of them bounded, and that takes an
#   array of one element for a number, which NumPy only warned of before. With NumPy 2.3.5, or with
#   other budgets, it ends as it should.
# Needs python3.11 and a package index.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
cat >"$folder/sphere.py" <<'PY'
import sys
import warnings
from importlib.metadata import version

import nevergrad
import numpy as np

warnings.simplefilter("ignore")


def minimised(budget):
    """What NGOpt makes of a sphere around 0.3 in so many calls."""
    box = nevergrad.p.Array(init=np.full(6, 0.5)).set_bounds(0, 1)
    box.random_state = np.random.RandomState(0)
    optimizer = nevergrad.optimizers.NGOpt(parametrization=box, budget=budget)
    try:
        best = optimizer.minimize(lambda x: float(np.sum((x - 0.3) ** 2)))
    except TypeError as error:
        return f"TypeError after {optimizer.num_tell} calls: {error}"
    return f"within {np.abs(best.value - 0.3).max():.0e}"


print("nevergrad", version("nevergrad"), "NumPy", np.__version__)
seen = {budget: minimised(budget) for budget in (200, 2000, 4000)}
for budget, outcome in seen.items():
    print(f"a budget of {budget}: {outcome}")
failed = [budget for budget, outcome in seen.items() if outcome.startswith("TypeError")]
raise SystemExit(failed != [int(budget) for budget in sys.argv[1:]])
PY
sphere() {
  "$folder/venv/bin/pip" install -q nevergrad==1.0.12 cma==4.4.4 scikit-learn==1.8.0 "numpy==$1"
  "$folder/venv/bin/python" "$folder/sphere.py" "${@:2}"
}
if sphere 2.3.5 && sphere 2.4.6 2000; then
  echo "as found: NGOpt fails with NumPy 2.4 where it takes a metamodel"
else
  echo "no longer so"
  exit 1
fi
