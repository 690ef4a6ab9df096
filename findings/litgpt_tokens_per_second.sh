#!/usr/bin/env bash
# Guess: the "Tok/sec" that `litgpt pretrain` prints at its end is its "Total tokens" over its
#   "Training Time".
# Seen: litgpt 0.5.13 divides by the reading of the clock at which training began, which on Linux is
#   the time since the machine started: after hours of uptime a run of seconds is told to have made
#   hundredths of a token in a second, and the same run is told another speed the next day.
# Needs python3.11 and a package index; torch without CUDA is enough.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 litgpt==0.5.13 requests==2.34.2
cat >"$folder/speed.py" <<'PY'
import contextlib
import io
import os
import re
import sys
import time
from importlib.metadata import version
from pathlib import Path

os.environ["TORCHDYNAMO_DISABLE"] = "1"

import torch
from litgpt.args import EvalArgs, TrainArgs
from litgpt.config import Config
from litgpt.data import DataModule
from litgpt.pretrain import setup

ROWS, LENGTH, VOCABULARY = 8, 64, 64


class Random(DataModule):
    def connect(self, tokenizer=None, batch_size=1, max_seq_length=None, **_):
        self.shape = 8 * batch_size, max_seq_length + 1

    def train_dataloader(self):
        return torch.utils.data.DataLoader(torch.randint(0, VOCABULARY, self.shape), batch_size=ROWS)

    val_dataloader = train_dataloader


config = Config(
    name="tiny", block_size=LENGTH, n_layer=1, n_embd=32, n_head=2,
    vocab_size=VOCABULARY, padded_vocab_size=VOCABULARY,
)
train = TrainArgs(
    global_batch_size=ROWS, micro_batch_size=ROWS, max_norm=1.0, lr_warmup_steps=1,
    max_tokens=20 * ROWS * LENGTH,
)
sys.argv = ["litgpt", "tiny"]
with contextlib.redirect_stdout(io.StringIO()) as printed:
    setup(
        "tiny", model_config=config, out_dir=Path(sys.path[0]) / "out", precision="32-true",
        data=Random(), train=train, eval=EvalArgs(max_iters=1), devices=1, logger_name="csv",
    )
found = dict(re.findall(r"\| - ([\w /]+?) *: ([\d.,]+)", printed.getvalue()))
tokens, seconds, told = (
    float(found[name].replace(",", "")) for name in ("Total tokens", "Training Time", "Tok/sec")
)
print("litgpt", version("litgpt"), "torch", version("torch"))
print(f"{tokens:,.0f} tokens in {seconds:.2f} s are {tokens / seconds:,.0f} a second; told: {told}")
print(f"the clock read {time.perf_counter():,.0f} s: {tokens / time.perf_counter():.2f} a second of it")
by_clock = abs(told * time.perf_counter() / tokens - 1) < 0.05
if not (by_clock and told < 0.5 * tokens / seconds):
    raise SystemExit("no longer so, or the machine has only just started")
PY
"$folder/venv/bin/python" "$folder/speed.py"
