#!/usr/bin/env bash
# Guess: a TPU's step with MLPs of 682 takes no longer than with 768, the next multiple of 128, to
#   which its tiles are padded anyway; and one layer takes a third of three.
# Seen: jax 0.10.2 with libtpu 0.0.42.1, a v5e, one step of momentum on MLPs 256 wide whose weights are
#   one array of (layers, 256, n): with one layer 682 has 4.7 times the estimated cycles of 768; with
#   three it has 0.94 of them, and less than 1.3 times those of one layer. Where the least padded
#   layout of the array has the layers within, as for one layer and n no multiple of 8, weights,
#   gradients and momentum are copied to another layout and back in every step.
# Needs python3.11 and a package index, on Linux on x86-64; no TPU.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q jax==0.10.2 jaxlib==0.10.2 libtpu==0.0.42.1
cat >"$folder/cycles.py" <<'PY'
import re
from importlib.metadata import version

import jax
import jax.numpy as jnp
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding

WIDTH, ROWS = 256, 512
chips = topologies.get_topology_desc(
    platform="tpu", topology_name="v5e:1x1", chips_per_host_bounds=(1, 1, 1)
)
one = SingleDeviceSharding(chips.devices[0])


def loss(weights, x):
    up, down = (w.astype(jnp.bfloat16) for w in weights)
    for layer in range(up.shape[0]):
        x = x + jnp.tanh(x @ up[layer]) @ down[layer]
    return jnp.mean(x.astype(jnp.float32) ** 2)


def step(weights, momentum, x):
    gradient = jax.grad(loss)(weights, x)
    momentum = jax.tree.map(lambda m, g: 0.9 * m + g, momentum, gradient)
    return jax.tree.map(lambda w, m: w - 0.1 * m, weights, momentum), momentum


def cycles(layers, n):
    shapes = (layers, WIDTH, n), (layers, n, WIDTH)
    weights = tuple(jax.ShapeDtypeStruct(shape, jnp.float32, sharding=one) for shape in shapes)
    x = jax.ShapeDtypeStruct((ROWS, WIDTH), jnp.bfloat16, sharding=one)
    compiled = jax.jit(step, donate_argnums=(0, 1)).lower(weights, weights, x).compile()
    return sum(map(int, re.findall(r'"estimated_cycles":"(\d+)"', compiled.as_text())))


print("jax", version("jax"), "libtpu", version("libtpu"))
found = {(layers, n): cycles(layers, n) for layers in (1, 3) for n in (682, 768)}
for (layers, n), count in found.items():
    print(f"{layers} layers, MLP of {n}: {count} cycles")
if found[1, 682] > 2 * found[1, 768] and found[3, 682] < found[3, 768]:
    print("as found: 682 costs more than 768 in one layer, and less in three")
else:
    raise SystemExit("no longer so")
PY
JAX_PLATFORMS=cpu TPU_SKIP_MDS_QUERY=1 TPU_ACCELERATOR_TYPE=v5litepod-4 TPU_WORKER_ID=0 \
    TPU_WORKER_HOSTNAMES=localhost TPU_LOG_DIR="$folder" "$folder/venv/bin/python" "$folder/cycles.py"
