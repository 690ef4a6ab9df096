"""Train one architecture for a given time, and say in one row what came of it.

The clock counts steps and the loading of their batches. It stands still during compilation, the
measurement of the step time, checkpoints and evaluation.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import functools
import importlib.metadata
import logging
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import jax
import numpy as np

from ...machines.host import available_memory_bytes, give_back_freed_memory
from ...objectives.cost import counts
from ...objectives.cost.execution import PLAIN, Execution
from ...objectives.recipe import Recipe, recipe_for
from ...space.architecture import Architecture
from ...space.sparse import is_sparse
from ..backend import compute_dtype
from ..runs import Run, run_type
from .batches import batch, heldout_batches
from .clock import Budget
from .hosts import agreed
from .loop import Loop, StepReport
from .model import Backend
from .peak import peak_matmul_flops_per_s
from .step import CompiledTraining, compile_training
from .tokens import Tokens

if TYPE_CHECKING:
    from .checkpoint import Checkpoints

logger = logging.getLogger(__name__)

PACKAGES = ("jax", "jaxlib", "numpy", "optax")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a run; `step_times_s` are those of the steps that this process ran."""

    status: Literal["ok", "diverged", "out_of_memory"]
    recipe: Recipe | None = None
    n_steps: int = 0
    train_time_s: float = 0.0
    step_times_s: Sequence[float] = ()
    measured_loss: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Upkeep:
    """What a run does besides its steps.

    Attributes:
        device_name: what its row calls the device; jax's name when left out.
        n_heldout_tokens: the most held-out tokens to judge it on.
        checkpoint_dir: a folder of its own. A killed run goes on from what it left there, with the
            clock as it was.
        checkpoint_every_s: time on the clock between checkpoints; one more is made at the end.
        on_step: called after each step, on the clock.
    """

    device_name: str | None = None
    n_heldout_tokens: int = 2**17
    checkpoint_dir: Path | None = None
    checkpoint_every_s: float = 300.0
    on_step: Callable[[StepReport], None] | None = None


def train(
    arch: Architecture,
    tokens: Tokens,
    *,
    seed: int,
    time_budget_s: float | None = None,
    n_steps: int | None = None,
    recipe: Recipe | None = None,
    execution: Execution = PLAIN,
    upkeep: Upkeep = Upkeep(),
) -> Run:
    """Train an architecture for a time, or for a number of steps, and judge it on held-out text.

    Divergence and lack of memory are results: rows with that status. Where several processes train
    together (`hosts.py`), all call this alike and get the same run.

    Args:
        arch: what to train.
        tokens: the text, encoded.
        seed: of the initial weights and of the order of the text.
        time_budget_s: how long, on the clock.
        n_steps: how long, in steps. The result is then the same on every run, the row's
            `time_budget_s` is what the steps took, and a lack of memory is an error.
        recipe: how it is initialised and updated; `recipe_for` its horizon when left out.
        execution: how a step is run.
        upkeep: what the run does besides.

    Raises:
        ValueError: the time is that of fewer than ten steps, the text is shorter than one batch
            or has another vocabulary, or the checkpoint is another run's.
    """
    _check_vocabulary(arch, tokens)
    check_kernel(execution)
    budget = Budget(time_s=time_budget_s, n_steps=n_steps)
    constants = recipe or Recipe(rule="horizon")
    size = {"batch_size": arch.batch_size, "seq_len": arch.seq_len}
    load = functools.partial(_load, tokens.train, seed=seed, **size)
    heldout = heldout_batches(tokens.heldout, max_tokens=upkeep.n_heldout_tokens, **size)
    identity = arch.as_dict() | dataclasses.asdict(constants) | dataclasses.asdict(budget)
    how = {"execution": execution, "backend": this_backend(execution.n_chips, not is_sparse(arch))}
    identity |= {"seed": seed, "text": tokens.fingerprint, "dtype": how["backend"].dtype}
    started = datetime.datetime.now(datetime.UTC)
    load(0)  # a text too short says so before anything is compiled
    make = functools.partial(compile_training, arch, recipe=constants, **how)
    outcome = _attempt(make, _recipe_of(arch, recipe), budget, load, heldout, identity, upkeep)
    return run_type(arch)(
        **arch.as_dict(),
        **execution.columns(arch),
        **_measures(arch, outcome, **how),
        corpus=tokens.corpus,
        corpus_fingerprint=tokens.corpus_fingerprint,
        seed=seed,
        device=upkeep.device_name or jax.devices()[0].device_kind,
        recipe=constants.label,
        learning_rate=(outcome.recipe or constants).learning_rate,
        time_budget_s=outcome.train_time_s if budget.time_s is None else budget.time_s,
        bits_per_byte=outcome.measured_loss and tokens.bits_per_byte(outcome.measured_loss),
        started=started,
        versions=";".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES),
    )


def this_backend(n_chips: int = 1, dense: bool = True) -> Backend:
    """What JAX compiles for here, a dense model or one with experts."""
    kind = jax.default_backend()
    return Backend(kind=kind, dtype=compute_dtype(kind, n_chips, dense=dense))


def check_kernel(execution: Execution) -> None:
    """Raise ValueError where attention is fused and several chips would have to share it."""
    if execution.fused and execution.n_chips > 1:
        raise ValueError(
            f"fused attention trains on one chip here, but the result is for {execution.n_chips}; "
            "search again with --attention plain, or `anybudget export` the result"
        )


