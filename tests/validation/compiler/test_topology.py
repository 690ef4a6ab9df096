import pytest

from anybudget.validation.compiler.topology import GENERATIONS, parse_topology


@pytest.mark.parametrize("name", ["v4:1x1x1", "v5e:1x1", "v5p:2x2x1", "v6e:16x16", "tpu7x:2x2x1"])
def test_a_name_reads_back(name):
    assert parse_topology(name).name == name


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("v5:1x1", "no TPU generation is called 'v5'; did you mean v5e or v5p"),
        ("tpu-v5e", "as v5e:1x1, v5e:2x2 or v5p:2x2x1, but got 'tpu-v5e'"),
        ("v5e:", "a topology is a TPU generation and its chips"),
        ("v5e:2x2x1", "a v5e topology has 2 axes of 1 chip or more, as v5e:1x1, but got 2x2x1"),
        ("v5p:2x2", "a v5p topology has 3 axes"),
        ("v6e:0x1", "but got 0x1"),
    ],
)
def test_a_wrong_name_is_a_mistake(name, complaint):
    with pytest.raises(ValueError, match=complaint):
        parse_topology(name)


def test_one_chip_needs_its_bounds_and_a_slice_does_not():
    one = parse_topology("v5e:1x1").description
    assert one["chips_per_host_bounds"] == (1, 1, 1)
    assert set(parse_topology("v5e:2x2").description) == {"platform", "topology_name"}


@pytest.mark.parametrize(
    ("name", "clock_ghz"),
    [("v4", 1.05), ("v5e", 1.5), ("v5p", 1.75), ("v6e", 1.75), ("tpu7x", 2.2)],
)
def test_the_clock_makes_the_datasheets_peak(name, clock_ghz):
    one = "x".join("1" * GENERATIONS[name].n_axes)
    # The datasheet's peak is rounded to three digits.
    assert parse_topology(f"{name}:{one}").clock_hz == pytest.approx(1e9 * clock_ghz, rel=3e-3)


def test_a_chip_sends_along_lines_and_both_ways_along_rings():
    link = GENERATIONS["v5e"].link_bytes_per_s
    assert parse_topology("v5e:1x1").interconnect_bytes_per_s == 0
    assert parse_topology("v5e:2x2").interconnect_bytes_per_s == 2 * link
    assert parse_topology("v5e:16x16").interconnect_bytes_per_s == 4 * link
    assert parse_topology("v5e:4x4").n_chips == 16


def test_a_chip_that_is_two_devices_counts_twice_but_alone_is_one():
    assert parse_topology("tpu7x:2x2x1").n_chips == 8
    assert parse_topology("tpu7x:1x1x1").n_chips == 1
