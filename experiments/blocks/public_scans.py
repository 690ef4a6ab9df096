"""Steps of linear attention on a GPU that others published, beside what is counted.

Command: python experiments/blocks/public_scans.py
Wall time: 2 s.
Found (no guess was written down): the transformer takes 1.05 to 1.25 times what is counted,
DeltaNet 1.85 to 2.06 times, which is 1.5 to 2.0 times the transformer's factor. Kernels are of mid
2024.

Ten runs on one H100, which one is not said, of 24 blocks 2,048 wide with gated MLPs of 5,632 and
32,000 tokens untied, in bfloat16 without torch.compile: a transformer of 32 heads and DeltaNet, 16
heads of 128, which is the gated delta rule without a gate (flash-linear-attention, defaults of its
configs). The gate's matrix is left out of its time by its share of the FLOPs; its decay, under 1%,
is not.
Reads public_scans_facts.csv, writes public_scans.csv.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from anybudget.objectives.cost.counts import flops_per_step
from anybudget.objectives.loss_at_time import LossAtTime
from anybudget.presets.devices import load_device
from anybudget.presets.laws import load_law
from anybudget.space.blocks import Attention, GatedDelta, Mlp
from anybudget.space.decoder import Block, Decoder

FACTS = Path(__file__).with_name("public_scans_facts.csv")
SCORES = Path(__file__).with_name("public_scans.csv")
D_MODEL, N_LAYERS, D_FF, VOCAB_SIZE = 2048, 24, 5632, 32_000
MIXERS = {
    "transformer": Attention(n_heads=32, n_kv_heads=32, d_head=64),
    "delta_net": GatedDelta(n_key_heads=16, n_value_heads=16, d_key=128, d_value=128, d_conv=4),
}


def counted_s(name: str, batch_size: int, seq_len: int) -> float:
    """Seconds of a step by what ships, in one pass with nothing run again."""
    block = Block(mixer=MIXERS[name], feed_forward=Mlp(d_ff=D_FF, gated=True))
    arch = Decoder(
        d_model=D_MODEL,
        pattern=(block,) * N_LAYERS,
        vocab_size=VOCAB_SIZE,
        tied_embeddings=False,
        seq_len=seq_len,
        batch_size=batch_size,
    )
    objective = LossAtTime(
        device=load_device("h100-sxm"),
        law=load_law("gemstones-2025-cooldown"),
        time_budget_s=3600.0,
        remat="none",
        micro_batch_size=batch_size,
    )
    # As wide as the values, of every block, forward and backward.
    gate_flops = 6 * batch_size * seq_len * N_LAYERS * D_MODEL * D_MODEL
    share = 1 - (name == "delta_net") * gate_flops / flops_per_step(arch)
    return share * float(objective.cost(arch).step_time_s)


def main() -> None:
    """Score each run, and each of DeltaNet over the transformer's of the same length."""
    table = pd.read_csv(FACTS)
    table["step_s"] = table.batch_size * table.seq_len / table.tokens_per_s
    shapes = zip(table.model, table.batch_size, table.seq_len, strict=True)
    table["counted_s"] = [counted_s(*shape) for shape in shapes]
    table["over_counted"] = table.step_s / table.counted_s
    dense = table[table.model == "transformer"].set_index(["batch_size", "seq_len"]).over_counted
    at = pd.MultiIndex.from_frame(table[["batch_size", "seq_len"]])
    table["over_transformer"] = table.over_counted / dense.reindex(at).to_numpy()
    table.drop(columns="source").to_csv(SCORES, index=False, float_format="%.4g")
    print(table.drop(columns="source").round(3).to_string(index=False))
    ratios = table.groupby("model")[["over_counted", "over_transformer"]]
    print(ratios.agg(["min", "median", "max"]).round(2).to_string())


if __name__ == "__main__":
    main()
