"""What a reader must know before believing one model's prediction, a sentence each."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

from ..space.architecture import Architecture
from ..space.limits import check_count
from ..space.sparse import is_sparse
from .cost.kernel import KERNELS, as_run
from .cost.tiles import LANES
from .law.copying import UNDECIDED
from .law.repetition import best_epochs, enough_epochs
from .loss_at_time import REACH, LossAtTime, Prediction
from .step_cost import Cost, flop_utilisation

# The schedule takes a large share of fewer.
FEW_STEPS = 1000
MANY_EPOCHS = 4
# Of a day and more on several chips, whole published runs over their steps' time, and 95% of them:
# 15 sources (spread.csv of experiments/public_steps).
A_DAY_S = 86_400
RUNS_OVER_STEPS = "1.3 (0.8 to 2.2)"
# The share of a step's time that another attention would save, from which on it is told.
MUCH_SAVED = 0.1


def check_loss(law: str, loss: float) -> None:
    """Refuse what a law gives where its numbers do not hold.

    Raises:
        ValueError: it is no loss.
    """
    if not 0 < loss < math.inf:
        raise ValueError(
            f"a loss must be above 0 nats per token, but {law} gives {loss:.4g}: its numbers do "
            "not hold there"
        )


def flags(objective: LossAtTime, arch: Architecture, prediction: Prediction) -> list[str]:
    """All that is to be said of one architecture's prediction under an objective.

    Raises:
        ValueError: the law gives no loss there, or there are more tokens than can be counted.
    """
    check_count("tokens", prediction.n_tokens)
    check_loss(objective.law.name, prediction.predicted_loss)
    return [
        *of_memory(objective, prediction),
        *_of_speed(objective, arch, prediction),
        *_of_the_law(objective, arch, prediction),
        *_of_luck(objective, arch, prediction),
        *_of_attention(objective, arch, prediction),
        *_of_tiles(objective, arch, prediction),
        *of_training(objective, prediction.n_params, prediction.n_steps, prediction.n_tokens),
        *of_whole_runs(objective),
    ]


def tokens_of_law(objective: LossAtTime, arch: Architecture, prediction: Prediction) -> float:
    """One model's tokens as the law counts them; where it makes no step, none."""
    if not (n_tokens := prediction.n_tokens):
        return 0.0
    return objective.effective_tokens(n_tokens, arch.tokens_per_step, prediction.n_params)


def of_memory(objective: LossAtTime, prediction: Cost) -> Iterator[str]:
    """A sentence where a model does not fit."""
    device = objective.device
    if prediction.memory_bytes > device.room_bytes:
        yield (
            f"does not fit: {prediction.memory_bytes / 1e9:.1f} GB of "
            f"{device.room_bytes / 1e9:.1f} GB on "
            f"{'each of ' * (objective.n_chips > 1)}{objective.machine}"
        )


def _of_speed(objective: LossAtTime, arch: Architecture, prediction: Prediction) -> Iterator[str]:
    device = objective.device
    if (share := flop_utilisation(device, arch, prediction)) > 1:
        yield (
            f"faster than can be: steps at {share:.0%} of the peak of {device.name}, so its peak "
            "or its step times are wrong, as where something else ran while it was calibrated: "
            "calibrate it again"
        )


def _of_the_law(objective: LossAtTime, arch: Architecture, prediction: Prediction) -> Iterator[str]:
    law, n_params = objective.law, objective.counted_params(prediction)
    of_each = "active " * is_sparse(arch)
    n_tokens = tokens_of_law(objective, arch, prediction)
    ratio = n_tokens / n_params, law.ranges.get("tokens_per_param")
    for what, value, limits in (
        (f"{of_each}parameters", n_params, law.n_params_range),
        ("tokens", n_tokens, law.n_tokens_range),
        (f"tokens per {of_each}parameter", *ratio),
        ("d_model / n_layers", arch.aspect_ratio, law.aspect_ratio_range),
    ):
        if limits and not limits[0] <= value <= limits[1]:
            far = " / " not in what and value > REACH * limits[1]
            yield (
                f"{'a guess' if far else 'outside the law'}: {value:,.3g} {what}, fitted on "
                f"{limits[0]:,.3g} to {limits[1]:,.3g}"
            )
    if law.vocab_size not in (None, arch.vocab_size):
        yield (
            f"outside the law: a vocabulary of {arch.vocab_size:,}, but {law.name} was fitted "
            f"on losses over {law.vocab_size:,}: its level means nothing here"
        )
    guessing = math.log(arch.vocab_size)
    if prediction.predicted_loss > guessing:
        yield (
            f"worse than guessing: {prediction.predicted_loss:.3g} nats, but a uniform guess "
            f"among {arch.vocab_size:,} tokens has {guessing:.3g}: the law is far outside its "
            "range, at best the ranking can be of use"
        )


