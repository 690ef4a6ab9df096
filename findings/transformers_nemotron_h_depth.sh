#!/usr/bin/env bash
# Guess: `NemotronHConfig(num_hidden_layers=52)` is a model of 52 layers, as the same key makes one in
#   every other family of decoders.
# Seen: transformers 5.24.0 makes one of 4, without a word, for the depth is the length of a list of
#   layers' kinds, whose default has four; what was asked for is not kept. With `layers_block_type` of
#   52 entries the depth is 52, whatever `num_hidden_layers` says beside it.
# Needs python3.11 and a package index; no torch.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q transformers==5.24.0
cat >"$folder/depth.py" <<'PY'
from importlib.metadata import version

from transformers import LlamaConfig, NemotronHConfig

print("transformers", version("transformers"))
asked = NemotronHConfig(num_hidden_layers=52)
read = NemotronHConfig.from_dict({"model_type": "nemotron_h", "num_hidden_layers": 52})
kinds = ["linear_attention", "mlp"] * 26
listed = NemotronHConfig(layers_block_type=kinds, num_hidden_layers=8)
seen = {
    "asked for 52": asked.num_hidden_layers,
    "read from a file that says 52": read.num_hidden_layers,
    "a list of 52 and a depth of 8": listed.num_hidden_layers,
    "Llama, asked for 52": LlamaConfig(num_hidden_layers=52).num_hidden_layers,
}
for what, depth in seen.items():
    print(f"{what}: {depth} layers")
raise SystemExit(0 if list(seen.values()) == [4, 4, 52, 52] else "no longer so")
PY
"$folder/venv/bin/python" "$folder/depth.py"
