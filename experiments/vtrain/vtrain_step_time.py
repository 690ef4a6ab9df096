"""Which counts explain the step time of GPT training on A100 GPUs: memory copies or FLOPs?

Command: python experiments/vtrain/vtrain_step_time.py
Wall time: 5 s.
Expected: memory copies alone explain far more of held-out step time than FLOPs alone (R² 0.88
against 0.60), and a model with launch overheads errs by less than 6%, below the paper's 12%.

Data: vtrain_single_node.csv, the rows with tensor and pipeline parallelism 1 of the measured
iteration times of GPT training on one node of eight A100 GPUs, from vTrain
(KAIST VIA Research Group, MIT licence; Bang et al. 2024, arXiv:2312.12391). These need no model
of communication within a step: held-out error does not change with the number of GPUs, which is
printed. Each GPU runs global / (micro batch x GPUs) micro-batches an iteration, and blocks run a
second time in the backward pass (the source's configurations have `use_checkpoint`), there with
their last matmul, which our counts leave out since no gradient needs its product. Assumed, for the
rows do not say: GPT-2's vocabulary of 50,257, the source's default, d_ff = 4 d_model and tied
embeddings.
"""

from pathlib import Path

import pandas as pd

from anybudget.objectives.cost.execution import Execution
from anybudget.objectives.fit.step_time import (
    Steps,
    compare_step_times,
    variance_explained_alone,
)
from anybudget.space.architecture import Architecture

DATA = Path(__file__).with_name("vtrain_single_node.csv")
OUT = Path(__file__).with_suffix(".csv")
VOCAB_SIZE = 50_257


def load(path: Path = DATA) -> tuple[pd.DataFrame, Steps]:
    """The rows as they stand and as measured steps."""
    rows = pd.read_csv(path)
    d_model, n_heads = rows["hidden size"].to_numpy(), rows["attention heads"].to_numpy()
    micro_batch = rows["micro batch"].to_numpy()
    arch = Architecture(
        d_model=d_model,
        n_layers=rows["# layers"].to_numpy(),
        n_heads=n_heads,
        n_kv_heads=n_heads,
        d_head=d_model // n_heads,
        d_ff=4 * d_model,
        vocab_size=VOCAB_SIZE,
        seq_len=rows["sequence length"].to_numpy(),
        batch_size=rows["global batch"].to_numpy(),
    )
    n_split = rows["data parallelism"].to_numpy()
    execution = Execution(
        remat="layer",
        n_chips=n_split,
        n_accumulation=rows["global batch"].to_numpy() // (n_split * micro_batch),
    )
    measured_s = rows["iteration time (ms)"].to_numpy() / 1e3
    return rows, Steps(arch=arch, measured_s=measured_s, execution=execution)


def main() -> None:
    """Print the table of models, write it, and print what the best one's error depends on."""
    rows, steps = load()
    fits = compare_step_times(steps)
    table = pd.DataFrame(
        {"model": fit.model.name, "r2": fit.r2, "mape": fit.mape, **fit.model.seconds_per_unit}
        for fit in fits
    )
    table.to_csv(OUT, index=False, float_format="%.4g")
    print(f"{len(rows)} steps, each (hidden size, layers) held out in turn:\n")
    print(table[["model", "r2", "mape"]].round(3).to_string(index=False))
    alone = variance_explained_alone(steps)
    print(
        "\nshare of variance explained alone:", {name: round(r2, 3) for name, r2 in alone.items()}
    )
    print(f"\nheld-out predicted / measured of {fits[0].model.name!r}, minus 1, mean by group:")
    rows["error"] = fits[0].heldout_s / steps.measured_s - 1
    for column in ("# GPUs", "micro batch", "hidden size", "# layers"):
        means = rows.pivot_table(values="error", columns=column)
        print(means.round(3).to_string(index=False))
    by_name = {fit.model.name: fit for fit in fits}
    better = by_name["memcpys"].mape < by_name["flops"].mape
    print(f"\nMemory copies {'beat' if better else 'do not beat'} FLOPs as the only count.")


if __name__ == "__main__":
    main()
