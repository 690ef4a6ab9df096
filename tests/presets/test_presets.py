"""Shipped devices and laws hold the published numbers; a user's own files are checked."""

import dataclasses

import pytest

from anybudget.files.places import calibrated_device_path
from anybudget.objectives.loss_at_time import LossAtTime
from anybudget.presets.devices import device_names, load_device
from anybudget.presets.known import known
from anybudget.presets.laws import law_names, load_law

DEVICE = """
name = "mine"
kind = "gpu"
peak_flops_per_s = 1e12
bandwidth_bytes_per_s = 1e11
memory_bytes = 8e9
dtype = "float32"
source = "its box"
"""
LAW = """
name = "mine"
E = 1.7
A = 400
B = 410
alpha = 0.34
beta = 0.28
n_convention = "total"
corpus = "C4"
source = "my runs"
n_params_range = [1e6, 1e9]
n_tokens_range = [1e8, 1e11]
"""


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        # Hoffmann et al. 2022, section 3.3; Besiroglu et al. 2024, table 1; Muennighoff et al.
        # 2023, appendix A (rounded there).
        ("hoffmann-2022", (1.69, 406.4, 410.7, 0.34, 0.28)),
        ("besiroglu-2024", (1.8172, 482.01, 2085.43, 0.3478, 0.3658)),
        ("muennighoff-2023", (1.87, 521, 1488, 0.353, 0.353)),
    ],
)
def test_laws_hold_the_published_numbers(name, numbers):
    law = load_law(name)
    assert law.name == name
    # Published to as few as three digits.
    assert (law.E, law.A, law.B, law.alpha, law.beta) == pytest.approx(numbers, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "tflops", "gb_per_s", "gb"),
    [
        # The makers' datasheets: dense bfloat16 peak, memory bandwidth, memory.
        ("tpu-v4", 275, 1228, 32),
        ("tpu-v5e-datasheet", 197, 819, 16),
        ("tpu-v5p-datasheet", 459, 2765, 95),
        ("tpu-v6e-datasheet", 918, 1640, 32),
        ("a100-80gb-datasheet", 312, 2039, 80),
        ("h100-sxm-datasheet", 989, 3350, 80),
        ("a100-40gb-datasheet", 312, 1555, 40),
        ("h200-sxm", 989, 4800, 141),
        ("b200-sxm", 2250, 8000, 180),
        ("l40s", 362, 864, 48),
        ("rtx-4090", 165, 1008, 24),
        ("rtx-3090", 71, 936, 24),
        ("v100-sxm", 125, 900, 32),
        ("mi250x-datasheet", 191.5, 1600, 64),
        ("apple-m1-max", 10.4, 400, 64),
    ],
)
def test_devices_hold_their_datasheets(name, tflops, gb_per_s, gb):
    device = load_device(name)
    assert device.name == name
    numbers = (device.peak_flops_per_s, device.bandwidth_bytes_per_s, device.memory_bytes)
    # Makers round to about three digits, and differ in what they call a gigabyte by less than 9%.
    assert numbers[:2] == pytest.approx((tflops * 1e12, gb_per_s * 1e9), rel=0.002)
    assert numbers[2] == pytest.approx(gb * 1e9, rel=0.09)


def test_every_preset_is_named_as_its_file_and_has_a_source():
    assert len(device_names()) >= 20
    assert len(law_names()) >= 3
    for name in device_names():
        assert load_device(name).name == name
        assert len(load_device(name).source) > 20
    for name in law_names():
        assert load_law(name).name == name
        assert len(load_law(name).source) > 20


def test_the_plain_name_is_the_best_there_is_on_the_hardware_of_its_datasheet():
    of_hardware = ("kind", "peak_flops_per_s", "memory_bytes", "interconnect_bytes_per_s")
    sheets = [name for name in device_names() if name.endswith("-datasheet")]
    assert len(sheets) == 9
    for name in sheets:
        sheet, best = load_device(name), load_device(name.removesuffix("-datasheet"))
        assert (sheet.basis, best.basis) in [("datasheet", "compiled"), ("datasheet", "published")]
        for field in of_hardware:
            assert getattr(sheet, field) == getattr(best, field)


