"""How far is what `predict` says out of the box from steps that nobody here fitted?

Command: python experiments/public_steps/public_steps.py
Wall time: 5 s.
Expected, written before the first score: half of the steps that it models within 20% and the
intervals of 95% narrower than the truth, since they know one trainer each.

facts.csv holds what others published, a row a step or a run, with its source. Where the source says
how a step was run (what runs again, the micro-batch, what chips share, the kernel of attention),
`predict` is told; what it does not say `predict` chooses, as for a user. When the first scores were
seen none of the sources had a part in a preset; now steps that `inform` are among those to which
`a100-80gb` and `h100-sxm` are fitted, and none that `judge` is.

- `kind` is `step` where a step or its throughput was measured, and `run` where it is a whole run's
  hours, restarts and evaluations among them.
- FP8 and int8 cannot be asked of `predict`. Such rows are set beside what it says of bfloat16 and
  are not in the scores.
- `role` was given after the first scores were seen and before anything was mended, by source: what
  mends the devices may look at those that `inform`, and is told by those that `judge`.

`--bare` tells the model, its batch, the chips and the kernel of attention alone, as a user asks who
leaves the rest to `predict`; its errors go to bare.csv.

scores.csv has measured over predicted for every row, and whether the interval of 95% holds it;
summary.csv the error by device and by source. Error is exp of the mean |log ratio|, less one.
spread.csv has the mean and the root mean square of the sources' mean logarithms, on two GPUs and on
TPUs, of steps and of whole runs, and by software; how many rows an interval of 95% made of the
others' holds, each source left out: that of the GPUs is `SOFTWARE_SPREAD` of
objectives/uncertainty.py; and the error with the others' mean for a level. ZeRO-3's steps of
2021 are set aside there: they shared a state over all chips, which cannot be told, for groups are
faster.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import anybudget
from anybudget.objectives.time_draws import draw_step_times
from anybudget.objectives.uncertainty import NORMAL_95
from anybudget.search.predict import Predicted

HERE = Path(__file__).parent
ARCHITECTURE = [
    "d_model", "n_layers", "n_heads", "n_kv_heads", "d_ff", "gated_mlp", "vocab_size",
    "tied_embeddings", "seq_len", "batch_size",
]  # fmt: skip
WHOLE = ["d_head", "micro_batch_size", "tensor_parallel", "pipeline_parallel", "virtual_stages"]
TOLD = [*WHOLE, "remat", "sharding", "attention"]
SHOWN = ["remat", "sharding", "n_replicas", "tensor_parallel", "pipeline_parallel"]
SHOWN += ["virtual_stages", "micro_batch_size", "n_accumulation"]
KEPT = ["role", "source", "model", "device", "n_devices", "kind", "precision", "software"]
# Of the model and of what its chips may write.
BARE = ["d_head", "attention"]
BUDGET = "100d"
ASIDE = ("ZeRO-3 2021",)
HARDWARE = {"A100 and H100": "a100|h100", "TPU": "tpu"}
SOFTWARE = {"torch.compile": "torch.compile", "PyTorch, eager": "eager", "Megatron": "Megatron"}
# Of a source's rows about their mean: the scatter of shapes left out that presets have.
SHAPES_SCATTER = 0.05


def asked(fact: dict[str, Any], told: list[str]) -> Predicted:
    """What `predict` says of one row's model, and of how it was run as far as it is told."""
    words = {name: fact[name] for name in ARCHITECTURE}
    words |= {name: fact[name] for name in told if fact[name] is not None}
    for name in WHOLE:
        if words.get(name):
            words[name] = int(words[name])
    chips = int(fact["n_devices"])
    return anybudget.predict(BUDGET, device=fact["device"], chips=chips, extrapolate=True, **words)


def score(fact: dict[str, Any], told: list[str]) -> dict[str, Any]:
    """Measured over predicted, the interval of that, and whether it holds."""
    row = {name: fact[name] for name in KEPT} | {"measured_s": fact["step_time_s"]}
    row["judged"] = fact["precision"] == "bf16"
    try:
        predicted = asked(fact, told)
    except ValueError as refusal:
        return row | {"execution": str(refusal), "judged": False}
    question, candidate = predicted.question, predicted.candidate
    seconds = candidate.prediction.step_time_s
    row |= {
        "predicted_s": seconds,
        "ratio": fact["step_time_s"] / seconds,
        "fits": bool(candidate.prediction.feasible),
        "execution": " ".join(
            f"{k}={v}" for k, v in candidate.prediction.execution.columns(candidate.arch).items()
            if k in SHOWN
        ),
    }  # fmt: skip
    if question.draws is not None:
        low, high = interval(predicted)
        row |= {"low": low, "high": high, "holds": bool(low <= row["ratio"] <= high)}
    return row


