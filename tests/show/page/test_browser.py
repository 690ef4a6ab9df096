"""The report in headless Chromium: drawn, quiet, sortable, at home on a phone and on paper."""

import base64
import json

import pytest

from anybudget.show.page.report import write_report

PHONE_PX, DESK_PX = 390, 1280


@pytest.fixture(scope="module")
def page(browser, _confirmed, tmp_path_factory):
    """Open the report in a window of some width, once all is drawn."""
    path = write_report(_confirmed, tmp_path_factory.mktemp("page") / "report.html")

    def at(width):
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.get_log("performance")
        browser.get(path.as_uri())
        return browser

    return at


def sizes(browser):
    """Width and height of each figure's drawing, and the shapes drawn in it."""
    return browser.execute_script(
        "return [...document.querySelectorAll('.plot')].map(plot => {"
        "  const box = plot.querySelector('svg.main-svg').getBoundingClientRect();"
        "  return [box.width, box.height, plot.querySelectorAll("
        "    '.trace, .heatmaplayer image, .point').length]; })"
    )


@pytest.mark.parametrize("width", [PHONE_PX, DESK_PX])
def test_figures_are_drawn_within_the_window(page, width):
    browser = page(width)
    drawn = sizes(browser)
    assert len(drawn) == 5
    assert all(200 < wide <= width and high > 200 and marks for wide, high, marks in drawn)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert browser.get_log("browser") == []


def test_nothing_is_fetched_and_nothing_foreign_runs(page):
    browser = page(DESK_PX)
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [e["params"] for e in events if e["method"] == "Network.requestWillBeSent"]
    urls = [params["request"]["url"] for params in sent]
    assert any(url.startswith("file:") for url in urls)
    assert [url for url in urls if not url.startswith(("file:", "data:", "blob:"))] == []
    assert "<script>alert('toy')</script>" in browser.find_element("tag name", "header").text


def test_a_click_sorts_and_another_turns_round(page):
    browser = page(DESK_PX)
    table = browser.find_element("css selector", "table")
    names = [head.text.split("\n")[0] for head in table.find_elements("css selector", "th")]
    column = names.index("parameters")
    button = table.find_elements("css selector", "th button")[column]

    def values():
        cells = table.find_elements("css selector", f"tbody td:nth-child({column + 1})")
        return [float(cell.get_attribute("data-sort")) for cell in cells]

    before = values()
    for order in ("ascending", "descending"):
        button.click()
        assert values() == sorted(before, reverse=order == "descending") != before
        assert button.find_element("xpath", "..").get_attribute("aria-sort") == order
    assert len(table.find_elements("css selector", "[aria-sort]")) == 1


def test_what_was_not_measured_comes_last(page):
    browser = page(DESK_PX)
    table = browser.find_elements("css selector", "table")[1]
    button = table.find_elements("css selector", "th button")[2]
    for _ in range(2):
        button.click()
        last = table.find_elements("css selector", "tbody tr")[-1]
        assert "2 of 2 diverged" in last.text


def test_figures_fit_on_paper_and_grow_back(page):
    browser = page(DESK_PX)
    before = sizes(browser)
    browser.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert all(wide <= 660 for wide, *_ in sizes(browser))
    browser.execute_script("dispatchEvent(new Event('afterprint'))")
    assert [wide for wide, *_ in sizes(browser)] == [wide for wide, *_ in before]
    pdf = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert pdf.startswith(b"%PDF")
