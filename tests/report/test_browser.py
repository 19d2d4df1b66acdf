"""Reports in a real browser, opened from disk: sound plays, tables sort, pictures decode, and nobody is asked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gense.report import write_evaluation_report, write_sweep_report
from tests.browser import Log, watched
from tests.report.made import evaluation, sweep

GAINS = [1.5, -0.25, 0.5, 0.12, float("nan"), -1.0, 0.75]
NAME = "<img src=x onerror=alert(1)>/2"


def wait(page: Any, expression: str) -> None:
    """Until an expression is true. `wait_for_function` asks the page to `eval`, which the page's policy forbids."""
    for _ in range(600):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"not within 30 s: {expression}")


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("reports")
    found = evaluation(GAINS, folder=folder, names=[NAME, "10", "9", "a", "b", "c", "n" * 200], seconds=1.5)
    found.failed = {"broken": "no audio"}
    others = {"another": evaluation([0.0] * 7, names=[NAME, "10", "9", "a", "b", "c", "n" * 200])}
    return {
        "evaluation": write_evaluation_report(folder / "e.html", found, title="Ten <files>", examples=2, others=others),
        "sweep": write_sweep_report(folder / "s.html", sweep(), title="Sweep", qualities=["pesq", "wer"]),
    }


@pytest.fixture
def opened(chromium: Any, reports: dict[str, Path]) -> Iterator[Any]:
    """A function that opens a report by name; afterwards nothing may have gone wrong."""
    pages: list[Any] = []
    logs: list[Log] = []

    def visit(name: str) -> Any:
        page = chromium.new_page(viewport={"width": 1280, "height": 844})
        requests: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        logs.append(watched(page))
        page.goto(reports[name].as_uri())
        pages.append((page, requests))
        return page

    yield visit
    for page, requests in pages:
        page.close()
        assert [url.split(":")[0] for url in requests if not url.startswith("data:")] == ["file"]
    for log in logs:
        assert log.errors == []
        assert not log.hosts


def test_sound_plays_one_at_a_time_and_goes_on_at_the_same_place(opened: Any) -> None:
    page = opened("evaluation")
    players = page.locator("audio")
    assert players.count() == 4 * 3
    wait(page, "[...document.querySelectorAll('audio')].every(a => a.readyState >= 1)")
    assert page.eval_on_selector_all("audio", "all => all.every(a => Math.abs(a.duration - 1.5) < 0.01)")
    first, second = players.nth(0), players.nth(1)
    for player in (first, second):
        player.evaluate("a => { a.muted = true }")
    first.evaluate("a => a.play()")
    wait(page, "document.querySelectorAll('audio')[0].currentTime > 0.2")
    assert first.evaluate("a => a.readyState") >= 2
    second.evaluate("a => a.play()")
    wait(page, "document.querySelectorAll('audio')[1].currentTime > 0.25")
    assert first.evaluate("a => a.paused")
    line = page.locator(".playhead").nth(1)
    assert line.is_visible()
    assert float(line.evaluate("e => parseFloat(e.style.left)")) > 10


def test_pressing_a_spectrogram_plays_from_there(opened: Any) -> None:
    page = opened("evaluation")
    wait(page, "[...document.querySelectorAll('audio')].every(a => a.readyState >= 1)")
    player, picture = page.locator("audio").nth(2), page.locator(".spectrogram").nth(2)
    player.evaluate("a => { a.muted = true }")
    box = picture.bounding_box()
    picture.click(position={"x": box["width"] / 2, "y": 20})
    wait(page, "document.querySelectorAll('audio')[2].currentTime >= 0.74")
    assert player.evaluate("a => !a.paused || a.ended")


def test_pictures_decode_and_say_what_they_are(opened: Any) -> None:
    page = opened("evaluation")
    found = page.eval_on_selector_all(
        "img", "all => all.map(i => [i.complete, i.naturalWidth, i.naturalHeight, i.alt])"
    )
    assert len(found) == 4 * 3
    assert all(complete and width > 100 and height > 100 for complete, width, height, _ in found)
    assert all(alt.startswith("Spectrogram of ") for *_, alt in found)
    assert len({alt for *_, alt in found}) == len(found)
    assert page.locator("h3 bdi").all_text_contents().count(NAME) == 1


def column(page: Any, section: str, index: int) -> list[str]:
    return page.eval_on_selector_all(
        f"#{section} tbody tr", f"rows => rows.map(r => r.cells[{index}].textContent.replace('−', '-'))"
    )


