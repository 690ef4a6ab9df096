#!/usr/bin/env bash
# Guess: to a TPU's compiler, 8-bit floats cost alike: half of bfloat16 where the chip has a fast
#   8-bit matmul, and as much as bfloat16 where it has none.
# Seen: jax 0.10.2 with libtpu 0.0.42.1, cycles estimated for a matmul of 4096 x 4096 x 4096 on a v5e:
#   float8_e5m2 half of bfloat16, float8_e4m3fn, which training takes for activations and weights, a
#   little more than bfloat16. On Ironwood (tpu7x) both are half, and int8, half on v5e, is no less
#   than bfloat16.
# Needs python3.11 and a package index, on Linux on x86-64; no TPU.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q jax==0.10.2 jaxlib==0.10.2 libtpu==0.0.42.1
cat >"$folder/cycles.py" <<'PY'
import re
import sys
from importlib.metadata import version

import jax
import jax.numpy as jnp
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding

name = sys.argv[1]
chips = topologies.get_topology_desc(
    platform="tpu", topology_name=name, chips_per_host_bounds=(1, 1, 1)
)
one = SingleDeviceSharding(chips.devices[0])


def cycles(dtype):
    array = jax.ShapeDtypeStruct((4096, 4096), dtype, sharding=one)
    out = jnp.int32 if dtype == "int8" else jnp.bfloat16
    matmul = jax.jit(lambda a, b: jax.lax.dot(a, b, preferred_element_type=out))
    text = matmul.lower(array, array).compile().as_text()
    return sum(map(int, re.findall(r'"estimated_cycles":"(\d+)"', text)))


plain = cycles("bfloat16")
share = {d: cycles(d) / plain for d in ("int8", "float8_e5m2", "float8_e4m3fn")}
print(name, "jax", version("jax"), "libtpu", version("libtpu"), f"bfloat16: {plain} cycles;", end=" ")
print(", ".join(f"{dtype} {value:.2f} of that" for dtype, value in share.items()))
cheap = [dtype for dtype, value in share.items() if value < 0.6]
dear = [dtype for dtype, value in share.items() if value > 0.95]
expected = {
    "v5e:1x1": (["int8", "float8_e5m2"], ["float8_e4m3fn"]),
    "tpu7x:1x1x1": (["float8_e5m2", "float8_e4m3fn"], ["int8"]),
}
if (cheap, dear) != expected[name]:
    raise SystemExit("no longer so")
print("as found")
PY
for chip in "v5e:1x1 v5litepod-4" "tpu7x:1x1x1 tpu7x-8"; do
    JAX_PLATFORMS=cpu TPU_SKIP_MDS_QUERY=1 TPU_ACCELERATOR_TYPE=${chip#* } TPU_WORKER_ID=0 \
        TPU_WORKER_HOSTNAMES=localhost TPU_LOG_DIR="$folder" \
        "$folder/venv/bin/python" "$folder/cycles.py" "${chip% *}"
done
