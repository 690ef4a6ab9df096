"""A device calibrated by its compiler: rows that survive a kill, a device that says what it is."""

import dataclasses
import json
import sys

import numpy as np
import pytest

from anybudget import cli
from anybudget.files.places import calibrated_device_path
from anybudget.machines.engines import Engine
from anybudget.objectives.cost.execution import PLAIN
from anybudget.objectives.cost.step_time import MODELS, StepTimeModel
from anybudget.objectives.loss_at_time import LossAtTime
from anybudget.objectives.uncertainty import SOFTWARE_SPREAD
from anybudget.presets.devices import load_device
from anybudget.presets.known import known
from anybudget.presets.laws import load_law
from anybudget.show.terminal.calibration import show_calibration
from anybudget.validation.compiler import calibrate as module
from anybudget.validation.compiler.calibrate import QUICK, calibrate_compiled, design_for
from anybudget.validation.compiler.compiled import Compiled
from anybudget.validation.compiler.hlo.time import TERMS, ProgramTime
from anybudget.validation.compiler.rows import CompileRow
from anybudget.validation.compiler.topology import parse_topology
from anybudget.validation.runs import read_rows

CHIP = "v5e:1x1"
PAPER = StepTimeModel(
    name="paper", seconds_per_unit={"memcpys": 4e-12, "flops": 8e-15, "steps": 1e-4}
)


@pytest.fixture
def compiler(monkeypatch):
    """A compiler that estimates what the paper's model says; returns what it was asked."""
    asked = []

    def compile_for(arch, topology, execution, *, timeout_s):
        asked.append((arch, topology.name, execution, timeout_s))
        slow = asked_in_vain(arch)
        seconds = dict.fromkeys(TERMS, 0.0) | {"compute": float(PAPER.step_time_s(arch))}
        return Compiled(
            arch=arch,
            topology=topology,
            execution=execution,
            fits=True,
            memory_bytes=10**9,
            time=None if slow else ProgramTime(seconds=seconds),
            versions={"jax": "1", "libtpu": "2"},
        )

    slow_archs = []

    def asked_in_vain(arch):
        return arch in slow_archs

    monkeypatch.setattr(module, "compile_for", compile_for)
    monkeypatch.setattr(module, "require_compiler", lambda: None)
    compile_for.asked, compile_for.slow = asked, slow_archs
    return compile_for


def test_a_device_of_a_chip_that_is_not_here(compiler, tmp_path):
    path = tmp_path / "v5e.toml"
    found = calibrate_compiled(path, CHIP, effort=QUICK, timeout_s=60)
    device = load_device(str(path))
    assert device == found.device
    sheet = load_device("tpu-v5e-datasheet")
    assert device.basis == "compiled"
    assert device.label == "tpu-v5e (compiled)"
    assert device.peak_flops_per_s == sheet.peak_flops_per_s
    assert device.interconnect_bytes_per_s == sheet.interconnect_bytes_per_s
    assert "not measured" in device.source
    assert set(device.calibration["heldout"]) == set(MODELS)
    assert device.calibration["heldout"]["paper"]["mape"] < 1e-6
    arch = compiler.asked[0][0]
    assert device.step_time_model.step_time_s(arch) == pytest.approx(
        PAPER.step_time_s(arch), rel=1e-4
    )
    assert compiler.asked[0][1:] == (CHIP, PLAIN, 60)
    assert "all times are the compiler's estimates: no chip has run these steps" in found.warnings
    shown = [line for line in show_calibration(found, path) if isinstance(line, str)]
    assert shown[0].startswith("v5e:1x1, bfloat16, its compiler's estimates: 1.97e+05 GFLOP/s")


def test_few_steps_of_a_new_generation_move_the_model_of_the_one_before(
    compiler, tmp_path, monkeypatch
):
    chip = parse_topology("tpu7x:1x1x1")
    # Half as long again as by the rates of both datasheets.
    assert chip.prior
    slower = {name: 1.5 * each for name, each in chip.prior.seconds_per_unit.items()}
    slow = dataclasses.replace(chip.prior, seconds_per_unit=slower)
    monkeypatch.setitem(globals(), "PAPER", slow)
    found = calibrate_compiled(tmp_path / "v7x.toml", chip.name, effort=QUICK)
    assert found.fits[0].from_prior
    assert found.fits[0].mape < 0.01
    assert found.device.calibration["moved_from"] == "tpu-v6e"
    assert found.device.name == "tpu-v7x"


