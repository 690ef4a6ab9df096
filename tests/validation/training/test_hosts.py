"""Two processes on loopback that train one model, against one process alone."""

import functools
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from anybudget.objectives.cost.execution import PLAIN, Execution
from anybudget.objectives.device import Device
from anybudget.objectives.law.loss_law import LossLaw
from anybudget.objectives.loss_at_time import LossAtTime
from anybudget.search.candidate import Candidate
from anybudget.space.architecture import Architecture
from anybudget.validation.confirm.choose import Entry
from anybudget.validation.confirm.train_all import TrainingList, one_by_one, train_all
from anybudget.validation.runs import Run, read_rows
from anybudget.validation.training import train as train_module
from anybudget.validation.training.hosts import join_processes
from anybudget.validation.training.tokens import Tokens
from anybudget.validation.training.train import Upkeep, train

ARCH = Architecture.from_shape(
    d_model=16, n_layers=1, d_head=8, vocab_size=32, seq_len=8, batch_size=4
)
N_STEPS = 5
OBJECTIVE = LossAtTime(
    device=Device(
        name="toy", kind="cpu", peak_flops_per_s=1e12, bandwidth_bytes_per_s=1e10,
        interconnect_bytes_per_s=1e10, memory_bytes=1e9, dtype="float32", source="made up",
    ),
    law=LossLaw(
        name="toy", E=1.8, A=480.0, B=2000.0, alpha=0.35, beta=0.37, n_convention="total",
        corpus="none", source="made up", n_params_range=(1e3, 1e9), n_tokens_range=(1e3, 1e9),
    ),
    time_budget_s=2.0,  # ten steps of two processes that wait for each other on a busy machine
    n_chips=2,
)  # fmt: skip


def made_up():
    text = np.random.default_rng(0).integers(0, 32, 4000).astype(np.uint16)
    return Tokens(
        corpus="made up",
        corpus_fingerprint="0",
        fingerprint="0",
        vocab_size=32,
        train=text[:3000],  # pyright: ignore[reportArgumentType]
        heldout=text[3000:],  # pyright: ignore[reportArgumentType]
        heldout_n_bytes=2000,
        tokenizer_path=Path("none"),
    )


def losses(execution=PLAIN, **checkpoint):
    """Of every step, and on the held-out text."""
    reports = []
    upkeep = Upkeep(on_step=reports.append, **checkpoint)
    run = train(ARCH, made_up(), seed=0, n_steps=N_STEPS, execution=execution, upkeep=upkeep)
    return [*(report.loss for report in reports), run.measured_loss]


def confirmed(folder):
    """The run of a list of one model, for one second on two chips, as `confirm` trains it."""
    entry = Entry(label="16×1", role="top", candidate=Candidate.of(ARCH, OBJECTIVE))
    listed = TrainingList(entries=[entry], tokens=made_up(), folder=folder, objective=OBJECTIVE)
    [trained] = train_all(listed, one_by_one(listed, train, lambda line: None))
    return trained.runs[0].model_dump(mode="json")


def one_of_two(folder):
    """What each of the two processes does."""
    join_processes()
    train_module.compile_training = functools.cache(train_module.compile_training)
    checkpoint = {"checkpoint_dir": folder / "kept", "checkpoint_every_s": 0.0}
    answer = {
        "data": losses(execution=Execution(n_chips=2), **checkpoint),
        "resumed": losses(execution=Execution(n_chips=2), **checkpoint),
        "full": losses(execution=Execution(n_chips=2, sharding="full")),
        "row": confirmed(folder),
    }
    print(json.dumps(answer))


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Of both processes, and the folder that they share."""
    folder = tmp_path_factory.mktemp("shared")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    variables = {
        "JAX_PLATFORMS": "cpu",
        "JAX_COORDINATOR_ADDRESS": address,
        "JAX_COORDINATOR_BIND_ADDRESS": address,
        "JAX_NUM_PROCESSES": "2",
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error", __file__, str(folder)],
            env=os.environ | variables | {"JAX_PROCESS_ID": str(number)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in (0, 1)
    ]
    outputs = [process.communicate(timeout=300) for process in processes]
    for process, (_, stderr) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, stderr
    # The library between them writes lines of its own.
    return [json.loads(stdout.splitlines()[-1]) for stdout, _ in outputs], folder


def test_two_processes_train_as_one_does(answers):
    (first, second), _ = answers
    alone = losses()
    for kind in ("data", "full"):
        assert first[kind] == second[kind]
        # Sums in another order, in float32.
        np.testing.assert_allclose(first[kind], alone, 1e-5)


def test_a_run_of_several_processes_is_taken_up(answers):
    (first, second), _ = answers
    # All steps were done, so that only the judgement was made again.
    assert first["resumed"] == second["resumed"] == first["data"][-1:]


def test_they_agree_on_the_clock_and_one_of_them_writes_the_row(answers):
    (first, second), folder = answers
    same = ("n_steps", "measured_loss", "status", "time_budget_s", "device")
    assert [first["row"][name] for name in same] == [second["row"][name] for name in same]
    assert first["row"]["device"] == "2 × toy"
    [row] = read_rows(folder / "runs.csv", Run)
    assert row.model_dump(mode="json") == first["row"]
    assert not (folder / "checkpoints").exists()


def test_without_the_others_it_says_what_it_needs(monkeypatch):
    monkeypatch.setenv("JAX_PROCESS_ID", "first")
    with pytest.raises(ValueError, match=r"--distributed needs SLURM.* JAX_NUM_PROCESSES and"):
        join_processes()


def test_every_process_must_have_a_part(monkeypatch):
    monkeypatch.setattr("jax.process_count", lambda: 2)
    monkeypatch.setattr("jax.device_count", lambda: 4)
    with pytest.raises(ValueError, match="`n_chips` must be all 4 and divide the batch"):
        train(ARCH, made_up(), seed=0, n_steps=1, execution=Execution(n_chips=2))


if __name__ == "__main__":
    one_of_two(Path(sys.argv[1]))
