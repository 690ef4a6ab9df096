"""Is the answer a shape that people train, on every accelerator and for every budget?

Command: python experiments/answers/answers.py
Wall time: 5 min on one core; rows are appended to answers.csv, those there are skipped.
Expected: depth interior in each, no field on a bound that is not held, and at most 36 lines of 80
columns with nothing cut off. Width is interior but where the budget is small: two heads of 128, as
the law's runs had, make 256 the least. On each accelerator no larger budget has a smaller batch;
there are between a thousand and some hundred thousand steps.

A row for each accelerator that is shipped with a basis of its own and each of four budgets: the
winner of `anybudget find`, whether a wider, a narrower, a deeper and a shallower model could have
been chosen, the fields at an edge of the space that nothing holds, and how large the screen is.
"""

import io
import re
from pathlib import Path

import pandas as pd
from rich.console import Console

from anybudget import api
from anybudget.files.rows import Row, append_row, read_rows
from anybudget.presets.devices import device_names, load_device
from anybudget.search.answer import AT_THE_EDGE, Answer
from anybudget.show.terminal.found import show_found
from anybudget.show.terminal.training import show_training

CSV = Path(__file__).with_suffix(".csv")
BUDGETS = ("1h", "3h", "24h", "7d")
COLUMNS = 80


class Found(Row):
    """One answer."""

    device: str
    budget: str
    d_model: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    n_params: int
    batch_size: int
    n_steps: int
    tokens_per_param: float
    share_of_memory: float
    is_width_interior: bool
    is_depth_interior: bool
    at_an_edge: str | None = None
    n_lines: int
    widest_line: int
    is_cut: bool


def screen(answer: Answer) -> list[str]:
    """What a terminal shows."""
    text = io.StringIO()
    console = Console(file=text, width=COLUMNS, highlight=False)
    for line in (
        *show_found(answer, answer.question.space_name),
        *show_training(answer.best, answer.objective, None),
    ):
        console.print(line)
    return text.getvalue().splitlines()


def row_of(device: str, budget: str) -> Found:
    """Ask, and judge the answer."""
    answer = api.find(budget, device=device)
    assert isinstance(answer, Answer)
    arch, predicted = answer.best.arch, answer.best.prediction
    widths, depths = zip(*(shape.shape for shape in answer.shapes), strict=True)
    lines = screen(answer)
    edges = [text.removeprefix(AT_THE_EDGE) for text in answer.warnings if AT_THE_EDGE in text]
    return Found(
        device=device,
        budget=budget,
        d_model=arch.d_model,
        n_layers=arch.n_layers,
        n_heads=arch.n_heads,
        n_kv_heads=arch.n_kv_heads,
        n_params=int(predicted.n_params),
        batch_size=arch.batch_size,
        n_steps=int(predicted.n_steps),
        tokens_per_param=float(predicted.n_tokens / predicted.n_params),
        share_of_memory=float(predicted.memory_bytes / answer.objective.device.memory_bytes),
        is_width_interior=min(widths) < arch.d_model < max(widths),
        is_depth_interior=min(depths) < arch.n_layers < max(depths),
        at_an_edge="; ".join(edges) or None,
        n_lines=len(lines),
        widest_line=max(map(len, lines)),
        is_cut=any(re.search(r"\S…", line) for line in lines),
    )


def main() -> None:
    """Ask what is missing, and count."""
    done = {(row.device, row.budget) for row in read_rows(CSV, Found)} if CSV.exists() else set()
    for device in device_names():
        if load_device(device).kind == "cpu":
            continue
        for budget in BUDGETS:
            if (device, budget) not in done:
                append_row(CSV, row_of(device, budget))
    table = pd.read_csv(CSV)
    print(table.to_string(index=False))
    print(f"\n{len(table)} answers")
    for name in ("is_width_interior", "is_depth_interior"):
        print(f"{name}: {table[name].sum()}")
    print(f"no field at an edge: {table['at_an_edge'].isna().sum()}")
    print(f"most lines {table['n_lines'].max()}, widest {table['widest_line'].max()}")
    print(f"screens with something cut off: {table['is_cut'].sum()}")
    batches, steps = (
        table.pivot(index="device", columns="budget", values=name)[list(BUDGETS)]
        for name in ("batch_size", "n_steps")
    )
    print("\nSequences in a batch, and steps:")
    print(pd.concat({"batch": batches, "steps": steps}, axis=1).to_string())
    never_smaller = (batches.diff(axis=1).iloc[:, 1:] >= 0).all(axis=1)
    print(f"batch never smaller with more time: {never_smaller.sum()} of {len(batches)}")
    print(f"larger in {BUDGETS[-1]} than in {BUDGETS[0]}: {(batches['7d'] > batches['1h']).sum()}")
    print(f"steps {table['n_steps'].min():,} to {table['n_steps'].max():,}")


if __name__ == "__main__":
    main()
