import dataclasses

import jax

from anybudget.machines import machine
from anybudget.machines.machine import cpu_name
from anybudget.objectives.cost.step_time import StepTimeModel
from anybudget.validation import backend
from anybudget.validation.backend import compute_dtype, machine_name, machine_warning


def test_a_cpu_is_named_as_its_processor():
    assert cpu_name() == machine_name("cpu")


def test_a_cpu_with_amx_multiplies_in_bfloat16_where_jax_reaches_it(monkeypatch):
    assert [compute_dtype(kind) for kind in ("cpu", "gpu", "tpu")] == [
        "float32", "bfloat16", "bfloat16",
    ]  # fmt: skip
    monkeypatch.setattr(backend, "has_amx", lambda: True)
    monkeypatch.setattr(jax, "__version_info__", (0, 10, 2))
    assert [compute_dtype("cpu", n_chips) for n_chips in (1, 2)] == ["bfloat16", "float32"]
    for release in ((0, 9, 1), (0, 12, 0)):
        monkeypatch.setattr(jax, "__version_info__", release)
        assert compute_dtype("cpu") == "float32"


def test_a_device_of_another_machine_is_warned_of(device):
    model = StepTimeModel(name="flops", seconds_per_unit={"flops": 1e-12, "steps": 0.0})

    def calibrated_on(machine):
        return dataclasses.replace(
            device, step_time=model, basis="measured", calibration={"machine": machine}
        )

    assert machine_warning(device) is None  # from a datasheet
    assert machine_warning(calibrated_on(cpu_name())) is None
    warning = machine_warning(calibrated_on("Abacus 2"))
    assert "toy was calibrated on Abacus 2, but this machine is " + cpu_name() in (warning or "")


def test_a_plan_for_an_accelerator_elsewhere_is_no_mistake(device, monkeypatch):
    gpu = dataclasses.replace(
        device,
        kind="gpu",
        step_time=StepTimeModel(name="flops", seconds_per_unit={"flops": 1e-12, "steps": 0.0}),
        basis="measured",
        calibration={"machine": "Abacus 100"},
    )
    monkeypatch.setattr(machine, "ACCELERATORS", ())
    assert machine_warning(gpu) is None
    monkeypatch.setattr(machine, "ACCELERATORS", ("/",))
    assert "calibrated on Abacus 100" in (machine_warning(gpu) or "")
