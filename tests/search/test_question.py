"""Questions: what the words put, and what makes two of them one."""

import dataclasses
import shutil

import numpy as np
import pandas as pd
import pytest

from anybudget.api import fit
from anybudget.objectives.cost.counts import n_params, n_params_non_embedding
from anybudget.objectives.fit.prior import BETWEEN_RECIPES
from anybudget.presets.anchors import anchor_path
from anybudget.presets.devices import DEFAULT_DEVICE, known_device, load_device, save_device
from anybudget.presets.laws import CPU_LAW, DEFAULT_LAW, load_law
from anybudget.presets.spaces import ANY_ASPECT_RATIO, batch_sizes, evidence, load_space
from anybudget.search.explore.study import Exploring
from anybudget.search.find import find
from anybudget.search.question import Question, QuestionMaker, ask
from anybudget.search.record import read_record, write_record
from anybudget.search.words import Words
from anybudget.space.architecture import Architecture
from anybudget.space.search_space import SearchSpace


def test_a_budget_alone_is_a_question():
    question = ask(Words(budget="1h30m"))
    objective = question.objective
    assert objective.time_budget_s == 5400
    assert (objective.device, objective.law) == (load_device(DEFAULT_DEVICE), load_law(DEFAULT_LAW))
    held = evidence(objective.law)
    assert question.space == load_space(
        "tpu", aspect_ratio=ANY_ASPECT_RATIO, held=held, batch_sizes=batch_sizes(1)
    )
    assert question.draws is not None
    assert question.seed == 0


@pytest.mark.parametrize(
    ("device", "attention", "asked"),
    [
        ("a100-80gb", "auto", "fused"),
        ("a100-80gb", "plain", "plain"),
        ("tpu-v5e", "auto", "fused"),
        ("cpu-core", "auto", "fused"),
    ],
)
def test_attention_is_fused_unless_asked_otherwise(device, attention, asked):
    words = Words(budget="3h", device=device, attention=attention)
    assert ask(words).objective.attention == asked


def test_on_several_cpus_attention_is_plain_by_itself(tmp_path):
    core = known_device("cpu-core")
    linked = dataclasses.replace(core.device, interconnect_bytes_per_s=1e9)
    save_device(tmp_path / "linked.toml", dataclasses.replace(core, device=linked))
    words = Words(budget="3h", device=str(tmp_path / "linked.toml"))
    assert ask(words).objective.fused
    assert not ask(dataclasses.replace(words, chips=4)).objective.fused


@pytest.mark.parametrize(
    ("words", "batches"),
    [
        ({"chips": 6, "device": "h100-sxm"}, batch_sizes(6)),
        ({"chips": 8, "micro_batch_size": 4}, batch_sizes(32)),
        ({"settings": ("batch_size=24",)}, (24,)),
        ({"critical_batch": False}, (8,)),
        ({"device": "cpu-core"}, (4,)),
    ],
)
def test_the_batch_is_searched_where_it_has_a_price_and_nobody_gave_it(words, batches):
    question = ask(Words(budget="3h", **words))
    assert question.space.batch_size == batches
    on_cpu = words.get("device") == "cpu-core"
    assert question.objective.critical_batch == (words.get("critical_batch", not on_cpu))


def test_a_cpu_has_a_space_and_a_law_of_its_own():
    question = ask(Words(budget="3h", device="cpu-core", seed=3))
    assert question.objective.law == load_law(CPU_LAW)
    assert question.space == load_space(
        "cpu", aspect_ratio=question.objective.law.aspect_ratio_range
    )
    assert question.seed == 3


@pytest.fixture
def runs(tmp_path):
    """Two runs whose loss is a fifth above what the law of their shapes says."""
    law = load_law(DEFAULT_LAW)
    shapes = [{"d_model": 384, "n_layers": 6}, {"d_model": 512, "n_layers": 12}]
    rows = []
    for shape in shapes:
        arch = Architecture.from_shape(**shape, vocab_size=32_000)
        row = shape | {"n_params": n_params(arch), "vocab_size": 32_000, "n_tokens": 2_000_000_000}
        row["n_params_non_embedding"] = n_params_non_embedding(arch)
        loss = 1.2 * law.loss(row["n_params"], row["n_tokens"], row)
        rows.append(row | {"measured_loss": loss})
    pd.DataFrame(rows).to_csv(tmp_path / "mine.csv", index=False)
    return tmp_path / "mine.csv"


