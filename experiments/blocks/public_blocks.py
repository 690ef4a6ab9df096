"""Steps of linear attention and of experts on GPUs that others published, beside what is counted.

Command: python experiments/blocks/public_blocks.py
Wall time: 3 s.
Found (no guess was written down): on one H100 the transformer takes 1.05 to 1.25 times what is
counted, DeltaNet 1.85 to 2.06 times, which is 1.5 to 2.0 times the transformer's factor. Experts on
64 H100 0.81 and 1.07 times, on 64 B200 1.6 and 2.4 times.

Ten runs on one H100, which one is not said, of 24 blocks 2,048 wide with gated MLPs of 5,632 and
32,000 tokens untied, in bfloat16 without torch.compile: a transformer of 32 heads and DeltaNet, 16
heads of 128, which is the gated delta rule without a gate (flash-linear-attention of mid 2024,
defaults of its configs). The gate's matrix is left out of its time by its share of the FLOPs; its
decay, under 1%, is not.

Four of GPT-OSS-120B by Megatron-Bridge, in bfloat16, whose experts are split among chips (on H100
in four stages too), which is not counted here: what is counted is the fastest way that is.
Reads public_blocks_facts.csv, writes public_blocks.csv.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from anybudget.objectives.cost.counts import flops_per_step
from anybudget.objectives.loss_at_time import LossAtTime
from anybudget.presets.devices import load_device
from anybudget.presets.laws import load_law
from anybudget.space.blocks import Attention, Experts, GatedDelta, Mlp
from anybudget.space.decoder import Block, Decoder

FACTS = Path(__file__).with_name("public_blocks_facts.csv")
SCORES = Path(__file__).with_name("public_blocks.csv")
SMALL = {"d_model": 2048, "vocab_size": 32_000, "tied_embeddings": False}
MLP = Mlp(d_ff=5632, gated=True)
HEADS = Attention(n_heads=32, n_kv_heads=32, d_head=64)
DELTA = GatedDelta(n_key_heads=16, n_value_heads=16, d_key=128, d_value=128, d_conv=4)
# GPT-OSS: every other block sees 128 tokens.
GROUPED = {"n_heads": 64, "n_kv_heads": 8, "d_head": 64}
FED = Experts(n_experts=128, n_per_token=4, d_expert=2880, gated=True)
PAIR = tuple(
    Block(mixer=Attention(**GROUPED, window=window), feed_forward=FED) for window in (128, None)
)
MODELS = {
    "transformer": SMALL | {"pattern": (Block(mixer=HEADS, feed_forward=MLP),) * 24},
    "delta_net": SMALL | {"pattern": (Block(mixer=DELTA, feed_forward=MLP),) * 24},
    "gpt_oss_120b": {
        "d_model": 2880, "vocab_size": 201_088, "tied_embeddings": False, "pattern": PAIR * 18
    },
}  # fmt: skip


def counted_s(fact: pd.Series) -> float:
    """Seconds of a run's step by what ships; of one chip in one pass with nothing run again."""
    arch = Decoder(**MODELS[fact.model], seq_len=fact.seq_len, batch_size=fact.batch_size)
    objective = LossAtTime(
        device=load_device(fact.device),
        law=load_law("gemstones-2025-cooldown"),
        time_budget_s=3600.0,
        n_chips=fact.n_chips,
        remat="none" if fact.n_chips == 1 else "auto",
        micro_batch_size=None if np.isnan(fact.micro_batch_size) else int(fact.micro_batch_size),
    )
    # As wide as the values, of every block, forward and backward.
    gate_flops = 6 * arch.tokens_per_step * arch.n_layers * arch.d_model**2
    share = 1 - (fact.model == "delta_net") * gate_flops / flops_per_step(arch)
    return share * float(objective.cost(arch).step_time_s)


def main() -> None:
    """Score each run, and each of DeltaNet over the transformer's of the same length."""
    table = pd.read_csv(FACTS)
    tokens = table.batch_size * table.seq_len / table.n_chips
    table["step_s"] = tokens / table.tokens_per_s_per_chip
    table["counted_s"] = [counted_s(fact) for _, fact in table.iterrows()]
    table["over_counted"] = table.step_s / table.counted_s
    dense = table[table.model == "transformer"].set_index(["batch_size", "seq_len"]).over_counted
    at = pd.MultiIndex.from_frame(table[["batch_size", "seq_len"]])
    table["over_transformer"] = table.over_counted / dense.reindex(at).to_numpy()
    table.drop(columns="source").to_csv(SCORES, index=False, float_format="%.4g")
    print(table.drop(columns="source").round(3).to_string(index=False))
    ratios = table.groupby(["model", "device"])[["over_counted", "over_transformer"]]
    print(ratios.agg(["min", "median", "max"]).round(2).to_string())


if __name__ == "__main__":
    main()
