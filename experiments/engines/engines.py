"""Do two workers of each engine give the rows of one process, whatever is killed on the way?

Command: unshare -n sh experiments/engines/slurm_loopback.sh \
             python experiments/engines/engines.py local ray slurm
Wall time: five minutes on two quiet cores.
Expected: rows equal but for timings; a killed worker's run is made again; after a killed driver
the rerun ends with every run once; a job costs a second or two beside its work, with Ray more.

The command starts a real SLURM on a loopback of its own, where Ray's ports are private too; leave
`slurm` out, and the script before it, where there is none. For each engine:

- the timings of a calibration, of 4 architectures, against those of one worker of `local`;
- a confirmation of 3 runs of 20 steps (one model, three seeds) against one process, in which a
  job's process is killed once, then the driver; then the same command again;
- 6 jobs that do nothing, for what a job costs.

Appends a row to engines.csv for each engine and part.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from anybudget.machines.engines import Engine
from anybudget.machines.host import use_cores
from anybudget.machines.job import Job
from anybudget.objectives.loss_at_time import LossAtTime
from anybudget.presets.devices import load_device
from anybudget.presets.laws import load_law
from anybudget.presets.spaces import load_space
from anybudget.search.explore.study import Exploring
from anybudget.search.find import find
from anybudget.search.question import Question
from anybudget.validation.confirm.choose import Choice
from anybudget.validation.confirm.confirm import confirm
from anybudget.validation.confirm.train_all import Training
from anybudget.validation.runs import Row, Run, append_row, read_rows
from anybudget.validation.timing import calibrate as calibration
from anybudget.validation.timing.step_design import Effort
from anybudget.validation.timing.step_rows import StepRow
from anybudget.validation.timing.timers import Survey, fan_out, survey
from anybudget.validation.training.train import train

RESULT = Path(__file__).with_suffix(".csv")
CORPUS = Path(__file__).parents[2] / "validation"
SETTINGS = ["d_model=64", "n_layers=1", "vocab_size=1024", "seq_len=64", "batch_size=4"]
EFFORT = Effort(n_architectures=12, seconds=0.1, max_step_s=0.005, max_layers=2)
RATES = {"peak_flops_per_s": 1e11, "bandwidth_bytes_per_s": 1e10}
RUN_TIMINGS = {"step_time_s", "step_time_spread", "tokens_per_s", "mfu", "started"}
STEP_TIMINGS = {"step_time_s", "step_time_spread", "core_share", "n_steps", "measured"}
N_TIMINGS, N_TRIVIAL = 4, 6


class EngineRow(Row):
    """What one engine did; `workers_killed` and `drivers_killed` are counts, ours."""

    engine: str
    part: str
    n_jobs: int
    n_workers: int
    n_rows: int
    equal_rows: int
    workers_killed: int
    drivers_killed: int
    wall_s: float
    overhead_s_per_job: float | None = None


def twenty_steps(arch, tokens, *, time_budget_s, upkeep, **settings):
    """As `train`, but for so many steps, so that two runs are equal."""
    upkeep = dataclasses.replace(upkeep, n_heldout_tokens=4096)
    run = train(arch, tokens, n_steps=20, upkeep=upkeep, **settings)
    return run.model_copy(update={"time_budget_s": time_budget_s})


def drive(part: str, engine: Engine | None, folder: Path) -> None:
    """One part, as the driver's process does it."""
    if part == "confirmation":
        space = load_space("cpu", settings=SETTINGS)
        objective = LossAtTime(
            device=load_device("cpu-core"), law=load_law("besiroglu-2024"), time_budget_s=20.0
        )
        found = find(
            Question(space=space, objective=objective), top=1, exploring=Exploring(n_trials=1)
        )
        training = Training(
            n_seeds=3,
            corpus=str(CORPUS),
            cache_dir=folder.parent / "cache",
            train_one=twenty_steps,
            engine=engine,
        )
        confirm(found, folder, choice=Choice(top=1, contrast=0), training=training)
    else:
        assert engine is not None
        here = Survey(**engine.call(folder / "jobs", "survey", fixed_survey))
        design = calibration.design_for(here, EFFORT, seed=0)[:N_TIMINGS]
        timer = fan_out(engine, folder / "jobs", here, EFFORT.seconds)
        calibration.PASSES, calibration.EXTRA_PASSES = 1, 0
        for row in calibration.time_all([], here, design, timer, lambda *progress: None):
            append_row(folder / "device.csv", row)


def fixed_survey():
    """The job's machine, with rates that are the same for every engine, as the design needs."""
    return dataclasses.asdict(survey(RATES))


