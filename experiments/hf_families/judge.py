"""Every causal family of `transformers`, its default config and odd ones, counted and built.

    python experiments/hf_families/judge.py            # some 5 minutes on one core
    python experiments/hf_families/judge.py doge       # this family anew, the others' rows stay
    python experiments/hf_families/judge.py --prune    # leaves out families that miscount

Each config is one that the family's own class was built from, on the meta device, in two forms: as
a user writes it, with what differs from the default, and as `save_pretrained` does (`saved`). A
count, of all parameters and of those that one token meets, is exact, a refusal (with its reason),
or wrong; the last must not be. Of a config that transformers itself builds no model from the row
has what is said all the same.
Writes `families.csv` beside this file.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import signal
import warnings
from pathlib import Path
from typing import Any

import pandas as pd

from anybudget.experiments.hf_families.variants import variants
from anybudget.space import hf_count

HERE = Path(__file__).parent
OUT = HERE / "families.csv"
DATA = HERE.parents[1] / "space/hf_families.json"
# How many experts there are, and how many a token meets, by what families call it.
EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
MET = ("num_experts_per_tok", "moe_topk", "moe_k", "top_k_experts")
ROUTED = re.compile(r"(^|\.)experts\.(?!router)")


def build(
    family: str, changes: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any], tuple[int, int]]:
    """A config as a user and as `save_pretrained` writes it; parameters built, all and met."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    signal.alarm(60)
    try:
        config = CONFIG_MAPPING[family](**changes)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
        written = {"model_type": family, "architectures": [type(model).__name__]}
        saved = json.loads(config.to_json_string(use_diff=True)) | written
        n_params = sum(parameter.numel() for parameter in model.parameters())
        return written | changes, saved, (n_params, n_params - _unmet(config, model))
    finally:
        signal.alarm(0)


def _unmet(config: Any, model: Any) -> int:
    """Parameters of the experts that one token does not meet, by the parameters' own names."""
    n_experts = next((n for key in EXPERTS if (n := getattr(config, key, None))), 0)
    n_met = next((n for key in MET if (n := getattr(config, key, None))), n_experts)
    routed = [one for name, one in model.named_parameters() if ROUTED.search(name)]
    return sum(
        one.numel() // one.shape[0] * (one.shape[0] - n_met)
        for one in routed
        if one.dim() > 2
        or one.shape[0] == n_experts  # some are stacked with experts that do nothing
    )


def judge(family: str) -> list[dict[str, Any]]:
    """A row for each config of a family."""
    rows = []
    for label, changes in variants(family):
        row: dict[str, Any] = {"family": family, "config": label, "changes": json.dumps(changes)}
        try:
            written, saved, n_built = build(family, changes)
        except Exception as error:
            said = _verdict({"model_type": family} | changes, (0, 0))
            none = {"verdict": "transformers builds none", "reason": _line(error)}
            rows.append(row | said | none)
            continue
        row |= {"built": n_built[0], "active_built": n_built[1]} | _verdict(written, n_built)
        row["saved"] = _verdict(saved, n_built)["verdict"]
        rows.append(row)
    return rows


def _verdict(config: dict[str, Any], built: tuple[int, int]) -> dict[str, Any]:
    try:
        counted = hf_count.hf_count(config)
    except ValueError as error:
        return {"verdict": "refused", "reason": _line(error)}
    verdict = "exact" if (counted.n_params, counted.n_active) == built else "wrong"
    return {"verdict": verdict, "counted": counted.n_params, "n_active": counted.n_active}


def main() -> None:
    """Judge families, all unless some are named; with `--prune` leave out those that miscount."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    parser = argparse.ArgumentParser()
    parser.add_argument("families", nargs="*")
    parser.add_argument("--prune", action="store_true")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGALRM, _too_long)
    rows: list[dict[str, Any]] = []
    if given.families:
        before = pd.read_csv(OUT)
        kept = ~before["family"].isin(given.families)
        rows = pd.DataFrame(before[kept]).to_dict(orient="records")
    for family in given.families or sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES):
        judged = judge(family)
        if given.prune and any("wrong" in (row["verdict"], row.get("saved")) for row in judged):
            _prune(family)
            judged = judge(family)
        print(family, [row["verdict"] for row in judged], flush=True)
        rows += judged
    table = (
        pd.DataFrame(rows)
        .sort_values("family", kind="stable")
        .astype(dict.fromkeys(("built", "counted", "active_built", "n_active"), "Int64"))
    )
    columns = [
        "family",
        "config",
        "verdict",
        "saved",
        "built",
        "counted",
        "active_built",
        "n_active",
        "changes",
        "reason",
    ]
    table[columns].to_csv(OUT, index=False)
    print(table[["verdict", "saved"]].value_counts().to_string())
    default = table[table["config"] == "default"]
    print("defaults:", pd.Series(default["verdict"]).value_counts().to_dict())


def _prune(family: str) -> None:
    """Leave a family out of what is counted."""
    document = json.loads(DATA.read_text(encoding="utf-8"))
    del document["counted"][family]
    document["refused"][family] = "its count hangs on more than was read off it"
    document["refused"] = dict(sorted(document["refused"].items()))
    DATA.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    hf_count.families.cache_clear()
    print("left out:", family)


def _line(error: Exception) -> str:
    return " ".join(f"{error}".split())[:120]


def _too_long(*_: Any) -> None:
    raise TimeoutError("took longer than 60 s to build")


if __name__ == "__main__":
    main()