def test_the_level_of_estimates_is_less_sure_than_their_fit(compiler, tmp_path):
    path = tmp_path / "v5e.toml"
    calibrate_compiled(path, CHIP, effort=QUICK)
    objective = LossAtTime(
        device=load_device(str(path)), law=load_law("besiroglu-2024"), time_budget_s=3600.0
    )
    draws = known(str(path), "besiroglu-2024").draws(objective)
    assert draws
    fitted = np.genfromtxt(path.with_suffix(".draws.csv"), delimiter=",", skip_header=2)
    levels = draws.seconds_per_unit[:, 1] / fitted[:, 1]
    assert np.std(np.log(levels)) == pytest.approx(SOFTWARE_SPREAD, rel=0.2)
    assert draws.seconds_per_unit[:, 0] == pytest.approx(levels * fitted[:, 0])


def test_what_is_there_is_not_compiled_again(compiler, tmp_path, monkeypatch):
    path = tmp_path / "v5e.toml"
    design = design_for(parse_topology(CHIP), QUICK, 0)
    compiler.slow.append(design[4])
    whole = module.compile_for

    def killed(arch, *args, **options):
        if len(compiler.asked) == 5:
            raise KeyboardInterrupt
        return whole(arch, *args, **options)

    monkeypatch.setattr(module, "compile_for", killed)
    with pytest.raises(KeyboardInterrupt):
        calibrate_compiled(path, CHIP, effort=QUICK)
    monkeypatch.setattr(module, "compile_for", whole)
    rows = read_rows(path.with_suffix(".csv"), CompileRow)
    assert [row.architecture for row in rows] == design[:5]
    found = calibrate_compiled(path, CHIP, effort=QUICK)
    assert [asked[0] for asked in compiler.asked] == design
    assert found.n_new == 7
    assert found.device.calibration["n_architectures"] == 11
    assert any(
        warning.startswith("1 architectures have no step time") for warning in found.warnings
    )
    again = calibrate_compiled(path, CHIP, effort=QUICK)
    assert (again.n_new, again.device) == (0, found.device)
    with pytest.raises(ValueError, match=r"v5e\.csv holds steps compiled for v5e:1x1, not v6e:1x1"):
        calibrate_compiled(path, "v6e:1x1", effort=QUICK)


def test_when_nothing_compiles_in_time_it_says_so(compiler, tmp_path):
    compiler.slow.extend(design_for(parse_topology(CHIP), QUICK, 0))
    with pytest.raises(
        ValueError, match=r"no step compiled within 7 s; remove .*v5e\.csv and give"
    ):
        calibrate_compiled(tmp_path / "v5e.toml", CHIP, effort=QUICK, timeout_s=7)


def test_an_engine_compiles_in_jobs(compiler, tmp_path, monkeypatch):
    labels = []

    def run(engine, jobs, folder):
        labels.extend(job.label for job in jobs)
        assert {job.function for job in jobs} == {
            "anybudget.validation.compiler.calibrate:compile_job"
        }
        for job in reversed(jobs):
            yield job, json.loads(json.dumps(module.compile_job(**job.arguments)))

    monkeypatch.setattr(Engine, "run", run)
    path = tmp_path / "a.toml"
    by_jobs = calibrate_compiled(path, CHIP, effort=QUICK, engine=Engine(name="local"))
    assert len(labels) == 12
    alone = calibrate_compiled(tmp_path / "b.toml", CHIP, effort=QUICK)
    assert by_jobs.device.step_time == alone.device.step_time


@pytest.mark.parametrize(
    ("topology", "message"),
    [
        ("v5e:2x2", "--topology must be of one chip to calibrate it, but got v5e:2x2"),
        ("v9:1x1", "no TPU generation is called 'v9'"),
    ],
)
def test_a_wrong_topology_is_one_line(run_cli, topology, message):
    code, _, error = run_cli("calibrate", "--topology", topology)
    assert code == 2
    assert message in error


def test_the_command_without_the_compiler_says_what_to_install(run_cli, monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, _, error = run_cli("calibrate", "--topology", CHIP, "--out", str(tmp_path / "d.toml"))
    assert code == 2
    assert "the TPU's compiler is not installed; pip install" in error


def test_the_command_leaves_this_machines_device_alone(compiler, run_cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = run_cli("calibrate", "--topology", CHIP, "--quick", "--json")
    assert code == 0
    assert json.loads(out)["device"]["basis"] == "compiled"
    assert (tmp_path / "v5e-1x1.toml").is_file()
    assert not calibrated_device_path().exists()


@pytest.fixture
def run_cli(monkeypatch, capsys):
    """Run the command line; its exit code, stdout and stderr."""

    def run(*args):
        monkeypatch.setattr(sys, "argv", ["anybudget", *args])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code or 0, *capsys.readouterr()

    return run
