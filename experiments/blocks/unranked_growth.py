"""How does the time to answer of a space that no law ranks grow, and what would cut it?

Command: python experiments/blocks/unranked_growth.py
Wall time: half a minute on one core.
Expected: every way grows as the space does, for without a law no bound on a loss cuts; all batches
of a shape at once some times faster, models that cannot read more at the peak skipped some times.
Found: all grow so, 1,250 s a million as shipped, 230 with batches at once; the peak skips nothing,
and asking costs a tenth. A scan of 25 million dense models takes 7 s.

Hybrids with more and more MLP widths and key heads, tried as shipped, one by one; with all batches
of a shape as one array; with those skipped that even at the device's peak would read fewer tokens
than one tried before that is at least as large; and both. The fronts are equal. Nothing is written.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Iterator

import numpy as np

from anybudget.objectives.cost.counts import flops_per_step, n_params
from anybudget.objectives.loss_at_time import LossAtTime
from anybudget.presets.spaces import load_mixed_space
from anybudget.search.question import ask, batches_of
from anybudget.search.words import Words
from anybudget.space.block_spaces import MixedSpace
from anybudget.space.decoder import Decoder

STEPS = (2048, 512)  # of MLP widths
SETTINGS = ("d_model=512:2048:256", "ff_ratio=2:6", "heads_per_kv_head=1:4")
Front = list[tuple[int, float]]


def shapes(space: MixedSpace, *, together: bool) -> Iterator[Decoder]:
    """Its models, or its shapes with all their batches as one array; the largest first."""
    models = sorted(space.models(), key=lambda one: -one.d_model * len(one.pattern))
    if not together:
        yield from models
        return
    groups: dict[tuple, list[Decoder]] = {}
    for one in models:
        groups.setdefault((one.d_model, one.pattern), []).append(one)
    for group in groups.values():
        batches = np.array([one.batch_size for one in group])
        yield dataclasses.replace(group[0], batch_size=batches)


def front(space: MixedSpace, objective: LossAtTime, *, together: bool, skips: bool) -> Front:
    """Size and tokens of what no other beats in both."""
    found: Front = []
    peak = objective.device.peak_flops_per_s
    for arch in shapes(space, together=together):
        most = objective.time_budget_s * peak / (flops_per_step(arch) / arch.tokens_per_step)
        size = n_params(arch)
        if skips and any(n >= size and d >= np.max(most) for n, d in found):
            continue
        cost = objective.cost(arch)
        n_tokens = np.floor(objective.time_budget_s / cost.step_time_s) * arch.tokens_per_step
        fits = (cost.memory_bytes <= objective.device.room_bytes) & (n_tokens > 0)
        safe = np.where(n_tokens > 0, n_tokens, 1)
        worth = objective.effective_tokens(safe, arch.tokens_per_step, cost.n_params)
        for ok, tokens in np.broadcast(fits, worth):
            if ok and not any(n >= cost.n_params and d >= tokens for n, d in found):
                kept = [(n, d) for n, d in found if n > cost.n_params or d > tokens]
                found = [*kept, (int(cost.n_params), float(tokens))]
    return sorted(found)


def main() -> None:
    """Print a line for each space and way."""
    objective = ask(Words(device="h100-sxm", budget="1d")).objective
    objective = dataclasses.replace(objective, reach=None)
    for step in STEPS:
        space = load_mixed_space(
            "hybrid",
            settings=(*SETTINGS, f"d_ff=1024:12288:{step}"),
            batch_sizes=batches_of(objective),
        )
        fronts = []
        for together, skips in itertools.product((False, True), repeat=2):
            began = time.process_time()
            fronts.append(front(space, objective, together=together, skips=skips))
            took_s = time.process_time() - began
            print(f"{space.n_models:,} models, {len(fronts[-1])} on the front, batches at once "
                  f"{together}, skipping {skips}: {took_s:.2f} s, "
                  f"{1e6 * took_s / space.n_models:.0f} s a million", flush=True)  # fmt: skip
        assert all(one == fronts[0] for one in fronts)


if __name__ == "__main__":
    main()
