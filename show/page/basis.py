"""All that a search's answer rests on, named one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ...objectives.cost.kernel import KERNELS
from ...objectives.device import Device
from ...objectives.law.loss_law import LossLaw
from ...objectives.loss_at_time import LossAtTime
from ...objectives.time_draws import (
    CARD_SPREAD,
    DATASHEET_RESIDUAL,
    KERNEL_SPREAD,
    UTILISATION_SPREAD,
)
from ...objectives.uncertainty import COVERAGE, next_trainer_spread
from ...search.answer import Answer
from ...search.find import MAX_RANKED
from ...space.architecture import FIELDS
from ...space.search_space import ANY_RATIO, SearchSpace

REMAT = {
    "none": "no block runs again in the backward pass",
    "dots": "all but the matmuls with weights runs again in the backward pass",
    "layer": "every block runs again in the backward pass",
    "auto": "as little as fits runs again in the backward pass",
}

FUSED = (
    "One fused kernel: no scores are written, what lies in the future is left out, the backward "
    "pass multiplies the scores out again, and heads narrower than {} take as long as if they were "
    "so wide. {}"
)
IN_BLOCKS = (
    "Of sequences of 256 and more, blocks of scores that stay in a core's cache: what lies in the "
    "future is left out but for blocks' corners, and the backward pass multiplies the scores out "
    "again. {}"
)
TIMED = {
    True: "It was timed: its FLOPs have a rate of their own.",
    False: "It was not timed: its matmuls run at the rate of all others.",
}
AS_OTHERS = "Other GPUs' was timed: its FLOPs have a rate of their own."


def assumptions(answer: Answer) -> list[tuple[str, str]]:
    """Name and text of each assumption."""
    objective = answer.objective
    device, law = objective.device, objective.law
    items = [
        ("Device", _device(device)),
        *([("Chips", _chips(objective))] if objective.n_chips > 1 else []),
        *([("Attention", _fused(objective))] if objective.fused else []),
        ("Step time", _step_time(device)),
        ("Loss law", _law(law)),
        ("Law's range", _range(law)),
        ("Space", _space(answer.space)),
        ("Memory", f"Training must fit; {REMAT[objective.remat]}."),
        ("Data", _data(objective)),
        ("Batch", _batch(objective)),
    ]
    if answer.standings:
        items.append(("Intervals", _intervals(objective)))
    if answer.certified and answer.optuna_regret is not None:
        items.append(
            (
                "Search",
                f"Optuna, in {answer.n_trials:,} trials and a polish, ended "
                f"{answer.optuna_regret:.2g} nats per token above the certified optimum.",
            )
        )
    return items


def _fused(objective: LossAtTime) -> str:
    device = objective.device
    timed = AS_OTHERS if device.as_others else TIMED[device.step_time_model.times_attention]
    kernel = KERNELS[device.kind]
    return IN_BLOCKS.format(timed) if kernel.in_blocks else FUSED.format(kernel.full_head, timed)


def _device(device: Device) -> str:
    return (
        f"{device.label}: {device.peak_flops_per_s / 1e12:,.4g} TFLOP/s, "
        f"{device.bandwidth_bytes_per_s / 1e9:,.4g} GB/s, {device.memory_bytes / 1e9:,.4g} GB, "
        f"{device.dtype}. Source: {device.source}."
    )


def _chips(objective: LossAtTime) -> str:
    device = objective.device
    n_hosts = objective.n_chips // device.host_share(objective.n_chips)
    hosts = f"on {n_hosts} hosts " if n_hosts > 1 else ""
    rates = f"{device.collective_bytes_per_s / 1e9:,.4g} GB/s"
    if n_hosts > 1 and device.network_bytes_per_s:
        rates += f" within a host and {device.network_bytes_per_s / 1e9:,.4g} between hosts"
    waits = (
        "What is gathered travels beside the compute; for what is reduced or scattered all wait, "
        f"at {rates}."
    )
    if device.step_time_model.times_links:
        whose = "other GPUs" if device.as_others else "several chips"
        waits = f"Steps of {whose} were timed; none is faster than its links, {rates}."
    return (
        f"{objective.n_chips} {hosts}split every batch, data parallel or fully sharded, whichever "
        f"is faster of what fits; memory and FLOPs are of each. {waits}"
    )


def _step_time(device: Device) -> str:
    model = device.step_time_model
    rates = ", ".join(f"{name} {s:.3g}" for name, s in model.seconds_per_unit.items() if s)
    text = f"Model “{model.name}”, seconds per unit: {rates}."
    return " ".join([text, *_calibration(device.calibration)])


def _calibration(facts: dict[str, Any]) -> Iterator[str]:
    """What is known of a fit; the three that `calibrate` writes as tables in words."""
    others = dict(facts)
    match others:
        case {"heldout": {**scores}} if scores and all(map(_has_error, scores.values())):
            del others["heldout"]
            errors = (f"{name} {score['mape']:.1%}" for name, score in scores.items())
            yield f"Mean error on shapes left out: {', '.join(errors)}."
    match others:
        case {"actual_over_predicted_95": [float(low), float(high)]}:
            del others["actual_over_predicted_95"]
            yield f"95% of such steps take {low:.2f} to {high:.2f} times the predicted time."
    match others:
        case {"variance_explained_alone": {"memcpys": float(memcpys), "flops": float(flops)}}:
            del others["variance_explained_alone"]
            yield (
                f"Alone, memory copies explain {memcpys:.0%} of the variance of step time and "
                f"FLOPs {flops:.0%}."
            )
    if others:
        known = ", ".join(f"{_words(name)} {_short_value(v)}" for name, v in others.items())
        yield f"Calibration: {known}."


def _has_error(score: Any) -> bool:
    return isinstance(score, dict) and isinstance(score.get("mape"), float)


def _short_value(value: Any) -> str:
    if isinstance(value, dict):
        return f"({', '.join(f'{_words(name)} {_short_value(v)}' for name, v in value.items())})"
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " to ".join(_short_value(one) for one in value)
    return str(value)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _law(law: LossLaw) -> str:
    terms = "".join(f" + {value:.4g}·{name}" for name, value in law.terms.items())
    parts = f"{law.E:.4g} + {law.A:.4g} / N^{law.alpha:.4g} + {law.B:.4g} / D^{law.beta:.4g}{terms}"
    return (
        f"{law.name}: L(N, D) = {law.around(parts)} nats per token; N counts "
        f"{law.n_convention.replace('_', '-')} parameters; of {law.corpus}. "
        f"{f'Copying: {law.copying.sentence}. ' if law.copying else ''}Source: {law.source}."
    )


def _range(law: LossLaw) -> str:
    parts = [
        f"{limits[0]:,.3g} to {limits[1]:,.3g} {what}"
        for what, limits in (
            ("parameters", law.n_params_range),
            ("tokens", law.n_tokens_range),
            ("d_model / n_layers", law.aspect_ratio_range),
        )
        if limits
    ]
    return f"Fitted on {'; '.join(parts)}."


def _space(space: SearchSpace) -> str:
    free, fixed = [], []
    for name in FIELDS:
        values = getattr(space, name)
        if len(values) == 1:
            fixed.append(f"{name} {values[0]}")
        elif isinstance(values[0], bool):
            free.append(f"{name} or not")
        else:
            free.append(f"{name} {values[0]:,} to {values[-1]:,} ({len(values)} values)")
    rules = ["heads fill the width"] if space.heads_fill_width else []
    for name, what in (
        ("aspect_ratio", "d_model / n_layers"),
        ("ff_ratio", "d_ff / d_model"),
        ("heads_per_kv_head", "n_heads / n_kv_heads"),
    ):
        low, high = getattr(space, name)
        if (low, high) != ANY_RATIO:
            rules.append(f"{what} {low:.4g} to {high:.4g}")
    texts = [", ".join(free), "fixed: " + ", ".join(fixed) if fixed else "", ", ".join(rules)]
    return f"{space.n_architectures:,} architectures: {'; '.join(filter(None, texts))}."


def _data(objective: LossAtTime) -> str:
    limit = objective.data_limit_tokens
    if limit is None:
        return "Every token is new: there are as many as the time allows."
    return f"{limit:,.4g} unique tokens; repeated ones count for less, the larger the model."


def _batch(objective: LossAtTime) -> str:
    if objective.critical_batch:
        return "Tokens count for less in batches too large or too small (Li et al. 2025)."
    return "A token counts the same in a batch of any size."


def _intervals(objective: LossAtTime) -> str:
    device, law = objective.device, objective.law
    machine = "the fitted step-time coefficients, and the scatter of shapes about them"
    if device.basis == "datasheet":
        machine = f"the device's two rates, each within ± {UTILISATION_SPREAD} of {device.share}"
        if device.as_others:
            machine = f"the device's level, {CARD_SPREAD:.0%} about what other GPUs reach"
        machine += (
            f" of its datasheet, with shapes scattered by {DATASHEET_RESIDUAL:.0%}: an assumption, "
            "for the device was not measured"
        )
    if spread := next_trainer_spread(device):
        machine += f", and their level by {spread:.0%}, for other trainers than were timed"
    if objective.fused and not device.step_time_model.times_attention:
        machine += f", and the time of fused attention by {KERNEL_SPREAD:.0%}, for it was not timed"
    return (
        f"{COVERAGE:.0%}, over joint draws of the law's fit and of {machine}. "
        + ("Each run copies or not by its own luck. " * bool(law.copying))
        + f"P(best) is among the "
        f"{MAX_RANKED} best."
    )
