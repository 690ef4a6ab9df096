"""Calibration: timings that survive a kill, a device that find picks up."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from anybudget import cli
from anybudget.files.places import calibrated_device_path
from anybudget.objectives.cost.execution import Execution
from anybudget.objectives.cost.step_time import MODELS, StepTimeModel
from anybudget.presets.devices import load_device
from anybudget.show.terminal.calibration import show_calibration
from anybudget.space.architecture import Architecture
from anybudget.validation.runs import append_row, read_rows
from anybudget.validation.timing import timers as module
from anybudget.validation.timing.calibrate import calibrate
from anybudget.validation.timing.step_clock import StepTiming
from anybudget.validation.timing.step_design import QUICK, Effort, Limits, choose_architectures
from anybudget.validation.timing.step_rows import StepRow

EFFORT = Effort(n_architectures=12, seconds=0.1, max_step_s=0.1, max_layers=4)
LIMITS = Limits(
    peak_flops_per_s=1e11, bandwidth_bytes_per_s=1e10, memory_bytes=2e10, bytes_per_element=4
)
PAPER = StepTimeModel(
    name="paper",
    seconds_per_unit={"memcpys": 8e-10, "flops": 2e-11, "steps": 1e-4, "attention": 3e-11},
)


class FakeStep:
    """Takes the paper model's time, times the next of its architecture's `factors`."""

    factors: dict[Architecture, list[float]]
    n_timed = 0
    kill_at: int | None = None

    def __init__(self, arch, backend, execution):
        self.arch, self.execution = arch, execution

    def time(self, seconds):
        """One timing."""
        cls = type(self)
        if cls.n_timed == cls.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        cls.n_timed += 1
        left = cls.factors.get(self.arch, [])
        factor = left.pop(0) if left else 1.0
        return StepTiming(
            step_time_s=factor * PAPER.step_time_s(self.arch, self.execution),
            step_time_spread=0.01,
            core_share=0.99,
            n_steps=10,
        )


@pytest.fixture
def fake(monkeypatch):
    """A quiet machine whose steps take what the paper's model says."""
    step = type("Step", (FakeStep,), {"factors": {}})
    monkeypatch.setattr(module, "CompiledStep", step)
    monkeypatch.setattr(module, "peak_matmul_flops_per_s", lambda dtype: LIMITS.peak_flops_per_s)
    monkeypatch.setattr(module, "copy_bytes_per_s", lambda: LIMITS.bandwidth_bytes_per_s)
    return step


def test_a_device_is_fitted_written_and_found(fake):
    path = calibrated_device_path()
    found = calibrate(path, effort=EFFORT)
    device = load_device()
    assert device == found.device
    assert device.basis == "measured"
    assert set(device.calibration["heldout"]) == set(MODELS)
    assert device.calibration["heldout"]["paper"]["mape"] < 1e-6
    arch = choose_architectures(EFFORT, LIMITS, seed=5)[0]
    found_s, expected_s = (
        model.step_time_s(arch, Execution(attention="fused"))
        for model in (device.step_time_model, PAPER)
    )
    assert found_s == pytest.approx(expected_s, rel=1e-4)
    rows = read_rows(path.with_suffix(".csv"), StepRow)
    assert len(rows) == 2 * 12 == found.n_new
    draws = np.genfromtxt(path.with_suffix(".draws.csv"), delimiter=",", names=True, skip_header=1)
    assert draws.dtype.names == (*MODELS[found.fits[0].model.name], "attention")
    assert found.warnings == []


def test_repeats_that_disagree_are_repeated_until_two_agree(fake, tmp_path):
    design = choose_architectures(EFFORT, LIMITS, seed=0)
    fake.factors = {design[3]: [1.5], design[5]: [1.5, 1.0, 2.5, 1.2]}
    found = calibrate(tmp_path / "d.toml", effort=EFFORT)
    rows = read_rows(tmp_path / "d.csv", StepRow)
    n_repeats = [sum(row.architecture == arch for row in rows) for arch in design]
    assert n_repeats == [2, 2, 2, 3, 2, 4] + [2] * 6
    # The fastest pass counts, so the fit is as on a quiet machine.
    assert found.device.calibration["heldout"]["paper"]["mape"] < 1e-6
    assert found.device.calibration["n_unsettled"] == 1
    assert any("repeats of 1 of 12" in warning for warning in found.warnings)


