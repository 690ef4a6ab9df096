"""Questions at random: spaces, devices, laws, terms, executions, chips and budgets of all kinds.

Some later kinds are asked only where they are wanted (`wider`), for a seed to stay the question
that it was: models with experts, and attention in blocks on a CPU.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ...objectives.cost.features import ATTENTION, LINKS
from ...objectives.cost.kernel import ACCELERATORS
from ...objectives.cost.step_time import MODELS, StepTimeModel
from ...objectives.cost.ways import passes_of
from ...objectives.device import Device
from ...objectives.law.copying import Copying
from ...objectives.law.experts import ExpertsTerm
from ...objectives.law.loss_law import LossLaw
from ...objectives.law.terms import TERMS
from ...objectives.loss_at_time import LossAtTime
from ...space.block_spaces import SparseSpace
from ...space.search_space import SearchSpace
from ...space.sparse import is_sparse

# What a unit of each feature may take, in seconds, and twenty times as long.
LEAST_SECONDS = {
    "flops": 1e-13,
    "roofline_flops": 1e-13,
    "attention": 2e-13,
    "layers": 1e-5,
    "steps": 1e-4,
    "hops": 1e-6,
}
A_COPY_S = 5e-12


SMALL, LARGE = (1, 60_000), (1_000_000, 100_000_000)


def random_question(
    seed: int, size: tuple[int, int] = SMALL, *, wider: bool = False
) -> tuple[SearchSpace, LossAtTime]:
    """A space of at least and at most so many models, and an objective on it."""
    rng = np.random.default_rng(seed)
    while True:
        n_chips = int(rng.choice([1, 1, 2, 4, 8]))
        try:
            space = random_space(rng, n_chips, times=4 if size == LARGE else 1)
        except ValueError:  # rules that no model of it obeys
            continue
        if wider and rng.random() < 0.5:
            space = with_experts(rng, space)
        if size[0] <= space.n_architectures <= size[1]:
            return space, random_objective(rng, space, n_chips, wider=wider)


def random_space(rng: np.random.Generator, n_chips: int, times: int = 1) -> SearchSpace:
    """A space whose fields have one value or several, or `times` as many; it may hold no model."""

    def some(low: int, high: int, step: int, most: int) -> tuple[int, ...]:
        values = np.arange(low, high + 1, step)
        n = min(int(rng.integers(1, times * most + 1)), len(values))
        return tuple(sorted(rng.choice(values, n, replace=False).tolist()))

    def flags() -> tuple[bool, ...]:
        return [(False,), (True,), (False, True)][rng.integers(3)]

    return SearchSpace(
        d_model=some(32, 512, 32, 4),
        n_layers=some(1, 24, 1, 12),
        n_heads=some(1, 12, 1, 6),
        n_kv_heads=some(1, 8, 1, 4),
        d_head=some(16, 128, 16, 3),
        d_ff=some(64, 3072, 32, 40),
        gated_mlp=flags(),
        vocab_size=some(100, 8000, 100, 2),
        tied_embeddings=flags(),
        seq_len=some(32, 512, 32, 2),
        batch_size=tuple(n_chips * n for n in some(1, 64, 1, 8)),
        heads_fill_width=bool(rng.random() < 0.3),
        ff_ratio=(1.0, 8.0) if rng.random() < 0.5 else (0.0, 1e9),
    )


def with_experts(rng: np.random.Generator, space: SearchSpace) -> SparseSpace:
    """The same models with some numbers of experts."""
    n_experts = np.unique(rng.integers(2, 33, 3)).tolist()
    names = [field.name for field in dataclasses.fields(SearchSpace)]
    return SparseSpace(**{name: getattr(space, name) for name in names}, n_experts=tuple(n_experts))


def random_objective(
    rng: np.random.Generator, space: SearchSpace, n_chips: int, *, wider: bool = False
) -> LossAtTime:
    """A device, a law, a budget and how steps are run."""
    device = random_device(rng, n_chips)
    fused = (wider or device.kind in ACCELERATORS) and rng.random() < 0.4
    objective = LossAtTime(
        device=device,
        law=random_law(rng, experts=is_sparse(space)),
        time_budget_s=float(10 ** rng.uniform(-1.5, 5)),
        remat=str(rng.choice(["auto", "auto", "none", "dots", "layer"])),
        data_limit_tokens=float(10 ** rng.uniform(4, 9)) if rng.random() < 0.3 else None,
        critical_batch=bool(rng.random() < 0.3),
        n_chips=n_chips,
        attention="fused" if fused else "plain",
    )
    shares = np.gcd.reduce(space.batch_size) // n_chips
    pins = {
        "sharding": str(rng.choice(["data", "full"])),
        "micro_batch_size": int(rng.choice(passes_of(shares))),
    }
    return dataclasses.replace(objective, **{n: v for n, v in pins.items() if rng.random() < 0.2})


def random_device(rng: np.random.Generator, n_chips: int) -> Device:
    """A device on which some of the models fit, from its datasheet or with any step-time model."""
    known = rng.random() < 0.7
    hosts = n_chips > 2 and rng.random() < 0.4
    more: dict[str, Any] = {
        "kind": str(rng.choice(["cpu", "gpu", "tpu"])),
        "dtype": str(rng.choice(["bfloat16", "float32"])),
    }
    if hosts:
        more |= {"chips_per_host": n_chips // 2, "network_bytes_per_s": 10 ** rng.uniform(7, 9)}
    return Device(
        name="random",
        peak_flops_per_s=10 ** rng.uniform(10, 13),
        bandwidth_bytes_per_s=10 ** rng.uniform(9, 12),
        memory_bytes=10 ** rng.uniform(7, 10.5),
        source="at random",
        step_time=random_step_time(rng) if known else None,
        basis="measured" if known else "datasheet",
        interconnect_bytes_per_s=10 ** rng.uniform(7, 10),
        **more,
    )


def random_step_time(rng: np.random.Generator) -> StepTimeModel:
    """Any named model, now and then with rates of its own for fused attention and for links."""
    name = str(rng.choice(sorted(MODELS)))
    features = [*MODELS[name]]
    features += [ATTENTION] * bool(rng.random() < 0.5) + [*LINKS] * bool(rng.random() < 0.4)
    seconds = {
        feature: LEAST_SECONDS.get(feature, A_COPY_S)
        * 20 ** rng.random()
        * bool(rng.random() < 0.85)
        for feature in features
    }
    seconds[features[0]] = LEAST_SECONDS.get(features[0], A_COPY_S)
    ridge = 10 ** rng.uniform(0, 3) if "roofline_flops" in features else 0.0
    return StepTimeModel(name=name, seconds_per_unit=seconds, ridge=ridge)


def random_law(rng: np.random.Generator, *, experts: bool = False) -> LossLaw:
    """A law near the published ones, with terms of either sign and with copying now and then."""
    knows = random_experts(rng) if experts else None
    terms = {
        name: float(rng.normal() * 10 ** rng.uniform(-3, 0)) for name in TERMS if rng.random() < 0.2
    }
    kappa = float(rng.choice([1.0, rng.uniform(0.3, 1)]))
    if kappa < 1:  # a negative sum has no power
        terms = {name: abs(c) for name, c in terms.items() if name != "log_aspect_ratio"}
    copying = Copying(gain=0.17, onset_tokens=10 ** rng.uniform(4, 8))
    return LossLaw(
        name="random",
        E=float(rng.uniform(0, 2)),
        A=float(10 ** rng.uniform(1, 3)),
        B=float(10 ** rng.uniform(1, 4)),
        alpha=float(rng.uniform(0.1, 0.5)),
        beta=float(rng.uniform(0.1, 0.5)),
        kappa=kappa,
        terms=terms,
        copying=copying if rng.random() < 0.3 else None,
        experts=knows,
        n_convention="total" if rng.random() < 0.7 else "non_embedding",
        corpus="none",
        source="at random",
        n_params_range=(1e5, 1e9),
        n_tokens_range=(1e6, 1e10),
    )


def random_experts(rng: np.random.Generator) -> ExpertsTerm:
    """What experts change: as published, or so much that more parameters may be worse."""
    times = 10 ** rng.uniform(0, 1.5)
    powers = {
        "size": -0.23 * times * rng.random(),
        "size_exponent": 0.01 * times * rng.normal(),
        "tokens": 0.5 * rng.normal(),
        "tokens_exponent": 0.03 * times * rng.normal(),
    }
    start = float(rng.uniform(1, 3))
    return ExpertsTerm(start=start, limit=100 * start, **powers, n_experts_range=(1, 32))


def describe(space: SearchSpace, objective: LossAtTime) -> dict[str, Any]:
    """What tells a question from the others, for a table."""
    law, model = objective.law, objective.device.step_time_model
    return {
        "n_architectures": space.n_architectures,
        "step_time": model.name,
        "kind": objective.device.kind,
        "n_chips": objective.n_chips,
        "remat": objective.remat,
        "attention": objective.attention,
        "sharding": objective.sharding,
        "micro_batch_size": objective.micro_batch_size,
        "terms": " ".join(law.terms),
        "kappa": round(law.kappa, 3),
        "copying": law.copying is not None,
        "critical_batch": objective.critical_batch,
        "data_limit": objective.data_limit_tokens is not None,
        "time_budget_s": float(f"{objective.time_budget_s:.4g}"),
    }
