"""Are layouts told better where a pass pays less for what it does not need rows for?

Command: python experiments/public_layouts/passes.py LAYOUTS LLM_FOUNDRY_STEPS.csv
Wall time: 2 minutes; needs openpyxl.
Expected: layouts in their measured order, and no public row told worse.

Matmuls copy weights in every pass, and `a100-80gb` and `h100-sxm` charge for it what they learnt
from steps whose chips gather weights in every pass. Here A100 and H100 are fitted to the same
steps (`published_gpu.py`) in other forms: without weights' copies, without layers' overhead as
well, and the former fitted to the layouts of 13 billion parameters too. passes.csv has the
error of shapes left out, what a link sends by the fit, and the errors of public_steps/facts.csv and
of the layouts by the devices so fitted. None of this ships.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

from anybudget.experiments.public_layouts.public_layouts import (
    HERE,
    NEWEST,
    SEQUENCES,
    SHAPES,
    VOCAB_SIZE,
    rows_of,
    score,
)
from anybudget.experiments.public_steps.public_steps import HERE as STEPS
from anybudget.experiments.public_steps.public_steps import TOLD, asked, off
from anybudget.experiments.published_gpu.published_gpu import llm_foundry
from anybudget.objectives.cost import features, step_time
from anybudget.objectives.cost.counts import layer_matmuls, logits_matmul, summed
from anybudget.objectives.cost.execution import Execution, Parts, by_choice
from anybudget.objectives.cost.passes import PASSES, matmul_passes
from anybudget.objectives.fit.step_time import fit_step_time
from anybudget.presets.devices import KnownDevice, load_device, save_device
from anybudget.space.decoder import Model
from anybudget.validation.timing.step_table import read_step_table

FORMS = {
    "as it ships": "",
    "no weights' copies": "rows_overhead",
    "nor layers' overhead": "rows",
    "no weights' copies, fitted to 13B too": "rows_overhead",
}
OF_13B = "no weights' copies, fitted to 13B too"
SOURCES = ["Megatron-LM 2021", "Korthikanti 2022", "MegaScale's Megatron-LM", "MT-NLG", "InternLM"]


def row_memcpys_by_part(arch: Model, execution: Execution) -> Parts:
    """Elements that matmuls read and write, but for their weights."""

    def parts(one: Execution) -> Parts:
        blocks = summed(
            (mm.part, matmul_passes(mm.part, one) * mm.n_layers * (mm.memcpys - mm.n_params))
            for mm in layer_matmuls(arch, one)
        )
        last = logits_matmul(arch)
        return blocks | {"logits": PASSES * (last.memcpys - last.n_params)}

    return by_choice(execution, parts)


features.FEATURES["row_memcpys"] = features.FEATURES["memcpys"]._replace(units=row_memcpys_by_part)
step_time.MODELS["rows"] = ("row_memcpys", "flops", "steps")
step_time.MODELS["rows_overhead"] = ("row_memcpys", "flops", "layers", "steps")


def as_steps(layouts: Any) -> pd.DataFrame:
    """Timed layouts as `published_gpu` has its rows."""
    rows = []
    for row in layouts.to_dict("records"):
        shape, batch = SHAPES[row["model"]], SEQUENCES[row["seq_len"]]
        split = row["n_devices"] // (row["tensor_parallel"] * row["pipeline_parallel"])
        kept = ("remat", "micro_batch_size", "tensor_parallel", "pipeline_parallel", "seq_len")
        rows.append(shape | {name: row[name] for name in kept} | {
            "n_kv_heads": shape["n_heads"], "d_head": shape["d_model"] // shape["n_heads"],
            "gated_mlp": True, "vocab_size": VOCAB_SIZE, "tied_embeddings": False,
            "batch_size": batch, "n_accumulation": batch // (split * row["micro_batch_size"]),
            "n_chips": row["n_devices"], "sharding": "optimizer", "attention": "fused",
            "precision": "bf16", "step_time_s": row["measured_s"], "software": "Hagemann et al.",
        })  # fmt: skip
    return pd.DataFrame(rows)


def fitted(form: str, steps: Path, layouts: Any, folder: Path) -> dict[str, Any]:
    """Device files of a form by preset, and what its fits say; nothing of the form that ships."""
    told: dict[str, Any] = {"devices": {}}
    for name, datasheet, _, rows in llm_foundry(steps):
        device = load_device(name)
        if FORMS[form]:
            if form == OF_13B and name == "a100-80gb":
                rows = rows.assign(tensor_parallel=1, pipeline_parallel=1)
                rows = pd.concat([rows, as_steps(layouts[layouts.model == "13B"])])
            table = folder / "steps.csv"
            rows.to_csv(table, index=False)
            read = read_step_table(table, load_device(datasheet)).steps
            fit = fit_step_time(dataclasses.replace(read, prior=None), FORMS[form])
            device = dataclasses.replace(device, step_time=fit.model)
            path = folder / f"{name}.toml"
            save_device(path, KnownDevice(device=device, draws=None))
            told["devices"][name] = str(path)
        seconds = device.step_time_model.seconds_per_unit
        heldout = fit.mape if FORMS[form] else device.calibration["heldout"]
        if isinstance(heldout, dict):
            heldout = heldout[device.step_time_model.name]["mape"]
        told |= {f"{name} held out": heldout, f"{name} link GB/s": 1e-9 / seconds["host_bytes"]}
    return told


def judged(devices: dict[str, str], layouts: Any) -> dict[str, float]:
    """Errors of the public rows and of the layouts by other devices."""
    facts: Any = pd.read_csv(STEPS / "facts.csv").astype(object)
    facts = facts.where(facts.notna(), None)
    found = []
    for fact in facts[facts.precision == "bf16"].to_dict("records"):
        named = fact["device"]
        try:
            found_one = asked(fact | {"device": devices.get(named, named)}, TOLD)
        except ValueError:
            continue
        ratio = fact["step_time_s"] / found_one.candidate.prediction.step_time_s
        found.append({"source": fact["source"], "device": named, "ratio": ratio})
    rows = pd.DataFrame(found)
    told = {"public rows": off(rows.ratio), "h100-sxm": off(rows.ratio[rows.device == "h100-sxm"])}
    told |= {source: off(rows.ratio[rows.source == source]) for source in SOURCES}
    by_layout: Any = pd.DataFrame(
        score(row, devices.get("a100-80gb", "a100-80gb")) for row in layouts.to_dict("records")
    )
    told |= {"layouts": off(by_layout.ratio), "layouts, median": by_layout.ratio.median()}
    for n, one in by_layout.groupby("micro_batch_size"):
        told[f"layouts, {n} sequences"] = one.ratio.median()
    return told


def main() -> None:
    """Fit every form, predict, print and write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("layouts", type=Path)
    parser.add_argument("steps", type=Path)
    given = parser.parse_args()
    every: Any = pd.concat(map(rows_of, sorted(given.layouts.rglob("*.xlsx")))).drop_duplicates()
    timed = every[every.measured_s.notna() & (every.kernel == NEWEST)]
    columns = {}
    with tempfile.TemporaryDirectory() as folder:
        for form in FORMS:
            told = fitted(form, given.steps, timed, Path(folder))
            devices = told.pop("devices")
            columns[form] = told | judged(devices, timed)
    table = pd.DataFrame(columns)
    table.to_csv(HERE / "passes.csv", index_label="error", float_format="%.3g")
    print(table.to_string(float_format="%.3g"))


if __name__ == "__main__":
    main()
