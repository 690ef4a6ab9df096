"""Training what was chosen once, and surviving a kill, with a cheap trainer."""

import dataclasses
import datetime
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from anybudget.objectives.cost.counts import n_params, n_params_non_embedding
from anybudget.objectives.cost.execution import Attention
from anybudget.presets.devices import KnownDevice
from anybudget.presets.known import Known
from anybudget.presets.laws import KnownLaw
from anybudget.search.candidate import Candidate
from anybudget.show.save import save, save_confirmation
from anybudget.validation.confirm.choose import Choice, choose
from anybudget.validation.confirm.confirm import confirm
from anybudget.validation.confirm.confirmed import load_confirmed
from anybudget.validation.confirm.train_all import Training
from anybudget.validation.runs import Run, read_rows


def asked_under(objective, result):
    """The same answer to another question."""
    question = dataclasses.replace(result.question, objective=objective)
    return dataclasses.replace(result, question=question)


class Trainer:
    """Answers at once: a tenth slower than predicted, and a nat better; or is killed."""

    def __init__(self, objective, killed_after=None, dtype=None):
        self.objective, self.killed_after, self.calls = objective, killed_after, []
        self.dtype = dtype

    def __call__(self, arch, tokens, *, time_budget_s, seed, **settings):
        if len(self.calls) == self.killed_after:
            os.kill(os.getpid(), signal.SIGKILL)
        self.calls.append((arch, seed))
        self.attention = settings["execution"].attention
        settings["upkeep"].checkpoint_dir.mkdir(parents=True)
        at_time = dataclasses.replace(self.objective, time_budget_s=time_budget_s)
        predicted = Candidate.of(arch, at_time).prediction
        return Run(
            **arch.as_dict(),
            **settings["execution"].columns(arch),
            corpus=tokens.corpus,
            corpus_fingerprint=tokens.corpus_fingerprint,
            seed=seed,
            device=settings["upkeep"].device_name,
            recipe="none",
            learning_rate=1e-3,
            time_budget_s=time_budget_s,
            n_params=n_params(arch),
            n_params_non_embedding=n_params_non_embedding(arch),
            status="ok",
            n_steps=predicted.n_steps,
            n_tokens=predicted.n_tokens,
            step_time_s=1.1 * predicted.step_time_s,
            measured_loss=predicted.predicted_loss - 1 + 0.001 * seed,
            dtype=self.dtype,
            started=datetime.datetime.now(datetime.UTC),
            versions="none",
        )


def test_chips_that_are_not_here_are_refused_before_anything_is_read(result, text, tmp_path):
    device = dataclasses.replace(result.objective.device, interconnect_bytes_per_s=1e9)
    plain = dataclasses.replace(result.objective, attention="plain")
    objective = dataclasses.replace(plain, device=device, n_chips=4)
    many = asked_under(objective, result)
    with pytest.raises(ValueError, match="for 4 chips, but JAX finds 1 here; start the command on"):
        run(many, text, tmp_path, Trainer(objective), top=1, contrast=0)


def test_fused_attention_trains_with_a_kernel_and_is_another_run(result, text, tmp_path):
    for attention in Attention:
        objective = dataclasses.replace(result.objective, attention=str(attention))
        trainer = Trainer(objective)
        asked = asked_under(objective, result)
        run(asked, text, tmp_path, trainer, top=1, contrast=0)
        assert len(trainer.calls) == 1
        assert trainer.attention == attention
        again = Trainer(objective)
        run(asked, text, tmp_path, again, top=1, contrast=0)
        assert not again.calls


@pytest.mark.parametrize(
    ("kind", "n_chips", "message"),
    [
        ("tpu", 4, "one chip here, but the result is for 4; search again"),
        ("tpu", 1, "a TPU's fused attention takes a `seq_len` of 128, .* but got 64"),
        (
            "gpu",
            1,
            "fused attention takes a `d_head` of up to 128 that 8 divides, but got 4",
        ),
    ],
)
def test_what_a_fused_kernel_does_not_take(result, text, tmp_path, kind, n_chips, message):
    device = dataclasses.replace(result.objective.device, kind=kind, interconnect_bytes_per_s=1e9)
    objective = dataclasses.replace(
        result.objective, device=device, attention="fused", n_chips=n_chips
    )
    arch = dataclasses.replace(result.candidates[0].arch, n_heads=16, n_kv_heads=16, d_head=4)
    asked = dataclasses.replace(
        asked_under(objective, result),
        candidates=[Candidate.of(arch, objective)],
    )
    with pytest.raises(ValueError, match=message):
        run(asked, text, tmp_path, Trainer(objective), top=1, contrast=0)


