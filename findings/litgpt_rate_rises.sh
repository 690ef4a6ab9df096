#!/usr/bin/env bash
# Guess: on LitGPT's cosine a run ends at its lowest learning rate, and the rate of the optimizer is
#   the highest.
# Seen: litgpt 0.5.13 mixes the optimizer's rate with `train.min_lr` (4e-5 unless said otherwise)
#   whichever is larger: at a rate of 1e-5, as for continued pretraining, the rate rises after warmup
#   and ends near 4e-5, and nothing is said.
# Needs python3.11 and a package index; torch without CUDA is enough.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 litgpt==0.5.13 requests==2.34.2
cat >"$folder/rate.py" <<'PY'
import dataclasses
import inspect
import os
import sys
from importlib.metadata import version
from pathlib import Path

os.environ["TORCHDYNAMO_DISABLE"] = "1"

import torch
from litgpt.args import EvalArgs
from litgpt.config import Config
from litgpt.data import DataModule
from litgpt.pretrain import setup

ROWS, LENGTH, VOCABULARY, STEPS, RATE = 2, 16, 64, 20, 1e-5


class Random(DataModule):
    def connect(self, tokenizer=None, batch_size=1, max_seq_length=None, **_):
        self.shape = 8 * batch_size, max_seq_length + 1

    def train_dataloader(self):
        return torch.utils.data.DataLoader(torch.randint(0, VOCABULARY, self.shape), batch_size=ROWS)

    val_dataloader = train_dataloader


rates = []
make = torch.optim.AdamW.step


def noted(self, *args, **kwargs):
    rates.append(self.param_groups[0]["lr"])
    return make(self, *args, **kwargs)


torch.optim.AdamW.step = noted
config = Config(
    name="tiny", block_size=LENGTH, n_layer=1, n_embd=32, n_head=2,
    vocab_size=VOCABULARY, padded_vocab_size=VOCABULARY,
)
# As `litgpt pretrain` has it when left out, but for the length.
default = inspect.signature(setup).parameters["train"].default
train = dataclasses.replace(
    default, global_batch_size=ROWS, micro_batch_size=ROWS, lr_warmup_steps=2,
    max_tokens=STEPS * ROWS * LENGTH,
)
sys.argv = ["litgpt", "tiny"]
setup(
    "tiny", model_config=config, out_dir=Path(sys.path[0]) / "out", precision="32-true",
    data=Random(), train=train, eval=EvalArgs(max_iters=1), devices=1, logger_name="csv",
    optimizer={"class_path": "torch.optim.AdamW", "init_args": {"lr": RATE}},
)
print("litgpt", version("litgpt"), "torch", version("torch"))
print(f"lr {RATE:g}, min_lr {train.min_lr:g}; after warmup {rates[2]:.3g}, at the end {rates[-1]:.3g}")
rises = all(a <= b for a, b in zip(rates, rates[1:])) and rates[-1] > 3 * RATE
raise SystemExit(0 if rises else "no longer so")
PY
"$folder/venv/bin/python" "$folder/rate.py"
