"""Does every figure come back from the rows? All of them, made again from what is committed.

Command: python experiments/figures.py
Wall time: a minute and a half; nothing is trained or timed.
Expected: `git status` shows no figure changed but by the version of matplotlib.

Deletes the figures, and runs the commands that make them. The pictures of pages
need Chromium and its driver (Debian: chromium, chromium-driver); without them they stay.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
DOCS = ROOT / "docs"
SCALING = HERE / "plans" / "scaling"
REPORT, EXPLORE = DOCS / "report.png", DOCS / "explore.png"
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
# The command that draws each from its rows.
FIGURES = {
    "chinchilla/law_fit.png": ["law_figure.py"],
    "step_time/step_time.png": ["step_time.py"],
    "h100/h100.png": ["h100.py"],
    "loss_law/loss_law.png": ["loss_law_report.py"],
    "parameter_equivalence/parameter_equivalence.png": ["parameter_equivalence.py"],
    "best_config/best_config.png": ["best_config.py", "--figure"],
    "copying/copying.png": ["copying.py"],
    "gemstones/wide_or_deep.png": ["wide_or_deep.py"],
    "wider_deeper/wider_deeper.png": ["wider_deeper.py", "--figure"],
    "mechanisms/equal_time.png": ["equal_time.py", "--figure"],
}


def main() -> None:
    """Delete what is there and make it again; the time that each took."""
    began = time.monotonic()
    for name, (script, *options) in FIGURES.items():
        figure = HERE / name
        figure.unlink(missing_ok=True)
        run(sys.executable, str(figure.with_name(script)), *options)
        print(f"{time.monotonic() - began:5.0f} s  {figure.relative_to(ROOT)}", flush=True)
    # Its searches too: an earlier version's are not those of today's devices.
    for made in (*SCALING.glob("*.png"), SCALING / "searches.csv"):
        made.unlink(missing_ok=True)
    anybudget("batch", "plans/scaling.toml", "--out", "plans/scaling")
    print(f"{time.monotonic() - began:5.0f} s  {SCALING.relative_to(ROOT)}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        anybudget("find", "3h", "--device", "tpu-v5e", "--out", folder)
        shutil.copy(Path(folder) / "landscape.png", DOCS / "landscape.png")
        print(f"{time.monotonic() - began:5.0f} s  docs/landscape.png", flush=True)
        if CHROMIUM and DRIVER:
            anybudget("report", folder)
            photograph((Path(folder) / "report.html").as_uri(), REPORT)
            anybudget("explore", "--out", folder)
            page = (Path(folder) / "report.html").as_uri()
            photograph(f"{page}#device=h100-sxm&t=2d", EXPLORE, height=1490)
            print(f"{time.monotonic() - began:5.0f} s  its pages", flush=True)


def run(*command: str) -> None:
    """Run a command in this folder, silently unless it fails."""
    ended = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{ended.stdout}{ended.stderr}")


def anybudget(*options: str) -> None:
    """Run the command line tool."""
    run(sys.executable, "-m", "anybudget", *options)


def photograph(page: str, picture: Path, *, height: int = 1400) -> None:
    """The top of a page at some address, 1280 wide, as Chromium draws it."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for flag in (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        f"--window-size=1280,{height}",
    ):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        driver.get(page)
        time.sleep(2)  # its figures are drawn by then
        driver.save_screenshot(str(picture))
    finally:
        driver.quit()


if __name__ == "__main__":
    main()
