"""What commands print today is what they printed before, number by number.

`ANYBUDGET_GOLDEN=write pytest tests/cli/test_golden.py` writes the texts anew, for a diff.
"""

import os
import re
from pathlib import Path

import pytest

GOLDEN = Path(__file__).with_name("golden")
# Shapes that every trainer can have, and a device and a law that no refit moves.
BASIS = ("--device", "h100-sxm-datasheet", "--law", "besiroglu-2024")
SMALL = (*BASIS, "--set", "d_model=256:1024:128", "--set", "ff_ratio=4:4")
MODEL = ("--d-model", "768", "--n-layers", "12", *BASIS)
PLAN = """
[[search]]
name = "small"
device = ["tpu-v5e-datasheet", "h100-sxm-datasheet"]
law = "besiroglu-2024"
budget = ["1h", "3h"]
set = {d_model = "256:1024:128", batch_size = 256}
"""
COMMANDS = {
    "find-3h": ("find", "3h"),  # the README's
    "find": ("find", "3h", *SMALL),
    "find-chips": ("find", "3h", *SMALL, "--chips", "4", "--set", "batch_size=64"),
    "find-plain": ("find", "3h", *SMALL, "--attention", "plain"),
    "find-json": ("find", "3h", *SMALL, "--json"),
    "predict": ("predict", "3h", *MODEL),
    "front": ("front", "3h", "memory", *SMALL, "--set", "batch_size=256"),
    "batch": ("batch", "plan.toml", "--out", "batch"),
    "fit": ("fit", "runs.csv", "--draws", "100", "--form", "none"),
    "devices": ("devices",),
    "laws": ("laws",),
}
# Of the found shape, or of one that the trainer can have.
EXPORTS = {
    "hf": ("--set", "gated_mlp=true"),
    "maxtext": ("--set", "gated_mlp=true"),
    "levanter": ("--set", "gated_mlp=true"),
    "nanogpt": ("--set", "gated_mlp=false", "--set", "heads_per_kv_head=1:1"),
}
NUMBER = re.compile(r"-?\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d+)?")
# Another NumPy sums in another order.
TOLERANCE = 2e-3


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plan.toml").write_text(PLAN)
    rows = ["n_params,n_tokens,measured_loss"]
    for n_params in (1e6, 3e6, 1e7, 3e7, 1e8):
        for n_tokens in (1e8, 3e8, 1e9):
            loss = 1.8 + 480 / n_params**0.35 + 2000 / n_tokens**0.37
            noise = 1 + 0.002 * ((7 * len(rows)) % 5 - 2)
            rows.append(f"{n_params:.0f},{n_tokens:.0f},{loss * noise:.5f}")
    (tmp_path / "runs.csv").write_text("\n".join(rows) + "\n")


def compare(name, text):
    path = GOLDEN / f"{name}.txt"
    # What the day and the machine have a say in.
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+(?:\+00:00|Z)?", "DATE", text)
    text = "\n".join(line.rstrip() for line in text.splitlines()) + "\n"
    if os.environ.get("ANYBUDGET_GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
    golden = path.read_text(encoding="utf-8")
    assert NUMBER.sub("#", text) == NUMBER.sub("#", golden)
    theirs, ours = (
        [float(number.replace(",", "")) for number in NUMBER.findall(one)] for one in (golden, text)
    )
    assert ours == pytest.approx(theirs, rel=TOLERANCE, abs=TOLERANCE)


@pytest.mark.parametrize("name", COMMANDS)
def test_what_a_command_prints(run, name):
    code, out, err = run(*COMMANDS[name])
    assert code == 0, err
    compare(name, out)


@pytest.mark.parametrize("trainer", EXPORTS)
def test_what_an_export_writes(run, trainer, tmp_path, monkeypatch):
    monkeypatch.setattr("anybudget.show.pictures.png.png_of", lambda drawn: b"")
    code, _, err = run("find", "3h", *SMALL, *EXPORTS[trainer], "--trials", "20", "--out", "found")
    assert code == 0, err
    code, out, err = run("export", "found", "--to", trainer, "--out", "config")
    assert code == 0, err
    files = sorted((tmp_path / "config").iterdir())
    compare(f"export-{trainer}", "\n".join([out, *(f"{p.name}\n{p.read_text()}" for p in files)]))
