"""Numbers, times and models in the words that text, pictures and pages share."""

from __future__ import annotations

from collections.abc import Collection

from ..objectives.budget import format_budget
from ..objectives.law.loss_law import LossLaw
from ..objectives.uncertainty import COVERAGE, Standing
from ..presets.anchors import anchor_names
from ..search.answer import Answer
from ..search.candidate import Candidate
from ..space.architecture import Architecture

# What stands behind a model's memory, and what that means.
REMAT_MARKS = {"none": "", "dots": "a", "layer": "r"}
REMAT_MEANS = {
    "dots": "a: runs attention again in the backward pass",
    "layer": "r: runs blocks again in the backward pass",
}


def short_count(count: float) -> str:
    """A count in thousands, millions, billions or trillions, three digits of it."""
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g}{letter}"
    return f"{count:g}"


def gigabytes(n_bytes: float) -> str:
    """Bytes in 10^9, one decimal, or two digits of what is less than one; never 0.0."""
    found = n_bytes / 1e9
    return f"{found:,.1f}" if found >= 1 else f"{found:.2g}"


def milliseconds(seconds: float, digits: int = 3) -> str:
    """Seconds in thousandths, of so many digits."""
    found = float(f"{1e3 * seconds:.{digits}g}")
    return f"{found:,.0f}" if found >= 1000 else f"{found:g}"


def time_text(seconds: float) -> str:
    """A time budget, of three digits where it is less than a minute."""
    return format_budget(float(f"{seconds:.3g}") if seconds < 60 else seconds)


def shape_of(candidate: Candidate) -> str:
    """Width × depth."""
    return "{}×{}".format(*candidate.shape)


def describe(candidate: Candidate, best_loss: float | None = None) -> tuple[str, ...]:
    """All that there is to say of a candidate, in lines, the first its name.

    Args:
        candidate: what is told of.
        best_loss: of the winner, where the loss behind it is to be said.
    """
    arch, predicted = candidate.arch, candidate.prediction
    behind = "" if best_loss is None else f", {candidate.loss - best_loss:.4f} behind the best"
    return (
        f"d_model {arch.d_model} × {arch.n_layers} layers",
        f"{arch.n_heads} heads of {arch.d_head}, {arch.n_kv_heads} key-value",
        ", ".join([f"d_ff {arch.d_ff:,}", *arch.words]),
        f"{short_count(predicted.n_params)} parameters",
        f"{short_count(predicted.n_tokens)} tokens in {predicted.n_steps:,} steps",
        f"{milliseconds(predicted.step_time_s)} ms a step",
        f"{predicted.memory_bytes / 1e9:,.3g} GB",
        f"predicted loss {candidate.loss:.4f} nats per token{behind}",
    )


def advice(
    arch: Architecture,
    n_params: int,
    n_tokens: int,
    loss: float,
    interval: tuple[float, float] | None,
) -> str:
    """What to train and what it will reach, in a sentence."""
    heads = "with one head" if arch.n_heads == 1 else f"with {arch.n_heads} heads"
    sure = f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else ""
    return (
        f"Train d_model {arch.d_model} × {arch.n_layers} layers, {heads} of "
        f"{arch.d_head} and {' '.join([f'd_ff {arch.d_ff}', *arch.words])}: "
        f"{short_count(n_params)} parameters see {short_count(n_tokens)} "
        f"tokens and reach a loss of {loss:.3f}{sure} nats per token."
    )


def lowest(answer: Answer) -> str:
    """How the winner's predicted loss stands to the lowest, for a sentence on what it has."""
    if answer.best.shape == answer.optimum.shape:
        return "the lowest predicted loss"
    return f"a predicted loss {answer.above_optimum:.2g} above the lowest"


def loss_interval(law: LossLaw, standing: Standing, *, of_experts: bool = False) -> str:
    """The interval of a loss on the law's own text, and beside it the one on another.

    Runs narrow it but for models with experts, whose law no run moves yet.
    """
    text = "its law's text" if law.corpus == "not stated" else law.corpus
    vocabulary = f" in a vocabulary of {law.vocab_size:,}" if law.vocab_size else ""
    own = f"on {text}{vocabulary} the loss is {standing.loss_low:.3f} to {standing.loss_high:.3f}"
    there = f"{standing.elsewhere_low:.2f} to {standing.elsewhere_high:.2f}"
    ours = ", ".join(anchor_names())
    narrowed = "" if of_experts else f", which --anchor narrows: runs of yours, or {ours}"
    other = f", trained and judged on another corpus {there}{narrowed}"
    return f"{own} ({COVERAGE:.0%}){other if law.level_std else ''}"


def remat_means(used: Collection[str]) -> list[str]:
    """What the marks of those rematerialisations mean that are used."""
    return [text for name, text in REMAT_MEANS.items() if name in used]
