"""The report is one well-formed page: nothing from outside, formulas as MathML, every reference leads somewhere."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

import graphc as gc
from graphc.ir.scalar import FUNCTIONS
from graphc.run.history import Run
from graphc.show.latex import sides
from graphc.show.mathml import mathml
from graphc.show.page.curves import charts
from graphc.show.page.document import Part, document
from graphc.show.page.listings import blocks
from graphc.show.page.steps import slope_of
from tests.nets import network, xor
from tests.test_graph import attention, deep

ROOT = Path(__file__).parent.parent
VOID = {"meta", "br", "link", "img", "input", "hr"}
OUTSIDE = {"src", "href", "data", "action", "poster", "srcset", "xlink:href"}


class Page(HTMLParser):
    """Reads a page strictly: ids, references, the text of tags; a tag that closes another is an error."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.outside: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: dict[str, str] = {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        assert len(found) == len(attrs), f"an attribute twice in {tag}"
        self.tags.append((tag, found))
        if tag not in VOID:
            self.open.append(tag)
        self.see(found)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.see(dict(attrs))

    def see(self, found: dict[str, str | None]) -> None:
        self.ids += [found["id"] or ""] if "id" in found else []
        for name in ("data-marks", "aria-labelledby", "aria-describedby", "data-from", "data-to"):
            self.references += (found.get(name) or "").split()
        for name in OUTSIDE & found.keys():
            value = found[name] or ""
            (self.references if value.startswith("#") else self.outside).append(value.removeprefix("#"))
        self.references += re.findall(r"url\(#([^)]+)\)", " ".join(v or "" for v in found.values()))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in self.open[-2:]:
            self.words[tag] = self.words.get(tag, "") + data

    def count(self, tag: str) -> int:
        return sum(t == tag for t, _ in self.tags)


def trained(model: gc.Model) -> gc.Model:
    """As a fit leaves it, without one: what a run tells."""
    run = Run(steps=30, epochs=10, latest={"loss": 0.25, "mae": 0.5})
    run.history.update(loss=[1 / t for t in range(1, 11)], val_loss=[2 / t for t in range(1, 11)], mae=[0.5] * 10)
    model._core.last_run = run
    return model


def report(model: gc.Model, folder: Path) -> str:
    model.report(folder / "report.html")
    return (folder / "report.html").read_text(encoding="utf-8")


MODELS = lambda: trained(network()), attention, deep, lambda: gc.Model(output=xor().outputs)


@pytest.mark.parametrize("make", MODELS)
def test_the_page_is_whole_and_its_references_lead_somewhere(make, tmp_path):
    text = report(make(), tmp_path)
    page = Page(text)
    assert len(page.ids) == len(set(page.ids))
    assert set(page.references) <= set(page.ids) and len(page.references) > 10
    assert page.outside == [] and re.findall(r"https?://[^\"' ]+", text) == ["http://www.w3.org/2000/svg"]
    assert not re.search(r"@import|url\((?!#)", text)
    assert "default-src 'none'" in text
    formulas = re.findall(r"<math.*?</math>", text)
    assert formulas and all(ElementTree.fromstring(f) is not None for f in formulas)
    assert not any("\\" in "".join(ElementTree.fromstring(f).itertext()) for f in formulas)


def test_the_page_holds_every_part_and_ties_them_together(tmp_path):
    text = report(trained(xor()), tmp_path)
    page = Page(text)
    parts = "graph derivation declaration stability certificate training memory program".split()
    assert [a["id"] for tag, a in page.tags if tag == "section"] == parts
    assert len(text.encode()) < 200_000
    boxes = {a["id"]: a for tag, a in page.tags if "box" in (a.get("class") or "").split()}
    delta = next(a for a in boxes.values() if "δ0[i,j]" in (a["aria-label"] or ""))
    line, loop = (delta["data-marks"] or "").split()
    assert line.startswith("f-") and loop.startswith("k-")
    block = re.search(rf'<span class="loop" id="{loop}"[^>]*>(.*?)</span>', text, re.DOTALL)
    assert block and "δ0[i,j] = δ1[i]·W1[j]" in block[1] and "for i in range" in block[1]
    hidden = next(a for a in boxes.values() if "H0[i,j]" in (a["aria-label"] or "").split(" = ")[0])
    assert [m[0] for m in (hidden["data-marks"] or "").split()] == ["f", "d", "k"]
    declared = next(m for m in (hidden["data-marks"] or "").split() if m[0] == "d")
    after = text.split(f'id="{declared}">')[1]
    assert "gc.tanh(X @ W0 + B0)" in after.split('<span class="line"')[0]
    assert "log_of_product" in page.words["code"] and "<strong>smooth</strong>" in text
    assert page.count("details") > 12


