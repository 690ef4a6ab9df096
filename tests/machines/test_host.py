import os
import subprocess
import sys

import pytest

from anybudget.machines import host

linux = pytest.mark.skipif(sys.platform != "linux", reason="the functions are for Linux")


@linux
def test_a_process_is_confined_to_as_many_cores():
    program = (
        "import os; from anybudget.machines.host import use_cores; use_cores(1); "
        "print(len(os.sched_getaffinity(0)))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ran.stdout.strip() == "1"


@linux
@pytest.mark.parametrize("n_cores", [0, 10_000])
def test_cores_must_be_there(n_cores):
    with pytest.raises(ValueError, match=f"`n_cores` must be from 1 to .*, but got {n_cores}"):
        host.use_cores(n_cores)


@linux
def test_available_memory_is_part_of_the_machines():
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    available = host.available_memory_bytes()
    assert available is not None
    assert 0 < available < total


@linux
def test_freed_memory_is_kept():
    # Pages that are kept are not faulted in again: 64 MB are 16,000 pages of 4 kB.
    program = """
import resource, sys
from anybudget.machines.host import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    bytearray(b"1") * 64_000_000
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

first = faults()
kept = keep_freed_memory()
faults()
print(kept, first > 10_000, faults() < 1_000)
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ran.stdout.split() in (["True", "True", "True"], ["False", "True", "False"])
