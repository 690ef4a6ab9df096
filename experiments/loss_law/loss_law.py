"""Does a law of parameters and tokens foretell the loss of small models, and what does it miss?

Command: python experiments/loss_law/loss_law.py python
         python experiments/loss_law/loss_law.py FILE    # the second corpus: 100 MB of prose
         python experiments/loss_law/loss_law.py python --largest-first    # on a second core
Wall time: about three hours of one core for `python`, two for the other; with its rows in place,
seconds.
Expected: held out by shape the pure law has an R² above 0.95 and a shape-aware law a higher one;
fitted on the smaller budgets it foretells the largest D within 2%; N counted with embeddings
predicts better at these sizes; alpha and beta are the same for prose and for source code within
their intervals, E, A and B are not.

Trains 23 shapes at six parameter counts, 24 thousand to 2.7 million, each for 2^18 tokens (512
steps of 512 tokens) and twice as many again and again, up to 2^24 or to 6e12 FLOPs (3.2e12 on the
second corpus). Every run has its own whole schedule, the one that `confirm` trains by. On `python`
the shapes are trained with two more seeds (those of 1M parameters with one, the largest with none)
at one budget, for `parameter_equivalence.py`; `wider_deeper.py` takes its equal tokens from here
too. Two to four layers, and one shape more, are trained there for up to 1.5e13 FLOPs, three and
four of them with two more seeds at 4.2 million tokens, because that is where models learn to copy.
Each row is added to loss_law/CORPUS.csv as its run ends, the cheapest first; rows that are there
are kept. Numbers of steps are fixed, so losses do not depend on what else the machine does; step
times in these rows do, and nothing uses them.
"""
# ruff: noqa: E402

from __future__ import annotations

import argparse
from pathlib import Path

from anybudget.machines import host

host.keep_freed_memory()  # before anything starts its threads

from anybudget.objectives.cost.counts import flops_per_step, n_params
from anybudget.space.architecture import Architecture
from anybudget.validation.runs import Run, append_row, finished
from anybudget.validation.training.corpus import load_corpus
from anybudget.validation.training.tokens import Tokens, prepare_tokens
from anybudget.validation.training.train import Upkeep, train

FOLDER = Path(__file__).parent
TEXT = {"vocab_size": 1024, "seq_len": 128, "batch_size": 4}
# (d_model, n_layers, d_ff) at one parameter count each, to within 2%, from deep to wide.
LEVELS: dict[float, tuple[tuple[int, int, int], ...]] = {
    24e3: ((16, 3, 48), (16, 2, 88)),
    64e3: ((32, 3, 96), (32, 2, 176)),
    160e3: ((32, 8, 184), (48, 4, 192), (64, 3, 120), (64, 2, 240), (80, 1, 320)),
    400e3: ((48, 12, 208), (64, 8, 200), (80, 4, 336), (96, 2, 584), (144, 1, 576)),
    1e6: ((80, 12, 320), (112, 6, 440), (160, 3, 560), (192, 2, 664), (256, 1, 952)),
    2.7e6: ((112, 16, 496), (160, 8, 672), (256, 3, 1072), (448, 1, 1600)),
}
SHORTEST_STEPS, MOST_STEPS = 512, 2**15
# A run's FLOPs at most: on `python`, on another corpus, and when it is repeated with more seeds.
MOST_FLOPS, MOST_FLOPS_ELSEWHERE, SEEDED_FLOPS = 6e12, 3.2e12, 1e12
# Seeds besides the first, as many as twice the last allows.
MORE_SEEDS = (1, 2)
# On `python`, longer runs of two to four layers: beyond 2 million tokens some of them learn to copy
# from their window (copying.py), and when differs between seeds.
LONG = (
    (48, 4, 192), (64, 3, 120), (64, 2, 240), (80, 4, 336), (96, 3, 328), (96, 2, 584),
    (160, 3, 560), (192, 2, 664),
)  # fmt: skip
LONG_FLOPS, LONG_SEEDED_FLOPS = 1.5e13, 1.3e13
LONG_SEEDS, LONG_SEEDED_STEPS, LONG_SEEDED_LAYERS = (1, 2), 2**13, (3, 4)
MAX_BYTES = 100_000_000
KEY = ("d_model", "n_layers", "d_ff", "n_steps", "seed")


