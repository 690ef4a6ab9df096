"""One contract for every engine, and what happens to jobs whose driver is killed."""

import importlib.util
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from anybudget.machines.engine_local import accelerators
from anybudget.machines.engines import Engine, slots
from anybudget.machines.job import find_function
from anybudget.machines.machine import count_cores

FUNCTIONS = Path(__file__).with_name("engine_jobs.py")
square, killed, mistaken = (
    find_function(f"{FUNCTIONS}:{name}") for name in ("square", "killed", "mistaken")
)
two_cores = pytest.mark.skipif(count_cores() < 2, reason="two workers need two cores")


def squares(engine, folder, n_jobs=3):
    """Jobs that write to one file each."""
    return [
        engine.job(f"square {x}", square, x=x, trace=str(folder / f"trace-{x}"))
        for x in range(n_jobs)
    ]


def contract(engine, tmp_path):
    """What every engine must do; with asserts of its own."""
    folder = tmp_path / "jobs"
    trace = {name: str(tmp_path / name) for name in ("once", "always")}
    jobs = [
        *squares(engine, tmp_path),
        engine.job("killed once", killed, trace=trace["once"], n_times=1),
        engine.job("always killed", killed, trace=trace["always"], n_times=9),
        engine.job("mistaken", mistaken, x=1),
    ]
    answers = {}
    try:
        for job, answer in engine.run(jobs, folder):
            answers[job.label] = answer
    except ValueError as error:
        message = str(error)
    else:
        raise AssertionError("two jobs must have failed")
    assert "2 of 6 jobs failed" in message
    assert "mistaken: x must be right, but got 1" in message
    assert "always killed: its process ended with SIGKILL, 3 times in a row" in message
    assert answers.pop("killed once") == "survived"
    assert Path(trace["once"]).read_text() == "begun\n" * 2
    assert Path(trace["always"]).read_text() == "begun\n" * 3
    assert {label: answer["square"] for label, answer in answers.items()} == {
        "square 0": 0, "square 1": 1, "square 2": 4
    }  # fmt: skip
    assert len({answer["pid"] for answer in answers.values()}) == 3
    assert all(len(answer["cores"]) == 1 for answer in answers.values())
    # Only the logs of what failed are left.
    assert {path.suffix for path in folder.iterdir()} == {".log"}


@two_cores
def test_local(tmp_path):
    contract(Engine(name="local", n_workers=2, n_cores=1), tmp_path)


@two_cores
@pytest.mark.skipif(importlib.util.find_spec("submitit") is None, reason="no submitit")
def test_slurms_library_without_a_cluster(tmp_path):
    engine = Engine(name="slurm", n_workers=2, n_cores=1, requests={"cluster": "local"})
    contract(engine, tmp_path)


def has_network_of_its_own():
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return False
    ran = subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False)
    return ran.returncode == 0


ON_RAY = """
import importlib.util, pathlib, sys
spec = importlib.util.spec_from_file_location("tests", sys.argv[1])
tests = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tests)
engine = tests.Engine(name="ray", n_workers=2, n_cores=1)
tests.contract(engine, pathlib.Path(sys.argv[2]))
"""


@two_cores
@pytest.mark.extra
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="no ray")
@pytest.mark.skipif(not has_network_of_its_own(), reason="ray listens on all interfaces")
def test_ray(tmp_path):
    python = [sys.executable, "-c", ON_RAY, __file__, str(tmp_path)]
    alone = ["unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    ran = subprocess.run([*alone, *python], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


DRIVER = """
import importlib.util, pathlib, sys
spec = importlib.util.spec_from_file_location("tests", sys.argv[1])
tests = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tests)
tmp_path = pathlib.Path(sys.argv[2])
engine = tests.Engine(n_workers=2, n_cores=1)
jobs = [tests.slow(engine, tmp_path, x) for x in range(4)]
for job, answer in engine.run(jobs, tmp_path / "jobs"):
    print(job.label, flush=True)
"""


def slow(engine, tmp_path, x):
    """A job that ends soon, or one that waits for its driver's death."""
    trace = str(tmp_path / f"trace-{x}")
    delay_s = 600.0 if x == 1 and not (tmp_path / "again").exists() else 0.0
    return engine.job(f"square {x}", square, x=x, trace=trace, delay_s=delay_s)


def pids_of_jobs(folder):
    commands = {path: path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline")}
    return [path for path, command in commands.items() if f"{folder}/".encode() in command]


@two_cores
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="no /proc to look into")
def test_a_driver_is_killed_and_no_process_outlives_it(tmp_path):
    command = [sys.executable, "-c", DRIVER, __file__, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        seen = [driver.stdout.readline().strip() for _ in range(3)]
        running = pids_of_jobs(tmp_path / "jobs")
        driver.send_signal(signal.SIGKILL)
    assert len(running) == 1
    assert sorted(seen) == ["square 0", "square 2", "square 3"]
    deadline = time.monotonic() + 60
    while running := pids_of_jobs(tmp_path / "jobs"):
        assert time.monotonic() < deadline
        time.sleep(0.05)

    # The next driver takes up the one job that is left, with nothing in its way.
    (tmp_path / "again").touch()
    engine = Engine(n_workers=2, n_cores=1)
    left = [slow(engine, tmp_path, 1)]
    assert [answer["square"] for _, answer in engine.run(left, tmp_path / "jobs")] == [1]
    assert (tmp_path / "trace-1").read_text() == "1\n"


def test_an_answer_that_no_driver_has_read_is_not_made_again(tmp_path):
    engine = Engine()
    jobs = squares(engine, tmp_path)
    some = engine.run(jobs, tmp_path / "jobs")
    first, answer = next(some)
    some.close()  # the driver dies before it has written the answer down
    again = {job.label: value for job, value in engine.run(jobs, tmp_path / "jobs")}
    assert again[first.label] == answer
    assert (tmp_path / "trace-0").read_text() == "0\n"
    assert len(again) == 3
    assert not (tmp_path / "jobs").exists()


def test_a_worker_has_a_device_of_its_own(tmp_path):
    for name in ("nvidia0", "nvidia1", "nvidiactl", "null"):
        (tmp_path / name).touch()
    assert accelerators(tmp_path) == [{"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "1"}]
    assert slots(Engine(), accelerators(tmp_path)) == accelerators(tmp_path)
    assert slots(Engine(n_workers=1), accelerators(tmp_path)) == accelerators(tmp_path)[:1]
    with pytest.raises(ValueError, match="but there are 2 for 3 workers"):
        slots(Engine(n_workers=3), accelerators(tmp_path))


def test_a_worker_has_cores_of_its_own():
    assert slots(Engine(), []) == [{}]
    with pytest.raises(ValueError, match="a worker needs 1 cores of its own, but there are"):
        slots(Engine(n_workers=10_000, n_cores=1), [])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "rya"}, "`engine` must be local, ray or slurm, but got 'rya'; did you mean ray"),
        ({"n_workers": 0}, "`workers` must be at least 1, but got 0"),
        ({"address": "head:6379"}, "`address` is of a Ray cluster, but the engine is local"),
        ({"requests": {"TPU": "4"}}, "`request` is for ray and slurm, but the engine is local"),
    ],
)
def test_an_engine_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        Engine(**options)


@pytest.mark.parametrize(("name", "package"), [("ray", "ray"), ("slurm", "submitit")])
def test_a_missing_extra_says_what_to_install(monkeypatch, name, package):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    message = rf"engine {name} needs the package {package}: pip install 'anybudget\[{name}\]'"
    with pytest.raises(ValueError, match=message):
        Engine(name=name)
