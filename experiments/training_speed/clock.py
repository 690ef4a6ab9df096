"""Does training for 60 s use 60 s, and does the schedule end with it, whatever the architecture?

Command: python experiments/training_speed/clock.py
Wall time: 12 minutes of training, and as much again of compiling and judging.
Expected: on a machine with other work to do, 60 s ± 1% for steps of up to a second, and the last
step beyond 98% of the schedule.

Writes clock.csv, a row as each of 12 unlike architectures ends; rows that are there are kept.
"""

# ruff: noqa: E402

from __future__ import annotations

from pathlib import Path

from anybudget.machines import host

host.keep_freed_memory()  # before anything starts its threads

from anybudget.space.architecture import Architecture
from anybudget.validation.runs import ArchitectureRow, append_row, finished
from anybudget.validation.training.corpus import load_corpus
from anybudget.validation.training.loop import StepReport
from anybudget.validation.training.tokens import prepare_tokens
from anybudget.validation.training.train import Upkeep, train

TIME_BUDGET_S = 60.0
# Steps of 20 ms to 1 s on one Zen 5 core.
SHAPES = [
    {"d_model": 32, "n_layers": 1, "d_head": 16},
    {"d_model": 48, "n_layers": 24, "d_head": 24},
    {"d_model": 64, "n_layers": 4},
    {"d_model": 64, "n_layers": 12, "gated_mlp": True},
    {"d_model": 128, "n_layers": 2, "seq_len": 1024, "batch_size": 2},
    {"d_model": 128, "n_layers": 8, "n_heads": 8, "n_kv_heads": 1},
    {"d_model": 192, "n_layers": 3, "tied_embeddings": False},
    {"d_model": 256, "n_layers": 1, "seq_len": 64, "batch_size": 64},
    {"d_model": 256, "n_layers": 6, "d_ff": 512},
    {"d_model": 384, "n_layers": 2, "n_heads": 4, "d_head": 32},
    {"d_model": 512, "n_layers": 1, "batch_size": 4},
    {"d_model": 768, "n_layers": 1, "gated_mlp": True, "batch_size": 4},
]
RESULT = Path(__file__).with_suffix(".csv")


class ClockRow(ArchitectureRow):
    """What one run did with its time."""

    time_budget_s: float
    train_time_s: float
    n_steps: int
    step_time_s: float
    last_progress: float


def main() -> None:
    """Train them all, one after the other."""
    tokens = prepare_tokens(load_corpus("python"), vocab_size=2048)
    done = finished(RESULT, ClockRow, list(Architecture.__dataclass_fields__))
    for shape in SHAPES:
        text = {"vocab_size": tokens.vocab_size, "seq_len": 256, "batch_size": 8}
        arch = Architecture.from_shape(**text | shape)
        if tuple(arch.as_dict().values()) in done:
            continue
        reports: list[StepReport] = []
        run = train(
            arch,
            tokens,
            seed=0,
            time_budget_s=TIME_BUDGET_S,
            upkeep=Upkeep(n_heldout_tokens=1, on_step=reports.append),
        )
        measured = {
            "time_budget_s": TIME_BUDGET_S,
            "train_time_s": reports[-1].train_time_s,
            "n_steps": run.n_steps,
            "step_time_s": run.step_time_s,
            "last_progress": reports[-1].progress,
        }
        row = ClockRow.model_validate(arch.as_dict() | measured)
        append_row(RESULT, row)
        off = row.train_time_s / TIME_BUDGET_S - 1
        print(f"{shape}: {row.train_time_s:.2f} s ({off:+.2%}) in {row.n_steps} steps of ", end="")
        print(f"{row.step_time_s:.3f} s, the last at {row.last_progress:.2%}", flush=True)


if __name__ == "__main__":
    main()
