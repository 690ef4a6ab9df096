#!/usr/bin/env bash
# Guess: `optimal_seconds` in the cost analysis of a program compiled for a TPU is a time: more than
#   0, and longer for a step that does more.
# Seen: jax 0.10.2 with libtpu 0.0.42.1, for a v5e: a gradient of a matmul has 11 microseconds; a step
#   of gradient descent on a softmax's loss, eight times the FLOPs, has minus one second and 80
#   microseconds. An operation of which the compiler has no estimate seems to count as -1.
# Needs python3.11 and a package index, on Linux on x86-64; no TPU.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q jax==0.10.2 jaxlib==0.10.2 libtpu==0.0.42.1
cat >"$folder/seconds.py" <<'PY'
from importlib.metadata import version

import jax
import jax.numpy as jnp
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding

chips = topologies.get_topology_desc(
    platform="tpu", topology_name="v5e:1x1", chips_per_host_bounds=(1, 1, 1)
)
one = SingleDeviceSharding(chips.devices[0])


def array(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.bfloat16, sharding=one)


def small(w, x):
    return jnp.mean(jnp.tanh(x @ w) ** 2)


def softmax(w, x):
    return jnp.mean(jax.nn.logsumexp((x @ w).astype(jnp.float32), -1))


def step(w, x):
    return w - 0.1 * jax.grad(softmax)(w, x)


def cost(f, *arrays):
    told = jax.jit(f).lower(*arrays).compile().cost_analysis()
    return told["flops"], told["optimal_seconds"]


print("jax", version("jax"), "libtpu", version("libtpu"))
gradient = cost(jax.grad(small), array(512, 512), array(1024, 512))
descent = cost(step, array(512, 4096), array(1024, 512))
print("gradient: {:.3g} FLOPs, {:.6f} optimal seconds".format(*gradient))
print("descent:  {:.3g} FLOPs, {:.6f} optimal seconds".format(*descent))
if descent[0] > gradient[0] and gradient[1] > 0 > descent[1]:
    print("as found: the larger program has a negative time")
else:
    raise SystemExit("no longer so")
PY
JAX_PLATFORMS=cpu TPU_SKIP_MDS_QUERY=1 TPU_ACCELERATOR_TYPE=v5litepod-4 TPU_WORKER_ID=0 \
    TPU_WORKER_HOSTNAMES=localhost TPU_LOG_DIR="$folder" "$folder/venv/bin/python" "$folder/seconds.py"
