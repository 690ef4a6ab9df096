"""Optuna's samplers by the names that `--sampler` takes."""

from __future__ import annotations

import warnings

import optuna

SAMPLERS = ("auto", "tpe", "cma", "nsga2", "qmc", "random")
# Those that learn from every trial; the others from a generation of fifty, or from none.
LEARNING = ("tpe", "cma")

# Those that use constraints set on a trial; the others see a penalty in its value only.
CONSTRAINED = (optuna.samplers.TPESampler, optuna.samplers.NSGAIISampler)
# Those whose population narrows until it repeats itself, and that are started anew when it does.
CONVERGING = (optuna.samplers.CmaEsSampler, optuna.samplers.NSGAIISampler)


def make_sampler(name: str, *, seed: int, n_coordinates: int) -> optuna.samplers.BaseSampler:
    """A seeded sampler over the unit cube.

    Args:
        name: one of `SAMPLERS`. `auto` is `nsga2`: alone `cma` comes closer, but a polish evens
            that out, and `cma` takes most of a second to import and twice as long for a trial.
        seed: of its randomness.
        n_coordinates: dimensions of the cube.

    Raises:
        ValueError: the name is unknown, or `cma` has fewer than two coordinates to search.
    """
    if name not in SAMPLERS:
        raise ValueError(f"a sampler is one of {', '.join(SAMPLERS)}, but got {name!r}")
    if name == "cma" and n_coordinates < 2:
        raise ValueError("sampler cma needs at least two searched fields; use tpe or auto")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        match name:
            case "cma":
                return optuna.samplers.CmaEsSampler(seed=seed)
            case "nsga2" | "auto":
                return optuna.samplers.NSGAIISampler(seed=seed)
            case "qmc":
                return optuna.samplers.QMCSampler(seed=seed, scramble=True)
            case "random":
                return optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.TPESampler(seed=seed)
