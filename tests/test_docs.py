"""The README and the pages: short enough, no broken link, and every command runs or says its need.

`ANYBUDGET_GOLDEN=write pytest tests/test_docs.py` puts what `find 3h` prints into the README anew,
as `tests/cli/golden/find-3h.txt` has it.
"""

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
# Made-up files with the names that the pages give to a user's own.
USERS = ROOT / "tests/users"
PRINTED = ROOT / "tests/cli/golden/find-3h.txt"
BLOCK = re.compile(r"(<!-- needs [^\n]*-->\s*)?```(\w*)\n(.*?)```", re.DOTALL)
# What makes a command a matter of seconds, by command; the last of an option's values counts.
TOY = {
    "find": ["--trials", "30", "--no-certify", "--set", "n_layers=8"],
    "front": ["--trials", "50", "--no-certify"],
    "fit": ["--draws", "100", "--form", "none"],
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
    monkeypatch.chdir(shutil.copytree(USERS, tmp_path / "here"))
    monkeypatch.setattr(save, "_draw_search", lambda *_: None)  # tests/show looks at pictures
    for words, needs in commands(path):
        build().parse_args(words, exit_on_error=False, print_error=False)
        if not needs:
            toy = () if "--prior" in words else TOY.get(words[0], ())
            code, _, err = run(*words, *toy)
            assert code == 0, f"{shlex.join(words)}: {err}"


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
