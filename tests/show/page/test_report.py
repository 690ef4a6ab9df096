"""The report of a folder: what it says, that it is escaped, and folders that are none.

`test_browser.py` opens it in Chromium.
"""

import html
import json
import re
import subprocess
import sys

import pytest

from anybudget.search.explore.study import Exploring
from anybudget.search.find import find
from anybudget.search.question import Question
from anybudget.show.page.report import write_report
from anybudget.show.save import save

N_BYTES_AT_MOST = 6_000_000


def text_of(path):
    """What a reader reads: the page without scripts, styles and tags, in one line."""
    body = re.sub(r"(?s)<(script|style)\b.*?</\1>", "", path.read_text(encoding="utf-8"))
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())


def figures_of(path):
    source = path.read_text(encoding="utf-8")
    found = re.findall(r'(?s)<script type="application/json">(.*?)</script>', source)
    return [json.loads(one) for one in found]


def test_a_search_is_told(run, searched_folder):
    code, out, err = run("report", searched_folder)
    assert (code, err) == (0, "")
    path = searched_folder / "report.html"
    assert str(path) in out.replace("\n", "")
    result = json.loads((searched_folder / "result.json").read_text())
    text, best = text_of(path), result["candidates"][0]
    evil = result["device"]["name"]
    assert f"I have 10m on {evil}." in text
    assert f"Train d_model {best['d_model']} × {best['n_layers']} layers" in text
    assert f"({best['loss_low']:.3f} to {best['loss_high']:.3f}) nats per token" in text
    assert f"of all {result['n_valid']:,} valid architectures" in text
    assert all(warning in text for warning in result["warnings"])
    assert f"{100 * best['p_best']:.1f}" in text
    for said in (result["command"], "toy-law", "made up for tests", "Seed 0", result["date"]):
        assert said in text
    assert len(figures_of(path)) == 3
    page = path.read_bytes()
    path.unlink()
    assert run("report", searched_folder / "result.json")[0] == 0
    assert path.read_bytes() == page


def test_a_confirmation_is_told(run, confirmed_folder):
    code, _, err = run("report", confirmed_folder, "--out", confirmed_folder / "other.html")
    assert (code, err) == (0, "")
    path = confirmed_folder / "other.html"
    confirmed = json.loads((confirmed_folder / "confirm/confirm.json").read_text())
    text = text_of(path)
    assert f"Trained: {confirmed['verdict']}" in text
    assert "steps took 1.1 times as long as predicted" in text
    assert f"deviation over seeds is {confirmed['seed_noise_nats']:.4f}" in text
    for said in ("2 of 2 diverged", confirmed["command"], confirmed["warnings"][0]):
        assert said in text
    losses, step_times = figures_of(path)[3:]
    for figure, title in ((losses, "measured loss"), (step_times, "measured, ms")):
        [dots] = [trace for trace in figure["data"] if trace["mode"] == "markers"
                  and not trace["showlegend"]]  # fmt: skip
        assert len(dots["x"]) == len(figure["layout"]["annotations"]) == 4
        assert figure["layout"]["yaxis"]["title"]["text"].startswith(title)


def test_the_map_holds_every_shape(searched_folder):
    with (searched_folder / "shapes.csv").open() as table:
        n_shapes = sum(1 for _ in table) - 1
    heat = figures_of(write_report(searched_folder))[0]["data"][0]
    texts = [text for row in heat["text"] for text in row if text]
    assert (heat["type"], len(texts)) == ("heatmap", n_shapes)
    assert all("ms a step" in text and "behind the best" in text for text in texts)


def test_it_is_one_small_file_where_only_its_own_scripts_run(confirmed_folder):
    source = write_report(confirmed_folder).read_text(encoding="utf-8")
    assert len(source.encode()) < N_BYTES_AT_MOST
    assert "<script>alert" not in source
    assert source.count("<script>") == 2
    assert not re.search(r"<(script|link|img)\b[^>]*\b(src|href)=.http", source)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', source)
    assert policy
    rules = html.unescape(policy[1]).split("; ")
    assert rules[0] == "default-src 'none'"
    assert re.fullmatch(r"script-src 'sha256-\S{44}' 'sha256-\S{44}'", rules[1])


