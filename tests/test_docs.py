"""The README and the pages: short enough, no broken link, and every command runs or says its need.

`ANYBUDGET_GOLDEN=write pytest tests/test_docs.py` puts what `find 3h` prints into the README anew,
as `tests/cli/golden/find-3h.txt` has it.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from anybudget.cli.main import build
from anybudget.show import save

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
IDS = [path.relative_to(ROOT).as_posix() for path in PAGES]
MOST_BYTES = 9000
PRINTED = ROOT / "tests/cli/golden/find-3h.txt"
BLOCK = re.compile(r"(<!-- needs [^\n]*-->\s*)?```(\w*)\n(.*?)```", re.DOTALL)
# What makes a command a matter of seconds, by command; the last of an option's values counts.
TOY = {
    "find": ["--trials", "30", "--no-certify", "--set", "n_layers=8"],
    "front": ["--trials", "50", "--no-certify"],
    "fit": ["--draws", "100", "--form", "none"],
}
PLAN = """
[[search]]
device = "tpu-v5e"
law = "besiroglu-2024"
budget = "3h"
set = {d_model = "512:1024:256", n_layers = 8}
"""
SPACE = "d_model = [512, 1024]\n"
CONFIG = {
    "model_type": "llama",
    "hidden_size": 512,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "intermediate_size": 2048,
    "vocab_size": 32000,
    "tie_word_embeddings": True,
}


def commands(path):
    """Each `anybudget` line of a page's blocks, as words, and whether it says what it needs."""
    for needs, _, block in BLOCK.findall(path.read_text(encoding="utf-8")):
        for line in block.replace("\\\n", " ").splitlines():
            command, _, comment = line.partition(" #")
            for typed in re.split(r"&& |; |\| ", command):
                typed = typed.strip().removesuffix("&").removeprefix("srun ")
                if typed.startswith("anybudget "):
                    needed = bool(needs) or comment.strip().startswith("needs ")
                    yield shlex.split(typed)[1:], needed


def anchors(path):
    """What a link may name in a page, as GitHub makes it of each heading."""
    heads = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_the_readme_leads():
    assert README.stat().st_size < MOST_BYTES
    text = README.read_text(encoding="utf-8")
    titles = ["# anybudget", "## Ask", "## Compare", "## Train", "## Export", "## In Python"]
    places = [text.index(f"{title}\n") for title in titles]
    assert places == sorted(places)


def test_the_readme_shows_what_find_prints():
    text, printed = README.read_text(encoding="utf-8"), PRINTED.read_text(encoding="utf-8")
    before, block, after = re.split(r"(?<=```\n)(Device .*?)(?=```)", text, maxsplit=1, flags=re.S)
    if os.environ.get("ANYBUDGET_GOLDEN") == "write":
        README.write_text(before + printed + after, encoding="utf-8")
        return
    assert block == printed


def test_the_tree_in_the_readme_has_every_room():
    text = README.read_text(encoding="utf-8").partition("## The house")[2]
    named = set(re.findall(r"^(\w+)/ ", text, re.MULTILINE))
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert rooms <= named
    assert all((ROOT / name).is_dir() for name in named)
    nested = re.findall(r"^  (\w+)/ ", text, re.MULTILINE)
    assert all(list(ROOT.glob(f"*/{name}")) for name in nested)


@pytest.mark.parametrize("path", PAGES, ids=IDS)
def test_every_link_leads_somewhere(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        there = (path.parent / name).resolve() if name else path
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


@pytest.mark.parametrize("path", PAGES, ids=IDS)
def test_every_script_that_is_named_is_there(path):
    for name in re.findall(r"python ((?:experiments|findings)/\S+?\.py)", path.read_text("utf-8")):
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("path", PAGES, ids=IDS)
def test_every_command_runs_or_says_what_it_needs(path, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(save, "_draw_search", lambda *_: None)  # tests/show looks at pictures
    _write_what_users_have(tmp_path)
    for words, needs in commands(path):
        build().parse_args(words, exit_on_error=False, print_error=False)
        if not needs:
            code, _, err = run(*words, *TOY.get(words[0], ()))
            assert code == 0, f"{shlex.join(words)}: {err}"


def _write_what_users_have(folder):
    (folder / "plan.toml").write_text(PLAN)
    (folder / "my-space.toml").write_text(SPACE)
    shutil.copy(ROOT / "presets/laws/hoffmann-2022.toml", folder / "my-law.toml")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "runs").mkdir()
    rows = ["d_model,n_layers,n_params,n_params_non_embedding,n_tokens,measured_loss"]
    log = ["step,tokens,loss,seconds"]
    for width, depth in ((256, 4), (512, 8), (768, 12), (1024, 16)):
        n_blocks = 12 * depth * width**2
        n_params = n_blocks + 50_304 * width
        for n_tokens in (1e9, 3e9, 1e10):
            loss = 1.8 + 480 / n_params**0.35 + 2000 / n_tokens**0.37
            noise = 1 + 0.002 * (7 * len(rows) % 5 - 2)
            rows.append(f"{width},{depth},{n_params},{n_blocks},{n_tokens:.0f},{loss * noise:.5f}")
    for step in range(500, 12_000, 500):
        tokens = step * 131_072
        log.append(f"{step},{tokens},{1.8 + 1.2 + 2000 / tokens**0.37:.4f},{step * 0.465}")
    (folder / "my-runs.csv").write_text("\n".join(rows) + "\n")
    (folder / "log.csv").write_text("\n".join(log) + "\n")


@pytest.mark.extra
def test_the_site_is_built_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs", reason="needs the extra: pip install 'anybudget[docs]'")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(tmp_path)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert 'id="anybudget.api.find"' in (tmp_path / "functions.html").read_text(encoding="utf-8")
    paper = (tmp_path / "how/paper.html").read_text(encoding="utf-8")
    figures = re.findall(r'<img [^>]*src="([^"]+)"', paper)
    assert len(figures) >= 8
    assert all((tmp_path / "how" / name).exists() for name in figures)
