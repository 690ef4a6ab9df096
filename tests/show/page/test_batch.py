"""The page of a batch: its numbers are the table's, its texts are escaped, folders that are none.

The last of them open it in Chromium.
"""

import html
import json
import re
import shutil

import pandas as pd
import pytest

from anybudget.search.batch.record import read_batch
from anybudget.show.page import batch
from anybudget.show.page.batch import choices_of
from anybudget.show.page.batch_pictures import STEP, Valleys
from anybudget.show.page.report import write_report
from anybudget.show.words import milliseconds, short_count

PHONE_PX, DESK_PX = 390, 1280
CELLS_AND_STAR = """
const [cells, star] = document.querySelector('.plot').data;
return [cells.z.flat().filter((one) => one !== null).length, star.x.length];
"""
# Text of which another element lies over another, or which is paler than WCAG's 4.5 to 1.
FAULTS = """
const light = (colour) => {
  const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255)
    .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const ground = (one) => {
  while (one && /, 0\\)$/.test(getComputedStyle(one).backgroundColor)) one = one.parentElement;
  return one ? getComputedStyle(one).backgroundColor : "rgb(255, 255, 255)";
};
const texts = [...document.querySelectorAll("main *")].filter((one) => one.offsetParent
  && !one.closest("select, .scroll, noscript") && [...one.childNodes].some((node) => (
    node.nodeType === 3 && node.textContent.trim())));
const drawn = [...document.querySelectorAll(".plot text")];
const faults = [];
for (const one of [...texts, ...document.querySelectorAll("main td, main th button"), ...drawn]) {
  const style = getComputedStyle(one);
  const [low, high] = [light(one.closest("svg") ? style.fill : style.color), light(ground(one))]
    .sort((a, b) => a - b);
  const ratio = (high + 0.05) / (low + 0.05);
  if (ratio < 4.5) faults.push(`contrast ${ratio.toFixed(1)}: ${one.textContent.slice(0, 40)}`);
}
const boxed = (some) => some.map((one) => [one, one.getBoundingClientRect()])
  .filter(([, box]) => box.width && box.height);
for (const group of [texts, ...plots.map((plot) => [...plot.querySelectorAll("text")])]) {
  const boxes = boxed(group);
  boxes.forEach(([one, a], at) => boxes.slice(at + 1).forEach(([other, b]) => {
    const over = Math.min(a.right, b.right) - Math.max(a.left, b.left) > 2
      && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 2;
    if (over && !one.contains(other) && !other.contains(one)) {
      faults.push(`overlap: ${one.textContent.slice(0, 30)} / ${other.textContent.slice(0, 30)}`);
    }
  }));
}
return faults;
"""
EVIL = "<script>alert('toy')</script> & co"


@pytest.fixture(scope="module")
def path(planned, tmp_path_factory):
    return write_report(planned, tmp_path_factory.mktemp("page") / "report.html")


@pytest.fixture(scope="module")
def table(planned):
    return pd.read_csv(planned / "batch.csv")


@pytest.fixture
def folder(planned, tmp_path):
    """A batch's folder, to be changed at will."""
    return shutil.copytree(planned, tmp_path / "plan")


def told(path):
    """All that the page's script chooses among."""
    found = re.search(r'json" id="batch">(.*?)</script>', path.read_text(encoding="utf-8"))
    assert found
    return json.loads(found[1])


def test_every_number_is_the_table_s(path, table):
    choices = told(path)
    names = [pick["name"] for pick in choices["picks"]]
    assert names == ["device", "law"]
    columns = [column for _, _, column, _ in batch.FACTS]
    n_rows = 0
    for curve in choices["curves"]:
        device, law = (
            pick["values"][at] for pick, at in zip(choices["picks"], curve["picked"], strict=True)
        )
        times = [row["time_budget_s"] for row in curve["rows"]]
        assert times == sorted(times)
        for row in curve["rows"]:
            [kept] = asked(table, device, law, row["time_budget_s"]).to_dict("records")
            n_rows += 1
            values = [None if pd.isna(kept[name]) else kept[name] for name in columns]
            assert [value for _, value in row["facts"]] == values
            shown = ("loss_low", "loss_high", "n_params_low", "n_params_high")
            assert row["ranges"] == [None if pd.isna(kept[n]) else kept[n] for n in shown]
            if kept["status"] == "certified":
                assert said_of(kept) == [text for text, _ in row["facts"]][: len(said_of(kept))]
                warnings = [choices["warnings"][at] for at in row["warnings"]]
                assert "; ".join(warnings) == (kept["warnings"] if warnings else "")
                assert bool(warnings) == pd.notna(kept["warnings"])
            else:
                assert row["answer"].startswith("No model of the space fits")
    assert n_rows == len(table) == 12