def test_a_label_of_plotly_is_escaped(confirmed_folder):
    hover = [text for fig in figures_of(write_report(confirmed_folder))[3:] for trace in fig["data"]
             for text in trace.get("hovertext", [])]  # fmt: skip
    assert any("&lt;script&gt;" in text for text in hover)
    assert not any("<script>" in text for text in hover)


def test_without_proof_or_draws_it_says_so(small_space, objective, tmp_path):
    save(
        find(
            Question(space=small_space, objective=objective),
            exploring=Exploring(n_trials=60),
            certify=False,
        ),
        tmp_path,
        command="c",
    )
    text = text_of(write_report(tmp_path))
    assert "the best that Optuna found, not proved to be the optimum" in text
    assert "How sure that is, is not known, for toy-law comes without draws" in text
    assert "P(best)" not in text.split("What it rests on")[0].split("nats per token ahead")[1][:500]


def _edit(path, *keys, to):
    document = json.loads(path.read_text())
    inner = document
    for key in keys[:-1]:
        inner = inner[key]
    if to is None:
        del inner[keys[-1]]
    else:
        inner[keys[-1]] = to
    path.write_text(json.dumps(document))


RESULT, CONFIRM = "result.json", "confirm/confirm.json"


@pytest.mark.parametrize(
    ("file", "keys", "to", "message"),
    [
        (RESULT, ["command"], None, "`command` is missing"),
        (RESULT, ["warnings"], "none", "`warnings`"),
        (RESULT, ["tied_shapes", 0], [1], "`tied_shapes.0"),
        (RESULT, ["certified"], "yes", "`certified`"),
        (RESULT, ["candidates", 1, "p_best"], None, "candidates[1]: `p_best` is missing"),
        (RESULT, ["candidates", 1, "loss_low"], float("nan"), "`loss_low` must be finite"),
        (CONFIRM, ["verdict"], 3, "`verdict`"),
        (CONFIRM, ["models"], [], "`models` must not be empty"),
        (CONFIRM, ["models", 0, "label"], None, "`models.0.label` is missing"),
        (CONFIRM, ["models", 0, "predicted_step_time_s"], 0.0, "must be above 0 and finite"),
        (CONFIRM, ["models", 1, "measured_loss"], float("inf"), "must be above 0 and finite"),
        (CONFIRM, ["loss", "spearman"], float("nan"), "`loss.spearman` must be finite"),
        (CONFIRM, ["time_budget_s"], -1.0, "`time_budget_s` must be above 0"),
    ],
)  # fmt: skip
def test_a_file_edited_into_nonsense_is_one_line(run, confirmed_folder, file, keys, to, message):
    _edit(confirmed_folder / file, *keys, to=to)
    code, out, err = run("report", confirmed_folder)
    assert (code, out) == (2, "")
    assert err.startswith(f"anybudget: {confirmed_folder / file}")
    assert err.count("\n") == 1
    assert message in err
    assert not (confirmed_folder / "report.html").exists()


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        (RESULT, None, "there is no"),
        (RESULT, "{", "is not valid JSON"),
        (CONFIRM, "[]", "must hold the JSON object that `anybudget confirm DIR` writes"),
        ("shapes.csv", None, "search again"),
        ("shapes.csv", "d_model,n_layers\n", "must have a row for each shape"),
        ("shapes.csv", "d_model,n_layers\n64,x\n", "line 2: `n_layers` must be a whole number"),
    ],
)
def test_a_file_that_is_none(run, confirmed_folder, file, text, message):
    path = confirmed_folder / file
    path.unlink()
    if text:
        path.write_text(text)
    code, out, err = run("report", confirmed_folder)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err


@pytest.mark.parametrize("out", ["page.txt", "no/such/folder/page.html"])
def test_a_page_that_cannot_be_written(run, searched_folder, out):
    code, _, err = run("report", searched_folder, "--out", searched_folder / out)
    assert (code, err.count("\n")) == (2, 1)
    assert str(searched_folder / out) in err


def test_it_reads_without_jax(confirmed_folder):
    program = (
        "import sys; from anybudget.cli import main; "
        f"sys.argv = ['anybudget', 'report', {str(confirmed_folder)!r}]\n"
        "try:\n    main()\nfinally:\n    print('jax:', 'jax' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "jax: False"
