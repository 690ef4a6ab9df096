"""Which numbers ship as presets? Those measured on a core and a GPU, and those of TPUs' compiler.

Command: anybudget calibrate --out experiments/cpu_core/device.toml
         python experiments/presets/presets.py
         (first h100.py for the GPU, and for TPUs the commands of tpu_compile.py)
Wall time: 12 minutes for the first, which is timed and wants an otherwise idle core; 10 s.
Expected: step times within 8% of shapes left out (found: 8.5% on the core, 3.9% on the GPU), losses
within 1.5% (1.3%).

Writes cpu-core.toml and h100-sxm-measured.toml in presets/devices/measured from what `calibrate`
left in cpu_core/ and h100/, tpu-*.toml in compiled/ from what `calibrate --topology` left in
tpu_compile/, and presets/laws/python-source.toml, fitted to the runs of `loss_law.py`; their draws
go beside them.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import tomli_w

from anybudget.files.read import read_toml
from anybudget.objectives.fit.report import report_law
from anybudget.presets.presets import load_device, save_law

EXPERIMENTS = Path(__file__).parents[1]
CPU, GPU = (EXPERIMENTS / name / "device.toml" for name in ("cpu_core", "h100"))
COMPILED = EXPERIMENTS / "tpu_compile"
RUNS = EXPERIMENTS / "loss_law" / "python.csv"
PRESETS = EXPERIMENTS.parent / "presets"
# Ours, not measured: what a laptop can spare.
MEMORY_BYTES = 16e9


def ship_cpu() -> dict[str, Any]:
    """One core, as it was calibrated."""
    device = read_toml(CPU)
    device |= {
        "name": "cpu-core",
        "memory_bytes": MEMORY_BYTES,
        "source": (
            f"one core of an {measured(device)}, rows in experiments/cpu_core; memory: our "
            "assumption of what a laptop can spare"
        ),
    }
    return ship(device, CPU)


def ship_gpu() -> dict[str, Any]:
    """One H100, as it was calibrated, with the links of its datasheet."""
    device = read_toml(GPU)
    device |= {
        "name": "h100-sxm-measured",
        "interconnect_bytes_per_s": load_device("h100-sxm-datasheet").interconnect_bytes_per_s,
        "source": (
            f"one {measured(device)}, rows in experiments/h100; memory: what JAX takes of 80 GB "
            "unless told otherwise; NVLink: NVIDIA H100 SXM datasheet, 900 GB/s both ways"
        ),
    }
    return ship(device, GPU)


def measured(device: dict[str, Any]) -> str:
    """On which machine, and when."""
    machine, date = device["calibration"]["machine"], device["calibration"]["date"][:10]
    return f"{machine}, measured {date} by anybudget calibrate"


def ship_tpus() -> list[dict[str, Any]]:
    """Every chip that was calibrated by its compiler."""
    return [ship(read_toml(path), path) for path in sorted(COMPILED.glob("v*.toml"))]


def ship(device: dict[str, Any], calibrated: Path) -> dict[str, Any]:
    """Write a device as a preset, and copy its draws from beside the calibrated file."""
    path = PRESETS / "devices" / device["basis"] / f"{device['name']}.toml"
    path.write_text(tomli_w.dumps(device), encoding="utf-8")
    shutil.copy(calibrated.with_suffix(".draws.csv"), path.with_suffix(".draws.csv"))
    return device


def ship_law() -> None:
    """The law of Python source, with its draws."""
    runs = pd.read_csv(RUNS)
    report = report_law(
        {str(name): runs[name].to_numpy() for name in runs.columns},
        name="python-source",
        source=(
            f"{len(runs)} runs of 24 thousand to 2.7 million parameters on the source text of "
            "Python and of our dependencies, vocabulary 1,024, windows of 128, by "
            "experiments/loss_law"
        ),
        huber_delta=0,
    )
    assert report.draws is not None
    save_law(PRESETS / "laws" / "python-source.toml", report.law, report.draws.values)
    print(f"{report.law.formula}, further terms: {report.form}; {report.fit.values}")
    print(report.scores)


if __name__ == "__main__":
    for device in (ship_cpu(), ship_gpu(), *ship_tpus()):
        print(device["name"], device["calibration"]["heldout"])
    ship_law()