def test_losses_of_different_texts_are_not_compared(result):
    arch = dataclasses.replace(result.candidates[1].arch, seq_len=128)
    candidates = [result.candidates[0], Candidate.of(arch, result.objective)]
    mixed = dataclasses.replace(result, candidates=candidates)
    assert choose(mixed, Choice(top=1))[1][0].candidate == candidates[0]
    with pytest.raises(ValueError, match=r"one `seq_len`, but the result's best have \[64, 128\]"):
        choose(mixed, Choice(top=2))


def run(result, text, tmp_path, train, *, n_seeds=1, on_progress=lambda line: None, **choice):
    training = Training(train_one=train, corpus=str(text), cache_dir=tmp_path, n_seeds=n_seeds)
    choice = Choice(**choice)
    return confirm(
        result, tmp_path / "out", choice=choice, training=training, on_progress=on_progress
    )


def test_predicted_and_measured_meet(result, text, tmp_path):
    lines = []
    train = Trainer(result.objective)
    confirmation = run(
        result, text, tmp_path, train, n_seeds=2, top=2, contrast=3, on_progress=lines.append
    )
    comparison = confirmation.comparison
    assert comparison.regret_nats == 0
    assert comparison.seed_noise_nats == pytest.approx(0.001 / 2**0.5)
    assert comparison.loss.spearman == pytest.approx(1.0)
    assert comparison.loss.mean_error == pytest.approx(0.9995)
    assert comparison.log_step_time.r_squared_of_line == pytest.approx(1.0)
    assert "the ranking held (Spearman 1.00 over 5 models)" in confirmation.verdict
    assert "the law is of none and training was on words.txt" in confirmation.verdict
    rows = read_rows(tmp_path / "out/runs.csv", Run)
    assert [(row.architecture, row.seed) for row in rows] == train.calls
    assert [seed for _, seed in train.calls] == [0] * 5 + [1] * 5
    assert [line[:6] for line in lines if line.startswith("[")] == [
        f"[{n}/10]"[:6] for n in range(1, 11)
    ]
    assert not list((tmp_path / "out").glob("checkpoints/*"))


# What a process of its own runs, to be killed when it has trained two models.
KILLED = """
import importlib.util, pathlib, sys
from anybudget.search.record import read_record
from anybudget.validation.confirm.choose import Choice
from anybudget.validation.confirm.confirm import confirm
from anybudget.validation.confirm.train_all import Training
spec = importlib.util.spec_from_file_location("its_trainer", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
folder = pathlib.Path(sys.argv[2])
result = read_record(folder)
trainer = module.Trainer(result.objective, killed_after=2)
training = Training(corpus=str(folder / "words.txt"), cache_dir=folder, train_one=trainer)
confirm(result, folder / "out", choice=Choice(top=2, contrast=2), training=training)
"""