@pytest.mark.parametrize(
    ("name", "most"),
    [("a100-40gb", 0.08), ("a100-80gb", 0.08), ("h100-sxm", 0.08), ("mi250x", 0.08)],
)
def test_published_devices_err_little_on_shapes_left_out_and_have_draws(name, most):
    device = load_device(name)
    model = device.step_time_model
    assert device.calibration["heldout"][model.name]["mape"] <= most
    assert model.times_attention
    assert model.times_links
    objective = LossAtTime(
        device=device, law=load_law("besiroglu-2024"), time_budget_s=60.0, attention="fused"
    )
    draws = known(name, "besiroglu-2024").draws(objective)
    assert draws is not None
    assert draws.seconds_per_unit.shape == (200, len(model.features))


def test_without_a_name_the_default_and_then_the_calibrated_one():
    assert load_device(None).name == "tpu-v5e"
    path = calibrated_device_path()
    path.parent.mkdir(parents=True)
    path.write_text(DEVICE)
    assert load_device(None).name == "mine"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tpu-v5", "no device is called 'tpu-v5'; did you mean tpu-v5.* or .*ends in .toml"),
        ("abacus-900", "no device is called 'abacus-900'"),
        ("none.toml", "cannot read none.toml: No such file"),
        ("../laws/hoffmann-2022", "no device is called"),
    ],
)
def test_an_unknown_device(name, message):
    with pytest.raises(ValueError, match=message):
        load_device(name)


def test_an_unknown_law_comes_with_the_nearest():
    with pytest.raises(ValueError, match="no law is called 'hofmann'; did you mean hoffmann-2022"):
        load_law("hofmann")


@pytest.mark.parametrize(
    ("line", "replacement", "message"),
    [
        ("memory_bytes", "memmory_bytes", "unknown key `memmory_bytes`; did you mean memory_byte"),
        ("memory_bytes = 8e9", "", "mine.toml: `memory_bytes` is missing"),
        ("1e12", "-1e12", "`peak_flops_per_s` must be > 0, but got -1"),
        ('"gpu"', '"abacus"', r"mine.toml: `kind`: .*'tpu', 'gpu' or 'cpu' \(got 'abacus'\)"),
        ("8e9", '"8e9"', r"mine.toml: `memory_bytes`: .*valid number \(got '8e9'\)"),
        ("=", ":", "mine.toml is not valid TOML"),
    ],
)
def test_a_device_file_with_a_mistake(tmp_path, line, replacement, message):
    path = tmp_path / "mine.toml"
    path.write_text(DEVICE)
    assert load_device(str(path)).name == "mine"
    path.write_text(DEVICE.replace(line, replacement))
    with pytest.raises(ValueError, match=message):
        load_device(str(path))


@pytest.mark.parametrize(
    ("line", "replacement", "message"),
    [
        ("beta = 0.28", "", "mine.toml: `beta` is missing"),
        ("A = 400", 'A = "400"', r"mine.toml: `A`: .*valid number \(got '400'\)"),
        ("A = 400", "A = true", r"mine.toml: `A`: .*valid number \(got True\)"),
        ("[1e6, 1e9]", "[1e9, 1e6]", "`n_params_range` must be 0 < low <= high"),
        ("[1e6, 1e9]", "1e9", "mine.toml: `n_params_range`: "),
        ('"total"', '"all"', r"mine.toml: `n_convention`: .*\(got 'all'\)"),
        ("E = 1.7", "e = 1.7", "mine.toml: unknown key `e`"),
    ],
)
def test_a_law_file_with_a_mistake(tmp_path, line, replacement, message):
    path = tmp_path / "mine.toml"
    path.write_text(LAW)
    assert load_law(str(path)).A == 400
    path.write_text(LAW.replace(line, replacement))
    with pytest.raises(ValueError, match=message):
        load_law(str(path))


SCATTERS = [1.1, [0.0, 1.1], ["a", "b"], [1.2, 0.9], [0.9, float("inf")]]
NONSENSE = [("h100-sxm-measured", "actual_over_predicted_95", scatter) for scatter in SCATTERS]
NONSENSE += [("h100-sxm", "software_spread", spread) for spread in ("wide", -0.1, 2.0, {}, [0.1])]


@pytest.mark.parametrize(("name", "key", "value"), NONSENSE)
def test_a_calibration_that_was_edited_into_nonsense(name, key, value):
    device = dataclasses.replace(load_device(name), calibration={key: value})
    objective = LossAtTime(device=device, law=load_law("besiroglu-2024"), time_budget_s=60.0)
    with pytest.raises(ValueError, match=f"`{key}` must be .*0"):
        known(name, "besiroglu-2024").draws(objective)