def test_pressing_a_header_sorts_both_ways_with_dashes_last(opened: Any) -> None:
    page = opened("evaluation")
    header = page.locator("#files").get_by_role("columnheader", name="change").first
    button = header.get_by_role("button")
    rising = sorted(gain for gain in GAINS if gain == gain)
    for press, order in (
        (lambda: None, "ascending"),
        (button.click, "descending"),
        (lambda: button.press("Enter"), "ascending"),
    ):
        press()
        figures = column(page, "files", 3)
        assert [float(f) for f in figures[:-1]] == (rising if order == "ascending" else rising[::-1])
        assert figures[-1] == "–"
        assert header.get_attribute("aria-sort") == order
    # Names sort as people count, and only one header is the sorted one
    page.locator("#files").get_by_role("button", name="File").click()
    names = column(page, "files", 0)
    assert names.index("9") < names.index("10") < names.index("a")
    assert page.locator("#files [aria-sort]").count() == 1


def test_sorting_is_by_value_and_not_by_what_is_shown(opened: Any) -> None:
    page = opened("sweep")
    button = page.locator("#settings").get_by_role("button", name="Calls")
    button.click()
    index = int(page.locator("#settings th[aria-sort]").get_attribute("data-column"))
    assert column(page, "settings", index) == ["1", "1", "2", "4", "8", "16", "32"]
    button.click()
    assert column(page, "settings", index) == ["32", "16", "8", "4", "2", "1", "1"]


def test_dots_are_the_files_and_say_which(opened: Any) -> None:
    page = opened("evaluation")
    plots = page.locator("svg.plot")
    assert plots.count() == 2
    assert [plots.nth(i).locator(".dot").count() for i in range(2)] == [6, 6]
    dot = plots.nth(0).locator('.dot[data-row="0"]')
    dot.hover()
    readout = page.locator("#plots .readout")
    assert readout.text_content().startswith(NAME)
    assert page.locator('.on[data-row="0"]').count() == 3  # the dot, its fellow in the other plot, its row
    page.mouse.move(0, 0)
    plots.nth(1).focus()
    order = plots.nth(1).locator(".dot title").all_text_contents()
    place = order.index(plots.nth(1).locator(".dot.on title").text_content())
    step = 1 if place == 0 else -1
    page.keyboard.press("ArrowRight" if step == 1 else "ArrowLeft")
    assert "WER" in readout.text_content()
    assert readout.text_content() == order[place + step]
    assert page.locator(".dot.on").count() == 2


SIZES = """() => [...document.querySelectorAll('p, td, th, button, text, figcaption, a')]
  .filter(e => e.getBoundingClientRect().height && e.closest('section'))
  .map(e => {
    const svg = e.closest('svg');
    const scale = svg ? svg.getBoundingClientRect().width / svg.viewBox.baseVal.width : 1;
    return parseFloat(getComputedStyle(e).fontSize) * scale; })"""


@pytest.mark.parametrize("name", ["evaluation", "sweep"])
def test_page_fits_a_phone_and_a_desk(opened: Any, name: str) -> None:
    page = opened(name)
    for width in (1280, 800, 390):
        page.set_viewport_size({"width": width, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert min(page.evaluate(SIZES)) >= 10


@pytest.mark.parametrize("name", ["evaluation", "sweep"])
def test_everything_is_named_and_reached_by_keyboard(opened: Any, name: str) -> None:
    page = opened(name)
    assert page.evaluate("document.documentElement.lang") == "en"
    unnamed = page.evaluate("""() => [...document.querySelectorAll(
        'table, audio, svg[role=img], [role=region]')].filter(e => {
          const by = e.getAttribute('aria-labelledby');
          const words = by ? document.getElementById(by)?.textContent : e.getAttribute('aria-label');
          return !words?.trim(); }).length""")
    assert unnamed == 0
    assert page.eval_on_selector_all("img", "all => all.every(i => i.alt)")
    assert page.eval_on_selector_all("thead th", "all => all.every(h => /^col/.test(h.scope))")
    assert page.eval_on_selector_all("tbody tr", "all => all.every(r => r.cells[0].scope === 'row')")
    stops = page.evaluate("[...document.querySelectorAll('a, button, audio, [tabindex]')].every(e => e.tabIndex === 0)")
    assert stops


CONTRAST = """(selector) => {
  const luminance = (colour) => {
    const parts = colour.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255)
      .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]; };
  const back = luminance(getComputedStyle(document.body).backgroundColor);
  return Math.min(...[...document.querySelectorAll(selector)].map(e => {
    const style = getComputedStyle(e);
    const front = luminance(e.closest('svg') ? style.fill : style.color);
    return (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05); })); }"""


@pytest.mark.parametrize("name", ["evaluation", "sweep"])
def test_text_and_marks_stand_out_in_both_schemes(opened: Any, name: str) -> None:
    """WCAG 2.1 asks for a contrast of 4.5 for text (1.4.3) and 3 for marks (1.4.11)."""
    page = opened(name)
    colours = set()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate(CONTRAST, "p, td, th, a, h2, text, figcaption, footer") >= 4.5
        assert page.evaluate(CONTRAST, ".dot") >= 3
        colours.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(colours) == 2
