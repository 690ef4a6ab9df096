"""A browser, and what a small plan leaves in its folder."""

import shutil

import pytest

from anybudget.search.batch.plan import load_plan
from anybudget.search.batch.run import Batch, run_batch
from anybudget.show import save_batch
from anybudget.tests.priced import priced_device

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
DEVICE = priced_device("<script>alert('toy')</script> & co")
PLAN = """
[defaults]
set = {d_model = [256, 512], n_layers = [4, 6, 7], n_heads = 4, d_head = [64, 128], d_ff = 1024}
law = ["besiroglu-2024", "hoffmann-2022"]
[[search]]
device = "h100-sxm"
budget = ["1h", "3h", "24h"]
[[search]]
device = "mine.toml"
budget = ["0.000001s", "3h", "2d"]
"""


@pytest.fixture(scope="session")
def save_a_plan(tmp_path_factory):
    """The folder of a plan's batch, without its figures."""

    def save_a_plan(text):
        folder = tmp_path_factory.mktemp("plan")
        (folder / "mine.toml").write_text(DEVICE)
        plan = folder / "plan.toml"
        plan.write_text(text)
        questions = load_plan(plan)
        done = Batch.of(questions, run_batch(questions, folder), folder)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(save_batch, "is_there", lambda name: False)
            save_batch.save_batch(
                questions, done.table, done.curves, folder, plan=plan, command="anybudget batch <b>"
            )
        return folder

    return save_a_plan


@pytest.fixture(scope="session")
def planned(save_a_plan):
    """What a batch of three budgets, two machines and two laws leaves."""
    return save_a_plan(PLAN)


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """Headless Chromium, that keeps what a page complains of."""
    if not (CHROMIUM and DRIVER):
        pytest.skip(
            "no page was opened in a browser: there is no chromium and chromedriver here "
            "(Debian: apt-get install chromium chromium-driver)"
        )
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()
