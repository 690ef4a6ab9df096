"""The house: which room may import which, and what may lie at the root."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# Each room with the rooms that it may import besides itself, top to bottom.
ROOMS = {
    "space": set(),
    "objectives": {"space"},
    "search": {"space", "objectives"},
    "validation": {"space", "objectives", "search"},
}
# The one room that may import a library.
OWNERS = {"optuna": "search", "jax": "validation", "optax": "validation", "orbax": "validation"}
MODULES = [(room, path) for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


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


def test_imports_are_seen_as_they_are_written(tmp_path):
    assert "anybudget.space.architecture.Architecture" in imports(ROOT / "objectives/counts.py")
    assert "optuna" in imports(ROOT / "search/study.py")
    assert rooms_of(ROOT / "search/study.py") == {"space", "objectives", "search"}


@pytest.mark.parametrize(
    ("room", "path"), MODULES, ids=[str(p.relative_to(ROOT)) for _, p in MODULES]
)
def test_a_room_imports_no_room_below_it(room, path):
    assert rooms_of(path) <= {room} | ROOMS[room]


@pytest.mark.parametrize(
    ("room", "path"), MODULES, ids=[str(p.relative_to(ROOT)) for _, p in MODULES]
)
def test_a_library_has_one_owner(room, path):
    tops = {name.split(".")[0] for name in imports(path)}
    assert {OWNERS[top] for top in tops & set(OWNERS)} <= {room}
    # Rooms import each other relatively: the absolute name is for tests and experiments.
    assert "import anybudget" not in path.read_text(encoding="utf-8")
    assert "from anybudget" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", [p for room, p in MODULES if room == "objectives"], ids=str)
def test_objectives_have_no_io_clock_or_logging(path):
    if path.name == "presets.py":
        return
    tops = {name.split(".")[0] for name in imports(path)}
    assert not tops & {"os", "io", "sys", "time", "datetime", "pathlib", "logging", "random"}
    calls = [n for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.Call)]
    names = {call.func.id for call in calls if isinstance(call.func, ast.Name)}
    assert not names & {"open", "print", "input"}


def test_the_face_imports_rooms_only_inside_its_commands():
    tree = ast.parse((ROOT / "cli.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}"


def test_no_other_python_file_at_the_root():
    assert {path.name for path in ROOT.glob("*.py")} == {"__init__.py", "__main__.py", "cli.py"}
    assert list(imports(ROOT / "__init__.py")) == []
