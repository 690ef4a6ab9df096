import dataclasses
import functools
import math
from pathlib import Path

import numpy as np
import pytest

from anybudget.objectives.cost import counts
from anybudget.objectives.cost.execution import Execution
from anybudget.objectives.recipe import Recipe
from anybudget.space.architecture import Architecture
from anybudget.validation.training import train as module
from anybudget.validation.training.step import compile_training
from anybudget.validation.training.tokens import Tokens
from anybudget.validation.training.train import Upkeep, check_kernel, train

ARCH = Architecture.from_shape(
    d_model=16, n_layers=1, d_head=8, vocab_size=32, seq_len=8, batch_size=4
)


@pytest.fixture(scope="module")
def compiled():
    return functools.cache(compile_training)


@pytest.fixture(autouse=True)
def _compiled_once(monkeypatch, compiled):
    monkeypatch.setattr(module, "compile_training", compiled)


@pytest.fixture
def tokens():
    """A text in which each token but a few follows from the one before."""
    rng = np.random.default_rng(0)
    steps = np.where(rng.random(4000) < 0.1, rng.integers(0, 32, 4000), 7)
    text = (np.cumsum(steps) % 32).astype(np.uint16)
    return Tokens(
        corpus="made up",
        corpus_fingerprint="0",
        fingerprint="0",
        vocab_size=32,
        train=text[:3000],  # pyright: ignore[reportArgumentType]
        heldout=text[3000:],  # pyright: ignore[reportArgumentType]
        heldout_n_bytes=2000,
        tokenizer_path=Path("none"),
    )


def test_a_run_learns_and_its_row_adds_up(tokens):
    reports = []
    run = train(
        ARCH, tokens, seed=0, n_steps=60, upkeep=Upkeep(on_step=reports.append, device_name="here")
    )
    assert (run.status, run.n_steps, run.n_tokens, run.device) == ("ok", 60, 60 * 32, "here")
    assert run.architecture == ARCH
    assert run.n_params == counts.n_params(ARCH)
    assert run.measured_loss
    assert run.tokens_per_s
    # Guessing costs log 32 = 3.5 nats, knowing the text's rule less than one.
    assert reports[0].loss > 3.3
    assert run.measured_loss < 2.5
    # The held-out 1000 tokens are 2000 bytes.
    assert run.bits_per_byte == pytest.approx(run.measured_loss / math.log(2) / 2)
    assert run.n_tokens / run.tokens_per_s == pytest.approx(run.time_budget_s)


def test_steps_are_deterministic_and_seeds_differ(tokens):
    losses = [train(ARCH, tokens, seed=seed, n_steps=8).measured_loss for seed in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]


def test_a_killed_run_goes_on_as_if_it_had_not_been(tokens, tmp_path):
    whole = train(ARCH, tokens, seed=0, n_steps=12)

    before, after = [], []

    def kill(report):
        before.append(report)
        if report.n_steps == 7:
            raise KeyboardInterrupt

    def again(on_step):
        upkeep = Upkeep(on_step=on_step, checkpoint_dir=tmp_path, checkpoint_every_s=0.0)
        return train(ARCH, tokens, seed=0, n_steps=12, upkeep=upkeep)

    with pytest.raises(KeyboardInterrupt):
        again(on_step=kill)
    resumed = again(on_step=after.append)
    assert [report.n_steps for report in after] == list(range(7, 13))
    assert resumed.measured_loss == whole.measured_loss
    assert resumed.n_steps == 12
    # The last checkpoint was made after step 6, and its clock goes on.
    assert before[5].train_time_s < after[0].train_time_s < after[-1].train_time_s
    assert resumed.time_budget_s == after[-1].train_time_s
    with pytest.raises(ValueError, match="of a run with seed=0, not 5; use another folder"):
        train(ARCH, tokens, seed=5, n_steps=12, upkeep=Upkeep(checkpoint_dir=tmp_path))


def test_a_timed_run_keeps_its_budget_in_its_row(tokens):
    reports = []
    run = train(ARCH, tokens, seed=0, time_budget_s=1.0, upkeep=Upkeep(on_step=reports.append))
    assert (run.status, run.time_budget_s) == ("ok", 1.0)
    assert run.n_steps == len(reports)
    assert all(0 < report.progress <= 1 for report in reports)


def test_with_amx_a_run_is_in_bfloat16_and_goes_on_where_it_stopped(tokens, tmp_path, monkeypatch):
    def run(**upkeep):
        return train(ARCH, tokens, seed=0, n_steps=12, upkeep=Upkeep(**upkeep))

    def stop(report):
        if report.n_steps == 8:
            raise KeyboardInterrupt

    wide = run()
    monkeypatch.setattr(module, "compute_dtype", lambda *_, **__: "bfloat16")
    kept = {"checkpoint_dir": tmp_path / "run", "checkpoint_every_s": 0.0}
    whole = run()
    with pytest.raises(KeyboardInterrupt):
        run(**kept, on_step=stop)
    again = run(**kept)
    assert (wide.dtype, whole.dtype) == ("float32", "bfloat16")
    assert whole.measured_loss == again.measured_loss == pytest.approx(wide.measured_loss, rel=5e-3)
    assert whole.measured_loss != wide.measured_loss
    monkeypatch.setattr(module, "compute_dtype", lambda *_, **__: "float32")
    with pytest.raises(ValueError, match="of a run with dtype='bfloat16', not 'float32'"):
        run(**kept)


def test_a_diverged_run_is_a_row(tokens):
    run = train(ARCH, tokens, seed=0, n_steps=50, recipe=Recipe(learning_rate=1e30))
    assert run.status == "diverged"
    assert run.measured_loss is None
    assert 0 < run.n_steps < 50


def test_too_little_memory_is_a_row(tokens):
    huge = dataclasses.replace(ARCH, d_ff=2**30)
    run = train(huge, tokens, seed=0, time_budget_s=60.0, execution=Execution(scan_layers=True))
    assert (run.status, run.n_steps, run.measured_loss) == ("out_of_memory", 0, None)
    with pytest.raises(MemoryError, match="bytes"):
        train(huge, tokens, seed=0, n_steps=5, execution=Execution(scan_layers=True))


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({}, {"time_budget_s": 1e-6}, r"must fit 10 steps, but 1e-06 s fit 0\.0 of .* s each"),
        ({}, {}, "either a time or a number of steps"),
        ({"vocab_size": 31}, {"n_steps": 1}, "vocab_size=31 for a text of 32"),
        ({"batch_size": 125}, {"n_steps": 1}, "held-out text must fill one batch"),
        ({"d_head": 7}, {"n_steps": 1}, "`d_head` must be even"),
    ],
)
def test_what_cannot_be_trained_is_refused(tokens, changes, options, message):
    with pytest.raises(ValueError, match=message):
        train(dataclasses.replace(ARCH, **changes), tokens, seed=0, **options)


def test_several_chips_share_no_fused_attention():
    with pytest.raises(ValueError, match="trains on one chip here, but the result is for 2"):
        check_kernel(Execution(attention="fused", n_chips=2))
