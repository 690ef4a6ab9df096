"""Devices and laws as tables for a terminal."""

from __future__ import annotations

from typing import Any

from rich.markup import escape

from ...objectives.device import Device
from ...objectives.law.loss_law import LossLaw
from .parts import Lines, plain_table


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
    """A table of laws, and where their numbers come from."""
    table = plain_table("law", "E", "A", "alpha", "B", "beta", "kappa", "N counts", "N", "D")
    for law in laws:
        table.add_row(
            law.name,
            *(f"{n:.4g}" for n in (law.E, law.A, law.alpha, law.B, law.beta, law.kappa)),
            law.n_convention,
            *("{:.2g}..{:.2g}".format(*ends) for ends in (law.n_params_range, law.n_tokens_range)),
        )
    yield "L(N, D) = (E + A / N^alpha + B / D^beta)^kappa, nats per token\n"
    yield table
    copying = [f"{law.name}: {law.copying.sentence}" for law in laws if law.copying]
    yield from map(escape, ["\nCopying", *copying] if copying else [])
    experts = [f"{law.name}: {law.experts.sentence}" for law in laws if law.experts]
    yield from map(escape, ["\nExperts", *experts] if experts else [])
    yield from _sources(laws) if sources else ()


def _sources(rows: list[Any]) -> Lines:
    yield "\n[dim]Sources[/]"
    for row in rows:
        yield escape(f"{row.name}: {row.source}")