def test_steps_say_which_rule_of_what(tmp_path):
    text = report(xor(), tmp_path)
    step = re.search(r'<li id="f-5".*?</li>', text, re.DOTALL)
    assert step
    first = re.sub(r"<[^>]+>", "", re.search(r'<li id="f-4".*?</li>', text, re.DOTALL)[0].replace("</p>", ""))
    plain = re.sub(r"<[^>]+>", "", step[0])
    assert "Chain rule: ∂J∂Z0=∂J∂Z1⋅∂Z1∂H0⋅∂H0∂Z0" in plain
    assert "Rule: ddztanh(z)=1−tanh(z)2" in plain
    assert "J reads it itself: its formula is differentiated.Rule: ddzsoftplus(z)=σ(z)" in first
    assert "where ∂H0i,j∂Z0i,j=1−H0i,j2" in plain and "As matrices" in plain and "reads W1, H0, δ1" in plain
    weight = re.sub(r"<[^>]+>", "", re.search(r'<li id="f-6".*?</li>', text, re.DOTALL)[0])
    assert "Summed over i: W0 has no such index" in weight
    words = re.sub(r"<[^>]+>", "", report(attention(), tmp_path))
    assert "the derivative of a softmax takes v to (v - Σ v·a)·a" in words


def test_headings_landmarks_and_scrolling_places_serve_the_keyboard(tmp_path):
    page = Page(report(trained(xor()), tmp_path))
    tags = page.tags
    assert ("html", {"lang": "en"}) in tags and page.count("h1") == 1 and page.count("main") == 1
    assert [a["href"] for tag, a in tags if tag == "a"][0] == "#main"
    for _, a in tags:
        if "wide" in (a.get("class") or "").split():
            assert a["tabindex"] == "0" and a["role"] == "region" and a["aria-label"]
        if a.get("role") == "img":
            assert a["aria-label"]
    assert all("alttext" in a for tag, a in tags if tag == "math" and "W0" in str(a)) and page.count("caption") >= 3
    assert all(a.get("scope") == "col" for tag, a in tags if tag == "th")


def test_what_users_write_is_shown_and_never_run(tmp_path):
    file = tmp_path / "evil.py"
    file.write_text("import graphc as gc\nX = gc.input('X', ('n', 2))  # </pre><script>alert(1)</script>\n"
                    "W = gc.param('W', (2, 1))\nmodel = gc.Model(loss=gc.mean((X @ W)**2))\n")  # fmt: skip
    scope: dict = {}
    exec(compile(file.read_text(), str(file), "exec"), scope)  # noqa: S102
    text = report(scope["model"], tmp_path)
    assert "&lt;script&gt;alert(1)" in text and text.count("<script>") == 1
    Page(text)


def test_a_page_that_would_be_too_large_leaves_spare_parts_out():
    spare = [Part("b", "B", "y" * 4000, "print(b)."), Part("c", "C", "z" * 4000, "print(c).")]
    parts = [Part("a", "A", "x" * 400), *spare]
    whole = document("T", "lead", parts)
    short = document("T", "lead", parts, len(whole) - 1000)
    assert "y" * 4000 in short and "z" * 4000 not in short and "Left out" in short and "print(c)." in short
    assert "y" * 4000 not in document("T", "lead", parts, 1000)


def test_a_report_is_the_same_bytes_again_and_the_folder_is_made(tmp_path):
    assert report(xor(), tmp_path / "a" / "b") == report(xor(), tmp_path / "c")


