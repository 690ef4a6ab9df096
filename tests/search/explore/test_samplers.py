"""One contract that every sampler keeps."""

import dataclasses

import optuna
import pytest

from anybudget.search.explore.samplers import CONSTRAINED, SAMPLERS, make_sampler
from anybudget.search.explore.study import Exploring, explore
from anybudget.search.question import Question


@pytest.fixture(params=SAMPLERS)
def sampler(request):
    return request.param


@pytest.fixture
def large_space(small_space):
    """So many models that few are suggested twice."""
    return dataclasses.replace(
        small_space, d_ff=tuple(range(128, 769, 8)), batch_size=tuple(range(1, 33))
    )


def keys(explored):
    return [candidate.key for candidate in explored.candidates]


def test_it_reaches_the_asked_number_of_distinct_valid_models(sampler, large_space, objective):
    explored = explore(
        Question(space=large_space, objective=objective), Exploring(n_trials=70, sampler=sampler)
    )
    assert explored.n_trials == 70
    assert len(set(keys(explored))) == len(explored.candidates) <= 71
    assert all(candidate.arch in large_space for candidate in explored.candidates)
    assert all(candidate.prediction.feasible for candidate in explored.candidates)
    losses = [candidate.loss for candidate in explored.candidates]
    assert losses == sorted(losses)
    assert explored.best is explored.candidates[0]


def test_the_same_seed_gives_the_same_search_and_another_another(sampler, large_space, objective):
    first, again, other = (
        explore(
            Question(space=large_space, objective=objective, seed=seed),
            Exploring(n_trials=40, sampler=sampler),
        )
        for seed in (3, 3, 4)
    )
    assert keys(first) == keys(again)
    assert first.n_repeats == again.n_repeats
    assert set(keys(first)) != set(keys(other))


def test_a_small_space_is_searched_whole_and_no_further(sampler, small_space, objective):
    tiny = dataclasses.replace(small_space, d_model=(96,), n_heads=(3,), gated_mlp=(False,))
    tiny = dataclasses.replace(tiny, n_layers=(2, 3), n_kv_heads=(1,), d_ff=(192, 256, 384))
    assert tiny.n_architectures == 2 * 3 * 2
    explored = explore(
        Question(space=tiny, objective=objective), Exploring(n_trials=10_000, sampler=sampler)
    )
    assert explored.n_trials == tiny.n_architectures


@pytest.mark.parametrize("sampler", ["auto", "tpe", "nsga2", "qmc", "random"])
def test_a_single_architecture_is_found(sampler, small_space, objective):
    one = dataclasses.replace(
        small_space,
        d_model=(96,),
        n_layers=(2,),
        n_heads=(3,),
        n_kv_heads=(1,),
        d_head=(32,),
        d_ff=(256,),
        gated_mlp=(False,),
        batch_size=(4,),
    )
    explored = explore(
        Question(space=one, objective=objective), Exploring(n_trials=5, sampler=sampler)
    )
    assert (explored.n_trials, explored.best.arch.d_ff) == (1, 256)


def test_cma_needs_two_fields_to_search(small_space, objective):
    line = dataclasses.replace(
        small_space, d_model=(96,), n_heads=(3,), n_kv_heads=(1,), n_layers=(2,), batch_size=(4,)
    )
    line = dataclasses.replace(line, gated_mlp=(False,))
    assert line.free_coordinates == ("d_ff",)
    with pytest.raises(ValueError, match="cma needs at least two searched fields; use tpe or auto"):
        explore(Question(space=line, objective=objective), Exploring(n_trials=2, sampler="cma"))
    assert (
        explore(
            Question(space=line, objective=objective), Exploring(n_trials=2, sampler="auto")
        ).n_trials
        == 2
    )


@pytest.mark.parametrize(
    ("name", "n_coordinates", "kind"),
    [
        ("auto", 5, optuna.samplers.NSGAIISampler),
        ("auto", 1, optuna.samplers.NSGAIISampler),
        ("tpe", 5, optuna.samplers.TPESampler),
        ("nsga2", 5, optuna.samplers.NSGAIISampler),
        ("qmc", 5, optuna.samplers.QMCSampler),
        ("random", 5, optuna.samplers.RandomSampler),
    ],
)
def test_names(name, n_coordinates, kind):
    assert type(make_sampler(name, seed=0, n_coordinates=n_coordinates)) is kind


def test_an_unknown_name():
    with pytest.raises(ValueError, match=r"a sampler is one of auto, tpe, .* but got 'gp'"):
        make_sampler("gp", seed=0, n_coordinates=5)


@pytest.mark.parametrize("name", ["tpe", "nsga2"])
def test_constraints_turn_a_sampler_away_from_what_does_not_fit(name):
    """The lowest values lie beyond the limit; told of it, the sampler asks for fewer of them."""
    unit = optuna.distributions.FloatDistribution(0, 1)
    cube: dict[str, optuna.distributions.BaseDistribution] = {f"x{i}": unit for i in range(4)}

    def n_forbidden(constrained):
        study = optuna.create_study(sampler=make_sampler(name, seed=0, n_coordinates=4))
        forbidden = 0
        for _ in range(250):
            trial = study.ask(cube)
            total = sum(trial.params.values())
            if constrained:
                trial.set_constraint("feasible", total - 2)
            study.tell(trial, -total)
            forbidden += total > 2
        return forbidden

    assert isinstance(make_sampler(name, seed=0, n_coordinates=4), CONSTRAINED)
    assert n_forbidden(constrained=True) < 0.7 * n_forbidden(constrained=False)
