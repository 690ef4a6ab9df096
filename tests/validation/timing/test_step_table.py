"""A user's table of timed steps: read by name, refused in one line, fitted and judged."""

import csv
import dataclasses
import io
import json

import numpy as np
import pytest

from anybudget.objectives.cost.communication import sent
from anybudget.objectives.cost.execution import Execution
from anybudget.objectives.cost.step_time import MODELS, StepTimeModel
from anybudget.objectives.device import Device
from anybudget.presets.devices import load_device
from anybudget.space.architecture import Architecture
from anybudget.validation.timing.calibrate_table import calibrate_table
from anybudget.validation.timing.step_table import read_step_table

HARDWARE = Device(
    name="card",
    kind="gpu",
    peak_flops_per_s=1e14,
    bandwidth_bytes_per_s=1e12,
    memory_bytes=8e9,
    dtype="bfloat16",
    source="made up for tests",
    interconnect_bytes_per_s=1e11,
    chips_per_host=8,
    network_bytes_per_s=1e10,
)
# What the card is really like.
KNOWN = StepTimeModel(
    name="paper",
    seconds_per_unit=dict.fromkeys(MODELS["paper"], 0.0)
    | {"memcpys": 4e-12, "flops": 2e-14, "steps": 1e-3, "attention": 5e-14}
    | {"host_bytes": 1e-11, "network_bytes": 2e-10, "hops": 3e-6},
)
ROW = {
    "d_model": 512, "n_layers": 4, "n_heads": 8, "d_ff": 2048, "vocab_size": 8192, "seq_len": 256,
    "batch_size": 16, "n_chips": 2, "n_accumulation": 2, "attention": "fused",
    "precision": "bf16", "step_time_s": 0.25,
}  # fmt: skip


def as_csv(*rows):
    """Rows as the text of a table."""
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def timed_rows(n=24, seed=0):
    """Rows of unlike steps that take what `KNOWN` says."""
    rng = np.random.default_rng(seed)
    for at in range(n):
        n_heads, n_chips = int(rng.choice([4, 8, 16])), int(rng.choice([1, 4, 8, 32]))
        row = ROW | {
            "d_model": 64 * n_heads,
            "n_heads": n_heads,
            "d_ff": 64 * n_heads * int(rng.integers(2, 6)),
            "n_layers": at % 7 + 1,
            "seq_len": int(rng.choice([128, 512, 2048])),
            "n_chips": n_chips,
            "batch_size": n_chips * 2 * int(rng.choice([1, 4])),
            "sharding": str(rng.choice(["data", "full"])),
        }
        arch = Architecture.from_shape(
            **{name: row[name] for name in ("d_model", "n_layers", "n_heads", "d_ff")},
            vocab_size=row["vocab_size"],
            seq_len=row["seq_len"],
            batch_size=row["batch_size"],
        )
        execution = Execution(
            attention="fused", n_accumulation=2, sharding=row["sharding"], n_chips=n_chips
        )
        compute_s = KNOWN.step_time_s(arch, execution, kind="gpu")
        exchanged = sent(arch, execution, bytes_per_element=2, chips_per_host=8)
        yield row | {"step_time_s": float(compute_s + KNOWN.communication_s(exchanged))}


@pytest.fixture
def table(tmp_path):
    """Write the text of a table."""

    def write(text):
        path = tmp_path / "steps.csv"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


def test_a_row_is_read_by_the_names_of_its_columns(table):
    shuffled = dict(reversed(ROW.items())) | {"mfu": 0.4}
    read = read_step_table(table("\ufeff# of mine\n" + as_csv(shuffled)), HARDWARE)
    (row,) = read.rows
    assert read.unused == ("mfu",)
    arch, execution = row.architecture, row.execution
    assert (arch.d_head, arch.n_kv_heads, arch.batch_size) == (64, 8, 16)
    assert execution == Execution(attention="fused", n_accumulation=2, n_chips=2)
    assert execution.part(arch) == dataclasses.replace(arch, batch_size=4)
    assert row.seconds == 0.25
    by_rate = {name: ROW[name] for name in ROW if name != "step_time_s"} | {"tokens_per_s": 8192}
    (row,) = read_step_table(table(as_csv(by_rate)), HARDWARE).rows
    assert row.seconds == 0.5


def test_what_one_device_computes_of_a_model_that_is_split(table):
    split = ROW | {
        "n_chips": 8, "tensor_parallel": 2, "pipeline_parallel": 2, "vocab_size": 8191,
        "n_accumulation": 4,
    }  # fmt: skip
    (row,) = read_step_table(table(as_csv(split)), HARDWARE).rows
    arch, execution = row.architecture, row.execution
    assert (execution.n_split, execution.micro_batch_size(arch), execution.n_passes) == (2, 2, 5)
    part = execution.part(arch)
    assert (part.n_layers, part.n_heads, part.d_ff, part.vocab_size) == (2, 4, 1024, 4096)
    assert (part.d_model, part.d_head, arch.n_layers) == (512, 64, 4)


