"""Devices: checked when built, and timed from their datasheet until they are calibrated."""

import dataclasses

import pytest

from anybudget.objectives.cost.counts import flops_per_step, memcpys_per_step
from anybudget.objectives.cost.datasheet import REACHED
from anybudget.objectives.cost.step_time import StepTimeModel
from anybudget.presets.devices import load_device
from anybudget.space.architecture import Architecture

ARCH = Architecture.from_shape(d_model=256, n_layers=4)
MODEL = StepTimeModel(
    name="paper", seconds_per_unit={"memcpys": 1e-10, "flops": 1e-13, "steps": 0.1}
)


@pytest.mark.parametrize(
    ("kind", "dtype", "n_bytes"),
    [("gpu", "float32", 4), ("gpu", "bfloat16", 2), ("cpu", "bfloat16", 4)],
)
def test_datasheet_moves_then_computes_at_the_utilisation(device, kind, dtype, n_bytes):
    half = dataclasses.replace(device, utilisation=0.5, kind=kind, dtype=dtype)
    moving = n_bytes * memcpys_per_step(ARCH) / (0.5 * 1e10)
    computing = flops_per_step(ARCH) / (0.5 * 1e12)
    assert half.step_time_model.step_time_s(ARCH) == pytest.approx(moving + computing, rel=1e-12)


def test_a_gpu_reaches_what_others_do_of_their_datasheets_unless_told_otherwise(device):
    gpu = dataclasses.replace(device, kind="gpu", interconnect_bytes_per_s=8e9)
    seconds = gpu.step_time_model.seconds_per_unit
    assert seconds["flops"] == pytest.approx(1 / 1e12 / REACHED.flops)
    assert seconds["attention"] == pytest.approx(1 / 1e12 / REACHED.attention)
    assert seconds["memcpys"] == pytest.approx(4 / 1e10 / REACHED.memcpys)
    assert seconds["host_bytes"] == pytest.approx(REACHED.host_waits / 8e9)
    assert "network_bytes" not in seconds
    assert dataclasses.replace(gpu, utilisation=1.0).step_time_model.name == "paper"


def test_a_calibrated_model_replaces_the_datasheet(device):
    measured = dataclasses.replace(device, basis="measured", step_time=MODEL)
    assert measured.step_time_model is MODEL


def test_collectives_run_at_the_utilisation_and_on_the_links_of_a_slice(device):
    gpu, tpu = (
        dataclasses.replace(device, interconnect_bytes_per_s=8e9, utilisation=0.5, kind=kind)
        for kind in ("gpu", "tpu")
    )
    assert gpu.collective_bytes_per_s == 4e9
    assert tpu.collective_bytes_per_s == 2e9


def test_an_array_is_gathered_over_the_links_of_a_host_and_the_network_between_hosts(device):
    pod = dataclasses.replace(
        device, kind="gpu", interconnect_bytes_per_s=8e9, chips_per_host=8, network_bytes_per_s=1e9
    )
    assert pod.gather_s_per_byte(1) == 0
    assert pod.gather_s_per_byte(4) == pytest.approx(3 / 4 / 8e9)
    # Two hosts: half of the array comes over the network, an eighth of that to each chip.
    assert pod.gather_s_per_byte(16) == pytest.approx(7 / 8 / 8e9 + 1 / 2 / 8 / 1e9)
    slice_of_chips = dataclasses.replace(pod, chips_per_host=None, network_bytes_per_s=None)
    assert slice_of_chips.gather_s_per_byte(16) == pytest.approx(15 / 16 / 8e9)
    with pytest.raises(ValueError, match="must fill whole hosts of 8 toy, but got 12"):
        pod.gather_s_per_byte(12)
    alone = dataclasses.replace(pod, network_bytes_per_s=None)
    with pytest.raises(ValueError, match=r"16 of toy are 2 hosts, but .* no `network_bytes_per_s`"):
        alone.gather_s_per_byte(16)


def test_a_layer_is_split_on_several_hosts_among_neighbours():
    tpu, gpu = load_device("tpu-v5e"), load_device("h100-sxm")
    assert [tpu.layer_splits(n) for n in (8, 24)] == [(1,), (8, 4, 2, 1)]
    assert tpu.layer_splits(256) == (16, 8, 4, 2, 1)
    assert [gpu.layer_splits(n) for n in (8, 1024)] == [(1,), (8, 4, 2, 1)]


def test_the_label_says_where_the_step_time_comes_from(device):
    half = dataclasses.replace(device, utilisation=0.5)
    assert half.label == "toy (datasheet at 50% utilisation, not calibrated)"
    as_others = dataclasses.replace(device, kind="gpu")
    assert as_others.label == "toy (datasheet at what other GPUs reach, not calibrated)"
    measured = dataclasses.replace(device, basis="measured", step_time=MODEL)
    assert measured.label == "toy (measured)"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"interconnect_bytes_per_s": 0.0}, "`interconnect_bytes_per_s` must be > 0, but got 0"),
        ({"peak_flops_per_s": -1.0}, "device 'toy': `peak_flops_per_s` must be > 0, but got -1"),
        ({"memory_bytes": 0.0}, "`memory_bytes` must be > 0, but got 0"),
        (
            {"bandwidth_bytes_per_s": float("inf")},
            "`bandwidth_bytes_per_s` must be from .*, but got inf",
        ),
        ({"price_per_hour_usd": 0.0}, "`price_per_hour_usd` must be > 0, but got 0"),
        ({"utilisation": 1.5}, "`utilisation` must be at most 1, but got 1.5"),
        ({"utilisation": float("nan")}, "`utilisation` must be > 0"),
        ({"chips_per_host": 0}, "`chips_per_host` must be > 0, but got 0"),
        ({"network_bytes_per_s": 1e9}, "`network_bytes_per_s` needs `chips_per_host`"),
        ({"basis": "measured"}, "`step_time` must be given unless `basis` is datasheet"),
        ({"step_time": MODEL}, "but got basis='datasheet'"),
    ],
)
def test_refused(device, change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(device, **change)
