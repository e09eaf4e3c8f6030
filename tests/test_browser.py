"""Pages in a real Chromium: formulas have a size, pointing marks what belongs together, nothing is complained about.

Not part of a plain run: ``make browser-test``, where a browser is found (or named by CHROMIUM). AXE may name the file
``axe.min.js`` of axe-core (``npm pack axe-core``); its rules are then checked, too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

import graphc as gc
from tests.browser import Chromium, chromium
from tests.gallery import ROOMS
from tests.nets import network
from tests.test_graph import attention, deep, in_order
from tests.test_report import Page, report, trained

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium() is None, reason="no Chromium is found; name one by CHROMIUM"),
]
AXE = os.environ.get("AXE")
NAMES = {"network": lambda: trained(network()), "attention": attention, "deep": deep}

# Contrast of text against its ground, WCAG 2.1: at least 4.5; the ground is that of the nearest element with a colour.
CONTRAST = """
(() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  function rgb(colour) {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  }
  function light(c) {
    const [r, g, b] = c.slice(0, 3).map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  }
  function ground(e) {
    if (e instanceof SVGElement) {
      const rect = e.closest('g') && e.closest('g').querySelector('rect');
      return rgb(getComputedStyle(rect || document.body)[rect ? 'fill' : 'backgroundColor']);
    }
    for (; e; e = e.parentElement) {
      const c = rgb(getComputedStyle(e).backgroundColor);
      if (c[3] > 250) return c;
    }
    return [255, 255, 255, 255];
  }
  let worst = 99, where = '';
  for (const e of document.querySelectorAll('p, code, th, td, a, span, h1, h2, figcaption, caption, text, mi, mo')) {
    if (!e.textContent.trim() || !e.getClientRects().length) continue;
    const a = light(rgb(getComputedStyle(e)[e.tagName === 'text' ? 'fill' : 'color'])), b = light(ground(e));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < worst) { worst = ratio; where = e.tagName + ': ' + e.textContent.slice(0, 40); }
  }
  return [worst, where];
})()
"""
# What a screen reader would miss: a name of every thing that can be reached, one main part, headings in order.
NAMELESS = """
[...document.querySelectorAll('[tabindex="0"], a, summary, [role=img], [role=region], svg')]
  .filter(e => !(e.getAttribute('aria-label') || e.getAttribute('aria-labelledby') || e.textContent.trim()))
  .map(e => e.outerHTML.slice(0, 80))
