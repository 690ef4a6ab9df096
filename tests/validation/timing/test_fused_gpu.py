"""The prepared script for a GPU runs whole, at toy size."""

import subprocess
import sys
from pathlib import Path

import pytest

from anybudget.presets.devices import load_device
from anybudget.validation.timing.step_table import read_step_table

SCRIPT = Path(__file__).parents[3] / "experiments/fused_gpu/fused_gpu.py"


def test_the_script_for_a_gpu_writes_tables_that_calibrate_reads(tmp_path):
    pytest.importorskip("torch")
    done = subprocess.run(
        [sys.executable, SCRIPT, tmp_path, "--toy"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "ours_over_torch" in done.stdout
    device = load_device("h100-sxm-datasheet")
    for name in ("jax", "torch"):
        table = read_step_table(tmp_path / f"{name}.csv", device)
        assert len(table.rows) == 3
    assert len((tmp_path / "kernels.csv").read_text().splitlines()) == 1 + 2 * 2 * 2
