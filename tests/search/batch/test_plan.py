"""A plan: its products, and every mistake in it told with its place before anything runs."""

from pathlib import Path

import pytest

from anybudget.presets.spaces import load_space
from anybudget.search.batch.plan import load_plan

DEVICE = """
name = "mine"
kind = "gpu"
peak_flops_per_s = 1e13
bandwidth_bytes_per_s = 1e11
memory_bytes = 8e9
dtype = "float32"
source = "its box"
"""
SMALL = '[defaults]\nset = {d_model = "256:512:64", d_ff = [1024, 2048]}\n'
SEARCH = '[[search]]\nbudget = "3h"\n'


@pytest.fixture
def plan(tmp_path):
    """Read a plan of some text, in a folder with a device, two broken files and a space."""
    (tmp_path / "mine.toml").write_text(DEVICE)
    (tmp_path / "typo.toml").write_text(DEVICE.replace("memory_bytes", "memmory_bytes"))
    (tmp_path / "space.toml").write_text("d_model = 256\nd_ff = 1024\n")
    (tmp_path / "empty.toml").write_text("d_model = 256\nn_heads = 7\n")

    def read(text, **options):
        path = tmp_path / "plan.toml"
        path.write_text(text)
        return load_plan(path, **options)

    return read


def test_lists_multiply_the_budget_running_fastest(plan):
    text = '[[search]]\nbudget = ["1h", "90m"]\ndevice = ["tpu-v4", "h200-sxm"]\nseed = [1, 2]\n'
    found = [(q.objective.device.name, q.seed, q.words.budget) for q in plan(SMALL + text)]
    assert found == [
        (device, seed, budget)
        for device in ("tpu-v4", "h200-sxm")
        for seed in (1, 2)
        for budget in ("1h", "90m")
    ]


def test_a_table_goes_before_what_it_extends_and_that_before_the_defaults(plan):
    text = """
    [defaults]
    budget = "1h"
    law = "hoffmann-2022"
    set = {d_model = 256, d_ff = 1024}
    [[search]]
    name = "base"
    device = "h100-sxm-datasheet"
    remat = "none"
    attention = "plain"
    [[search]]
    name = "other"
    extends = "base"
    remat = "layer"
    attention = "fused"
    data_limit_tokens = [inf, 1e9]
    critical_batch = true
    price = 2.5
    """
    base, unlimited, limited = plan(text)
    assert (base.words.name, limited.words.name) == ("base", "other")
    assert {q.objective.device.name for q in (base, limited)} == {"h100-sxm-datasheet"}
    assert {q.objective.law.name for q in (base, limited)} == {"hoffmann-2022"}
    assert (base.objective.remat, limited.objective.remat) == ("none", "layer")
    assert (base.objective.attention, limited.objective.attention) == ("plain", "fused")
    assert limited.title == "1h on h100-sxm-datasheet, fused attention under hoffmann-2022"
    limits = [q.objective.data_limit_tokens for q in (base, unlimited, limited)]
    assert limits == [None, None, 1e9]
    assert [q.cost_usd for q in (base, limited)] == [None, 2.5]
    assert [q.objective.critical_batch for q in (base, unlimited)] == [True, True]
    assert base.space.d_model == (256,)
    assert base.words.settings == ("d_model=256", "d_ff=1024")


def test_files_are_looked_for_beside_the_plan(plan):
    [question] = plan(SEARCH + 'device = "mine.toml"\nspace = "space.toml"\n')
    assert question.objective.device.name == "mine"
    assert question.space.d_ff == (1024,)


def test_a_cpu_has_its_own_space_and_a_seed_is_where_the_plan_has_none(plan):
    cpu, default = load_space("cpu"), load_space()
    first, second = plan(SEARCH + 'device = "cpu-core"\n' + SEARCH + "seed = 3\n", seed=7)
    assert (first.space.n_layers, second.space.n_layers) == (cpu.n_layers, default.n_layers)
    assert (first.seed, second.seed) == (7, 3)


def test_a_fingerprint_is_of_the_numbers_and_not_of_the_names(plan):
    [named] = plan(SMALL + '[[search]]\nname = "x"\nbudget = "60m"\n')
    [other] = plan(SMALL + '[[search]]\nbudget = "1h"\n')
    assert named.fingerprint == other.fingerprint
    changes = ('budget = "61m"', "seed = 1", 'remat = "none"', 'law = "hoffmann-2022"')
    texts = ['[[search]]\nbudget = "1h"\n' + line for line in changes[1:]]
    others = [plan(SMALL + text)[0] for text in (f"[[search]]\n{changes[0]}", *texts)]
    assert len({q.fingerprint for q in (named, *others)}) == 5


