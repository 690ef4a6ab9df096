#!/usr/bin/env bash
# Guess: `litgpt pretrain --train.max_steps 1` ends after one optimizer step.
# Seen: litgpt 0.5.13 warns that `max_steps` is "intended for profiling or debug runs only", and then
#   trains until `max_tokens` as if it had not been said: four steps instead of one.
# Needs python3.11 and a package index; torch without CUDA is enough.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 litgpt==0.5.13 requests==2.34.2
cat >"$folder/steps.py" <<'PY'
import os
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

os.environ["TORCHDYNAMO_DISABLE"] = "1"

import torch
from litgpt.args import EvalArgs, TrainArgs
from litgpt.config import Config
from litgpt.data import DataModule
from litgpt.pretrain import setup

ROWS, LENGTH, VOCABULARY, MOST = 2, 16, 64, 4


class Random(DataModule):
    def connect(self, tokenizer=None, batch_size=1, max_seq_length=None, **_):
        self.shape = 8 * batch_size, max_seq_length + 1

    def train_dataloader(self):
        return torch.utils.data.DataLoader(torch.randint(0, VOCABULARY, self.shape), batch_size=ROWS)

    val_dataloader = train_dataloader


steps = []
make = torch.optim.AdamW.step


def counted(self, *args, **kwargs):
    steps.append(1)
    return make(self, *args, **kwargs)


torch.optim.AdamW.step = counted
config = Config(
    name="tiny", block_size=LENGTH, n_layer=1, n_embd=32, n_head=2,
    vocab_size=VOCABULARY, padded_vocab_size=VOCABULARY,
)
train = TrainArgs(
    global_batch_size=ROWS, micro_batch_size=ROWS, max_steps=1, max_norm=1.0, lr_warmup_steps=1,
    max_tokens=MOST * ROWS * LENGTH,
)
sys.argv = ["litgpt", "tiny"]
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    setup(
        "tiny", model_config=config, out_dir=Path(sys.path[0]) / "out", precision="32-true",
        data=Random(), train=train, eval=EvalArgs(max_iters=1), devices=1, logger_name="csv",
    )
print("litgpt", version("litgpt"), "torch", version("torch"))
print("warned:", [str(w.message)[:58] for w in told if "max_steps" in str(w.message)])
print("max_steps 1, steps made:", len(steps))
raise SystemExit(0 if len(steps) == MOST else "no longer so")
PY
"$folder/venv/bin/python" "$folder/steps.py"
