"""The house: which room may import which, how much a folder holds, what may lie at the root."""

import ast
import collections
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# Top to bottom: a room imports itself and those above it.
ROOMS = (
    "files", "machines", "space", "objectives", "presets", "search", "validation", "show", "api"
)  # fmt: skip
# But what is pure, and what runs jobs, stand beside each other.
APART = {("space", "machines"), ("objectives", "machines"), ("search", "machines")}
APART |= {("objectives", "files")}
# The one room that may import a library.
OWNERS = {
    "optuna": "search/explore",
    "jax": "validation",
    "optax": "validation",
    "orbax": "validation/training",
    "tokenizers": "validation/training",
    "zstandard": "validation/training",
    "matplotlib": "show/pictures/png.py",
    "contourpy": "show/pictures",
    "plotly": "show/page",
    "jinja2": "show/page",
    "rich": "show/terminal",
}
# Modules that one system has and another has not.
ONE_SYSTEM = {"fcntl", "grp", "msvcrt", "pwd", "resource", "termios", "winreg"}
# What options are made of, before any command runs.
LIGHT = {("one.py", "space.architecture"), ("options.py", "space.limits")}
# No more side by side, no longer.
MOST_FILES, MOST_LINES, LONGEST_FUNCTION, MOST_PARAMETERS = 15, 300, 60, 8
MODULES = [(room, path) for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
FACE = sorted((ROOT / "cli").glob("*.py"))
IDS = [str(path.relative_to(ROOT)) for _, path in MODULES]


def tracked(pattern=""):
    """Files that are part of the product, as git has them."""
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", pattern or "."],
        cwd=ROOT, capture_output=True, text=True, check=False,
    ).stdout.splitlines()  # fmt: skip
    return [Path(name) for name in names if (ROOT / name).is_file()]


def imports(path):
    """Dotted names that a file imports; a relative one is resolved to `anybudget.…`."""
    package = ["anybudget", *path.relative_to(ROOT).parent.parts]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = base + (node.module.split(".") if node.module else [])
            yield from (".".join([*base, alias.name]) for alias in node.names)


def rooms_of(path):
    """Rooms that a file imports."""
    names = [name.split(".") for name in imports(path)]
    return {name[1] for name in names if name[0] == "anybudget" and name[1] in ROOMS}


def test_imports_are_seen_as_they_are_written():
    study = ROOT / "search/explore/study.py"
    assert "anybudget.space.architecture.Architecture" in imports(ROOT / "objectives/recipe.py")
    assert "optuna" in imports(study)
    assert rooms_of(study) == {"space", "search"}


@pytest.mark.parametrize(("room", "path"), MODULES, ids=IDS)
def test_a_room_imports_no_room_below_it(room, path):
    allowed = set(ROOMS[: ROOMS.index(room) + 1])
    assert rooms_of(path) <= {other for other in allowed if (room, other) not in APART}


@pytest.mark.parametrize(("room", "path"), MODULES, ids=IDS)
def test_a_library_has_one_owner(room, path):
    tops = {name.split(".")[0] for name in imports(path)}
    here = path.relative_to(ROOT).as_posix()
    assert not [top for top in tops & set(OWNERS) if not here.startswith(OWNERS[top])]
    assert not tops & ONE_SYSTEM
    # Rooms import each other relatively: the absolute name is for tests and experiments.
    assert "import anybudget" not in path.read_text(encoding="utf-8")
    assert "from anybudget" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", [p for room, p in MODULES if room == "objectives"], ids=str)
def test_objectives_have_no_io_clock_or_logging(path):
    tops = {name.split(".")[0] for name in imports(path)}
    assert not tops & {"os", "io", "sys", "time", "datetime", "pathlib", "logging", "random"}
    calls = [n for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.Call)]
    names = {call.func.id for call in calls if isinstance(call.func, ast.Name)}
    assert not names & {"open", "print", "input"}


def test_the_face_imports_rooms_only_inside_its_commands():
    for path in FACE:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ImportFrom):
                light = (path.name, node.module) in LIGHT
                assert node.level < 2 or light, f"{path.name}, line {node.lineno}"


def test_no_other_python_file_at_the_root():
    assert {path.name for path in ROOT.glob("*.py")} == {"__init__.py", "__main__.py"}
    assert set(imports(ROOT / "__init__.py")) == {"importlib", "typing.Any"}


def test_every_room_is_in_the_wheel():
    files = [*FACE, *(path for _, path in MODULES)]
    packages = {path.parent.relative_to(ROOT).as_posix() for path in files}
    named = {
        line.strip(' ",\n').removeprefix("anybudget.").replace(".", "/")
        for line in (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
        if line.startswith('  "anybudget.')
    }
    assert packages == named


def test_no_folder_holds_more_files_than_a_look_takes_in():
    beside = collections.Counter(path.parent.as_posix() for path in tracked())
    presets = {"presets/devices", "presets/laws"}
    assert {name: n for name, n in beside.items() if n > MOST_FILES and name not in presets} == {}


def too_long(path):
    """What in a file is longer than it may be."""
    text = (ROOT / path).read_text(encoding="utf-8")
    if (n_lines := text.count("\n")) > MOST_LINES:
        yield f"{path}: {n_lines} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            n_lines = (node.end_lineno or 0) - node.lineno + 1
            if n_lines > LONGEST_FUNCTION:
                yield f"{path}:{node.name}: {n_lines} lines"


def test_no_file_and_no_function_is_long():
    found = [line for path in tracked("*.py") for line in too_long(path)]
    assert found == []


def test_no_function_below_the_face_takes_many_parameters():
    many = {}
    for path in (path for room, path in MODULES if room != "api"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                given = node.args
                n = len([*given.posonlyargs, *given.args, *given.kwonlyargs])
                n -= bool(given.args) and given.args[0].arg in ("self", "cls")
                if n > MOST_PARAMETERS:
                    many[f"{path.relative_to(ROOT)}:{node.name}"] = n
    assert many == {}