def test_every_cell_of_the_valley_is_a_shape_s_loss(path, planned):
    choices, axes = told(path), told(path)["axes"]
    kept = read_batch(planned)
    by_loss = {f"{row.predicted_loss:.4f}": kept.losses[row.fingerprint] for row in kept.rows
               if row.status == "certified"}  # fmt: skip
    for row in (row for curve in choices["curves"] for row in curve["rows"] if row["valley"]):
        losses = by_loss[row["facts"][1][0]]
        behind = {(width, depth): loss - losses[0][2] for width, depth, loss in losses}
        shown = {
            (axes["widths"][width], axes["depths"][first + step]): STEP * value
            for width, first, *values in row["valley"]
            for step, value in enumerate(values)
            if value is not None
        }
        assert tuple(row["shape"]) in shown
        assert shown == {
            shape: pytest.approx(loss, abs=STEP) for shape, loss in behind.items() if loss < 0.1
        }
    assert any("lose less than 0.01 nats" in row["basis"] for row in choices["curves"][0]["rows"])


def asked(table, device, law, seconds):
    """The rows of a question."""
    same = (table["device"] == device) & (table["law"] == law)
    return table[same & (table["time_budget_s"] == seconds)]


def said_of(kept):
    """What the page says of a row, from the table alone."""
    return [
        f"{kept['d_model']:.0f}×{kept['n_layers']:.0f}",
        f"{kept['predicted_loss']:.4f}",
        "–" if pd.isna(kept["loss_low"]) else f"{kept['loss_low']:.3f} to {kept['loss_high']:.3f}",
        short_count(kept["n_params"]),
        short_count(kept["n_tokens"]),
        f"{kept['batch_size']:,.0f} × {kept['seq_len']:,.0f}",
        f"{kept['n_steps']:,.0f}",
        milliseconds(kept["step_time_s"]),
    ]


def test_what_a_user_wrote_is_escaped_in_one_small_file(path):
    source = path.read_text(encoding="utf-8")
    assert len(source.encode()) < batch.MOST_BYTES
    assert "<script>alert" not in source
    assert "anybudget batch &lt;b&gt;" in source
    policy = html.unescape(source.partition('Content-Security-Policy"')[2].partition(">")[0])
    assert policy.count("'sha256-") == source.count("<script>") == 3


def chosen(rows):
    """What is chosen among, without maps."""
    return choices_of(rows, Valleys([]), {})


def test_rows_that_a_curve_does_not_tell_apart_are_chosen_by_name_or_place(planned):
    rows = read_batch(planned).rows[:2]
    again = [row.model_copy(update={"search": "other"}) for row in rows]
    assert chosen([*rows, *again])["picks"][-1]["name"] == "search"
    places = chosen([*rows, *rows])["picks"][-1]
    assert (places["name"], places["values"]) == ("place", ["1", "2"])


def test_more_than_a_page_may_hold(planned, monkeypatch):
    monkeypatch.setattr(batch, "MOST_BYTES", 4_000_000)
    with pytest.raises(ValueError, match=r"at most 4 MB, but the 12 searches .* several plans"):
        write_report(planned)


def test_a_plan_in_which_nothing_fits_is_told(planned):
    rows = [row for row in read_batch(planned).rows if row.status == "infeasible"]
    assert {row["answer"][:8] for curve in chosen(rows)["curves"] for row in curve["rows"]} == {
        "No model"
    }


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("batch.csv", "certified", "sure", "batch.csv, line 2: status: "),
        ("batch.csv", "search,device", "device,search", "must have the columns"),
        ("batch.json", '"command"', '"order"', "batch.json: command: Field required"),
        ("batch.json", "{", "", "is not valid JSON"),
        ("searches.csv", "512x7=", "512x=", "searches.csv, line 2: shapes: "),
    ],
)
def test_a_folder_that_is_none_is_one_line(run, folder, file, old, new, message):
    text = (folder / file).read_text()
    (folder / file).write_text(text.replace(old, new, 1))
    code, out, err = run("report", folder)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err