def test_every_scalar_function_has_mathml_and_shows_its_derivative():
    for f in FUNCTIONS.values():
        slope = slope_of(f.name)
        assert (slope == "") == (f.arity != 1 or f.name == "polygamma4")
        assert not slope or not set("\\{") & set("".join(ElementTree.fromstring(slope).itertext())), f.name
        tex = f.latex.format(*("x_{i}", "y", "z")[: max(f.arity, 1)] if f.arity <= 3 else ["x"] * f.arity)
        found = ElementTree.fromstring(mathml(tex))
        assert "\\" not in "".join(found.itertext()), f.name


@pytest.mark.parametrize(
    ("tex", "inside"),
    [
        (r"\frac{1}{n}", "<mfrac><mn>1</mn><mi>n</mi></mfrac>"),
        (r"X_{2yy+p}", "<msub><mi>X</mi><mrow><mn>2</mn><mi>yy</mi><mo>+</mo><mi>p</mi></mrow></msub>"),
        (r"\sum_{k} a", "<munder><mo>∑</mo><mi>k</mi></munder><mi>a</mi>"),
        (r"\max_{k} a", '<munder><mi>max</mi><mi>k</mi></munder><mspace width="0.17em"/><mi>a</mi>'),
        (r"\sqrt[3]{x}", "<mroot><mi>x</mi><mn>3</mn></mroot>"),
        (r"{H}_{i}^{2}", "<msubsup><mi>H</mi><mi>i</mi><mn>2</mn></msubsup>"),
        (r"\left|x\right|", '<mrow><mo stretchy="true">|</mo><mi>x</mi><mo stretchy="true">|</mo></mrow>'),
        (r"\operatorname{f}\left(x < y\right)", '<mi mathvariant="normal">f</mi><mrow><mo>(</mo><mi>x</mi><mo>&lt;</mo>'
         "<mi>y</mi><mo>)</mo></mrow>"),
        (r"\mathrm{größe}", "<mi>größe</mi>"),
    ],
)  # fmt: skip
def test_latex_becomes_mathml(tex, inside):
    assert mathml(tex) == f'<math displaystyle="true">{inside}</math>'


def test_formulas_in_every_style_become_mathml():
    for model in (network(), attention()):
        for line in model.derive().lines:
            for style in ("index", "matrix"):
                words = "".join(ElementTree.fromstring(mathml(" = ".join(sides(line, style)))).itertext())
                assert "\\" not in words and "{" not in words


def test_captions_belong_to_the_lines_below_them():
    found = blocks("def f():\n    # a = 1\n    # b = 2\n    x = 1\n    for i in y:\n        z\n    # c = 3\n    w\nv\n")
    assert [(b.captions, b.start, b.end) for b in found] == [(["a = 1", "b = 2"], 1, 6), (["c = 3"], 6, 8)]


def test_numbers_before_a_loop_take_none_of_its_captions():
    """Since numbers of formulas are read at run time, the last of them took the whole program: no loop was marked."""
    text = "def f():\n    # 2\n    k0 = K[0]\n    while i:\n        # a = 1\n        x\n        # b = 2\n        y\n"
    assert [(b.captions, b.start, b.end) for b in blocks(text)] == [(["2"], 1, 3), (["a = 1"], 4, 6), (["b = 2"], 6, 8)]


def test_curves_show_both_scales_and_what_is_not_finite():
    history = {"loss": [1.0, 0.1, 0.01], "val_loss": [2.0, 1.0, float("nan")], "acc": [0.5]}
    one = charts(history, dict.fromkeys(history, "epoch"))
    assert one.count("<svg") == 2 and "logarithmic" in one and 'class="curve val"' in one and "<circle" in one
    assert "nan" not in re.sub(r'(aria-label="[^"]*"|<figcaption>.*?</figcaption>)', "", one)
    many = charts({"loss": list(np.linspace(1, 2, 5000))}, {"loss": "step"})
    assert len(many) < 12_000
    assert "no finite value" in charts({"loss": [float("inf")]}, {"loss": "epoch"})
