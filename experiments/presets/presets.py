"""Which numbers ship as presets? Those measured on a core and a GPU, and those of TPUs' compiler.

Command: python experiments/presets/presets.py
         (first cpu_core.py for cores, h100.py for the GPU, and for TPUs the commands of
         tpu_compile.py; cpu-core is from `anybudget calibrate`, when its attention was plain)
Wall time: 10 s.
Expected: step times within 8% of shapes left out (found: 8.5% on the core without AVX-512, 3.9% on
the GPU), losses within 1.5% (1.3%).

Writes cpu-core*.toml and h100-sxm-measured.toml in presets/devices/measured from what `calibrate`
left in cpu_core/ and h100/, tpu-*.toml in compiled/ from what `calibrate --topology` left in
tpu_compile/, and presets/laws/python-source.toml, fitted to the runs of `loss_law.py`; their draws
go beside them. `presets.py FILE.toml ...` lets files and draws that are edited by hand, or older
than the fingerprints that they bear, name each other again.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tomli_w

from anybudget.files.read import build, read_toml
from anybudget.files.write import write_together
from anybudget.objectives.device import Device
from anybudget.objectives.fit.report import Fitting, report_law
from anybudget.objectives.law.loss_law import LossLaw
from anybudget.presets.devices import KnownDevice, known_device, load_device, save_device
from anybudget.presets.drawn import Reference, draws_path, draws_text
from anybudget.presets.laws import KnownLaw, save_law

EXPERIMENTS = Path(__file__).parents[1]
GPU = EXPERIMENTS / "h100/device.toml"
# Of processors without AVX-512, with it, and with AMX.
CORES = {"cpu-core": "device", "cpu-core-avx512": "avx512", "cpu-core-amx": "amx"}
COMPILED = EXPERIMENTS / "tpu_compile"
RUNS = EXPERIMENTS / "loss_law" / "python.csv"
PRESETS = EXPERIMENTS.parent / "presets"
# Ours, not measured: what a laptop can spare.
MEMORY_BYTES = 16e9


def ship_cpus() -> list[Device]:
    """One core of each kind, as it was calibrated."""
    shipped = []
    for name, rows in CORES.items():
        path = EXPERIMENTS / "cpu_core" / f"{rows}.toml"
        source = (
            f"one core of an {measured(path)}, rows in experiments/cpu_core; memory: our "
            "assumption of what a laptop can spare"
        )
        shipped.append(ship({"name": name, "memory_bytes": MEMORY_BYTES, "source": source}, path))
    return shipped


def ship_gpu() -> Device:
    """One H100, as it was calibrated, with the links of its datasheet."""
    changes = {
        "name": "h100-sxm-measured",
        "interconnect_bytes_per_s": load_device("h100-sxm-datasheet").interconnect_bytes_per_s,
        "source": (
            f"one {measured(GPU)}, rows in experiments/h100; memory: what JAX takes of 80 GB "
            "unless told otherwise; NVLink: NVIDIA H100 SXM datasheet, 900 GB/s both ways"
        ),
    }
    return ship(changes, GPU)


def measured(path: Path) -> str:
    """On which machine, and when."""
    facts = known_device(str(path)).device.calibration
    machine, date = facts["machine"], facts["date"][:10]
    return f"{machine}, measured {date} by anybudget calibrate"


def ship_tpus() -> list[Device]:
    """Every chip that was calibrated by its compiler."""
    return [ship({}, path) for path in sorted(COMPILED.glob("v*.toml"))]


def ship(changes: dict[str, Any], calibrated: Path) -> Device:
    """Write a calibrated device as a preset, with its draws."""
    known = known_device(str(calibrated))
    device = dataclasses.replace(known.device, **changes)
    path = PRESETS / "devices" / device.basis / f"{device.name}.toml"
    save_device(path, dataclasses.replace(known, device=device))
    return device


def pair(path: Path) -> None:
    """Let a law or device and the draws beside it name each other, whichever they are."""
    beside = draws_path(path)
    lines = [line for line in beside.read_text().splitlines() if not line.startswith("#")]
    fields = read_toml(path)
    fields.pop("draws", None)
    draws = np.array([[float(cell) for cell in line.split(",")] for line in lines[1:]])
    known = (
        KnownLaw(law=build(LossLaw, fields, str(path)), draws=draws)
        if "alpha" in fields
        else KnownDevice(device=build(Device, fields, str(path)), draws=draws)
    )
    assert lines[0] == ",".join(known.names), path
    text = draws_text(draws, known.names, known.fingerprint)
    kept = path.read_text().partition("\n[draws]\n")[0].rstrip("\n")
    named = tomli_w.dumps({"draws": dataclasses.asdict(Reference.of(text))})
    write_together({beside: text, path: f"{kept}\n\n{named}"})


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
        fitting=Fitting(huber_delta=0),
    )
    assert report.draws is not None
    save_law(PRESETS / "laws" / "python-source.toml", KnownLaw.of(report))
    print(f"{report.law.formula}, further terms: {report.form}; {report.fit.values}")
    print(report.scores)


def main() -> None:
    """Ship all, or pair the files that are named."""
    if paths := sys.argv[1:]:
        for path in paths:
            pair(Path(path))
        return
    for device in (*ship_cpus(), ship_gpu(), *ship_tpus()):
        print(device.name, device.calibration["heldout"])
    ship_law()


if __name__ == "__main__":
    main()
