"""A search over experts is read back, trained as any other, and compared."""

import dataclasses

import pytest

from anybudget import api
from anybudget.search.record import read_record
from anybudget.validation.confirm.choose import Choice, choose
from anybudget.validation.confirm.compare import labels
from anybudget.validation.confirm.confirm import confirm
from anybudget.validation.confirm.refine import refine
from anybudget.validation.confirm.train_all import Training
from anybudget.validation.runs import Run, SparseRun, read_rows

SPACE = """
n_experts = [2, 4]
d_model = [32, 48]
d_ff = [64, 96]
n_layers = 1
n_heads = [2, 3]
n_kv_heads = [2, 3]
d_head = 16
gated_mlp = true
vocab_size = 512
tied_embeddings = true
seq_len = 16
batch_size = 4
aspect_ratio = "8:80"
ff_ratio = "1:4"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("experts")
    (path / "small.toml").write_text(SPACE)
    api.find("10s", device="cpu", space=str(path / "small.toml"), trials=5, out=path / "run")
    return path / "run"


def test_what_was_found_is_trained(folder, text, tmp_path):
    found = read_record(folder)
    told = []
    confirmed = confirm(
        found, folder / "confirm",
        choice=Choice(top=1, contrast=0, scale=0.05),
        training=Training(corpus=str(text), cache_dir=tmp_path),
        on_progress=told.append,
    )  # fmt: skip
    assert "training with matmuls in float32" in told
    runs = folder / "confirm/runs.csv"
    rows = read_rows(runs, SparseRun)
    assert [row.architecture for row in rows] == [confirmed.comparison.best.candidate.arch]
    assert rows[0].architecture == found.best.arch
    assert all(row.status == "ok" and row.dtype == "float32" for row in rows)
    with pytest.raises(ValueError, match="n_experts"):
        read_rows(runs, Run)
    with pytest.raises(ValueError, match="models with experts fit no law of dense"):
        api.fit(runs)


def test_contrast_is_of_the_same_space(folder):
    found = read_record(folder)
    _, entries = choose(found, Choice(top=1, contrast=3))
    archs = [entry.candidate.arch for entry in entries]
    assert all(arch in found.space for arch in archs)
    assert len({arch.n_experts for arch in archs}) > 1
    twins = [dataclasses.replace(archs[0], n_experts=n) for n in (2, 4)]
    assert labels(twins) == ["48×1 n_experts=2", "48×1 n_experts=4"]


@pytest.mark.parametrize(
    ("ask", "what"),
    [
        (lambda folder: api.export(folder, to="hf"), "export --to hf"),
        (lambda folder: list(refine(read_record(folder), folder)), "a law's refit"),
        (api.report, "a report"),
    ],
)
def test_what_knows_dense_models_alone_says_so(folder, ask, what):
    with pytest.raises(ValueError, match=f"{what} knows dense models alone"):
        ask(folder)
