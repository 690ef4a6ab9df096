"""CPU seconds of scan and bounds over spaces of 10^6 to 10^11 architectures, under three laws.

    python -m anybudget.experiments.certify.growth

Takes some minutes of one core and 300 MB; writes `growth.csv` and `growth.png`. Expected: scans
grow with the space, bounds by far less; both find the same loss wherever both run.
"""

from __future__ import annotations

import dataclasses
import resource
import time
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from ...objectives.law.loss_law import LossLaw
from ...objectives.loss_at_time import LossAtTime
from ...presets.devices import load_device
from ...presets.laws import load_law
from ...presets.spaces import load_space
from ...search.certify.bounds import certify
from ...search.certify.scan import scan
from ...space.search_space import SearchSpace

HERE = Path(__file__).parent
HOURS = 3
WIDE = (1.0, 8192.0)
# No scan of more: that of the largest space would take hours.
MAX_SCANNED = 80e6
SPACES = {
    "widths in steps of 256": {"settings": ["d_model=128:2048:256"]},
    "default": {},
    "any aspect ratio": {"aspect_ratio": WIDE},
    "and 32 batches": {"aspect_ratio": WIDE, "settings": ["batch_size=16:512:16"]},
    "and 505 batches": {"aspect_ratio": WIDE, "settings": ["batch_size=8:512"]},
    "and three lengths": {
        "aspect_ratio": WIDE,
        "settings": ["batch_size=8:512", "seq_len=512,1024,2048"],
    },
}


def laws() -> dict[str, LossLaw]:
    """A published law, the same with a best shape, and the same with copying and a power."""
    pure = load_law("besiroglu-2024")
    shape = {"size_log_aspect_ratio": 0.05, "size_log_aspect_ratio_squared": 0.05}
    return {
        "pure": pure,
        "shape": dataclasses.replace(pure, terms=shape),
        "size in tokens": dataclasses.replace(pure, kappa=0.7, terms={"tokens_log_size": -0.05}),
    }


def timed(space: SearchSpace, objective: LossAtTime) -> list[dict]:
    """The scan, the winner by bounds, and the 300 best shapes by bounds."""
    rows = []

    def row(method: str, loss: float, start: float, n_boxes: int | None) -> None:
        rows.append(
            {
                "method": method,
                "cpu_s": round(time.process_time() - start, 3),
                "n_boxes": n_boxes,
                "loss": loss,
                "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000,
            }
        )

    for top, method in ((1, "bounds, winner"), (300, "bounds, 300 shapes")):
        start = time.process_time()
        found = certify(space, objective, top=top)
        if found is None:
            row(method, float("nan"), start, None)
        else:
            row(method, found.candidates[0].loss, start, found.n_boxes)
    if space.n_architectures <= MAX_SCANNED:
        start = time.process_time()
        row("scan", scan(space, objective, top=1).candidates[0].loss, start, None)
    return rows


def main() -> None:
    """Time all, and draw."""
    device = load_device(None)
    table = []
    for space_name, words in SPACES.items():
        for law_name, law in laws().items():
            space = load_space(**({"aspect_ratio": law.aspect_ratio_range} | words))
            objective = LossAtTime(
                device=device,
                law=law,
                time_budget_s=HOURS * 3600,
                critical_batch=len(space.batch_size) > 1,
            )
            what = {"space": space_name, "n_architectures": space.n_architectures, "law": law_name}
            table += [what | row for row in timed(space, objective)]
            print(table[-1], flush=True)
            pd.DataFrame(table).to_csv(HERE / "growth.csv", index=False)
    draw(pd.DataFrame(table))


def draw(table: pd.DataFrame) -> None:
    """CPU time against the size of the space."""
    figure, axes = plt.subplots(figsize=(6.5, 4.2), layout="constrained")
    colours = dict(zip(table["method"].unique(), ("C0", "C1", "0.4"), strict=True))
    for key, rows in table.groupby(["method", "law"], sort=False):
        method, law = map(str, key if isinstance(key, tuple) else (key,))
        marker = {"pure": "o", "shape": "^", "size in tokens": "s"}[law]
        axes.plot(
            rows["n_architectures"], rows["cpu_s"], marker + "-", ms=4, lw=1,
            color=colours[method], label=f"{method}, {law}",
        )  # fmt: skip
    axes.set(xscale="log", yscale="log", xlabel="architectures in the space", ylabel="CPU seconds")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
    figure.savefig(HERE / "growth.png", dpi=150)


if __name__ == "__main__":
    main()
