"""A calibration as text for a terminal: the models side by side, what they imply, the warnings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.table import Table

from ...validation.timing.calibrate import Calibration
from .parts import plain_table, prose, show_warnings


def show_calibration(found: Calibration, path: Path) -> Iterator[str | Table]:
    """The device, every model's held-out error, the better one's coefficients, the warnings."""
    device, best = found.device, found.fits[0]
    setting = device.calibration
    if device.basis == "compiled":
        what, rates = (
            f"{setting['topology']}, {device.dtype}, its compiler's estimates",
            "datasheet",
        )
        made = f"compiled ({found.n_new} new)"
    elif "table" in setting:
        what, rates = f"{device.name}, {device.dtype}, {setting['software']}", "datasheet"
        made = f"in {setting['n_timings']} steps of {setting['table']}"
    else:
        cores = f"{setting['n_cores']} core{'s' if setting['n_cores'] > 1 else ''}"
        what, rates = f"{setting['machine']}, {cores}, {device.dtype}", "measured"
        made = f"timed ({found.n_new} new timings)"
    yield prose(
        f"{what}: {device.peak_flops_per_s / 1e9:,.4g} GFLOP/s in a matmul, "
        f"{device.bandwidth_bytes_per_s / 1e9:,.3g} GB/s in a copy ({rates})"
    )
    yield prose(
        f"{setting['n_architectures']} architectures {made}, "
        "each (d_model, n_layers) held out in turn"
    )
    table = plain_table("model", "R²", "error", "features")
    for fit in found.fits:
        table.add_row(fit.label, f"{fit.r2:.3f}", f"{fit.mape:.1%}", f"{len(fit.model.features)}")
    yield ""
    yield table
    alone = setting["variance_explained_alone"]
    yield "\n" + prose(
        f"Alone, memory copies explain {alone['memcpys']:.0%} of the variance of step time "
        f"and FLOPs {alone['flops']:.0%}."
    )
    yield prose(
        f"{best.model.name} is kept: 95% of held-out steps take {best.ratio_95[0]:.2f} "
        f"to {best.ratio_95[1]:.2f} times as long as predicted."
    )
    terms = [
        f"{seconds:.3g} s per {feature}"
        for feature, seconds in best.model.seconds_per_unit.items()
        if seconds
    ]
    yield f"[dim]{prose(', '.join(terms))}[/]\n"
    yield from show_warnings(found.warnings)
    yield f"Written to {path}"
