"""CPU seconds and memory of scan and bounds over spaces of 10^6 to 10^12, under three laws.

And over spaces with experts, of 5,000 to 10^12 models, under the law that knows them.

    python -m anybudget.experiments.certify.growth

Takes some minutes of one core; each is measured in a process of its own, in turn, and appended to
`growth.csv`; a run goes on where one ended and draws `growth.png`. Expected: scans grow with the
space, bounds by far less; both find the same loss wherever both run; no bounds take over 300 MB.
"""

from __future__ import annotations

import dataclasses
import itertools
import multiprocessing
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from ...objectives.law.loss_law import LossLaw
from ...objectives.loss_at_time import LossAtTime
from ...presets.devices import load_device
from ...presets.laws import load_law
from ...presets.spaces import DEFAULT, load_space
from ...search.certify.bounds import certify
from ...search.certify.scan import scan
from ...space.search_space import SearchSpace

HERE = Path(__file__).parent
HOURS = 3
WIDE = (1.0, 8192.0)
# No scan of more: that of the largest space would take hours.
MAX_SCANNED = 30e6
# A method that took so long in one space is not tried in larger ones under that law.
MAX_S = 15.0
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
    "and eight vocabularies": {
        "aspect_ratio": WIDE,
        "settings": [
            "batch_size=8:512",
            "seq_len=512,1024,2048,4096",
            "vocab_size=8192,16384,24576,32000,40960,50304,65536,100352",
        ],
    },
}
SHAPES = ["n_experts=2:32", "aspect_ratio=8:640", "ff_ratio=1:8"]
FINER = [*SHAPES, "d_model=512:6144:64", "d_ff=512:24576:64"]
BATCHES = [*FINER, "batch_size=8:512:8"]
KEY_HEADS = ["n_kv_heads=1:96", "heads_per_kv_head=1:16"]
TEXTS = ["batch_size=8:512", "seq_len=512,1024,2048,4096", "vocab_size=32000,50304"]
OF_EXPERTS = {
    "experts": {},
    "2 to 32 experts": {"settings": ["n_experts=2:32"]},
    "experts, any shape": {"settings": SHAPES},
    "experts, finer": {"settings": FINER},
    "experts, and 64 batches": {"settings": BATCHES},
    "experts, and key heads": {"settings": [*BATCHES, *KEY_HEADS]},
    "experts, and lengths": {"settings": [*FINER, *KEY_HEADS, *TEXTS]},
}
METHODS = {"scan": 0, "bounds, winner": 1, "bounds, 300 shapes": 300}


def laws() -> dict[str, LossLaw]:
    """A published law, the same with a best shape, and the same with copying and a power."""
    pure = load_law("besiroglu-2024")
    shape = {"size_log_aspect_ratio": 0.05, "size_log_aspect_ratio_squared": 0.05}
    return {
        "pure": pure,
        "shape": dataclasses.replace(pure, terms=shape),
        "size in tokens": dataclasses.replace(pure, kappa=0.7, terms={"tokens_log_size": -0.05}),
    }


def questions() -> Iterator[tuple[str, str, LossAtTime, SearchSpace]]:
    """Each space under each law, by their names."""
    of_dense, of_experts = laws(), {"experts": load_law("ludziejewski-2025")}
    for preset, spaces, under, device in (
        (DEFAULT, SPACES, of_dense, load_device(None)),
        ("moe", OF_EXPERTS, of_experts, load_device("h100-sxm")),
    ):
        for (space_name, words), (law_name, law) in itertools.product(
            spaces.items(), under.items()
        ):
            if preset == DEFAULT:
                words = {"aspect_ratio": law.aspect_ratio_range} | words
            space = load_space(preset, **words)
            objective = LossAtTime(
                device=device,
                law=law,
                time_budget_s=HOURS * 3600,
                critical_batch=len(space.batch_size) > 1,
            )
            yield space_name, law_name, objective, space


def timed(space: SearchSpace, objective: LossAtTime, top: int) -> dict:
    """One method in this process, from which it may have its memory for itself."""
    start, n_boxes = time.process_time(), None
    if top:
        found = certify(space, objective, top=top)
        assert found is not None
        n_boxes, best = found.n_boxes, found.candidates[0]
    else:
        best = scan(space, objective, top=1).candidates[0]
    return {
        "cpu_s": round(time.process_time() - start, 3),
        "n_boxes": n_boxes,
        "loss": best.loss,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000,
    }


def main() -> None:
    """Time what is missing, and draw."""
    out = HERE / "growth.csv"
    table = pd.read_csv(out).to_dict(orient="records") if out.exists() else []
    done = {(row["space"], row["law"], row["method"]) for row in table}
    slow = {(row["law"], row["method"]) for row in table if row["cpu_s"] > MAX_S}
    for space_name, law_name, objective, space in questions():
        for method, top in METHODS.items():
            key = (space_name, law_name, method)
            too_long = not top and space.n_architectures > MAX_SCANNED
            if key in done or (law_name, method) in slow or too_long:
                continue
            with multiprocessing.get_context("fork").Pool(1) as alone:
                found = alone.apply(timed, (space, objective, top))
            row = dict(zip(("space", "law", "method"), key, strict=True))
            table.append(row | {"n_architectures": space.n_architectures} | found)
            print(table[-1], flush=True)
            pd.DataFrame(table).to_csv(out, index=False)
            if found["cpu_s"] > MAX_S:
                slow.add((law_name, method))
    draw(pd.DataFrame(table))


def draw(table: pd.DataFrame) -> None:
    """CPU time against the size of the space."""
    import matplotlib.pyplot as plt  # here, for a process has what it takes from its parent

    figure, axes = plt.subplots(figsize=(8, 4.2), layout="constrained")
    colours = dict(zip(table["method"].unique(), ("C0", "C1", "0.4"), strict=True))
    for key, rows in table.groupby(["method", "law"], sort=False):
        method, law = map(str, key if isinstance(key, tuple) else (key,))
        marker = {"pure": "o", "shape": "^", "size in tokens": "s", "experts": "*"}[law]
        axes.plot(
            rows["n_architectures"], rows["cpu_s"], marker + "-", ms=4, lw=1,
            color=colours[method], label=f"{method}, {law}",
        )  # fmt: skip
    axes.set(xscale="log", yscale="log", xlabel="architectures in the space", ylabel="CPU seconds")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right center", fontsize=7)
    figure.savefig(HERE / "growth.png", dpi=150)


if __name__ == "__main__":
    main()
