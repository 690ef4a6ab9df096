"""Devices and laws as tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from ...objectives.device import Device
from ...objectives.law.loss_law import LossLaw
from ...presets.anchors import anchor_names
from ..words import short_count
from .parts import Lines, plain_table, prose


def show_devices(devices: list[Device], *, sources: bool) -> Lines:
    """A table of devices, and where their numbers come from."""
    table = plain_table("device", "kind", "peak TFLOP/s", "GB/s", "memory GB", "step time")
    for device in devices:
        table.add_row(
            device.name,
            device.kind,
            f"{device.peak_flops_per_s / 1e12:.4g}",
            f"{device.bandwidth_bytes_per_s / 1e9:.4g}",
            f"{device.memory_bytes / 1e9:.4g}",
            device.basis,
        )
    yield table
    yield from _sources(devices) if sources else ()


def show_laws(laws: list[LossLaw], *, sources: bool) -> Lines:
    """A table of laws, each with its text and range, and where its numbers come from."""
    table = plain_table("law", "E", "alpha", "beta", "N", "D", "text")
    for law in laws:
        table.add_row(
            law.name,
            *(f"{n:.3g}" for n in (law.E, law.alpha, law.beta)),
            *(_range(*ends) for ends in (law.n_params_range, law.n_tokens_range)),
            law.corpus.partition(" (")[0].partition(",")[0],
        )
    yield prose("L(N, D) = (E + A / N^alpha + B / D^beta)^kappa, nats per token") + "\n"
    yield table
    names = ", ".join(anchor_names())
    yield "\n" + prose(f"--anchor moves a law to runs of yours, or to a known text: {names}.")
    told = [(law, about) for law in laws for about in (law.copying, law.experts) if about]
    yield from (prose(f"{law.name}: {about.sentence}") for law, about in told)
    yield from _sources(laws) if sources else ()


def _range(low: float, high: float) -> str:
    """From one count to another, two digits each."""
    return "..".join(short_count(float(f"{end:.2g}")) for end in (low, high))


def _sources(rows: Sequence[Device | LossLaw]) -> Lines:
    yield "\n[dim]Sources[/]"
    for row in rows:
        yield prose(f"{row.name}{_numbers(row)}: {row.source}")


def _numbers(row: Device | LossLaw) -> str:
    """A law's numbers, of which its table has but some."""
    if isinstance(row, Device):
        return ""
    numbers = {"E": row.E, "A": row.A, "alpha": row.alpha, "B": row.B, "beta": row.beta}
    told = ", ".join(f"{name} {value:.4g}" for name, value in numbers.items())
    return f" ({told}, kappa {row.kappa:.4g}, N {row.n_convention})"
