"""The README and the pages of the documentation: their code runs and prints what they show, and every page is found."""

from __future__ import annotations

import contextlib
import re
import runpy
from pathlib import Path

import pytest

import graphc as gc
from graphc.cuda import selection
from graphc.cuda.emulator import Emulator
from tests import pages
from tests.covering.plain import Plain, in_python
from tests.interpreted import interpreted
from tests.pages import DOCS, ROOT

# These show what only programs do, and share those of the README. For fits of other pages NumPy stands in.
COMPILED = ("README", "gradient_descent", "learning_rate", "surfaces", "sweeps", "checkpoints", "optimizers",
            "watching")  # fmt: skip
ON = {  # a GPU of one thread; programs as plain Python
    "gpu": lambda: selection.use(Emulator()),
    "differential_equations": lambda: in_python(Plain()),
    "sequences": lambda: in_python(Plain()),
}
PRINTED = {"README": ("\nTrue ", "SGD: 64 copies")}  # of blocks whose output is not shown
FOLDERS = ("", "tutorial", "howto", "explanation")
# The gallery is run model by model (test_gallery.py).
USERS = [ROOT / "README.md", *(p for f in FOLDERS for p in sorted((DOCS / f).glob("*.md")) if p.stem != "gallery")]
EVERY = sorted(DOCS.rglob("*.md"))
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)")
TREE = re.compile(r"^```\{toctree\}\n(.*?)^```", re.DOTALL | re.MULTILINE)

shown = pytest.mark.parametrize(
    "page", [p for p in USERS if pages.blocks(p, "python")], ids=lambda p: str(p.relative_to(ROOT))
)


@pytest.fixture
def unpainted(monkeypatch) -> None:
    """Pictures and films are laid out but not painted, which takes seconds; test_plots.py and its like paint them."""
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda *_, **__: None)
    for step in ("grab_frame", "finish"):
        monkeypatch.setattr(f"matplotlib.animation.PillowWriter.{step}", lambda *_, **__: None)


@shown
@pytest.mark.usefixtures("unpainted")
def test_the_code_of_a_page_runs_and_prints_what_it_shows(page: Path, tmp_path, monkeypatch):
    """Mutation-checked: a number that is changed on a page, and a name that does not exist, are seen."""
    monkeypatch.chdir(tmp_path)
    with contextlib.nullcontext() if page.stem in COMPILED else ON.get(page.stem, interpreted)():
        ran = pages.run(page)
    assert ran.wrong == []
    assert all(text in ran.printed for text in PRINTED.get(page.stem, ()))


def test_every_block_of_a_users_page_is_run():
    marks = [(p.stem, m["mark"]) for p in USERS for m in pages.BLOCK.finditer(p.read_text("utf-8")) if m["mark"]]
    assert marks == []


def test_graphc_from_scratch_has_at_most_150_lines():
    page = DOCS / "explanation" / "from_scratch.md"
    assert 100 < sum(text.count("\n") for text in pages.blocks(page, "python")) <= 150


def entries(page: Path) -> list[str]:
    """The pages that the tables of contents of a page name, relative to ``docs``."""
    lines = [line for tree in TREE.findall(page.read_text("utf-8")) for line in tree.splitlines()]
    names = [line for line in lines if line and not line.startswith(":")]
    return [str((page.parent / name).resolve().relative_to(DOCS)) for name in names]


def test_every_page_is_in_one_table_of_contents():
    """Mutation-checked: a page that no table names, and a name without a page."""
    named = [name for page in EVERY for name in entries(page)]
    there = {str(p.relative_to(DOCS).with_suffix("")) for p in EVERY}
    assert sorted(named) == sorted(there - {"index"} | {"reference/index"})


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> dict[str, str]:
    """The generated pages of the reference."""
    folder = tmp_path_factory.mktemp("site") / "reference"
    runpy.run_path(str(DOCS / "reference.py"))["write"](folder)
    return {p.name: p.read_text("utf-8") for p in folder.iterdir()}


def test_every_public_name_is_in_the_reference_once(reference):
    listed = re.findall(r":: graphc\.([\w.]+)$", "\n".join(reference.values()), re.MULTILINE)
    spaces = {n: getattr(gc, n) for n in gc._NAMESPACES}
    inner = {f"{space}.{name}": getattr(module, name) for space, module in spaces.items() for name in module.__all__}
    twice = {path for path, x in inner.items() if isinstance(x, type) and getattr(gc, x.__name__, None) is x}
    ours = {*gc.__all__} - spaces.keys() | (inner.keys() - twice)
    assert len(listed) == len(set(listed)) and ours <= {*listed}
    kinds = ("GraphClassifier", "GraphRegressor", "GraphTransformer", "SweepSearchCV")
    assert {*listed} - ours == {f"sklearn.{kind}" for kind in kinds}


def test_every_link_between_pages_leads_somewhere(reference):
    """Mutation-checked: a wrong file, and an anchor without a heading.  Links of the site stay within it."""
    lost = [
        f"{page.relative_to(ROOT)}: {file}#{anchor}"
        for page in [*EVERY, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
        for file, anchor in LINK.findall(_prose(page))
        if not _found(page, file, anchor, reference)
    ]
    assert lost == []


def _found(page: Path, file: str, anchor: str, reference: dict[str, str]) -> bool:
    target = (page.parent / file).resolve() if file else page
    if target.parent == DOCS / "reference":
        return target.name in reference
    inside = DOCS in target.parents or DOCS not in page.parents
    return inside and target.exists() and (not anchor or anchor in _anchors(target))


def _prose(page: Path) -> str:
    return re.sub(r"^```.*?^```|`[^`\n]+`", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)


def _anchors(page: Path) -> set[str]:
    """The anchors that Markdown gives to headings."""
    titles = re.findall(r"^#+ (.*)$", _prose(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
