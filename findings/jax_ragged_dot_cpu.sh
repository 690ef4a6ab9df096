#!/usr/bin/env bash
# Guess: jax.lax.ragged_dot, which multiplies each row with the matrix of its group, costs what its
#   rows cost, however many groups there are.
# Seen: jax 0.10.2, compiled for a CPU: it multiplies all rows with every group's matrix, so that its
#   FLOPs are so many times those of the rows as there are groups, by XLA's own count of the program.
# Needs python3.11 and a package index.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q jax==0.10.2 jaxlib==0.10.2
cat >"$folder/groups.py" <<'PY'
from importlib.metadata import version

import jax
import jax.numpy as jnp

M, K, N = 2048, 128, 160


def times_the_rows(n_groups):
    """FLOPs of the compiled program over 2 M K N."""
    rows, weights = jnp.ones((M, K)), jnp.ones((n_groups, K, N))
    sizes = jnp.full((n_groups,), M // n_groups)
    program = jax.jit(jax.lax.ragged_dot).lower(rows, weights, sizes).compile()
    return program.cost_analysis()["flops"] / (2 * M * K * N)


print("jax", version("jax"), "jaxlib", version("jaxlib"), jax.default_backend())
seen = {n_groups: times_the_rows(n_groups) for n_groups in (1, 2, 8, 32)}
for n_groups, times in seen.items():
    print(f"{n_groups:2} groups: {times:5.1f} times the FLOPs of the rows")
if all(n <= times < 1.1 * n for n, times in seen.items()):
    print("as found: all rows are multiplied with every group's matrix")
else:
    raise SystemExit("no longer so")
PY
JAX_PLATFORMS=cpu "$folder/venv/bin/python" "$folder/groups.py"