"""
HEADINGS = "[...document.querySelectorAll('h1, h2, h3')].map(e => +e.tagName[1])"
TARGETS = (
    "[...document.querySelectorAll('[aria-labelledby]')].flatMap(e => e.getAttribute('aria-labelledby').split(' '))"
)
CUT = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    for name, make in NAMES.items():
        make().report(folder / f"{name}.html")
        make().graph().save(folder / f"{name}.svg")
    return {p.name: p for p in folder.iterdir()}


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    with Chromium() as page:
        yield page


@pytest.fixture(params=NAMES)
def page(request: pytest.FixtureRequest, browser: Chromium, pages: dict[str, Path]) -> Iterator[Chromium]:
    """One report, opened anew; afterwards: nothing was complained about, nothing else was asked for."""
    browser.console.clear()
    browser.requests.clear()
    browser.look("light")
    path = pages[f"{request.param}.html"]
    browser.open(path)
    yield browser
    assert browser.console == []
    assert set(browser.requests) == {path.as_uri()}


def test_formulas_have_a_size(page):
    page.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    sizes = page.run("[...document.querySelectorAll('main math')].map(m => m.getBoundingClientRect())"
                     ".map(r => [r.width, r.height])")  # fmt: skip
    assert len(sizes) > 20 and all(width > 5 and height > 8 for width, height in sizes)
    tall = page.run("document.querySelector('math mfrac').getBoundingClientRect().height")
    low = page.run("document.querySelector('math mi').getBoundingClientRect().height")
    assert tall > 1.4 * low  # a fraction is drawn as one, not as letters in a row


def test_pointing_at_a_box_marks_formula_declaration_and_loop(page):
    page.point(".box.equation")
    marked = page.run("[...document.querySelectorAll('.on:not(.edge)')].map(e => e.id[0])")
    assert set(marked) == {"g", "f", "d", "k"}
    assert page.run("document.querySelectorAll('#shown math').length") > 0
    assert page.run("document.querySelectorAll('#shown pre').length") > 0
    assert page.run("getComputedStyle(document.querySelector('li.on')).backgroundColor") != "rgba(0, 0, 0, 0)"
    page.press("Escape")
    assert page.run("document.querySelectorAll('.on').length") == 0


def test_a_derivative_marks_its_formula_and_its_loop(page):
    page.point(".box.adjoint")
    assert {"g", "f", "k"} <= set(page.run("[...document.querySelectorAll('.on:not(.edge)')].map(e => e.id[0])"))
    assert page.run("document.querySelectorAll('.edge.on').length") > 0


def test_boxes_are_reached_and_opened_by_keyboard(page):
    page.run("document.querySelector('.box.equation').focus()")
    line = page.run("document.querySelector('li.on').id")
    page.press("Enter")
    assert page.run(f"document.querySelector('#{line} details').open")
    assert page.run(f"document.activeElement === document.querySelector('#{line} summary')")
    page.run("document.activeElement.blur(); window.scrollTo(0, 0)")
    page.press("Tab")
    assert page.run("document.activeElement.tagName") in ("A", "SUMMARY", "DIV", "PRE", "g")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_legible_in_light_and_in_dark(page, scheme):
    page.look(scheme)
    page.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    worst, where = page.run(CONTRAST)
    assert worst >= 4.5, (where, worst)
    ground = page.run("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (scheme == "light")


def test_names_headings_and_labels_are_there(page):
    assert page.run(NAMELESS) == []
    levels = page.run(HEADINGS)
    assert levels[0] == 1 and levels.count(1) == 1 and all(b - a <= 1 for a, b in zip(levels, levels[1:]))
    assert page.run(f"{TARGETS}.filter(t => !document.getElementById(t))") == []
    assert page.run("document.documentElement.lang") == "en" and page.run("document.title")


if AXE is not None:

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_axe_finds_no_fault(page, scheme):
        page.look(scheme)
        page.run("document.querySelectorAll('details').forEach(d => d.open = true)")
        page.run(f"{Path(AXE).read_text(encoding='utf-8')}; 1")
        assert page.run("axe.run().then(r => r.violations.map(v => [v.id, v.impact, v.nodes[0].html]))") == []


def test_nothing_is_cut_on_a_narrow_screen(page):
    width, height = page.size
    try:
        page.size = 800, height
        page.look("light")
        assert page.run(CUT) <= 0
    finally:
        page.size = width, height


def test_print_is_dark_on_white_and_opens_all_steps(page):
    page.look("dark", media="print")
    page.run("window.dispatchEvent(new Event('beforeprint'))")
    assert page.run("[...document.querySelectorAll('details')].every(d => d.open)")
    assert page.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.run("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert len(page.ask("Page.printToPDF", printBackground=False)["data"]) > 10_000


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_of_the_picture_stays_in_its_boxes(browser, pages, name, scheme):
    browser.console.clear()
    browser.look(scheme)
    browser.open(pages[f"{name}.svg"])
    over = browser.run(
        "[...document.querySelectorAll('.box')].map(g => [g.querySelector('rect').getBBox(), ...[...g.querySelectorAll("
        "'text')].map(t => t.getBBox())]).map(([r, ...ts]) => Math.max(...ts.map(t => Math.max(t.x + t.width - r.x -"
        " r.width, r.x - t.x, r.y - t.y, t.y + t.height - r.y - r.height))))"
    )
    assert len(over) > 8 and max(over) <= 0
    assert browser.console == []


@pytest.mark.parametrize("entry", [e for room in ROOMS for e in room.entries], ids=lambda e: e.name)
def test_every_model_of_the_gallery_has_a_picture_and_a_page(entry, tmp_path):
    """Without a browser; here because it takes a minute."""
    model = gc.Model(loss=entry.loss, dtype="float64")
    for by_layer in (False, True):
        in_order(model.graph(by_layer))
    text = report(model, tmp_path)
    page = Page(text)
    assert len(text.encode()) < 300_000 and set(page.references) <= set(page.ids)
    for formula in re.findall(r"<math.*?</math>", text):
        words = "".join(ElementTree.fromstring(formula).itertext())
        assert "\\" not in words and "{" not in words, formula


def test_the_check_of_the_browser_can_fail(browser, tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text("<!DOCTYPE html><p style='color:#aaa'>pale</p><img src='https://127.0.0.1:9/x.png'>"
                   "<script>console.error('no')</script>")  # fmt: skip
    browser.console.clear()
    browser.requests.clear()
    browser.look("light")
    browser.open(bad)
    assert browser.run(CONTRAST)[0] < 4.5
    assert any("no" in c for c in browser.console) and len(set(browser.requests)) == 2