KILLED = """
import sys, pathlib
sys.path.insert(0, {tests!r})
import test_calibrate as t
step = type("Step", (t.FakeStep,), {{"factors": {{}}, "kill_at": 17}})
t.module.CompiledStep = step
t.module.peak_matmul_flops_per_s = lambda dtype: t.LIMITS.peak_flops_per_s
t.module.copy_bytes_per_s = lambda: t.LIMITS.bandwidth_bytes_per_s
t.module.compute_dtype = lambda kind: "float32"
t.calibrate(pathlib.Path({path!r}), effort=t.EFFORT)
"""


def test_after_a_kill_it_goes_on_with_no_row_twice_and_none_lost(fake, tmp_path, monkeypatch):
    path = tmp_path / "d.toml"
    script = KILLED.format(tests=os.path.dirname(__file__), path=str(path))
    killed = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    assert not path.exists()
    before = read_rows(path.with_suffix(".csv"), StepRow)
    assert len(before) == 17
    # The matmul's rate is measured anew, but the design is that of the first run.
    monkeypatch.setattr(
        module, "peak_matmul_flops_per_s", lambda dtype: 3 * LIMITS.peak_flops_per_s
    )
    found = calibrate(path, effort=EFFORT)
    rows = read_rows(path.with_suffix(".csv"), StepRow)
    assert rows[:17] == before
    assert len({row.key for row in rows}) == len(rows) == 24
    assert {row.architecture for row in rows} == set(choose_architectures(EFFORT, LIMITS, seed=0))
    assert found.n_new == 7
    again = calibrate(path, effort=EFFORT)
    assert again.n_new == 0
    assert "measured before" in again.warnings[-1]
    assert again.device == found.device


def test_a_rate_above_the_devices_is_flagged(fake, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "peak_matmul_flops_per_s", lambda dtype: 0.9 / 2e-11)
    found = calibrate(tmp_path / "d.toml", effort=EFFORT)
    assert found.implied_rates["peak_flops_per_s"] == pytest.approx(5e10, rel=1e-3)
    assert any("above the chip's 4.5e+10" in warning for warning in found.warnings)


def test_rows_of_another_machine_are_refused(fake, tmp_path):
    calibrate(tmp_path / "d.toml", effort=EFFORT)
    rows = read_rows(tmp_path / "d.csv", StepRow)
    (tmp_path / "d.csv").unlink()
    for row in rows:
        append_row(tmp_path / "d.csv", row.model_copy(update={"machine": "Abacus 2"}))
    with pytest.raises(ValueError, match=r"d\.csv holds timings with machine 'Abacus 2', but here"):
        calibrate(tmp_path / "d.toml", effort=EFFORT)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("d.csv", r"--out must end in \.toml"),
        ("file/d.toml", r"file cannot be written"),
        ("folder.toml", "cannot be written: it is a folder"),
        ("other.toml", r"other\.csv must have the columns d_model,"),
    ],
)
def test_bad_files_are_refused_before_anything_is_timed(fake, tmp_path, name, message):
    (tmp_path / "file").touch()
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=message):
        calibrate(tmp_path / name, effort=EFFORT)
    assert fake.n_timed == 0
    assert (tmp_path / "other.csv").read_text() == "a,b\n1,2\n"


def test_the_command_prints_json_or_a_table(fake, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("anybudget.machines.machine.pin_cores", lambda cores: None)
    monkeypatch.setattr("anybudget.machines.host.keep_freed_memory", lambda: True)
    path = tmp_path / "d.toml"
    monkeypatch.setattr(
        sys, "argv", ["anybudget", "calibrate", "--quick", "--json", "--out", str(path)]
    )
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    answer = json.loads(capsys.readouterr().out)
    assert answer["device"]["basis"] == "measured"
    assert answer["warnings"] == []
    lines = list(show_calibration(calibrate(path, effort=QUICK), path))
    assert lines[-1] == f"Written to {path}"
