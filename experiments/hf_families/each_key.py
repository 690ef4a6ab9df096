"""Whether any key, changed alone, moves a model's count without the reader's knowing it.

    python experiments/hf_families/each_key.py             # some 6 minutes on one core
    python experiments/hf_families/each_key.py cohere      # this family anew, the others' rows stay

Each counted family's default with four layers, each of its fields changed to several values, and
so each key that the source of its config or model reads though no field lists it. What is counted
must be what its own class builds on the meta device; what is refused, or not built, is no matter.
Writes `each_key.csv` beside this file: how many configs of a family were counted and built, and
which of them wrongly. The last must be none.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import logging
import re
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

import pandas as pd

from anybudget.experiments.hf_families.judge import build
from anybudget.space.hf_count import families, hf_count

OUT = Path(__file__).with_name("each_key.csv")
N_LAYERS = 4
READ = re.compile(
    r'config\.(\w+)|getattr\(\s*(?:self\.)?\w*config,\s*"(\w+)"|kwargs\.(?:pop|get)\(\s*"(\w+)"'
)
SHAPELESS = re.compile(
    r"dropout|_token_id|initializer|_eps$|epsilon|^rope_|dtype|label|return_dict|^output_|use_cache"
    r"|^_"
)


def tries(config_class: Any) -> list[tuple[str, Any]]:
    """Keys and values that a config may have otherwise."""
    fields = {field.name: field.default for field in dataclasses.fields(config_class)}
    found = [(key, value) for key, default in fields.items() for value in _others(default)]
    folder = Path(inspect.getfile(config_class)).parent
    files = [*folder.glob("configuration_*.py"), *folder.glob("modeling_*.py")]
    text = "".join(file.read_text(encoding="utf-8") for file in files)
    read = {next(filter(None, names)) for names in READ.findall(text)}
    found += [(key, value) for key in sorted(read - {*fields}) for value in (True, 2, 64, [1, 2])]
    return [(key, value) for key, value in found if not SHAPELESS.search(key)]


def _others(default: Any) -> list[Any]:
    """Values other than a default; of a whole number also one more, half, none, and null."""
    if default is None or default is dataclasses.MISSING:
        return [True, 2, 64]
    if isinstance(default, bool):
        return [not default]
    if isinstance(default, int):
        return [2 * default, default + 1, max(default // 2, 1), 0, None]
    if isinstance(default, float):
        return [2 * default, None]
    return ["gelu", None] if isinstance(default, str) else [[], None]


def judge(name: str) -> dict[str, Any]:
    """How many configs of a family are counted and built, and those counted wrongly."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    family = families()["counted"][name]
    depth = family["names"].get("num_hidden_layers", "num_hidden_layers")
    base = {} if depth in family["fixed"] else {depth: N_LAYERS}
    n_judged, wrong = 0, []
    for key, value in tries(CONFIG_MAPPING[name]):
        config = base | {key: value}
        try:
            counted = hf_count({"model_type": name} | config).n_params
        except ValueError:
            continue
        try:
            _, _, (built, _) = build(name, config)
        except Exception:
            continue
        n_judged += 1
        if built != counted:
            wrong.append({key: value})
    return {"family": name, "n_judged": n_judged, "wrong": json.dumps(wrong) if wrong else ""}


def main() -> None:
    """Judge families, all unless some are named."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGALRM, _too_long)
    rows = []
    for name in sys.argv[1:] or sorted(families()["counted"]):
        rows.append(judge(name))
        print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    if sys.argv[1:]:
        before = pd.read_csv(OUT, keep_default_na=False)
        kept = pd.DataFrame(before[~before["family"].isin(sys.argv[1:])])
        table = pd.concat([kept, table]).sort_values(by="family")
    table.to_csv(OUT, index=False)
    print(table["n_judged"].sum(), "configs, wrong in", (table["wrong"] != "").sum(), "families")


def _too_long(*_: Any) -> None:
    raise TimeoutError("took longer than 60 s to build")


if __name__ == "__main__":
    main()
