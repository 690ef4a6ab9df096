"""Do LitGPT and torchtitan train what is exported for them? Two steps of each on a CPU.

Command: python experiments/recipe/toy_steps.py 2>&1 | grep -v "'" >experiments/recipe/toy_steps.log
  in an environment with the extra `trainers` and without `dev`.
Wall time: a minute, most of it imports; nothing is compiled (TORCHDYNAMO_DISABLE).
Expected: both say our number of parameters, the first loss is near that of guessing, ln 512 = 6.24,
and the second is less or equal within the noise of a batch; LitGPT runs its own `pretrain`,
torchtitan (whose trainer needs an accelerator) its own model, loss, optimizer and schedule.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

os.environ["TORCHDYNAMO_DISABLE"] = "1"  # before torch is imported

from anybudget.objectives.cost.counts import n_params
from anybudget.objectives.loss_at_time import LossAtTime
from anybudget.presets.devices import load_device
from anybudget.presets.laws import load_law
from anybudget.search.candidate import Candidate
from anybudget.show.export.brief import Brief
from anybudget.show.export.litgpt import to_litgpt
from anybudget.show.export.torchtitan import to_torchtitan
from anybudget.space.architecture import Architecture

SHAPE = {"d_model": 64, "n_layers": 2, "n_heads": 2, "d_head": 32, "n_kv_heads": 1, "d_ff": 192}
TEXT = {"vocab_size": 512, "seq_len": 64, "batch_size": 8, "gated_mlp": True}
N_STEPS = 2


def brief() -> Brief:
    """A tiny Llama for a minute of a CPU core."""
    law, device = load_law("besiroglu-2024"), load_device("cpu-core")
    objective = LossAtTime(device=device, law=law, time_budget_s=60.0)
    arch = Architecture.from_shape(**SHAPE, **TEXT)
    return Brief(candidate=Candidate.of(arch, objective), objective=objective)


def litgpt_steps(told: Brief) -> None:
    """`litgpt pretrain` from the exported settings, on random tokens, ended after two steps."""
    import torch
    from litgpt.args import EvalArgs, TrainArgs
    from litgpt.config import Config
    from litgpt.data import DataModule
    from litgpt.pretrain import setup

    class Random(DataModule):
        def connect(self, tokenizer=None, batch_size=1, max_seq_length=None, **_) -> None:
            self.shape = batch_size, (max_seq_length or 0) + 1

        def train_dataloader(self):
            torch.manual_seed(0)
            rows, length = self.shape
            data = torch.randint(0, TEXT["vocab_size"], (8 * rows, length))
            return torch.utils.data.DataLoader(data, batch_size=rows)  # type: ignore[arg-type]

        val_dataloader = train_dataloader

    config = to_litgpt(told).config
    tokens = N_STEPS * told.arch.tokens_per_step
    sys.argv = ["litgpt", config["model_name"]]  # which it reads again at the end
    train = TrainArgs(**config["train"] | {"max_tokens": tokens, "lr_warmup_steps": 1})
    with tempfile.TemporaryDirectory() as folder:
        setup(
            config["model_name"],
            model_config=Config(**config["model_config"]),
            out_dir=Path(folder),
            precision=config["precision"],
            data=Random(),
            train=train,
            eval=EvalArgs(interval=1000, max_iters=1),
            optimizer=config["optimizer"],
            devices=config["devices"],
            logger_name="csv",
            seed=config["seed"],
        )


def torchtitan_steps(told: Brief) -> None:
    """Two steps of the exported config's model, by its loss, optimizer and schedule."""
    import torch
    from torchtitan.models.common.attention import ScaledDotProductAttention

    names: dict = {}
    exec(to_torchtitan(told).files["anybudget_torchtitan.py"], names)
    config = names["anybudget"]()
    for layer in config.model_spec.model.layers:
        # Its flexible attention has no backward pass on a CPU.
        layer.attention.inner_attention = ScaledDotProductAttention.Config()
    model = config.model_spec.model.build()
    model.init_states()
    print(f"parameters: {sum(p.numel() for p in model.parameters()):,}")
    loss_fn = config.loss.build(compile_config=config.compile)
    config.optimizer.implementation = "for-loop"
    optimizers = config.optimizer.build(model_parts=[model])
    schedulers = config.lr_scheduler.build(
        optimizers=optimizers, training_steps=config.training.steps
    )
    torch.manual_seed(0)
    rows, length = config.training.global_batch_size, config.training.seq_len
    tokens = torch.randint(0, TEXT["vocab_size"], (rows, length + 1))
    positions = torch.arange(length).expand(rows, length)
    for step in range(N_STEPS):
        logits = model(tokens[:, :-1], positions)
        loss, _ = loss_fn(logits, tokens[:, 1:], torch.tensor(rows * length))
        optimizers.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.training.max_norm)
        rate = schedulers.schedulers[0].get_last_lr()[0]
        optimizers.step()
        schedulers.step()
        print(f"step {step + 1}: loss {loss.item():.3f}, rate {rate:.3g}")


def main() -> None:
    """Both, with what they are told."""
    told = brief()
    print(f"litgpt {version('litgpt')}, torchtitan {version('torchtitan')}", flush=True)
    print(f"ours: {n_params(told.arch):,} parameters, rate {told.learning_rate:g}", flush=True)
    print("-- litgpt", flush=True)
    litgpt_steps(told)
    sys.stdout.flush()
    print("-- torchtitan", flush=True)
    torchtitan_steps(dataclasses.replace(told))


if __name__ == "__main__":
    main()