MISTAKES = {
    "not TOML": ("[[search]\n", "plan.toml is not valid TOML: Expected ']]'", "line 1"),
    "nothing to do": (SMALL, "there is nothing to do; a plan has at least one [[search]]"),
    "no price": (SEARCH + "price = -2\n", "line 3: search[0]: `price`: ", "got -2"),
    "unknown table": ("[[serach]]\n", "unknown key `serach`; did you mean search?"),
    "table for tables": ('[search]\nbudget = "1h"\n', "`search` must be tables, each under"),
    "unknown key": (
        SEARCH + 'devise = "x"\n',
        "line 3: search[0]: `devise`: unknown key; did",
        " device",
    ),
    "key not for defaults": (
        '[defaults]\nname = "x"\n' + SEARCH,
        "line 2: defaults: `name`: unknown key; did you",
    ),
    "wrong type": (SEARCH + 'seed = "1"\n', "line 3: search[0]: `seed` must be a whole number"),
    "wrong in a list": (SEARCH + "critical_batch = [true, 1]\n", "true or false, but got 1"),
    "wrong in defaults": ("[defaults]\nset = 3\n" + SEARCH, "line 2: defaults: `set` must be a"),
    "empty product": ("[[search]]\nbudget = []\n", "line 2: search[0]: `budget`", "not be empty"),
    "budget missing": ('[[search]]\nlaw = "x"\n', "search[0]: `budget` is missing"),
    "budget typo": ('[[search]]\nbudget = ["1h", "3 parsecs"]\n', "but got '3 parsecs'"),
    "bare number": ("[[search]]\nbudget = 3\n", "line 2: search[0]: `budget`", "with a unit"),
    "duplicate row": (
        SEARCH + '[[search]]\nbudget = ["1h", "180m"]\n',
        "line 4: search[1]: `budget`: a search must be asked once, but 180m on tpu-v5e, "
        "fused attention under gemstones-2025-cooldown was asked before, in search[0]",
    ),
    "duplicate name": (
        (SEARCH + 'name = "x"\n') * 2,
        "line 6: search[1]: `name`: a name must be given once, but 'x' is the name of search[0]",
    ),
    "circular": (
        SEARCH + 'name = "a"\nextends = "b"\n' + SEARCH + 'name = "b"\nextends = "a"\n',
        "`extends` must end somewhere, but b extends a extends b",
    ),
    "extends itself": (SEARCH + 'name = "a"\nextends = "a"\n', "but a extends a"),
    "extends none": (SEARCH + 'extends = "sweep"\n', "no search is called 'sweep'"),
    "no such device": (SEARCH + 'device = "tpu-v5"\n', "no device is called 'tpu-v5'; did you"),
    "no device file": (SEARCH + 'device = "none.toml"\n', "none.toml: No such file or directory"),
    "device typo": (SEARCH + 'device = "typo.toml"\n', "typo.toml: unknown key `memmory_bytes`"),
    "no such law": (SEARCH + 'law = "hofmann-2022"\n', "no law is called", "hoffmann-2022"),
    "no law file": (SEARCH + 'law = "none.toml"\n', "`law`: cannot read", "No such file"),
    "no such space": (SEARCH + 'space = "defualt"\n', "no space is called 'defualt'; did you"),
    "unknown field": (SEARCH + "set = {d_modle = 256}\n", "`set`: unknown key `d_modle`; did"),
    "field in a table": (
        SEARCH + "[search.set]\nd_model = true\n",
        "line 3: search[0]: `set`: `d_model`: it must be whole numbers",
    ),
    "empty space": (SEARCH + 'space = "empty.toml"\n', "`space`: space: no architecture is valid"),
    "huge space": (
        SEARCH + 'law = "hoffmann-2022"\nset = {batch_size = "1:99", seq_len = "1:99"}\n',
        "`set`: a space must have at most 500,000,000 architectures",
    ),
    "unknown remat": (
        SEARCH + 'remat = "all"\n',
        "`remat`: `remat` must be none, dots, layer or",
    ),
    "no data": (SEARCH + "data_limit_tokens = 0\n", "`data_limit_tokens` must be from 1"),
}


@pytest.mark.parametrize(("text", "parts"), [(t, p) for t, *p in MISTAKES.values()],
                         ids=list(MISTAKES))  # fmt: skip
def test_a_mistake_is_told_with_its_place(plan, text, parts):
    with pytest.raises(ValueError, match=r"plan\.toml") as error:
        plan(text)
    assert all(part in str(error.value) for part in parts), error.value
    assert "\n" not in str(error.value)


def test_no_such_plan(tmp_path):
    with pytest.raises(ValueError, match=r"cannot read .*none\.toml: No such file"):
        load_plan(tmp_path / "none.toml")


def test_the_plan_of_the_docs(plan, tmp_path):
    (tmp_path / "my-device.toml").write_text(DEVICE)
    text = (Path(__file__).parents[3] / "docs/batch.md").read_text(encoding="utf-8")
    questions = plan(text.split("```toml\n")[1].split("```")[0])
    names = [question.words.name for question in questions]
    assert {name: names.count(name) for name in names} == {
        "sweep": 2 * 3 * 4,
        "little data": 2 * 3 * 4 * 2,
        "search[2]": 1,
    }
    little = questions[names.index("little data")]
    assert little.words.settings == ("seq_len=512", "batch_size=16")
    assert little.objective.data_limit_tokens == 500e6


def test_the_plan_of_the_experiments_has_96_searches():
    path = Path(__file__).parents[3] / "experiments/plans/scaling.toml"
    questions = load_plan(path)
    assert len({question.fingerprint for question in questions}) == 96
    assert (questions[0].words.budget, questions[-1].words.budget) == ("1m", "7d")
