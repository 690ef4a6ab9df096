"""`anybudget compile` as it is typed; the compiler itself is in test_compiled.py."""

import importlib.util
import json
import re
import sys

import pytest

from anybudget import cli
from anybudget.objectives.cost.execution import Execution
from anybudget.objectives.loss_at_time import LossAtTime
from anybudget.search.explore.study import Exploring
from anybudget.search.find import find
from anybudget.search.question import Question
from anybudget.validation.compiler import compile as compile_module
from anybudget.validation.compiler.compiled import Compiled
from anybudget.validation.compiler.hlo.time import ProgramTime

ONE = ("--d-model", 256, "--n-layers", 4)
SECONDS = {"compute": 0.02, "copies": 0.001, "collectives": 0.0, "gathers": 0.0, "others": 0.0}


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command line; its exit code, stdout and stderr."""

    def run(*args):
        monkeypatch.setattr(sys, "argv", ["anybudget", "compile", *map(str, args)])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        return exit_.value.code or 0, *capsys.readouterr()

    return run


@pytest.fixture
def asked(monkeypatch):
    """What was asked of the compiler, which answers always the same."""
    calls = []

    def compile_for(arch, topology, execution, **options):
        calls.append((arch, topology.name, {"execution": execution} | options))
        return Compiled(
            arch=arch,
            topology=topology,
            execution=execution,
            fits=True,
            memory_bytes=2 * 10**9,
            matmul_flops=10**12,
            flops=1.01e12,
            bytes_accessed=3e9,
            time=ProgramTime(seconds=SECONDS),
            versions={},
        )

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(compile_module, "compile_for", compile_for)
    return calls


def test_the_table_says_whose_numbers_they_are(run, asked):
    code, out, err = run("v5e:1x1", *ONE, "--remat", "layer", "--scan", "--timeout", 7)
    assert (code, err) == (0, "1 of 1: 256×4 for v5e:1x1\n")
    assert "Compiler estimate: what the TPU's compiler says of the program" in out
    assert re.search(r"step time +21 ms +14\.\d+ ms +1\.\d+", out)
    assert "compute 20 ms, copies 1 ms" in out
    options = asked[0][2]
    assert options["execution"] == Execution(remat="layer", scan_layers=True)
    assert options["timeout_s"] == 7


def test_json_is_one_document(run, asked):
    code, out, _ = run("v5e:2x2", *ONE, "--sharding", "full", "--json")
    (step,) = json.loads(out)
    assert code == 0
    assert step["basis"] == "compiler estimate"
    assert step["compiler"]["matmul_flops"] == 10**12
    assert step["execution"]["sharding"] == "full"
    assert set(step["compiler"]) < set(step["analytic"])


def test_a_result_has_its_best_compiled_each_with_its_own_remat(
    run, asked, tmp_path, small_space, device, law
):
    objective = LossAtTime(device=device, law=law, time_budget_s=600.0, remat="layer")
    found = find(
        Question(space=small_space, objective=objective),
        top=3,
        exploring=Exploring(n_trials=5),
        certify=False,
    )
    (tmp_path / "result.json").write_text(json.dumps(found.as_dict()))
    code, out, _ = run("v5e:1x1", "--result", tmp_path, "--top", 2, "--json")
    assert code == 0
    archs = [candidate.arch for candidate in found.candidates[:2]]
    assert [(arch, name) for arch, name, _ in asked] == [(arch, "v5e:1x1") for arch in archs]
    assert {step["execution"]["remat"] for step in json.loads(out)} == {"layer"}


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (("v5:1x1", *ONE), "no TPU generation is called 'v5'"),
        (("v5e:2x2", *ONE, "--batch-size", 6), "multiple of the 4 chips"),
        (("v5e:1x1", "--d-model", 256), "`n_layers` is missing"),
        (("v5e:1x1", "--result", "nowhere"), "there is no nowhere"),
    ],
)
def test_a_mistake_is_exit_code_2(run, monkeypatch, args, complaint):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    code, out, err = run(*args)
    assert (code, out) == (2, "")
    assert complaint in err.splitlines()[-1]


def test_without_the_extra_one_line_says_what_to_install(run, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    code, out, err = run("v5e:1x1", *ONE)
    assert (code, out) == (2, "")
    assert err == (
        "anybudget: the TPU's compiler is not installed; "
        "pip install -e '.[tpu]' (Linux on x86-64 only)\n"
    )
