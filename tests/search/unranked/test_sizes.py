"""Spaces that no law ranks: nothing better is left out, and nothing is said of loss."""

import collections
import json

import numpy as np
import pytest

from anybudget import api
from anybudget.presets.spaces import load_mixed_space
from anybudget.search.answer import Answer
from anybudget.search.unranked.costed import Costed
from anybudget.space.blocks import Attention

FEW = {"d_model": "256:1024:256", "batch_size": "16,64"}
FIND = {"device": "h100-sxm", "space": "hybrid", "set": FEW}


@pytest.fixture(scope="module")
def found():
    return api.find("6h", **FIND)


@pytest.fixture(scope="module")
def fitting(found):
    """Size and tokens of all that fit, each reckoned by itself."""
    costs = [found.objective.cost(arch) for arch in found.space.models()]
    pairs = zip(found.space.models(), costs, strict=True)
    each = [Costed(arch=a, objective=found.objective, cost=c, warnings=[]) for a, c in pairs]
    return np.array([size_and_tokens(one) for one in each if one.fits])


def size_and_tokens(one):
    read = one.n_steps * one.arch.tokens_per_step
    step = one.arch.tokens_per_step
    return one.cost.n_params, one.objective.effective_tokens(read, step, one.cost.n_params)


def test_the_front_is_what_no_other_beats_in_both(found, fitting):
    front = np.array([size_and_tokens(one) for one in found.front])
    assert found.n_fitting == len(fitting)
    assert (np.diff(front[:, 0]) > 0).all()
    assert (np.diff(front[:, 1]) < 0).all()
    for n, d in fitting:
        assert ((front[:, 0] >= n) & (front[:, 1] >= d)).any()


def test_the_best_under_any_law_of_parameters_and_tokens_is_on_the_front(found, fitting):
    rng = np.random.default_rng(0)
    front = {size_and_tokens(one) for one in found.front}
    for _ in range(100):
        a, b = rng.uniform(0.1, 0.6, 2)
        share = 10 ** rng.uniform(-2, 2)
        loss = (fitting[:, 0] / 3e8) ** -a + share * (fitting[:, 1] / 1e9) ** -b
        assert tuple(fitting[loss.argmin()]) in front


def test_models_are_whole_patterns_between_the_rules(found):
    for one in found.front:
        mixers = collections.Counter(type(block.mixer).__name__ for block in one.arch.pattern)
        assert mixers["Mamba2"] == 7 * mixers["Attention"]
        assert 64 <= one.arch.d_model / one.arch.n_layers <= 96
        assert isinstance(one.arch.pattern[4].mixer, Attention)


def test_rows_are_sizes_apart_around_the_marked(found):
    sizes = [one.cost.n_params for one in found.shown]
    assert found.marked in found.shown
    assert sizes == sorted(sizes)
    assert len(found.shown) <= found.top
    only = api.find("6h", **FIND, top=1)
    assert [one.arch for one in only.shown] == [found.marked.arch]


def test_it_says_what_it_is_and_no_loss(found):
    told = found.as_dict()
    assert not isinstance(found, Answer)
    assert told["law"] is None
    assert {row["predicted_loss"] for row in told["front"]} == {None}
    assert "state-space layers" in " ".join(found.warnings)
    assert "no law ranks them" in found.headline


def test_a_screen_of_80_columns(run):
    code, out, err = run("find", "6h", "--device", "h100-sxm", "--space", "hybrid",
                         "--set", "d_model=256:1024:256", "--set", "batch_size=64")  # fmt: skip
    assert (code, "Traceback" in err) == (0, False)
    assert max(map(len, out.splitlines())) <= 80
    assert "nothing is ranked" in " ".join(out.split())
    assert "Certified: all" in out


def test_out_holds_the_front_and_json_is_one_document(run, tmp_path, found):
    folder = tmp_path / "sizes"
    settings = [f"--set={key}={value}" for key, value in FEW.items()]
    words = ("find", "6h", "--device", "h100-sxm", "--space", "hybrid", *settings)
    code, out, _ = run(*words, "--out", str(folder), "--json")
    assert code == 0
    assert len(json.loads(out)["front"]) == len(found.front)
    assert len((folder / "sizes.csv").read_text().splitlines()) == 1 + len(found.front)
    code, _, err = run("report", str(folder))
    assert code == 2
    assert "Traceback" not in err


@pytest.mark.parametrize("name", ["linear", "window", "mla"])
def test_the_other_spaces_answer_too(name):
    answer = api.find("6h", **FIND | {"space": name})
    assert len(answer.front) > 1


def test_a_space_of_ones_own_says_the_pattern_alone(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('pattern = ["delta", "attention"]')
    space, hybrid = load_mixed_space(path), load_mixed_space("hybrid")
    assert space.dense == hybrid.dense
    assert space.n_models > hybrid.n_models  # every other depth is whole patterns
    assert load_mixed_space("default", settings=["pattern=delta,attention"]).dense == hybrid.dense


def test_latent_attention_alone_is_one_model_whatever_key_heads_there_may_be():
    one, many = (
        load_mixed_space("mla", settings=["d_model=1024", f"heads_per_kv_head=1:{n}"])
        for n in (1, 8)
    )
    assert list(one.models()) == list(many.models())


def test_a_row_makes_the_model_again(found):
    for row, one in zip(found.rows, found.front, strict=True):
        full = one.arch.pattern[4]
        assert (row["n_heads"], row["n_kv_heads"]) == (full.mixer.n_heads, full.mixer.n_kv_heads)
        assert (row["d_ff"], row["gated_mlp"]) == (full.feed_forward.d_ff, True)
    json.dumps(found.rows)


def test_it_is_no_answer_to_be_kept(found, tmp_path):
    with pytest.raises(ValueError, match="a result is what `find` answered"):
        api.save(found, tmp_path)


def test_a_pattern_is_names(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("pattern = 7")
    with pytest.raises(ValueError, match="`pattern` must be names of mixers, but got 7"):
        load_mixed_space(path)