def test_runs_anchor_the_law_as_fit_does_and_the_answer_keeps_it(runs, tmp_path):
    words = Words(budget="3h", anchor=str(runs), settings=("d_model=256:768:128",))
    question = ask(words)
    law, known = question.objective.law, question.known
    fitted = fit(runs, prior=DEFAULT_LAW).anchored
    assert law.numbers == fitted.law.numbers
    np.testing.assert_array_equal(known.law.draws, fitted.draws)
    assert (law.name, law.vocab_size) == (f"{DEFAULT_LAW}+mine", 32_000)
    assert question.space.vocab_size == (32_000,)
    assert f"{DEFAULT_LAW} moved by 2 runs of yours, whose loss is +20.0%" in question.warnings[1]
    unanchored = ask(dataclasses.replace(words, anchor=None))
    assert (unanchored.objective.law.level_std, law.level_std) == (0.2, 0.0)

    found = find(question, exploring=Exploring(n_trials=20))
    write_record(found, tmp_path, command="")
    back = read_record(tmp_path)
    assert back.objective == question.objective
    np.testing.assert_array_equal(back.question.draws.laws, question.draws.laws)
    wide = find(unanchored, exploring=Exploring(n_trials=20)).standing
    narrow = found.standing
    assert (narrow.elsewhere_low, narrow.elsewhere_high) == (narrow.loss_low, narrow.loss_high)
    unsure = wide.elsewhere_high - wide.elsewhere_low
    assert narrow.loss_high - narrow.loss_low < 0.5 * unsure


def test_runs_that_cannot_anchor_are_refused(tmp_path):
    (tmp_path / "mine.csv").write_text("n_params,n_tokens,measured_loss\n1e7,1e9,4\n")
    with pytest.raises(ValueError, match="need the columns d_model, n_layers, "):
        QuestionMaker(tmp_path)(Words(budget="3h", anchor="mine.csv"))
    with pytest.raises(ValueError, match=r"cannot read .*other\.csv"):
        QuestionMaker(tmp_path)(Words(budget="3h", anchor="other.csv"))


def test_every_word_is_heard():
    words = Words(
        budget="6h",
        device="tpu-v5p",
        law="hoffmann-2022",
        space="cpu",
        settings=("d_model=512", "batch_size=64"),
        remat="layer",
        attention="fused",
        data_limit_tokens=1e9,
        critical_batch=True,
        chips=8,
    )
    question = ask(words)
    objective = question.objective
    assert (objective.device.name, objective.law.name) == (words.device, words.law)
    assert (question.space.d_model, question.space.batch_size) == ((512,), (64,))
    assert question.space.n_layers == load_space("cpu").n_layers
    for name in ("remat", "attention", "data_limit_tokens", "critical_batch"):
        assert getattr(objective, name) == getattr(words, name)
    assert objective.n_chips == 8
    assert question.words == words


def test_a_question_about_one_architecture():
    arch = Architecture.from_shape(d_model=1000, n_layers=1, seq_len=64, batch_size=8, d_head=125)
    question = ask(Words(budget="3h", chips=1), arch)
    assert question.space == SearchSpace.only(arch)
    assert question.space.n_architectures == 1
    assert question.space.decode({}) == arch


def test_only_an_unnamed_device_that_was_not_measured_is_warned_of():
    law = "besiroglu-2024"
    [warning] = ask(Words(budget="3h", law=law)).warnings
    assert "tpu-v5e is the default" in warning
    assert ask(Words(budget="3h", device="tpu-v5e", law=law)).warnings == ()


def test_what_a_law_s_runs_did_not_vary_is_held_and_told():
    words = Words(budget="3h", device="tpu-v5e", law="gemstones-2025")
    question = ask(words)
    space = question.space
    assert (space.d_head, space.gated_mlp, space.vocab_size) == ((128,), (True,), (50304,))
    assert (space.ff_ratio, space.heads_per_kv_head) == ((4, 4), (2, 3))
    [warning] = question.warnings
    assert "held as in the law's runs" in warning
    assert "d_head=128" in warning
    settings = ("d_head=64", "n_kv_heads=4", "d_ff=2048:8192:512")
    freed = ask(dataclasses.replace(words, settings=settings))
    assert freed.space.d_head == (64,)
    assert freed.space.n_kv_heads == (4,)
    assert "vocab_size" in freed.warnings[0]
    assert not any(name in freed.warnings[0] for name in ("d_head", "ratio", "heads"))


def test_a_space_of_one_s_own_is_searched_as_it_stands(tmp_path):
    (tmp_path / "own.toml").write_text("d_head = [64, 128]\nvocab_size = 32000\n")
    space = str(tmp_path / "own.toml")
    question = ask(Words(budget="3h", device="tpu-v5e", law="gemstones-2025", space=space))
    assert question.space.d_head == (64, 128)
    assert question.space.vocab_size == (32000,)
    assert question.space.ff_ratio == (4, 4)


def test_an_answer_begins_with_the_warnings_of_its_question(small_space, objective):
    question = Question(space=small_space, objective=objective, warnings=("beware",))
    assert find(question, exploring=Exploring(n_trials=1)).warnings[0] == "beware"


