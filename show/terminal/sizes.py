"""Models that no law ranks as text for a terminal: a row a size, and what is known of them."""

from __future__ import annotations

import collections

from rich.table import Table

from ...objectives.budget import format_budget
from ...search.unranked.sizes import Sizes
from ..words import REMAT_MARKS, gigabytes, milliseconds, remat_means, short_count
from .parts import Lines, assumptions, costs, plain_table, prose, show_warnings

MARK = "*"


def show_sizes(found: Sizes) -> Lines:
    """What each size reads in the time, what that is the best of, and what to beware of."""
    space, objective = found.space, found.objective
    where = f"; space {found.space_name}, {space.n_models:,} architectures; no law"
    yield assumptions(objective, where, named=False) + "\n"
    turns = collections.Counter(space.pattern)
    blocks = " and ".join(f"{n} {name}" for name, n in turns.items())
    whose = f"{blocks} in turns" if len(turns) > 1 else space.pattern[0]
    yield prose(
        f"What {format_budget(objective.time_budget_s)} can train of decoders whose blocks are "
        f"{whose}, by size; nothing is ranked, for no law here knows their loss:"
    )
    yield costs(objective)
    yield _table(found)
    yield ""
    if remats := remat_means({str(one.cost.execution.remat) for one in found.shown}):
        yield prose("; ".join(remats))
    yield prose(
        f"Certified: all {space.n_models:,} were tried, {found.n_fitting:,} fit, and "
        f"{len(found.front)} read more than any that is at least as large (sizes.csv of --out): if "
        "parameters and tokens alone decide, the best of this space is one of them. Tokens that "
        "are repeated or in batches off the best count for less, as for dense models."
    )
    law, marked = objective.law.name, found.marked
    yield prose(
        f"{MARK} {marked.arch.d_model}×{marked.arch.n_layers} would be best were they worth to it "
        f"what they are to dense models ({law}), which no run here has shown."
    )
    yield from show_warnings(found.warnings)


def _table(found: Sizes) -> Table:
    table = plain_table("shape", "d_ff", "params", "tokens", "per param", "batch", "step ms", "GB")
    for one in found.shown:
        row = found.row(one)
        table.add_row(
            f"{row['d_model']}×{row['n_layers']}{MARK * (one is found.marked)}",
            f"{row['d_ff']}{'g' * row['gated_mlp']}",
            short_count(row["n_params"]),
            short_count(row["n_tokens"]),
            f"{row['n_tokens'] / row['n_params']:.3g}",
            f"{row['batch_size']}×{row['seq_len']:,}",
            milliseconds(row["step_time_s"]),
            gigabytes(row["memory_bytes"]) + REMAT_MARKS[row["remat"]],
        )
    return table