def measured_step_time_s(
    compiled: CompiledTraining, tokens_bt: np.ndarray, *, at_least_s: float = 0.5
) -> float:
    """Median time of a step, the first two left out, from weights that are then thrown away.

    One is in flight when the next is called, as in training: of one that is waited for, XLA may not
    have freed the temporaries when the next asks for its own. What malloc keeps is given back after
    the first ones, since it is seldom where the next one's temporaries find room.

    Args:
        compiled: what is compiled.
        tokens_bt: a batch, taken at every step.
        at_least_s: how long to go on; three steps in any case.
    """
    state, tokens = compiled.init(0), compiled.place(tokens_bt)
    in_flight: jax.Array | None = None
    ended_s = [time.perf_counter()]
    while len(ended_s) < 6 or agreed(ended_s[-1] - ended_s[2]) < at_least_s:
        state, loss = compiled.step(state, tokens, 0.0, compiled.recipe)
        if in_flight is not None:
            jax.block_until_ready(in_flight)
            if len(ended_s) < 3:
                give_back_freed_memory()
            ended_s.append(time.perf_counter())
        in_flight = loss
    jax.block_until_ready(state)
    return agreed(statistics.median(np.diff(ended_s[2:])))


def _recipe_of(arch: Architecture, recipe: Recipe | None) -> Callable[[float], Recipe]:
    """The recipe by the number of steps: the one that was given, or by the rule."""
    return lambda n_steps: recipe or recipe_for(arch, n_steps * arch.tokens_per_step)


def _load(text: np.ndarray, step: int, **options: int) -> np.ndarray:
    return batch(text, step=step, **options)


def _check_vocabulary(arch: Architecture, tokens: Tokens) -> None:
    if arch.vocab_size != tokens.vocab_size:
        raise ValueError(
            f"a model must have its text's vocabulary, but got vocab_size={arch.vocab_size} "
            f"for a text of {tokens.vocab_size}"
        )


def _attempt(
    make: Callable[[], CompiledTraining],
    recipe_of: Callable[[float], Recipe],
    budget: Budget,
    load: Callable[[int], np.ndarray],
    heldout: np.ndarray,
    identity: dict[str, Any],
    upkeep: Upkeep,
) -> Outcome:
    """Compile, take up the run where it stands, end it and judge it; a lack of memory is an end."""
    try:
        compiled = make()
        with _open_checkpoints(upkeep.checkpoint_dir, identity) as checkpoints:
            if checkpoints:
                checkpoints.check_room(compiled.state_shapes)
            step_time_s = _checked_step_time_s(compiled, budget, load)
            saved = checkpoints and checkpoints.restore(compiled.state_shapes)
            begin = saved or (compiled.init(identity["seed"]), 0, 0.0)
            recipe = recipe_of(budget.expected_steps(step_time_s, *begin[1:]))
            loop = Loop(compiled, budget, load, step_time_s, recipe, upkeep.on_step)
            loop.run(*begin, checkpoints, upkeep.checkpoint_every_s)
        return _judged(loop, compiled, heldout)
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if budget.time_s is None or not _is_out_of_memory(error):
            raise
        logger.warning("a model of d_model=%s ran out of memory: %s", identity["d_model"], error)
        return Outcome(status="out_of_memory")


def _checked_step_time_s(
    compiled: CompiledTraining, budget: Budget, load: Callable[[int], np.ndarray]
) -> float:
    """Seconds of a step, measured, of a run that has the memory and the time for it."""
    available_bytes = agreed(available_memory_bytes())
    if jax.default_backend() == "cpu" and compiled.memory_bytes > available_bytes:
        raise MemoryError(f"{compiled.memory_bytes} bytes are needed of {available_bytes:.0f}")
    step_time_s = measured_step_time_s(compiled, load(0))
    budget.check(step_time_s)
    return step_time_s


def _judged(loop: Loop, compiled: CompiledTraining, heldout: np.ndarray) -> Outcome:
    losses = [float(compiled.evaluate(loop.state.params, compiled.place(x))) for x in heldout]
    loss = math.fsum(losses) / len(losses)
    is_finite = math.isfinite(loss) and not loop.has_diverged
    return Outcome(
        status="ok" if is_finite else "diverged",
        recipe=loop.recipe,
        n_steps=loop.n_steps,
        train_time_s=loop.train_time_s,
        step_times_s=loop.step_times_s,
        measured_loss=loss if is_finite else None,
    )


def _measures(
    arch: Architecture, outcome: Outcome, execution: Execution, backend: Backend
) -> dict[str, Any]:
    """The columns that follow from counts and times."""
    n_tokens = outcome.n_steps * arch.tokens_per_step
    columns = {
        "status": outcome.status,
        "dtype": backend.dtype,
        "n_steps": outcome.n_steps,
        "n_tokens": n_tokens,
        "n_params": counts.n_params(arch),
        "n_params_non_embedding": counts.n_params_non_embedding(arch),
        "measured_loss": outcome.measured_loss,
    }
    if outcome.step_times_s:
        low_s, step_time_s, high_s = np.quantile(outcome.step_times_s, (0.25, 0.5, 0.75))
        flops_per_s = counts.flops_per_step(arch) / step_time_s / execution.n_chips
        columns |= {
            "step_time_s": step_time_s,
            "step_time_spread": (high_s - low_s) / step_time_s,
            "tokens_per_s": n_tokens / outcome.train_time_s,
            "mfu": flops_per_s / peak_matmul_flops_per_s(backend.dtype),
        }
    return columns


@contextlib.contextmanager
def _open_checkpoints(folder: Path | None, run: dict[str, Any]) -> Iterator[Checkpoints | None]:
    if folder is None:
        yield None
        return
    from .checkpoint import Checkpoints  # orbax takes seconds to import

    with contextlib.closing(Checkpoints(folder, run)) as checkpoints:
        yield checkpoints


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)
