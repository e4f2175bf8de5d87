"""The 3D view in a real browser: ten thousand frames, keyboard, colours, pictures, movies, and what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser.conftest import FRAMES, Browser, playwright
from tests.browser.test_journey import colors_on_stage, frame, molecule_is_drawn, wait_until

pytestmark = pytest.mark.browser
LIBRARY, NETWORK = "**/app/static/3Dmol-min.js", "https://cdn.jsdelivr.net/**"


def open_run(browser: Browser, name: str) -> playwright.Page:
    tab = browser.open(f"Trajectory?run={name}")
    wait_until(lambda: molecule_is_drawn(tab), "a molecule on the canvas")
    return tab


def test_ten_thousand_frames_are_fetched_in_pieces(browser: Browser, long_runs: list[str]) -> None:
    pieces = []
    browser.context.on("response", lambda answer: "/static/frames/" in answer.url and pieces.append(
        (answer.status, int(answer.headers["content-length"]))))
    tab = open_run(browser, long_runs[0])
    assert 1 <= len(pieces) <= 2 and all(status == 206 and size <= 1 << 20 for status, size in pieces)
    slider = tab.locator(".viewer .frame")
    assert slider.get_attribute("max") == str(FRAMES - 1)
    slider.press("End")
    wait_until(lambda: frame(tab) == FRAMES - 1, "the last frame is shown", 5.0)
    assert tab.locator(".label").inner_text() == f"{0.5 * (FRAMES - 1):,} fs"
    tab.evaluate("""() => { window.gaps = []; let last = performance.now();
        const tick = (now) => { window.gaps.push(now - last); last = now; requestAnimationFrame(tick); };
        requestAnimationFrame(tick); }""")
    tab.locator(".viewer").focus()
    tab.keyboard.press("Space")
    wait_until(lambda: 5 < frame(tab) < FRAMES - 1, "it plays on from the start")
    tab.keyboard.press("Space")
    assert tab.evaluate("Math.max(...window.gaps)") < 1000.0
    assert 3 <= len(pieces) <= 5


def test_keys_colours_clicks_and_what_survives_a_reload(browser: Browser, long_runs: list[str]) -> None:
    tab = open_run(browser, long_runs[0])
    plot = tab.locator(".stPlotlyChart .nsewdrag").first
    size = plot.bounding_box()
    plot.click(position={"x": 0.5 * size["width"], "y": 0.5 * size["height"]})
    wait_until(lambda: abs(frame(tab) - FRAMES / 2) < FRAMES / 10, "a click in the energies moves the view", 10.0)
    tab.locator(".viewer").focus()
    kept = frame(tab) + 2
    for key in ("ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft"):
        tab.keyboard.press(key)
    assert frame(tab) == kept
    plain = tab.locator(".stage").screenshot()
    tab.get_by_role("combobox", name="Colour by").select_option("speed")
    wait_until(lambda: tab.locator(".stage").screenshot() != plain, "colours by speed")
    assert tab.locator(".legend .top").inner_text() == "0.02 Å/fs"
    turn(tab)
    browser.picture(tab, "viewer-speed")
    turned = tab.locator(".stage").screenshot()
    tab.reload()
    wait_until(lambda: frame(tab) == kept, "the same frame")
    wait_until(lambda: tab.locator(".stage").screenshot() == turned, "the same view", 10.0)


def turn(tab: playwright.Page) -> None:
    """Drag the molecule, and let go of the view."""
    stage = tab.locator(".stage").bounding_box()
    tab.mouse.move(stage["x"] + 200, stage["y"] + 200)
    tab.mouse.down()
    tab.mouse.move(stage["x"] + 280, stage["y"] + 240, steps=4)
    tab.mouse.up()
    tab.mouse.move(5, 5)
    tab.locator(".viewer").blur()


def test_picture_and_movie_are_saved(browser: Browser, long_runs: list[str]) -> None:
    tab = open_run(browser, long_runs[0])
    with tab.expect_download() as started:
        tab.get_by_role("button", name="Save a picture").click()
    assert started.value.suggested_filename.endswith("-0.png")
    assert Path(started.value.path()).read_bytes().startswith(b"\x89PNG")
    movie = tab.get_by_role("button", name="Record a movie")
    movie.click()
    wait_until(lambda: frame(tab) > 10, "it plays while it is recorded")
    with tab.expect_download() as started:
        movie.click()
    data = Path(started.value.path()).read_bytes()
    assert started.value.suggested_filename.endswith(".webm")
    assert data.startswith(b"\x1a\x45\xdf\xa3") and len(data) > 10_000


def test_a_browser_without_webgl_is_told_so(browser: Browser, long_runs: list[str]) -> None:
    browser.context.add_init_script("""const real = HTMLCanvasElement.prototype.getContext;
        HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
          return kind.startsWith("webgl") ? null : real.call(this, kind, ...rest); };""")
    tab = browser.open(f"Trajectory?run={long_runs[0]}")
    tab.locator(".notice").filter(has_text="no WebGL 2").wait_for()
    browser.picture(tab, "viewer-no-webgl")


@pytest.mark.slow
@pytest.mark.parametrize("online", [True, False])
def test_a_missing_library_comes_from_the_network_or_is_named(online: bool, browser: Browser, root: Path,
                                                              long_runs: list[str]) -> None:
    browser.context.route(LIBRARY, lambda route: route.fulfill(status=404))
    browser.context.route(NETWORK, lambda route: route.fulfill(path=root / "static" / "3Dmol-min.js") if online
                          else route.abort())
    tab = browser.open(f"Trajectory?run={long_runs[0]}")
    text = "fetched from the internet" if online else "could not be fetched from the internet"
    tab.locator(".notice").filter(has_text=text).wait_for()
    if online:
        wait_until(lambda: colors_on_stage(tab) > 200, "a molecule on the canvas")
    asked = [complaint for complaint in browser.complaints if "3Dmol-min.js" in complaint]
    assert len(asked) == (1 if online else 2)
    browser.complaints[:] = [complaint for complaint in browser.complaints if complaint not in asked]