def test_after_a_kill_nothing_is_lost_and_nothing_done_twice(result, found, text, tmp_path):
    save(found, tmp_path, command="find")
    command = [sys.executable, "-c", KILLED, __file__, str(tmp_path)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    kept = read_rows(tmp_path / "out/runs.csv", Run)
    assert len(kept) == 2

    again = Trainer(result.objective)
    confirmation = run(result, text, tmp_path, again, top=2, contrast=2)
    rows = read_rows(tmp_path / "out/runs.csv", Run)
    assert rows[:2] == kept
    assert [(row.architecture, row.seed) for row in rows[2:]] == again.calls
    assert len({row.architecture for row in rows}) == len(rows) == 4
    assert [len(model.runs) for model in confirmation.comparison.models] == [1] * 4


def test_more_seeds_leave_the_earlier_ones(result, text, tmp_path):
    run(result, text, tmp_path, Trainer(result.objective), top=2, contrast=1)
    more = Trainer(result.objective)
    run(result, text, tmp_path, more, top=2, contrast=1, n_seeds=2)
    assert [seed for _, seed in more.calls] == [1] * 3
    assert len(read_rows(tmp_path / "out/runs.csv", Run)) == 6


def test_another_time_is_another_run(result, text, tmp_path):
    first, second = Trainer(result.objective), Trainer(result.objective)
    run(result, text, tmp_path, first, top=1, contrast=0)
    run(result, text, tmp_path, second, top=1, contrast=0, scale=0.5)
    assert len(second.calls) == 2


def test_steps_of_another_speed_are_told_of(result, text, tmp_path):
    device = dataclasses.replace(result.objective.device, utilisation=0.5)
    train = Trainer(dataclasses.replace(result.objective, device=device), dtype="bfloat16")
    confirmation = run(result, text, tmp_path, train, top=2, contrast=0)
    expected = "toy was timed in float32, but this trained in bfloat16: run `anybudget calibrate`"
    assert any(expected in warning for warning in confirmation.warnings)
    # Half the rates take twice the time, and the trainer a tenth more.
    assert any("steps took 2.2 times as long as predicted" in w for w in confirmation.warnings)
    quick = run(result, text, tmp_path / "quick", Trainer(result.objective), top=2, contrast=0)
    n_epochs = max(row.n_tokens for row in read_rows(tmp_path / "quick/out/runs.csv", Run))
    n_epochs /= len(quick.tokens.train)
    only = f"the text was read up to {n_epochs:.1f} times over: it is shorter than the training"
    assert quick.warnings == [only]


def test_the_files(result, text, tmp_path):
    confirmation = run(result, text, tmp_path, Trainer(result.objective), top=2, contrast=2)
    save_confirmation(confirmation, tmp_path / "out", command="anybudget confirm")
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"runs.csv", "models.csv", "confirm.json", "confirm.png"} <= written
    assert (tmp_path / "out/confirm.png").read_bytes()[:4] == b"\x89PNG"


def test_the_report_reads_what_confirm_writes(result, text, tmp_path):
    confirmation = run(result, text, tmp_path, Trainer(result.objective), top=2, contrast=1)
    assert load_confirmed(tmp_path) is None
    (tmp_path / "confirm").mkdir()
    save_confirmation(confirmation, tmp_path / "confirm", command="anybudget confirm")
    confirmed = load_confirmed(tmp_path)
    assert confirmed is not None
    comparison = confirmation.comparison
    assert (confirmed.verdict, confirmed.loss) == (confirmation.verdict, comparison.loss)
    for model, trained in zip(confirmed.models, comparison.models, strict=True):
        assert (model.label, model.measured_losses) == (trained.label, trained.losses)
        assert model.predicted_loss == trained.candidate.loss


def test_another_kind_of_machine(result, text, tmp_path):
    gpu = dataclasses.replace(result.objective.device, kind="gpu")
    with pytest.raises(ValueError, match="toy is a gpu, but JAX finds a cpu on this machine; run"):
        run(result, text, tmp_path, Trainer(result.objective), device=KnownDevice(device=gpu))


def test_no_seeds(result, text, tmp_path):
    with pytest.raises(ValueError, match="`seeds` must be at least 1, but got 0"):
        run(result, text, tmp_path, Trainer(result.objective), n_seeds=0)


def test_the_chances_before_training(result, text, tmp_path):
    """Without uncertainty the predicted winner has all the chance."""
    law, device = result.objective.law, result.objective.device
    certain = dataclasses.replace(device, basis="measured", step_time=device.step_time_model)
    objective = dataclasses.replace(result.objective, device=certain)
    result = asked_under(objective, result)
    known = Known(
        law=KnownLaw(law=law, draws=np.array([list(law.numbers.values())])),
        device=KnownDevice(device=certain),
    )
    result = dataclasses.replace(result, question=dataclasses.replace(result.question, known=known))
    training = Training(
        corpus=str(text), cache_dir=tmp_path / "cache", train_one=Trainer(result.objective)
    )
    confirmation = confirm(result, tmp_path, choice=Choice(top=2, contrast=1), training=training)
    winner = confirmation.comparison.winner.label
    assert confirmation.p_best == {winner: 1.0} | dict.fromkeys(
        [m.label for m in confirmation.comparison.models if m.label != winner], 0.0
    )
    assert confirmation.as_dict()["p_best"] == confirmation.p_best
