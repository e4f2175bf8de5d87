"""From an uploaded file to a report, in one go and without a network: everything that the app is for.

Upload rMD17 aspirin, inspect it, train two epochs (reload in mid-run, stop from a second tab, resume), simulate with the
model, watch it, compute its normal modes, hold the simulation against them, and take the report of a study home.
"""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from tests.browser.conftest import Browser, playwright
from tests.browser.test_journey import frame, molecule_is_drawn, state, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.shared]
FILE = "rmd17_aspirin_train_01.npz"
MAIN = "stMain"


def choose(tab: playwright.Page, label: str, option: str | re.Pattern[str], which: int = 0) -> None:
    """Open a list of the app and take the entry that holds this text."""
    tab.get_by_test_id(MAIN).get_by_role("combobox", name=re.compile(label)).nth(which).click()
    tab.get_by_role("option").filter(has_text=option).first.click()
    settled(tab)


def fill(tab: playwright.Page, **numbers: float) -> None:
    """Type numbers into the fields with these labels, in which `_` stands for a space."""
    for label, number in numbers.items():
        box = tab.get_by_test_id(MAIN).get_by_role("spinbutton", name=label.replace("_", " "), exact=True)
        box.fill(str(number))
        box.press("Enter")
        settled(tab)


def choose_what_was_made(tab: playwright.Page) -> None:
    """The trained model, and a structure from the uploaded file."""
    choose(tab, "^Model", re.compile("train"))
    choose(tab, "^Structure", "Uploaded file")
    choose(tab, "Uploaded before", FILE)


def settled(tab: playwright.Page) -> None:
    """Wait until the server has drawn everything."""
    tab.wait_for_timeout(300)
    tab.get_by_test_id("stStatusWidget").wait_for(state="detached", timeout=60_000)


def press(tab: playwright.Page, name: str) -> None:
    tab.get_by_test_id(MAIN).get_by_role("button", name=name, exact=True).click()


def number_below(tab: playwright.Page, label: str) -> float:
    """The number in the box with this label."""
    box = tab.get_by_test_id("stMetric").filter(has_text=label).get_by_test_id("stMetricValue")
    return float(re.search(r"[\d.]+", box.inner_text().replace(",", ""))[0])


def test_from_an_uploaded_file_to_a_report(browser: Browser, shared_data: Path) -> None:
    upload_and_inspect(browser, shared_data / "rmd17" / FILE)
    train(browser)
    simulate(browser)
    compare_with_modes(browser)
    report(browser)


def upload_and_inspect(browser: Browser, path: Path) -> None:
    tab = browser.open("Dataset")
    choose(tab, "^Data", "Uploaded file")
    tab.get_by_test_id("stFileUploaderDropzoneInput").first.set_input_files(path)
    tab.get_by_text("kcal/mol").first.wait_for(timeout=60_000)
    wait_until(lambda: molecule_is_drawn(tab), "the first frame on the canvas")
    assert number_below(tab, "Frames") == 1000 and number_below(tab, "Atoms per frame") == 21
    browser.picture(tab, "journey-1-inspect")
    tab.close()


def train(browser: Browser) -> None:
    tab = browser.open("Train")
    choose(tab, "^Data", "Uploaded file")
    choose(tab, "Uploaded before", FILE)
    fill(tab, Training_frames=950, Validation_frames=50, Test_frames=0, Frames_between=0, Epochs=2, Layers=3, Largest_degree_l=2)
    press(tab, "Start training")
    tab.wait_for_url("**/Train?run=*")
    state(tab, "running")
    tab.get_by_text(re.compile("epoch 1")).first.wait_for(timeout=90_000)
    tab.reload()
    state(tab, "running")
    other = browser.open(tab.url.removeprefix(f"{browser.address}/"))
    state(other, "running")
    press(other, "Stop")
    asked = time.monotonic()
    state(other, "stopped")
    assert time.monotonic() - asked < 8.0  # five seconds to save and stop, two for the page to ask, one to draw
    state(tab, "stopped")
    other.close()
    press(tab, "Resume")
    state(tab, "finished", patience_s=240.0)
    assert number_below(tab, "Epoch") == 2 and number_below(tab, "Force error (validation)") < 500.0
    browser.picture(tab, "journey-2-trained")
    tab.close()


def simulate(browser: Browser) -> None:
    tab = browser.open("Molecular_Dynamics")
    choose_what_was_made(tab)
    tab.get_by_test_id("stButtonGroup").get_by_text("energy conservation").click()
    settled(tab)
    fill(tab, Steps=2000)
    press(tab, "Start the simulation")
    state(tab, "finished", patience_s=240.0)
    browser.picture(tab, "journey-3-simulated")
    tab.get_by_role("link", name="Watch the molecule move").click()
    wait_until(lambda: molecule_is_drawn(tab), "a molecule on the canvas")
    before = frame(tab)
    tab.get_by_role("button", name="Play or pause").click()
    wait_until(lambda: frame(tab) > before + 5, "the molecule moves")
    browser.picture(tab, "journey-4-played")
    tab.close()


def compare_with_modes(browser: Browser) -> None:
    tab = browser.open("Spectra")
    choose_what_was_made(tab)
    press(tab, "Compute the normal modes")
    state(tab, "finished", patience_s=240.0)
    wait_until(lambda: molecule_is_drawn(tab), "a mode on the canvas")
    assert number_below(tab, "Vibrations") == 3 * 21 - 6
    choose(tab, "Compare with a simulation", re.compile("md"))
    tab.get_by_text("The simulation, mode by mode").wait_for(timeout=90_000)
    settled(tab)
    browser.picture(tab, "journey-5-modes")
    tab.close()


def report(browser: Browser) -> None:
    tab = browser.open("Study")
    choose_what_was_made(tab)
    fill(tab, **{"Constant energy, ps": 0.5, "Heat bath, ps": 0.5})
    press(tab, "Start the study")
    state(tab, "finished", patience_s=600.0)
    with tab.expect_download() as started:
        press(tab, "Report")
    page = Path(started.value.path()).read_text(encoding="utf-8")
    assert "plotly" in page and "Normal modes" in page and "nan" not in re.sub(r"<script.*?</script>", "", page, flags=re.S)
    settled(tab)
    browser.picture(tab, "journey-6-report")