MISTAKES = {
    "no rows": ("", "steps.csv must have the columns d_model, .*, but lacks d_model, "),
    "header alone": (as_csv(ROW).splitlines()[0], "has no rows below its header"),
    "not text": (b"\xff\xfe\x00", "cannot read .*: it is not UTF-8 text"),
    "a column missing": (as_csv({**ROW}).replace("attention", "comment"), "lacks attention"),
    "a column twice": (as_csv(ROW).replace("n_chips", "batch_size"), "has 'batch_size' twice"),
    "a column misspelt": (
        as_csv(ROW).replace("n_accumulation", "n_acumulation"),
        "unknown column `n_acumulation`; did you mean n_accumulation",
    ),
    "cells too few": (as_csv(ROW) + "1,2\n", "line 3: must have 12 cells, .* but has 2"),
    "text for a number": (as_csv(ROW | {"d_ff": "4x"}), "line 2: d_ff: .* integer, .* got '4x'"),
    "a time below 0": (as_csv(ROW | {"step_time_s": -1}), "step_time_s: .* greater than 0"),
    "no time": (as_csv(ROW | {"step_time_s": ""}), "must have `step_time_s` or `tokens_per_s`"),
    "an infinite time": (as_csv(ROW | {"step_time_s": "inf"}), "step_time_s: .* finite number"),
    "milliseconds": (
        as_csv(ROW | {"step_time_s": 1e-4}),
        "would be .* TFLOP/s of each device, but card has 100; look at the unit of time",
    ),
    "the rate of one device": (
        as_csv(ROW | {"tokens_per_s": 8192}),
        "must agree, but 4,096 tokens at 8192 take 0.5 s, not 0.25; is the rate that of one",
    ),
    "batches that differ": (
        as_csv(ROW | {"micro_batch_size": 3}),
        r"`batch_size` must be micro_batch_size .*, 3 \* 2 \* 2, but got 16",
    ),
    "a batch that is not split": (as_csv(ROW | {"batch_size": 6}), "must divide `batch_size`, but"),
    "no batch": (as_csv(ROW | {"batch_size": ""}), "must have `batch_size` or `micro_batch_size`"),
    "heads that are not split": (
        as_csv(ROW | {"n_chips": 3, "tensor_parallel": 3, "batch_size": 2}),
        "tensor_parallel must divide `n_heads`, but got 3 and 8",
    ),
    "heads that do not fill": (as_csv(ROW | {"n_heads": 7}), "`n_heads` must divide `d_model`"),
    "another precision": (as_csv(ROW | {"precision": "fp8"}), "must be bfloat16, .* got 'fp8'"),
    "an unknown word": (as_csv(ROW | {"attention": "flash"}), "attention: .*'plain' or 'fused'"),
    "too few shapes": (as_csv(ROW, ROW | {"n_layers": 2}), "at least 3 shapes .*, but got 2"),
    "an open quote": (as_csv(ROW) + '"1,2\n', "line 3: is not CSV"),
}


@pytest.mark.parametrize(("text", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_clear_line(run, table, tmp_path, text, message):
    hardware = tmp_path / "card.toml"
    hardware.write_text("\n".join(f"{k} = {json.dumps(v)}" for k, v in FIELDS.items()))
    out = tmp_path / "mine.toml"
    code, printed, complaint = run(
        "calibrate", "--steps", table(text), "--device", hardware, "--out", out
    )
    assert (code, printed) == (2, "")
    assert len(complaint.splitlines()) == 1
    with pytest.raises(ValueError, match=message):
        raise ValueError(complaint)
    assert not out.exists()


FIELDS = {
    name: value
    for name, value in dataclasses.asdict(HARDWARE).items()
    if value not in (None, {}) and name not in ("basis", "utilisation")
}


def test_a_device_comes_back_from_its_steps(run, table, tmp_path):
    path = table(as_csv(*timed_rows()))
    found = calibrate_table(tmp_path / "mine.toml", path, HARDWARE, basis="measured")
    device = load_device(str(tmp_path / "mine.toml"))
    assert device == found.device
    assert (device.name, device.basis, device.chips_per_host) == ("mine", "measured", 8)
    assert found.fits[0].mape < 1e-6
    paper = next(fit.model for fit in found.fits if fit.model.name == "paper")
    assert paper.seconds_per_unit == pytest.approx(KNOWN.seconds_per_unit, rel=1e-4)
    draws = np.genfromtxt(tmp_path / "mine.draws.csv", delimiter=",", names=True, skip_header=1)
    assert draws.dtype.names == found.fits[0].model.features
    # It answers like any device.
    code, printed, _ = run(
        "predict", "1h", "--device", tmp_path / "mine.toml", "--d-model", 512, "--n-layers", 4,
        "--chips", 16, "--batch-size", 32, "--attention", "fused", "--json",
    )  # fmt: skip
    assert code == 0
    assert json.loads(printed)["step_time_s"] > 0


def test_six_rows_say_what_they_cannot_know(table, tmp_path):
    rows = [
        row | {"seq_len": 512, "n_chips": 1, "batch_size": 8, "step_time_s": 0.1 * (at + 2)}
        for at, row in enumerate(timed_rows(6))
    ]
    found = calibrate_table(tmp_path / "few.toml", table(as_csv(*rows)), HARDWARE)
    few, alike, *_ = found.warnings
    assert few.startswith("6 steps of 6 shapes are few: the error held out is uncertain itself")
    assert alike.startswith("not varied: ")
    for name in ("seq_len (512)", "n_chips (1)", "attention (fused)", "remat (none)"):
        assert name in alike
    assert "d_model" not in alike


def test_steps_that_ran_but_would_not_fit_are_told(table, tmp_path):
    small = dataclasses.replace(HARDWARE, memory_bytes=2e8)
    found = calibrate_table(tmp_path / "mine.toml", table(as_csv(*timed_rows())), small)
    assert any("24 steps ran, but by our count need more memory" in w for w in found.warnings)


def test_the_hardware_must_be_named(run, table):
    code, _, complaint = run("calibrate", "--steps", table(as_csv(ROW)))
    assert code == 2
    assert "--steps needs --device, what ran them" in complaint