def interval(predicted: Predicted) -> np.ndarray:
    """Ends of 95% of a step's drawn times over the predicted one."""
    question, candidate = predicted.question, predicted.candidate
    assert question.draws is not None
    drawn = draw_step_times(
        question.objective.device,
        candidate.arch,
        candidate.prediction.execution,
        question.draws.seconds_per_unit,
        np.random.default_rng(0),
        residual=question.draws.time_residual,
    )
    return np.quantile(drawn / candidate.prediction.step_time_s, (0.025, 0.975))


def summary(scores: pd.DataFrame) -> pd.DataFrame:
    """Error, range and coverage by device, by source and of all, of the rows that are judged."""
    judged = scores[scores.judged]
    groups = [("all", judged)]
    groups += [(f"rows that {role}", one) for role, one in judged.groupby("role")]
    groups += [(f"{kind} rows", one) for kind, one in judged.groupby("kind")]
    groups += [(f"device {name}", one) for name, one in judged.groupby("device")]
    groups += [(f"source {name}", one) for name, one in judged.groupby("source", sort=False)]
    return of_groups(groups)


def of_groups(groups: list[tuple[Any, pd.DataFrame]]) -> pd.DataFrame:
    """Error, range and coverage of named rows, each with its `ratio` and whether it `holds`."""
    return pd.DataFrame(
        {
            "rows": name,
            "n": len(one),
            "median": one.ratio.median(),
            "least": one.ratio.min(),
            "most": one.ratio.max(),
            "error": off(one.ratio),
            "held": one.holds.mean(),
        }
        for name, one in groups
    )


def off(ratios: pd.Series) -> float:
    """The mean of the logs' sizes, as a relative error."""
    return float(np.exp(np.abs(np.log(ratios)).mean()) - 1)


def spread(scores: pd.DataFrame) -> pd.DataFrame:
    """How far a source is from the prediction on all its rows alike, and whether that foretells."""
    judged = scores[scores.judged & ~scores.source.isin(ASIDE) & (scores.role != "relate")]
    judged = judged.assign(off=lambda one: np.log(one.ratio))
    groups = [(name, judged[judged.device.str.contains(one)]) for name, one in HARDWARE.items()]
    groups += [(f"{kind}s", one) for kind, one in judged.groupby("kind")]
    steps = judged[(judged.kind == "step") & ~judged.device.str.contains("tpu")]
    groups += [
        (f"steps, {name}", steps[steps.software.str.contains(one)])
        for name, one in SOFTWARE.items()
    ]
    return pd.DataFrame(levels(name, own) for name, own in groups)


def levels(name: str, own: pd.DataFrame) -> dict[str, Any]:
    """Of one group of rows; `others_error` takes the mean of a source's others as its level."""
    level = own.groupby("source").off.mean()
    others = {source: level.drop(source) for source in level.index}
    rms = own.source.map({source: np.sqrt((rest**2).mean()) for source, rest in others.items()})
    mean = own.source.map({source: rest.mean() for source, rest in others.items()})
    return {
        "rows": name,
        "n_sources": len(level),
        "mean": level.mean(),
        "std": level.std(),
        "rms": np.sqrt((level**2).mean()),
        "rows_held": (own.off.abs() <= NORMAL_95 * np.hypot(rms, SHAPES_SCATTER)).mean(),
        "error": np.exp(own.off.abs().mean()) - 1,
        "others_error": np.exp((own.off - mean).abs().mean()) - 1,
    }


def main() -> None:
    """Predict every row, print and write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=HERE, help="folder of the two tables")
    parser.add_argument("--bare", action="store_true", help="tell the model and the chips alone")
    given = parser.parse_args()
    out, told = given.out, BARE if given.bare else TOLD
    facts = pd.read_csv(HERE / "facts.csv").astype(object)
    facts = facts.where(facts.notna(), None)
    scores = pd.DataFrame(score(fact, told) for fact in facts.to_dict("records"))
    errors = summary(scores)
    if given.bare:
        errors.to_csv(out / "bare.csv", index=False, float_format="%.3f")
        print(errors.round(2).to_string(index=False))
        return
    scores.to_csv(out / "scores.csv", index=False, float_format="%.4g")
    apart = spread(scores)
    apart.to_csv(out / "spread.csv", index=False, float_format="%.3f")
    errors.to_csv(out / "summary.csv", index=False, float_format="%.3f")
    with pd.option_context("display.width", 200):
        print(scores.drop(columns=["execution"]).round(3).to_string(index=False))
        print(errors.round(2).to_string(index=False))
        print(apart.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
