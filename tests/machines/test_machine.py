"""Which machine this is, and how many of its cores we take."""

import os
import subprocess
import sys

import pytest

from anybudget.machines import machine
from anybudget.machines.machine import count_cores, cpu_name, has_amx, has_avx512


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="a process cannot be confined")
@pytest.mark.parametrize(("argument", "n_cores"), [("", 1), ("1", 1)])
def test_a_process_is_pinned_before_jax_starts(argument, n_cores):
    script = (
        "from anybudget.machines import machine; machine.ACCELERATORS = ();"
        f"machine.pin_cores({argument}); import sys; assert 'jax' not in sys.modules;"
        "print(machine.count_cores())"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    assert int(ended.stdout) == n_cores


def test_a_cpu_has_a_name_and_cores():
    assert cpu_name().strip()
    assert 1 <= count_cores() <= (os.cpu_count() or 1)


def test_generations_of_one_name_are_told_apart(tmp_path, monkeypatch):
    def named(family):
        path = tmp_path / "cpuinfo"
        first = f"processor : 0\ncpu family\t: {family}\nmodel\t\t: 1\nmodel name\t: AMD EPYC\n"
        path.write_text(f"{first}\nprocessor : 1\ncpu family : 99\n")
        monkeypatch.setattr(machine, "CPUINFO", path)
        return cpu_name()

    assert named(25) == "AMD EPYC (family 25, model 1)"
    assert named(26) == "AMD EPYC (family 26, model 1)"


def test_a_processor_says_what_it_multiplies_with(tmp_path, monkeypatch):
    path = tmp_path / "cpuinfo"
    monkeypatch.setattr(machine, "CPUINFO", path)
    assert not has_avx512()
    for flags, found in (
        ("fpu avx2", (False, False)),
        ("fpu avx512f avx2", (True, False)),
        ("fpu avx512f amx_bf16 amx_tile", (True, True)),
    ):
        path.write_text(f"processor : 0\nflags\t\t: {flags}\n\nprocessor : 1\n")
        assert (has_avx512(), has_amx()) == found
