"""Every command that writes, as it is typed, quick: what takes time and writes nothing is made up.

The commands are in commands.toml. In a process of its own: `python typed.py COMMAND`.
"""

from __future__ import annotations

import datetime
import json
import random
import re
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

COMMANDS: dict[str, dict[str, Any]] = tomllib.loads(
    Path(__file__).with_name("commands.toml").read_text()
)
WRITING = [name for name, about in COMMANDS.items() if not about.get("aside")]
PLAN = """
[[search]]
name = "small"
device = "cpu-core"
budget = ["2m", "5m"]
set = {d_model = "64:128:32", n_layers = "2:4"}
"""
DATE = re.compile(rb"\d{4}-\d\d-\d\dT[0-9:.]+(\+00:00|Z)?")
STEP_COLUMNS = (
    "d_model,n_layers,n_heads,d_ff,vocab_size,seq_len,batch_size,attention,precision,step_time_s"
)


def words_of(name: str) -> list[str]:
    """A command's words."""
    return COMMANDS[name]["words"].split()


def earlier(name: str) -> list[str]:
    """The commands that must have been typed before."""
    return COMMANDS[name].get("after", [])


def loss_of(n_params: float, n_tokens: float) -> float:
    """What every training comes to, nats per token."""
    return 1.8 + 48 / n_params**0.35 + 200 / n_tokens**0.37


def write_inputs(folder: Path) -> None:
    """What the commands read."""
    (folder / "plan.toml").write_text(PLAN)
    rows = ["n_params,n_tokens,measured_loss"]
    for n_params in (1e6, 3e6, 1e7, 3e7, 1e8):
        for n_tokens in (1e8, 3e8, 1e9):
            loss = loss_of(n_params, n_tokens) * (1 + 0.002 * ((7 * len(rows)) % 5 - 2))
            rows.append(f"{n_params:.0f},{n_tokens:.0f},{loss:.5f}")
    (folder / "runs.csv").write_text("\n".join(rows) + "\n")
    (folder / "few.csv").write_text("\n".join(rows[:1] + rows[2::3]) + "\n")
    steps = [STEP_COLUMNS]
    for d_model in (256, 512, 1024, 2048):
        for n_layers in (2, 4, 8):
            n_params = 12 * n_layers * d_model**2 + 8192 * d_model
            step_time_s = 1e-3 + 6 * n_params * 4096 / 4e14 * (1 + 0.01 * (n_layers % 3))
            shape = f"{d_model},{n_layers},{d_model // 64},{4 * d_model},8192,256,16"
            steps.append(f"{shape},plain,bf16,{step_time_s:.6f}")
    (folder / "steps.csv").write_text("\n".join(steps) + "\n")
    rng = random.Random(0)
    words = ["".join(rng.choices("etaoinshrdlu", k=rng.randint(2, 7))) for _ in range(400)]
    texts = (" ".join(rng.choices(words, k=80)) for _ in range(400))
    (folder / "words.txt").write_text("\n<|doc|>\n".join(texts))


def quicken(set_attribute: Callable[[str, Any], None]) -> None:
    """Make up pictures, timings, trainings and compilations; all that is written stays."""
    made_up = {
        "show.pictures.png.png_of": lambda drawn: repr(drawn).encode(),
        "machines.machine.pin_cores": lambda n_cores: None,
        "machines.host.keep_freed_memory": lambda: True,
        "validation.timing.step_design.QUICK": _least_effort(),
        "validation.timing.timers.CompiledStep": MadeUpStep,
        "validation.timing.timers.peak_matmul_flops_per_s": lambda dtype: 1e11,
        "validation.timing.timers.copy_bytes_per_s": lambda: 1e10,
        "validation.compiler.compile.require_compiler": lambda: None,
        "validation.compiler.compile._run_compiler": _compiled,
        "validation.confirm.choose.N_DRAWN": 60,
        "validation.confirm.refine.report_law": _report_law,
        "validation.confirm.refine.find": _find,
        "api.train._training": _training,
    }
    for place, instead in made_up.items():
        set_attribute(f"anybudget.{place}", instead)


def _least_effort() -> Any:
    from anybudget.validation.timing.step_design import Effort

    return Effort(n_architectures=6, seconds=0, max_step_s=0.1, max_layers=4)


