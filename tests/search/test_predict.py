"""One architecture's prediction and its breakdown."""

import dataclasses
import json

import pytest

from anybudget.objectives.cost.counts import flops_per_step, memcpys_per_step, n_params
from anybudget.objectives.cost.execution import Execution
from anybudget.search.candidate import Candidate
from anybudget.search.predict import predict, read_architecture
from anybudget.search.question import Question, ask
from anybudget.search.words import Words
from anybudget.show.terminal.predicted import show_prediction
from anybudget.space.architecture import Architecture
from anybudget.space.search_space import SearchSpace

SHAPE = {"d_model": 128, "n_layers": 3, "vocab_size": 1000}
LOSSES = ("predicted_loss", "loss_low", "loss_high", "elsewhere_low", "elsewhere_high")
ARCH = Architecture.from_shape(**SHAPE, seq_len=1024, batch_size=8)


def predict_one(objective, fields, config=None):
    """What a question about one architecture is answered."""
    arch, note = read_architecture(fields, config, law=objective.law)
    return predict(Question(space=SearchSpace.only(arch), objective=objective), note).as_dict()


def test_it_has_the_keys_and_values_of_a_candidate(objective):
    answer = predict_one(objective, SHAPE)
    candidate = Candidate.of(ARCH, objective).as_dict()
    assert {name: answer[name] for name in candidate} == candidate
    assert (answer["device"], answer["law"], answer["time_budget_s"]) == ("toy", "toy-law", 600)
    assert json.loads(json.dumps(answer, allow_nan=False)) == answer


def test_text_and_length_are_those_of_the_law_s_runs(objective):
    law = dataclasses.replace(objective.law, vocab_size=50304, ranges={"seq_len": (2048, 2048)})
    arch, note = read_architecture({"d_model": 128, "n_layers": 3}, law=law)
    assert (arch.vocab_size, arch.seq_len) == (50304, 2048)
    assert note.endswith("for nothing else was said: seq_len=2048, vocab_size=50304")
    given = {"d_model": 128, "n_layers": 3, "vocab_size": 1000, "seq_len": 64}
    assert read_architecture(given, law=law) == (Architecture.from_shape(**given), "")


def test_its_loss_has_an_interval_where_the_law_has_draws(objective):
    asked = ask(
        Words(budget="3h", device="h100-sxm"), Architecture.from_shape(d_model=768, n_layers=12)
    )
    loss, low, high, there_low, there_high = (predict(asked).as_dict()[k] for k in LOSSES)
    assert there_low < 0.8 * loss < 0.9 * low
    assert there_high > 1.25 * loss > 1.15 * high
    text = " ".join("".join(map(str, show_prediction(predict(asked)))).split())
    assert f"on Dolma in a vocabulary of 50,304 the loss is {low:.3f} to {high:.3f} (95%)" in text
    assert f"on another corpus {there_low:.2f} to {there_high:.2f}, which --anchor narrows" in text
    assert [predict_one(objective, SHAPE)[k] for k in LOSSES[1:]] == [None] * 4


@pytest.mark.parametrize("remat", ["none", "dots", "layer"])
def test_the_parts_add_up(objective, remat):
    asked = Candidate.of(ARCH, objective).prediction
    answer = predict_one(
        type(objective)(
            device=objective.device,
            law=objective.law,
            time_budget_s=600.0,
            remat=remat,
            attention="plain",
            micro_batch_size=ARCH.batch_size,
        ),
        SHAPE,
    )
    again = Execution(remat=remat)
    sums = {
        name: sum(part[name] for part in answer["parts"].values())
        for name in ("n_params", "memcpys", "flops", "step_time_s")
    }
    assert sums["n_params"] == n_params(ARCH) == asked.n_params
    assert sums["memcpys"] == memcpys_per_step(ARCH, again)
    assert sums["flops"] == flops_per_step(ARCH, again)
    assert sums["step_time_s"] == pytest.approx(answer["step_time_s"], rel=1e-12)
    assert answer["remat"] == remat


def test_on_several_chips_communication_is_a_part(chips):
    answer = predict_one(chips, SHAPE | {"seq_len": 64})
    parts = answer["parts"]
    total_s = sum(part["step_time_s"] for part in parts.values())
    assert total_s == pytest.approx(answer["step_time_s"], rel=1e-12)
    share = Architecture.from_shape(**SHAPE, seq_len=64, batch_size=2)
    assert sum(part["flops"] for part in parts.values()) == flops_per_step(share)
    assert parts["communication"]["step_time_s"] > 0
    assert (answer["n_chips"], answer["sharding"]) == (4, "full")


def test_a_tied_embedding_has_parameters_and_its_logits_have_work(objective):
    parts = predict_one(objective, SHAPE)["parts"]
    assert parts["embedding"]["n_params"] == 1000 * 128
    assert (parts["embedding"]["flops"], parts["logits"]["n_params"]) == (0, 0)
    assert parts["logits"]["flops"] == 3 * 2 * 8 * 1024 * 128 * 1000


def test_what_does_not_fit_is_told(objective):
    answer = predict_one(objective, SHAPE | {"vocab_size": 32000})
    assert answer["warnings"][0].startswith("does not fit: ")


def test_a_config_instead_of_a_shape(objective, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(
        json.dumps(
            {
                "model_type": "gpt2",
                "n_embd": 64,
                "n_layer": 2,
                "n_head": 2,
                "vocab_size": 500,
            }
        )
    )
    answer = predict_one(objective, {"batch_size": 2}, path)
    assert (answer["d_model"], answer["d_ff"], answer["batch_size"]) == (64, 256, 2)
    assert answer["warnings"][-1].startswith(f"{path}: transformers builds 197,632 parameters")
    with pytest.raises(ValueError, match="--config already says `d_model`; leave one of them out"):
        predict_one(objective, {"d_model": 64}, path)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "`d_model` is missing; give --d-model, or --config config.json"),
        ({"d_model": 128}, "`n_layers` is missing; give --n-layers, or --config config.json"),
        ({"d_model": 100, "n_layers": 2}, "`d_head` must divide `d_model`"),
        ({"d_model": 128, "n_layers": 2, "n_kv_heads": 3}, "`n_kv_heads` must divide `n_heads`"),
    ],
)
def test_refused(objective, fields, message):
    with pytest.raises(ValueError, match=message):
        predict_one(objective, fields)
