"""What the base install does, and what each extra adds to it, in one line where it is missing."""

import subprocess
import sys

import pytest

# By extra, what it alone brings.
EXTRAS = {
    "figures": ["matplotlib"],
    "parquet": ["pyarrow"],
    "report": ["plotly"],
    "train": ["matplotlib", "orbax", "tokenizers", "zstandard"],
}
PLAN = """
[[search]]
device = "tpu-v5e-datasheet"
law = "besiroglu-2024"
budget = "1h"
set = {d_model = 512, n_layers = [4, 8]}
"""
BASE = """
import sys
for name in {packages}:
    sys.modules[name] = None  # as if it were not installed
from anybudget.cli.main import _run
few = ["--device", "cpu-core", "--set", "d_model=64:128:64", "--set", "batch_size=4"]
assert _run(["find", "2m", *few, "--trials", "1", "--out", "found"]) == 0
assert _run(["batch", "plan.toml"]) == 0
assert _run(["predict", "2m", *few[:2], "--d-model", "64", "--n-layers", "2"]) == 0
import anybudget.validation.timing.timers  # what calibrate runs
import anybudget.validation.timing.calibrate
"""


@pytest.fixture
def without(monkeypatch):
    """Take away what an extra brings."""

    def without(extra):
        for name in EXTRAS[extra]:
            monkeypatch.setitem(sys.modules, name, None)

    return without


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ("report", ("report", "FOLDER")),
        ("report", ("explore", "--out", "FOLDER")),
        ("train", ("confirm", "FOLDER")),
        ("train", ("refine", "FOLDER")),
    ],
)
def test_a_command_names_the_extra_that_it_needs(run, without, searched_folder, extra, words):
    without(extra)
    before = sorted(searched_folder.rglob("*"))
    code, out, err = run(*(searched_folder if word == "FOLDER" else word for word in words))
    needed = ", ".join(EXTRAS[extra])
    assert (code, out) == (2, "")
    assert err == f"anybudget: {words[0]} needs {needed}: pip install 'anybudget[{extra}]'\n"
    assert sorted(searched_folder.rglob("*")) == before


def test_the_base_install_answers(tmp_path):
    (tmp_path / "plan.toml").write_text(PLAN)
    (tmp_path / "plan").mkdir()
    (tmp_path / "plan/batch.parquet").write_text("of an earlier run")
    packages = [name for names in EXTRAS.values() for name in names]
    code = BASE.format(packages=packages)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "found/result.json").exists()
    for what, extra in (("batch.parquet", "parquet"), ("figures", "figures")):
        assert f"! {what} left out: pip install 'anybudget[{extra}]' adds it" in done.stderr
    assert not list(tmp_path.rglob("*.png"))
    assert "batch.csv, curves.csv" in done.stdout
    assert (tmp_path / "plan/batch.csv").exists()
    assert not (tmp_path / "plan/batch.parquet").exists()
