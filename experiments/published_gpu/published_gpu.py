"""How far is a model fitted to GPU steps that others published from shapes that it has not seen?

Command: python experiments/published_gpu/published_gpu.py llm-foundry STEPS.csv
         python experiments/published_gpu/published_gpu.py gemstones GEMSTONES.csv
         python experiments/published_gpu/published_gpu.py vtrain VTRAIN.csv
         python experiments/published_gpu/published_gpu.py languini public_steps/facts.csv
Wall time: 5 s each.
Expected: each model size left out, an error of at most 8% on A100 40 and 80 GB and H100, no length
off by more than a quarter, 16 to 512 devices within 12%; vTrain's 1,440 steps within 10%, those
with tensor and pipeline parallelism included.

Scores go to scores.csv beside this script; all but vTrain's become presets: a100-40gb, a100-80gb,
h100-sxm, mi250x and v100-sxm. The rows themselves are their authors' and are not here:

- llm-foundry: MosaicML's benchmarks of MPT models (github.com/mosaicml/llm-foundry, folder
  scripts/train/benchmarking, Apache-2.0), one row a throughput, with `device`, `precision`,
  `sharding`, `full_remat`, `step_time_s` and an architecture under our names. PyTorch with FSDP and
  flash attention. A learned position embedding is not counted. SHARD_GRAD_OP, which gathers weights
  once a pass, is taken for `full`. FP8 is left out: a device has one
  precision, and its seven rows are of two shapes, too few to leave one out.
- To these come the steps of other trainers that `public_steps/facts.csv` marks `inform`: llm.c, the
  training code of flash-attention, IBM's FSDP code eager and compiled. A device is fitted to the
  mean of its trainers, each of them at a level of its own.
- Gemstones: McLeish et al. 2025, arXiv:2502.06857 (MIT), seconds a step of 22 shapes, each device
  one die of an MI250X, fully sharded. Assumed, for the rows do not say: one pass a step, no
  rematerialisation, fused attention.
- vTrain: single-node GPT training on eight A100 GPUs (github.com/VIA-Research/vTrain, MIT; Bang et
  al. 2024, arXiv:2312.12391). Float16, which an A100 multiplies as fast as bfloat16. Assumed: a
  vocabulary of 50,257, d_ff = 4 d_model, plain attention, and blocks that run again, as the
  source's configurations have it.
- Languini: throughputs of GPTs on one V100, float16 and plain attention
  (github.com/languini-kitchen/languini-kitchen, Apache-2.0), as `public_steps/facts.csv` has them.
  A V100 is beyond what other GPUs' shares of their datasheets foretell (cards.py), hence a preset.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from anybudget.objectives.fit.step_time import StepTimeFit
from anybudget.objectives.loss_at_time import LossAtTime
from anybudget.presets.devices import load_device
from anybudget.presets.laws import load_law
from anybudget.presets.named import HERE as PRESETS
from anybudget.space.architecture import Architecture
from anybudget.validation.timing.calibrate_table import calibrate_table

SCORES = Path(__file__).with_name("scores.csv")
ARCHITECTURE = [
    "d_model", "n_layers", "n_heads", "n_kv_heads", "d_head", "d_ff", "gated_mlp", "vocab_size",
    "tied_embeddings", "seq_len",
]  # fmt: skip
# Of the tables that are read, what ours call otherwise.
RENAMED = {"n_devices": "n_chips", "n_accumulations": "n_accumulation"}
SHAPE = [name for name in ARCHITECTURE if name != "d_head"] + ["batch_size"]
EXECUTION = ["micro_batch_size", "n_accumulation", "sharding", "remat", "attention"]
MOSAIC = {"a100_40gb": "a100-40gb", "a100_80gb": "a100-80gb", "h100_80gb": "h100-sxm"}
SOURCE = "github.com/mosaicml/llm-foundry, scripts/train/benchmarking; public_steps/facts.csv"
FACTS = Path(__file__).parents[1] / "public_steps" / "facts.csv"
VTRAIN_COLUMNS = {
    "# GPUs": "n_chips", "global batch": "batch_size", "micro batch": "micro_batch_size",
    "hidden size": "d_model", "attention heads": "n_heads", "# layers": "n_layers",
    "sequence length": "seq_len", "tensor parallelism": "tensor_parallel",
    "pipeline parallelism": "pipeline_parallel",
}  # fmt: skip

Table = tuple[str, str, str, pd.DataFrame]


def llm_foundry(path: Path) -> Iterator[Table]:
    """Preset, datasheet, source and rows of each of three GPUs."""
    rows = pd.read_csv(path).rename(columns=RENAMED)
    rows = rows[rows.precision == "bf16"].assign(
        remat=np.where(rows.full_remat, "layer", "none")[rows.precision == "bf16"],
        sharding="full",
        attention="fused",
        software="PyTorch with FSDP and flash attention (llm-foundry)",
    )
    columns = ["batch_size", "micro_batch_size", "n_accumulation", "n_chips", "sharding"]
    columns += ["remat", "attention", "precision", "step_time_s", "software"]
    for device, name in MOSAIC.items():
        here = rows.loc[rows.device == device, ARCHITECTURE + columns]
        both = pd.concat([here, informing(name)], ignore_index=True)
        yield name, f"{name}-datasheet", SOURCE, both


def informing(device: str) -> pd.DataFrame:
    """Steps of other trainers on a GPU, from `public_steps/facts.csv`.

    What their sources do not say of the execution is as our search would run them on a GPU that
    only its datasheet is known of.
    """
    facts = pd.read_csv(FACTS).query("role == 'inform' and device == @device").astype(object)
    rows = []
    for fact in facts.where(facts.notna(), None).to_dict("records"):
        told = {name: fact[name] for name in ("remat", "sharding", "micro_batch_size")}
        objective = LossAtTime(
            device=load_device(f"{device}-datasheet"),
            law=load_law("besiroglu-2024"),
            time_budget_s=1.0,
            n_chips=fact["n_devices"],
            **{name: value for name, value in told.items() if value is not None},
        )
        arch = Architecture.from_shape(**{name: fact[name] for name in SHAPE})
        how = objective.cost(arch).execution.columns(arch)
        kept = {name: fact[name] for name in ("precision", "step_time_s")}
        kept["n_chips"] = fact["n_devices"]
        row = {name: getattr(arch, name) for name in [*ARCHITECTURE, "batch_size"]} | kept
        row |= {name: how[name] for name in EXECUTION} | {"software": fact["software"]}
        rows.append(row)
    return pd.DataFrame(rows)


def gemstones(path: Path) -> Iterator[Table]:
    """Likewise of one die of an MI250X, a row a shape."""
    rows = pd.read_csv(path).rename(columns=RENAMED)
    rows = rows.drop_duplicates(["d_model", "n_layers", "n_chips", "step_time_s"])
    rows = rows[[*ARCHITECTURE, "batch_size", "n_chips", "step_time_s"]].assign(
        sharding="full",
        attention="fused",
        precision="bf16",
        software="PyTorch with AxoNN (Gemstones)",
    )
    yield "mi250x", "mi250x-datasheet", "McLeish et al. 2025, arXiv:2502.06857", rows


def vtrain(path: Path) -> Iterator[Table]:
    """Likewise of a node of A100 GPUs; no preset is made of it."""
    read = pd.read_csv(path, encoding="utf-8-sig")
    rows = pd.DataFrame({ours: read[theirs] for theirs, ours in VTRAIN_COLUMNS.items()})
    n_split = read["data parallelism"]
    rows = rows.assign(
        n_accumulation=rows.batch_size // (n_split * rows.micro_batch_size),
        d_ff=4 * rows.d_model,
        vocab_size=50_257,
        remat="layer",
        attention="plain",
        precision="bf16",
        step_time_s=read["iteration time (ms)"] / 1e3,
        software="PyTorch, Megatron (vTrain)",
    )
    yield "vtrain", "a100-80gb-datasheet", "github.com/VIA-Research/vTrain", rows


def languini(path: Path) -> Iterator[Table]:
    """Likewise of a V100."""
    rows = pd.read_csv(path).query("source == 'languini' and device == 'v100-sxm'")
    columns = [*SHAPE, "micro_batch_size", "remat", "attention", "step_time_s", "software"]
    source = "github.com/languini-kitchen/languini-kitchen, projects/gpt/throughput_results.csv"
    yield "v100-sxm", "v100-sxm-datasheet", source, rows.filter(columns).assign(precision="float16")


def scores(name: str, fit: StepTimeFit, rows: pd.DataFrame) -> Iterator[dict[str, object]]:
    """Held-out errors of all rows, of each length and of each number of devices."""
    off = pd.Series(fit.heldout_s / rows.step_time_s.to_numpy() - 1, index=rows.index)
    groups = [("all", off)]
    groups += [(f"seq_len {n}", one) for n, one in off.groupby(rows.seq_len)]
    groups += [
        (f"{split} {n}", one)
        for split in ("n_chips", "tensor_parallel", "pipeline_parallel")
        if split in rows
        for n, one in off.groupby(rows[split])
    ]
    for group, one in groups:
        yield {
            "device": name,
            "model": fit.model.name,
            "rows": group,
            "n": len(one),
            "mean_error": one.abs().mean(),
            "mean_off": one.mean(),
            "worst": one.loc[one.abs().idxmax()],
        }


SOURCES = {
    "llm-foundry": llm_foundry, "gemstones": gemstones, "vtrain": vtrain, "languini": languini,
}  # fmt: skip


def main() -> None:
    """Fit, ship what becomes a preset, and write the scores."""
    parser = argparse.ArgumentParser()
    parser.add_argument("source", choices=list(SOURCES))
    parser.add_argument("file", type=Path)
    given = parser.parse_args()
    found: list[dict[str, object]] = []
    for name, datasheet, source, rows in SOURCES[given.source](given.file):
        with tempfile.TemporaryDirectory() as folder:
            table = Path(folder) / f"{given.source}.csv"
            rows.to_csv(table, index=False)
            out = PRESETS / "devices" / "published" / f"{name}.toml"
            if given.source == "vtrain":
                out = Path(folder) / "vtrain.toml"
            calibrated = calibrate_table(out, table, load_device(datasheet), source=source)
        beyond = calibrated.device.calibration["n_beyond_memory"]
        print(f"{name}: {len(rows) - beyond} of {len(rows)} steps, which all ran, fit by our count")
        for warning in calibrated.warnings:
            print(f"{name}: {warning}")
        found += scores(name, calibrated.fits[0], rows)
    new = pd.DataFrame(found)
    if SCORES.exists():
        old = pd.read_csv(SCORES)
        new = pd.concat([old[~old.device.isin(set(new.device))], new])
    new.to_csv(SCORES, index=False, float_format="%.3f")
    print(pd.DataFrame(found).round(3).to_string(index=False))


if __name__ == "__main__":
    main()
