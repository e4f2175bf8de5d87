"""What a person does in the browser, for real: a live server, real jobs, a canvas that must not stay blank."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from tests.browser.conftest import Browser, playwright

pytestmark = pytest.mark.browser
PAGES = ("", "Dataset", "Train", "Molecular_Dynamics", "Trajectory", "Equivariance", "Spectra", "Study", "Runs", "Evaluate",
         "Compare_Models", "Theory")


def wait_until(condition: Callable[[], bool], what: str, patience_s: float = 60.0) -> None:
    give_up = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < give_up, f"waited {patience_s} s in vain: {what}"
        time.sleep(0.2)


def colors_on_stage(tab: playwright.Page, which: int = 0) -> int:
    """How many different colours the 3D view shows; a blank one has a handful, a shaded molecule hundreds."""
    try:
        picture = Image.open(io.BytesIO(tab.locator(".stage").nth(which).screenshot(timeout=5000))).convert("RGB")
    except playwright.Error:  # Streamlit was just drawing the page anew
        return 0
    return len(np.unique(np.asarray(picture).reshape(-1, 3), axis=0))


def molecule_is_drawn(tab: playwright.Page) -> bool:
    return tab.locator(".stage canvas").count() > 0 and colors_on_stage(tab) > 200


def frame(tab: playwright.Page) -> int:
    return int(tab.locator(".viewer").get_attribute("data-frame") or -1)


def state(tab: playwright.Page, *wanted: str, patience_s: float = 90.0) -> None:
    """Wait until the run on the page is in one of these states."""
    pattern = re.compile(f"^({'|'.join(wanted)})$")
    tab.get_by_test_id("stBadge").or_(tab.locator(".stMarkdownBadge")).filter(has_text=pattern).first.wait_for(
        timeout=1000 * patience_s)


@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens_by_its_address(page: str, browser: Browser) -> None:
    tab = browser.open(page)
    wait_until(lambda: tab.get_by_test_id("stSidebar").get_by_role("link").count() == len(PAGES), "a link to each page")
    assert tab.get_by_test_id("stException").count() == 0
    browser.picture(tab, f"page-{page or 'Home'}")


def test_embedded_aspirin_is_seen_in_3d(browser: Browser) -> None:
    tab = browser.open("Dataset")
    wait_until(lambda: molecule_is_drawn(tab), "a molecule on the canvas")
    assert tab.get_by_text("1,200").count() > 0
    browser.picture(tab, "dataset")


def test_forces_are_drawn_and_follow_a_turned_molecule(browser: Browser) -> None:
    tab = browser.open("Equivariance")
    stages = tab.locator(".stage")
    wait_until(lambda: stages.count() == 3 and all(colors_on_stage(tab, k) > 200 for k in range(3)), "three molecules")
    assert tab.get_by_text("follows", exact=False).count() > 0 and tab.get_by_text("% off", exact=False).count() > 0
    browser.picture(tab, "equivariance")
    before = [stages.nth(k).screenshot() for k in range(3)]
    tab.get_by_role("slider", name="Turn about z").press("Home")
    wait_until(lambda: stages.nth(1).screenshot() != before[1], "the view after the motion changes")
    assert stages.nth(0).screenshot() == before[0]
    corner = stages.nth(2).bounding_box()
    tab.mouse.move(corner["x"] + 90, corner["y"] + 90)
    tab.mouse.down()
    tab.mouse.move(corner["x"] + 150, corner["y"] + 120, steps=4)
    tab.mouse.up()
    wait_until(lambda: stages.nth(0).screenshot() != before[0], "views turn together")


def test_first_run_leads_to_a_moving_molecule(browser: Browser) -> None:
    tab = browser.open("")
    clicked = time.monotonic()
    tab.get_by_role("button", name="Start the first run").click()
    tab.wait_for_url("**/Trajectory?run=*")
    address = tab.url
    tab.reload()
    other = browser.open(address.removeprefix(f"{browser.address}/"))
    for each in (tab, other):
        wait_until(lambda each=each: molecule_is_drawn(each), "a molecule on the canvas")
        assert each.url == address
    assert time.monotonic() - clicked < 60.0
    state(tab, "finished")
    other.close()
    before = frame(tab)
    tab.get_by_role("button", name="Play or pause").click()
    wait_until(lambda: frame(tab) not in (before, -1), "the molecule moves")
    tab.locator(".viewer").focus()
    tab.keyboard.press("Space")
    kept = frame(tab)
    tab.reload()
    wait_until(lambda: frame(tab) == kept, "the frame is kept")
    browser.picture(tab, "trajectory")


def test_training_survives_a_reload_stops_and_resumes(browser: Browser) -> None:
    tab = browser.open("Train")
    for label, value in (("Training frames", 60), ("Validation frames", 20), ("Test frames", 20), ("Epochs", 2000),
                         ("Channels", 4), ("Largest degree l", 1), ("Layers", 2)):
        tab.get_by_role("spinbutton", name=label, exact=True).fill(str(value))
        tab.keyboard.press("Enter")
        tab.get_by_test_id("stStatusWidget").wait_for(state="detached")  # while it redraws, widgets may be there twice
    tab.get_by_role("button", name="Start training").click()
    tab.wait_for_url("**/Train?run=*")
    tab.get_by_text("Force error (validation)").first.wait_for(timeout=90_000)
    tab.reload()
    state(tab, "running")
    browser.picture(tab, "train")
    main = tab.get_by_test_id("stMain")
    for after in ("Resume", None):
        main.get_by_role("button", name="Stop").click()
        asked = time.monotonic()
        state(tab, "stopped")
        assert time.monotonic() - asked < 10.0
        if after:
            tab.get_by_test_id("stStatusWidget").wait_for(state="detached")
            main.get_by_role("button", name=after).click()
            try:
                state(tab, "running", patience_s=45.0)
            except playwright.TimeoutError:  # a page being redrawn can lose a click; people then click again
                main.get_by_role("button", name=after).click()
                state(tab, "running")