def rows_of(part: str, folder: Path) -> dict[tuple, dict]:
    """Each row without its timings, by what it is about."""
    if part == "confirmation":
        rows = read_rows(folder / "runs.csv", Run)
        found = {(r.architecture, r.seed): r.model_dump(exclude=RUN_TIMINGS) for r in rows}
    else:
        rows = read_rows(folder / "device.csv", StepRow)
        found = {row.key: row.model_dump(exclude=STEP_TIMINGS) for row in rows}
    assert len(found) == len(rows), "a run was made twice"
    return found


def start(part: str, name: str, folder: Path) -> subprocess.Popen:
    """A driver in a process of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    return subprocess.Popen([sys.executable, __file__, "--drive", part, name, str(folder)])


def killed_once(folder: Path, part: str, name: str) -> tuple[int, int]:
    """Kill a worker's process and then the driver; run again to the end. How many were killed."""
    driver = start(part, name, folder)
    while not (workers := job_processes(folder)):
        assert driver.poll() is None
        time.sleep(0.05)
    time.sleep(2)  # into its imports or its training
    workers = job_processes(folder) or workers
    os.kill(workers[0], signal.SIGKILL)
    while not (folder / "runs.csv").exists():
        assert driver.poll() is None
        time.sleep(0.05)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    first = read_rows(folder / "runs.csv", Run)
    assert start(part, name, folder).wait() == 0
    assert read_rows(folder / "runs.csv", Run)[: len(first)] == first
    return 1, 1


def job_processes(folder: Path) -> list[int]:
    """Processes at work on the jobs of a folder."""
    pids = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes()
        except OSError:
            continue
        if b"anybudget.machines.job" in command and f"{folder}/".encode() in command:
            pids.append(int(path.parent.name))
    return pids


def engine_of(name: str, n_workers: int = 2) -> Engine | None:
    """Two workers of an engine on a core each; `one` is one of `local`."""
    return Engine(name="local" if name == "one" else name, n_workers=n_workers, n_cores=1)


def measure(part: str, name: str, home: Path) -> None:
    """One part on one engine, compared with one worker's rows."""
    folder, began, killed = home / f"{part}-{name}", time.monotonic(), (0, 0)
    if part == "confirmation":
        killed = killed_once(folder, part, name)
    else:
        assert start(part, name, folder).wait() == 0
    wall_s = time.monotonic() - began
    expected, got = rows_of(part, home / f"{part}-one"), rows_of(part, folder)
    row = EngineRow(
        engine=name,
        part=part,
        n_jobs=len(expected),
        n_workers=2,
        n_rows=len(got),
        equal_rows=sum(got.get(key) == value for key, value in expected.items()),
        workers_killed=killed[0],
        drivers_killed=killed[1],
        wall_s=round(wall_s, 1),
    )
    append_row(RESULT, row)
    print(row, flush=True)


def overhead(name: str, home: Path) -> None:
    """Seconds of one worker for a job that does nothing."""
    engine = engine_of(name)
    assert engine is not None
    jobs = [Job(label=f"{i}", function="os:getpid", arguments={}) for i in range(N_TRIVIAL)]
    began, ends = time.monotonic(), []
    for _ in engine.run(jobs, home / f"trivial-{name}"):
        ends.append(time.monotonic())
    each_s = (ends[-1] - ends[1]) * 2 / (N_TRIVIAL - 2)  # the first two start the engine
    row = EngineRow(
        engine=name, part="nothing", n_jobs=N_TRIVIAL, n_workers=2, n_rows=len(ends),
        equal_rows=len(ends), workers_killed=0, drivers_killed=0,
        wall_s=round(ends[-1] - began, 1), overhead_s_per_job=round(each_s, 2),
    )  # fmt: skip
    append_row(RESULT, row)
    print(row, flush=True)


def main() -> None:
    """All parts on the engines that are named."""
    if sys.argv[1] == "--drive":
        part, name, folder = sys.argv[2], sys.argv[3], Path(sys.argv[4])
        alone = name == "one" and part == "confirmation"
        if alone:
            use_cores(1)  # as each job has: with more, sums are in another order
        return drive(part, None if alone else engine_of(name, 1 + (name != "one")), folder)
    home = Path(tempfile.mkdtemp())
    for part in ("calibration", "confirmation"):
        assert start(part, "one", home / f"{part}-one").wait() == 0
    for name in sys.argv[1:]:
        overhead(name, home)
        for part in ("calibration", "confirmation"):
            measure(part, name, home)
    shutil.rmtree(home, ignore_errors=True)  # a log may still be written
    return None


if __name__ == "__main__":
    main()