def test_relative_paths_start_at_the_folder(tmp_path):
    text = 'name = "mine"\nkind = "cpu"\npeak_flops_per_s = 1e12\nbandwidth_bytes_per_s = 1e11\n'
    text += 'memory_bytes = 1e10\ndtype = "float32"\nsource = "made up for tests"\n'
    (tmp_path / "mine.toml").write_text(text)
    words = Words(budget="3h", device="mine.toml")
    assert QuestionMaker(tmp_path)(words).objective.device.name == "mine"
    with pytest.raises(ValueError, match=r"mine\.toml"):
        ask(words)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"budget": "3"}, "a time budget must be a positive time with a unit .* got '3'"),
        ({"budget": ""}, "a time budget must be a positive time such as .* got ''"),
        ({"device": "tpu-v5"}, "no device is called 'tpu-v5'; did you mean"),
        ({"law": "hoffman"}, "no law is called 'hoffman'; did you mean"),
        ({"space": "cpus"}, "no space is called 'cpus'; did you mean"),
        ({"settings": ("d_modle=3",)}, "unknown key `d_modle`; did you mean"),
        ({"remat": "most"}, "`remat` must be none, dots, layer or auto, but got 'most'"),
        ({"chips": 0}, "`n_chips` must be from 1 to 2,147,483,647, but got 0"),
        (
            {"chips": 3, "settings": ("batch_size=8",)},
            "`batch_size` must be a multiple of the 3 chips, but got 8",
        ),
    ],
)
def test_refused(change, message):
    with pytest.raises(ValueError, match=message):
        ask(Words(**{"budget": "3h"} | change))


def changed(question):
    """The question with one number changed at a time."""
    space, objective = question.space, question.objective
    spaces = [dataclasses.replace(space, batch_size=(4,))]
    spaces += [dataclasses.replace(space, aspect_ratio=(20.0, 65.0))]
    law = dataclasses.replace(objective.law, beta=0.38)
    changes = (
        {"time_budget_s": 601.0},
        {"remat": "none"},
        {"data_limit_tokens": 1e9},
        {"law": law},
    )
    objectives = [dataclasses.replace(objective, **change) for change in changes]
    return [
        *[dataclasses.replace(question, space=one) for one in spaces],
        *[dataclasses.replace(question, objective=one) for one in objectives],
    ]


@pytest.mark.parametrize("name", ["fingerprint", "optimum_fingerprint"])
def test_a_fingerprint_is_of_the_whole_question(small_space, objective, name):
    question = Question(space=small_space, objective=objective)
    same = Question(
        space=dataclasses.replace(small_space), objective=dataclasses.replace(objective)
    )
    prints = {getattr(one, name) for one in (question, *changed(question))}
    assert len(prints) == 7
    assert getattr(same, name) in prints


def test_questions_that_differ_in_seed_or_draws_alone_have_one_optimum(small_space, objective):
    question = Question(space=small_space, objective=objective)
    draws = ask(Words(budget="3h", device="tpu-v5e")).draws
    others = [dataclasses.replace(question, seed=1), dataclasses.replace(question, draws=draws)]
    assert len({one.fingerprint for one in (question, *others)}) == 3
    assert len({one.optimum_fingerprint for one in (question, *others)}) == 1


def test_a_known_corpus_moves_the_law_by_what_others_published(tmp_path):
    question = QuestionMaker(tmp_path)(Words(budget="3h", anchor="pile"))
    law = question.objective.law
    assert (law.corpus, law.vocab_size) == ("the Pile", 50304)
    # Cerebras-GPT 590M, one of the runs: 11.8B tokens, 2.181.
    shape = {"d_model": 1536, "n_layers": 18, "n_params": 587e6, "n_params_non_embedding": 510e6}
    assert law.loss(float(shape[law.n_column]), 11.8e9, shape) == pytest.approx(2.181, rel=0.03)
    assert "17 runs on the Pile that others published" in question.warnings[1]
    # The same table as one's own: no other recipe is to be trained.
    shutil.copy(anchor_path("pile", tmp_path), tmp_path / "mine.csv")
    own = QuestionMaker(tmp_path)(Words(budget="3h", anchor="mine.csv"))
    assert own.objective.law.numbers == law.numbers
    levels = np.log(question.known.law.draws[:, 0] / own.known.law.draws[:, 0])
    unsure = BETWEEN_RECIPES * np.sqrt(1 + (7**2 + 8**2 + 2**2) / 17**2)
    assert levels.std() == pytest.approx(unsure, rel=0.07)
    with pytest.raises(ValueError, match="no runs are called 'pyle'; did you mean pile"):
        QuestionMaker(tmp_path)(Words(budget="3h", anchor="pyle"))