def contents(folder: Path) -> dict[str, bytes]:
    """All that lies in a folder, but for dates, and hidden files that a kill may leave."""
    return {
        str(path.relative_to(folder)): _content(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(p.startswith(".") for p in path.relative_to(folder).parts)
    }


def _content(path: Path) -> bytes:
    """What a file says; of a journal the trials, of a table its cells."""
    if path.suffix == ".journal":
        return _trials(path)
    if path.suffix == ".parquet":
        import pandas as pd

        return DATE.sub(b"DATE", pd.read_parquet(path).to_csv().replace(" ", "T").encode())
    return DATE.sub(b"DATE", path.read_bytes())


def _trials(path: Path) -> bytes:
    import optuna
    from optuna.storages.journal import JournalFileBackend

    storage = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
    try:
        study = optuna.load_study(study_name="anybudget", storage=storage)
    except KeyError:  # it was not begun
        return b""
    trials = study.get_trials(deepcopy=False)
    return repr(sorted((sorted(one.params.items()), one.value) for one in trials)).encode()


class MadeUpStep:
    """A step that takes as long as it has parameters."""

    def __init__(self, arch: Any, backend: Any, execution: Any) -> None:
        self.arch = arch

    def time(self, seconds: float) -> Any:
        """One timing."""
        from anybudget.objectives.cost.counts import flops_per_step, memcpys_per_step
        from anybudget.validation.timing.step_clock import StepTiming

        took_s = 1e-4 + 2e-11 * flops_per_step(self.arch) + 8e-10 * memcpys_per_step(self.arch)
        return StepTiming(step_time_s=took_s, step_time_spread=0.01, core_share=0.99, n_steps=10)


def train_one(
    arch: Any, tokens: Any, *, time_budget_s: float, seed: int, execution: Any, upkeep: Any
) -> Any:
    """A training that takes no time."""
    from anybudget.objectives.loss_at_time import LossAtTime
    from anybudget.presets.devices import load_device
    from anybudget.presets.laws import load_law
    from anybudget.search.candidate import Candidate
    from anybudget.validation.runs import Run

    objective = LossAtTime(
        device=load_device("cpu-core"), law=load_law("besiroglu-2024"), time_budget_s=time_budget_s
    )
    predicted = Candidate.of(arch, objective).prediction
    return Run(
        **arch.as_dict(),
        **execution.columns(arch),
        corpus=tokens.corpus,
        corpus_fingerprint=tokens.corpus_fingerprint,
        seed=seed,
        device="made up",
        recipe="none",
        learning_rate=1e-3,
        time_budget_s=time_budget_s,
        n_params=predicted.n_params,
        n_params_non_embedding=predicted.n_params_non_embedding,
        status="ok",
        n_steps=predicted.n_steps,
        n_tokens=predicted.n_tokens,
        step_time_s=predicted.step_time_s,
        measured_loss=loss_of(predicted.n_params, predicted.n_tokens),
        started=datetime.datetime.now(datetime.UTC),
        versions="none",
    )


def _training(trained: Any, engine: Any) -> Any:
    from anybudget.validation.confirm.train_all import Training

    return Training(corpus=trained["corpus"], train_one=train_one)


def _report_law(runs: Any, **how: Any) -> Any:
    from anybudget.objectives.fit.report import Fitting, report_law

    return report_law(runs, fitting=Fitting(form="none", n_draws=20), **how)


def _find(question: Any) -> Any:
    from anybudget.search.explore.study import Exploring
    from anybudget.search.find import find

    return find(question, top=3, exploring=Exploring(n_trials=1))


def _compiled(request: Any, topology: Any, timeout_s: float, folder: Path) -> None:
    from anybudget.files.write import write_whole

    write_whole(folder / "answer.json", json.dumps({"status": "out_of_memory", "memory_bytes": 1}))


def _set_attribute(place: str, instead: Any) -> None:
    import importlib

    module, _, name = place.rpartition(".")
    setattr(importlib.import_module(module), name, instead)


if __name__ == "__main__":
    from anybudget.cli import main

    quicken(_set_attribute)
    sys.argv[1:] = words_of(sys.argv[1])
    main()