def architecture(d_model: int, n_layers: int, d_ff: int) -> Architecture:
    """One shape, with its heads and the text's sizes."""
    return Architecture.from_shape(
        d_model=d_model, n_layers=n_layers, d_ff=d_ff, d_head=heads_of(d_model), **TEXT
    )


def steps_of(arch: Architecture, most_flops: float) -> list[int]:
    """The numbers of steps that a shape is trained for; the shortest in any case."""
    most = max(SHORTEST_STEPS, min(MOST_STEPS, most_flops / flops_per_step(arch)))
    return [n for n in (SHORTEST_STEPS << i for i in range(10)) if n <= most]


def jobs(corpus: str) -> list[tuple[Architecture, int, int]]:
    """Architecture, steps and seed of every run, the cheapest first."""
    found = []
    for shape in (shape for shapes in LEVELS.values() for shape in shapes):
        arch = architecture(*shape)
        most = MOST_FLOPS if corpus == "python" else MOST_FLOPS_ELSEWHERE
        found += [(arch, n, 0) for n in steps_of(arch, most)]
        if corpus == "python":
            seeded = steps_of(arch, SEEDED_FLOPS)[-1]
            n_more = int(2 * SEEDED_FLOPS / flops_per_step(arch) / seeded)
            found += [(arch, seeded, seed) for seed in MORE_SEEDS[:n_more]]
    if corpus == "python":
        found += long_jobs()
    return sorted(dict.fromkeys(found), key=lambda job: job[1] * flops_per_step(job[0]))


def long_jobs() -> list[tuple[Architecture, int, int]]:
    """Runs of `LONG`: one seed of every length, and more of the length at which copying begins."""
    found = []
    for arch in (architecture(*shape) for shape in LONG):
        found += [(arch, n, 0) for n in steps_of(arch, LONG_FLOPS)]
        seeded = LONG_SEEDED_STEPS * flops_per_step(arch) <= LONG_SEEDED_FLOPS
        if seeded and arch.n_layers in LONG_SEEDED_LAYERS:
            found += [(arch, LONG_SEEDED_STEPS, seed) for seed in LONG_SEEDS]
    return found


def missing(corpus: str, path: Path) -> list[tuple[Architecture, int, int]]:
    """The jobs that a file does not hold yet."""
    done = finished(path, Run, KEY)
    return [
        (arch, n, seed)
        for arch, n, seed in jobs(corpus)
        if (arch.d_model, arch.n_layers, arch.d_ff, n, seed) not in done
    ]


def run_all(corpus: str, *, largest_first: bool) -> None:
    """Train what the corpus's file does not hold, until it holds all."""
    path = FOLDER / f"{Path(corpus).name.partition('.')[0]}.csv"
    if not missing(corpus, path):
        return
    host.use_cores(1)
    tokens = tokens_of(corpus)
    while todo := missing(corpus, path):
        arch, n_steps, seed = todo[-1 if largest_first else 0]
        run = train(arch, tokens, seed=seed, n_steps=n_steps, upkeep=Upkeep(n_heldout_tokens=2**18))
        if (arch, n_steps, seed) in missing(corpus, path):  # and no other process was faster
            append_row(path, run)
        print(
            f"{len(todo) - 1} left; {arch.d_model}×{arch.n_layers}, {n_params(arch):,} parameters, "
            f"{run.n_tokens:,} tokens, seed {seed}: {run.measured_loss:.4f} in "
            f"{run.time_budget_s:.0f} s",
            flush=True,
        )


def tokens_of(corpus: str) -> Tokens:
    """A corpus in the vocabulary of all these models."""
    return prepare_tokens(load_corpus(corpus, max_bytes=MAX_BYTES), vocab_size=TEXT["vocab_size"])


def heads_of(d_model: int) -> int:
    """Width of a head: 32 where it divides a wider model, else 16."""
    return 32 if d_model % 32 == 0 and d_model > 32 else 16


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("corpus", nargs="?", default="python")
    parser.add_argument("--largest-first", action="store_true")
    options = parser.parse_args()
    run_all(options.corpus, largest_first=options.largest_first)
