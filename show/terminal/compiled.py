"""Compiled steps as text for a terminal: the compiler's estimates beside the predictions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table

from ...objectives.loss_at_time import FUSED_MARK
from ...space.architecture import Architecture
from ...validation.compiler.compiled import Compiled
from ..words import milliseconds
from .parts import plain_table

# Key -> what it is called and the unit that it is shown in.
ROWS = {
    "matmul_flops": ("FLOPs of matmuls", 1e12, "T"),
    "flops_per_step": ("FLOPs of everything", 1e12, "T"),
    "traffic_bytes": ("moved in main memory", 1e9, "GB"),
    "bytes_accessed": ("bytes accessed, at most", 1e9, "GB"),
    "memory_bytes": ("main memory", 1e9, "GB"),
    "step_time_s": ("step time", 1e-3, "ms"),
    "all_reduce_bytes": ("all-reduced", 1e9, "GB"),
    "all_gather_bytes": ("all-gathered", 1e9, "GB"),
    "reduce_scatter_bytes": ("reduce-scattered", 1e9, "GB"),
}


def show_compiled(steps: Sequence[Compiled]) -> Iterator[str | Table]:
    """What was compiled, and for each model a table of estimates beside predictions."""
    first = steps[0]
    topology, device = first.topology, first.topology.device
    chips = f"{topology.n_chips} chips" if topology.n_chips > 1 else "one chip"
    kind = first.execution.sharding.phrase
    yield (
        f"Training step compiled for {topology.name}, {chips}"
        f"{f', {kind}; all numbers are per chip' if topology.n_chips > 1 else ''}.\n"
        "Compiler estimate: what the TPU's compiler says of the program; nothing was measured.\n"
        f"Prediction: {device.label}.\n"
    )
    for step in steps:
        yield from _show_one(step)


def _show_one(step: Compiled) -> Iterator[str | Table]:
    execution = step.execution
    layers = "layers in a loop" if execution.scan_layers else "layers unrolled"
    attention = FUSED_MARK * execution.fused
    yield (
        f"[bold]{_shape(step.arch)}[/], remat {execution.remat}, {layers}, "
        f"{step.topology.device.dtype}"
        f"{attention}"
    )
    table = plain_table("per step", "compiler estimate", "prediction", "ratio")
    predicted = step.analytic
    for key, (name, size, unit) in ROWS.items():
        if (value := step.compiler[key]) is not None:
            table.add_row(
                name,
                f"{value / size:,.4g} {unit}",
                f"{predicted[key] / size:,.4g} {unit}",
                f"{value / predicted[key]:.3f}" if predicted[key] else "",
            )
    again = predicted["memory_bytes"] > step.topology.device.memory_bytes
    predicted_fits = "run again in part" if step.analytic_fits and again else None
    table.add_row("fits", _yes(step.fits), predicted_fits or _yes(step.analytic_fits), "")
    yield table
    if step.time:
        terms = {name: s for name, s in step.time.seconds.items() if s >= 5e-6}
        yield "step time of: " + ", ".join(
            f"{name} {milliseconds(s)} ms" for name, s in terms.items()
        )
    elif execution.fused:
        yield "no FLOPs, bytes or step time: what a fused kernel does is not in the program"
    elif step.fits:
        yield "no step time: the compiler was stopped with memory planned (--timeout, --no-time)"
    if found := step.collective_bytes:
        yield "collectives: " + ", ".join(
            f"{kind} {n_bytes / 1e9:,.3g} GB" for kind, n_bytes in sorted(found.items())
        )
    yield ""


def _shape(arch: Architecture) -> str:
    return (
        f"{arch.d_model}×{arch.n_layers}, {arch.n_heads} heads of {arch.d_head}, "
        f"{' '.join([f'd_ff {arch.d_ff}', *arch.words])}, vocabulary {arch.vocab_size}, "
        f"{arch.batch_size} × {arch.seq_len} tokens"
    )


def _yes(value: bool) -> str:
    return "yes" if value else "no"