def _of_luck(objective: LossAtTime, arch: Architecture, prediction: Prediction) -> Iterator[str]:
    copying = objective.law.copying
    if not copying or prediction.n_steps < 1:
        return
    n_tokens = tokens_of_law(objective, arch, prediction)
    chance = float(copying.chance(n_tokens, arch.as_dict()))
    if UNDECIDED[0] < chance < UNDECIDED[1]:
        yield (
            f"luck decides: {chance:.0%} of such runs learn to copy from their window "
            f"within {prediction.n_tokens:,.0f} tokens, and these end "
            f"{copying.gain:.0%} below the others"
        )


def _of_attention(
    objective: LossAtTime, arch: Architecture, prediction: Prediction
) -> Iterator[str]:
    device = objective.device
    if objective.fused and (
        device.step_time_model.times_attention
        or not as_run(objective.simplest, arch, device.kind).fused
    ):
        return
    if objective.fused:
        padded = KERNELS[device.kind].padded_head
        refused = (
            f"; heads of {arch.d_head} are padded to {padded}s, and a trainer whose kernel refuses "
            "them takes up to twice as long"
        )
        yield (
            "fused attention was counted, not timed: its kernel at other matmuls' rate"
            + refused * (arch.d_head % padded > 0)
        )
        return
    if device.times_fused_alone:
        yield (
            f"plain attention was not timed on {device.name}: what writing scores costs "
            "is not in its steps; `attention` fused is what they had"
        )
        return
    fused = dataclasses.replace(objective, attention="fused").cost(arch)
    saved = float(1 - fused.step_time_s / prediction.step_time_s)
    if saved >= MUCH_SAVED:
        yield (
            f"plain attention: a kernel that never writes its scores would take {saved:.0%} "
            "off each step; `attention` fused predicts for trainers that have one"
        )


def _of_tiles(objective: LossAtTime, arch: Architecture, prediction: Prediction) -> Iterator[str]:
    for name in ("d_model", "d_ff"):
        size = getattr(arch, name)
        more = -(-size // LANES) * LANES
        if more > size:
            wider = objective.cost(dataclasses.replace(arch, **{name: more}))
            if wider.step_time_s < prediction.step_time_s:
                saved = 1 - wider.step_time_s / prediction.step_time_s
                yield (
                    f"off the tiles: {name} {size:,}: {more:,} is faster, "
                    f"its steps {saved:.0%} shorter"
                )


def of_training(
    objective: LossAtTime, n_params: float, n_steps: float, n_tokens: float
) -> Iterator[str]:
    """Sentences where steps are few, or tokens are repeated often."""
    if n_steps < FEW_STEPS:
        yield (
            f"only {n_steps:.0f} optimizer steps (under {FEW_STEPS:,}): "
            "warmup and decay take a large share, so less is learnt than a law says"
        )
    if objective.data_limit_tokens:
        epochs = n_tokens / objective.data_limit_tokens
        if epochs > MANY_EPOCHS:
            enough = float(enough_epochs(n_params, objective.data_limit_tokens))
            spent = f", though {enough:.0f} give nearly all that it can" if epochs > enough else ""
            yield f"{epochs:.1f} epochs over the data (more than {MANY_EPOCHS}){spent}"
        best = float(best_epochs(n_params, objective.data_limit_tokens))
        if epochs > best:
            yield (
                f"learns by heart: {n_params / objective.data_limit_tokens:.1f} parameters for "
                f"each token of the text; published runs like it were best after some {best:.0f} "
                "epochs and lost again: end it there, as the foretold loss takes it"
            )


def of_whole_runs(objective: LossAtTime) -> Iterator[str]:
    """A sentence on what of a long time on several chips is no step."""
    is_ours = objective.device.basis == "measured"
    if objective.n_chips > 1 and objective.time_budget_s >= A_DAY_S and not is_ours:
        yield (
            f"all of the time is steps here: whole published runs took {RUNS_OVER_STEPS} times as "
            "long, with restarts, evaluations and slower trainers; plan for a share of your hours"
        )