@pytest.mark.parametrize(
    ("column", "value"), [("predicted_loss", "-1"), ("n_heads", None), ("loss_high", None)]
)
def test_a_winner_that_is_none_is_one_line(run, folder, column, value):
    table = pd.read_csv(folder / "batch.csv", dtype=str)
    table.loc[0, column] = value
    table.to_csv(folder / "batch.csv", index=False)
    code, _, err = run("report", folder)
    assert (code, err.count("\n")) == (2, 1)
    assert f"batch.csv, line 2: `{column.replace('high', 'low')}`" in err


def test_a_batch_without_its_table(run, folder):
    (folder / "batch.csv").unlink()
    assert "must have a row for each search" in run("report", folder)[2]


@pytest.fixture
def at(browser, path):
    """Open the page in a window of some width, at a link."""

    def at(width, link=""):
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.get("about:blank")
        browser.get_log("browser")
        browser.get(path.as_uri() + link)
        return browser

    return at


def seen(browser):
    """The loss and the cost that are shown, and the link."""
    places = browser.find_elements("css selector", "#facts dd")
    return places[1].text, places[9].text, browser.execute_script("return location.hash")


@pytest.mark.parametrize("width", [PHONE_PX, DESK_PX])
def test_every_control_moves_what_is_shown_and_all_of_it_is_legible(at, table, width):
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import Select

    browser = at(width, "#device=h100-sxm&t=24h")

    def loss(device, law, seconds):
        return f"{asked(table, device, law, seconds)['predicted_loss'].item():.4f}"

    assert seen(browser)[0] == loss("h100-sxm", "besiroglu-2024", 86_400)
    assert browser.find_element("id", "note").text == ""
    assert browser.execute_script(FAULTS) == []
    slider = browser.find_element("id", "time")
    slider.send_keys(Keys.ARROW_LEFT)
    assert slider.get_attribute("aria-valuetext") == browser.find_element("id", "budget").text
    assert seen(browser)[::2] == (
        loss("h100-sxm", "besiroglu-2024", 10_800), "#device=h100-sxm&law=besiroglu-2024&t=3h"
    )  # fmt: skip
    device, law = (Select(one) for one in browser.find_elements("css selector", "select"))
    law.select_by_visible_text("hoffmann-2022")
    assert seen(browser)[0] == loss("h100-sxm", "hoffmann-2022", 10_800)
    device.select_by_visible_text(EVIL)
    assert seen(browser)[:2] == (loss(EVIL, "hoffmann-2022", 10_800), "$7.50")
    marked = browser.find_elements("css selector", "tr.answer")
    assert [line.text.split(" 512×")[0] for line in marked] == ["3h", EVIL]
    slider.send_keys(Keys.HOME)
    assert "No model" in browser.find_element("id", "answer").text
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    dots = "return document.querySelectorAll('.plot .point').length"
    assert browser.execute_script(dots) > 0
    assert browser.execute_script(CELLS_AND_STAR) == [0, 0]  # nothing fits, so none is drawn
    slider.send_keys(Keys.END)
    n_cells, n_stars = browser.execute_script(CELLS_AND_STAR)
    assert (n_cells > 1, n_stars) == (True, 1)
    button = browser.find_element("css selector", "table th:nth-child(3) button")
    button.send_keys(Keys.ENTER)
    assert browser.find_elements("css selector", "[aria-sort='ascending']")
    assert browser.get_log("browser") == []


def test_a_link_to_what_is_not_there_says_so(at):
    browser = at(DESK_PX, "#device=h100&t=2h&law=hoffmann-2022")
    said = browser.find_element("id", "note").text
    assert said == "Not in this plan: device=h100, t=2h. The nearest is shown."
    law = browser.find_elements("css selector", "select")[1]
    assert law.get_attribute("value") == "1"
    assert browser.find_element("id", "budget").text == "3h"
