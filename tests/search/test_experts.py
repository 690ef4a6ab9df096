"""Answers with experts: certified, what they warn of, and what is refused."""

import itertools

import pytest

from anybudget import api
from anybudget.search.candidate import Candidate
from anybudget.search.certify.scan import MAX_SCANNED
from anybudget.search.record import read_record

SMALL = {"d_model": "512:640:64", "d_head": 64, "n_experts": "2,8,32"}
FIND = {"device": "h100-sxm", "space": "moe", "set": SMALL, "trials": 20}


@pytest.fixture(scope="module")
def found():
    return api.find("1h", **FIND)


def test_an_answer_is_the_best_of_all(found):
    space, objective = found.space, found.objective
    lists = [
        [{name: (i + 0.5) / n} for i in range(n)]
        for name in space.free_coordinates
        for n in [len({str(v) for axes in space.widths.values() for v in axes.get(name, ())}) or 3]
    ]
    models = {
        Candidate.key_of(arch): arch
        for chosen in itertools.product(*lists)
        for arch in [space.decode({k: v for one in chosen for k, v in one.items()})]
    }
    assert len(models) == space.n_architectures
    losses = [c.loss for c in Candidate.of_several(list(models.values()), objective)
              if c.prediction.feasible]  # fmt: skip
    assert found.certified
    assert len(losses) == found.n_valid
    assert found.optimum.loss == pytest.approx(min(losses), rel=1e-12)
    assert found.optuna_regret is not None
    assert found.standings


def test_a_row_says_how_many_experts_and_what_a_token_meets(found):
    row = found.rows[0]
    assert row["n_experts"] in (2, 8, 32)
    assert row["n_active_params"] < row["n_params"]
    n = found.objective.law.loss(row["n_active_params"], 1e9, {"n_experts": row["n_experts"]})
    assert n < found.objective.law.loss(row["n_active_params"], 1e9)


def test_it_says_what_the_law_saw_and_what_a_dense_model_would_reach(found):
    told = "\n".join(found.warnings)
    assert "without experts the same law's best is" in told
    assert "of finer, shared or more a token it says nothing" in told
    assert "experts were counted, not timed" in told


def test_more_time_is_no_loss_and_fewer_choices_no_gain(found):
    longer = api.find("2h", **FIND)
    fewer = api.find("1h", **FIND | {"set": SMALL | {"n_experts": 2}})
    assert longer.optimum.loss < found.optimum.loss <= fewer.optimum.loss


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"law": "hoffmann-2022"}, "hoffmann-2022 was fitted on dense models and knows no experts"),
        ({"storage": "study.log"}, "a kept study knows dense models alone"),
    ],
)
def test_what_cannot_be_asked(more, message):
    with pytest.raises(ValueError, match=message):
        api.find("1h", **FIND | more)


def test_a_front_and_a_plan_are_of_dense_models(tmp_path):
    asked = {name: FIND[name] for name in ("device", "space", "set")}
    with pytest.raises(ValueError, match="a front knows dense models alone"):
        api.front("1h", "memory", **asked)
    plan = tmp_path / "plan.toml"
    plan.write_text('[[search]]\nbudget = "1h"\ndevice = "h100-sxm"\nspace = "moe"\n')
    with pytest.raises(ValueError, match="a plan knows dense models alone"):
        api.batch(plan)


def test_what_is_kept_is_not_taken_for_a_dense_model(found, tmp_path):
    api.find("1h", **FIND, out=tmp_path)
    assert "n_experts" in (tmp_path / "candidates.csv").read_text().splitlines()[0]
    again = read_record(tmp_path, whole=True)
    assert [c.arch for c in again.shapes] == [c.arch for c in found.shapes]
    assert again.best.arch == found.best.arch


def test_a_space_too_large_to_enumerate_is_certified_by_bounds(found):
    of_all = {"n_experts": "2:32", "batch_size": "8:512:8"}
    large = api.find("1h", device="h100-sxm", space="moe", set=of_all, trials=20)
    assert large.space.n_architectures > MAX_SCANNED
    assert large.certified
    assert large.n_valid is None
    assert large.optimum.loss < found.optimum.loss
    assert "without experts the same law's best is" in "\n".join(large.warnings)
