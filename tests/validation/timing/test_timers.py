"""Calibrating on an engine gives the rows and the device that one process gives."""

from pathlib import Path

import pytest

from anybudget.machines.engines import Engine
from anybudget.machines.job import find_function
from anybudget.machines.machine import count_cores
from anybudget.presets.devices import load_device
from anybudget.validation.runs import read_rows
from anybudget.validation.timing import calibrate as module
from anybudget.validation.timing import timers
from anybudget.validation.timing.calibrate import SIDE_BY_SIDE, calibrate
from anybudget.validation.timing.step_design import Effort
from anybudget.validation.timing.step_rows import StepRow

FUNCTIONS = Path(__file__).parents[2] / "machines" / "engine_jobs.py"
EFFORT = Effort(n_architectures=12, seconds=0.1, max_step_s=0.1, max_layers=4)


@pytest.fixture
def fake(monkeypatch):
    """A machine whose jobs answer at once, whichever process they are in."""
    monkeypatch.setattr(timers, "time_job", find_function(f"{FUNCTIONS}:timing"))
    monkeypatch.setattr(module, "PASSES", 1)
    monkeypatch.setattr(module, "survey_job", find_function(f"{FUNCTIONS}:survey"))


@pytest.mark.skipif(count_cores() < 2, reason="two workers need two cores")
def test_two_workers_calibrate_as_one(fake, tmp_path):
    devices, rows = [], []
    for n_workers in (1, 2):
        path = tmp_path / f"{n_workers}.toml"
        found = calibrate(path, effort=EFFORT, engine=Engine(n_workers=n_workers, n_cores=1))
        assert (SIDE_BY_SIDE in found.warnings) == (n_workers == 2)
        assert found.n_new == 12
        devices.append(load_device(str(path)))
        rows.append(read_rows(path.with_suffix(".csv"), StepRow))
        assert not path.with_suffix(".jobs").exists()
    one, two = ({row.key: row.model_dump(exclude={"measured"}) for row in some} for some in rows)
    assert one == two
    assert devices[0].step_time == devices[1].step_time
    draws = [(tmp_path / f"{n}.draws.csv").read_text() for n in (1, 2)]
    assert draws[0] == draws[1]


def test_workers_on_unlike_machines_are_refused(fake, monkeypatch, tmp_path):
    def another(path, *args, **kwargs):
        survey = timers.Survey(**find_function(f"{FUNCTIONS}:survey")(rates=None))
        survey.setting["machine"] = "Abacus 2"
        return dict(vars(survey))

    monkeypatch.setattr(Engine, "call", another)
    with pytest.raises(ValueError, match="workers must be machines alike, but one is"):
        calibrate(tmp_path / "d.toml", effort=EFFORT, engine=Engine())
    assert not (tmp_path / "d.toml").exists()
