"""What notebooks show: rich forms of results, a progress line that stays one line, and the lecture, executed.

Mutation-checked: a progress line that displays anew instead of updating, a cell that raises, a picture left out.
"""

from __future__ import annotations

import os
import re
import warnings
from pathlib import Path
from typing import Any

import pytest

import graphc as gc
from graphc.errors import MissingExtraError
from graphc.facade import attach  # noqa: F401  gives runs their methods
from graphc.run.history import History, Run
from graphc.run.progress import ProgressLine, progress_line
from graphc.show.notebook import text_and_picture

ROOT = Path(__file__).parent.parent
LECTURE = ROOT / "examples" / "lecture.ipynb"
MOST_PROGRAMS = 4
PATIENCE = 120  # seconds for a cell, on a busy machine
PICTURE = 'src="data:image/png;base64,iVBOR'


# ---------------------------------------------------------------- rich forms


def test_a_run_shows_its_text_and_its_curves():
    run = Run(History(loss=[1.0, 0.5], mae=[2.0, 1.0]), steps=8, seconds=0.5, latest={"loss": 0.5}, epochs=2)
    assert repr(run) == f"<Run: {run}>"
    html = run._repr_html_()
    assert html.startswith('<pre style="font-family:monospace">8 steps in 0.5 s (6.25e+04 us a step), finished; loss')
    assert html.count(PICTURE) == 1
    assert "<img" not in Run()._repr_html_()


def test_a_function_shows_its_formula_and_up_to_two_variables_a_picture():
    shown = [gc.function("f", "z**2 < 1"), gc.function("g", "a*b", variables=["a", "b"])]
    for f in shown:
        assert f._repr_html_().count(PICTURE) == 1
    assert "z**2 &lt; 1" in shown[0]._repr_html_()
    h = gc.function("h", "a*b*c", variables=["a", "b", "c"])
    assert h._repr_html_() == '<pre style="font-family:monospace">h(a, b, c) = a*b*c</pre>'


def test_without_matplotlib_the_text_remains():
    def plot(path: Path) -> None:
        raise MissingExtraError("plots need matplotlib")

    assert text_and_picture("a & b", plot) == '<pre style="font-family:monospace">a &amp; b</pre>'


def test_formulas_are_latex():
    X = gc.input("X", ("n", 2))
    J = gc.mean(gc.tanh(X @ gc.param("W", (2, 1))))
    for x in (J, gc.derive(J), gc.Adam(), gc.schedules.exponential(0.1, 0.9)):
        assert x._repr_latex_().startswith("$$") and not hasattr(x, "_repr_html_")


def test_outside_of_a_notebook_progress_is_drawn_in_the_terminal():
    assert type(progress_line(10, "training")) is ProgressLine


# ---------------------------------------------------------------- the lecture


def read(path: Path) -> Any:
    nbformat = pytest.importorskip("nbformat")
    found = nbformat.read(path, as_version=4)
    nbformat.validate(found)
    return found


@pytest.fixture(scope="module")
def executed(tmp_path_factory) -> tuple[Any, int]:
    """The notebook with its outputs, and how many programs it compiled from an empty cache."""
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    cache = tmp_path_factory.mktemp("cache")
    cache.chmod(0o700)
    env = os.environ | {"GRAPHC_CACHE": str(cache), "PYTHONPATH": str(ROOT), "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    notebook = read(LECTURE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of others: event loops and folders of Jupyter
        nbclient.NotebookClient(notebook, timeout=PATIENCE, kernel_name="python3").execute(env=env)
    return notebook, len(list(cache.glob("*.obj")))


def outputs(notebook: Any, text: str) -> list[Any]:
    """The outputs of the one cell that begins so."""
    [cell] = [c for c in notebook.cells if c.cell_type == "code" and c.source.startswith(text)]
    return cell.outputs


def test_the_lecture_is_committed_without_outputs():
    cells = [c for c in read(LECTURE).cells if c.cell_type == "code"]
    assert len(cells) > 15 and all(c.outputs == [] and c.execution_count is None for c in cells)


def test_the_lecture_runs_and_compiles_few_programs(executed):
    notebook, programs = executed
    found = [out for c in notebook.cells if c.cell_type == "code" for out in c.outputs]
    assert [out for out in found if out.output_type == "error" or out.get("name") == "stderr"] == []
    assert 0 < programs <= MOST_PROGRAMS


def test_the_lecture_has_its_pictures_and_formulas(executed):
    notebook, _ = executed
    for cell in ("f = gc.function", "g = gc.function", "run = model.fit", "rates =", "data =", "runs ="):
        assert PICTURE in outputs(notebook, cell)[-1].data["text/html"], cell
    assert outputs(notebook, "digits =")[-1].data["image/png"]
    for cell in ("X = gc.input", "P = gc.input", "gc.Momentum", "gc.Adam"):
        assert outputs(notebook, cell)[-1].data["text/latex"].startswith("$$"), cell


def test_the_lecture_says_what_is_true(executed):
    notebook, _ = executed
    difference = re.search(r"by hand: (\S+)", outputs(notebook, "run = model.fit")[0].text)
    assert difference and float(difference[1]) < 1e-6
    share = re.search(r"([\d.]+)% of 360 unseen digits", outputs(notebook, "W, B, V, C =")[0].text)
    assert share and float(share[1]) > 95
    whole, small = map(float, re.findall(r"(0\.\d+) in", outputs(notebook, "model.initialize(0)")[0].text))
    assert small < whole / 5
    assert re.search(r" In\[\d+\]:3$", outputs(notebook, "P = gc.input")[-1].data["text/plain"], re.MULTILINE)


def test_a_progress_line_leaves_one_line(executed):
    notebook, _ = executed
    line, result = outputs(notebook, "data =")
    assert re.fullmatch(r"training: 1,800 of 1,800 steps in [\d.e-]+ s", line.data["text/plain"])
    assert line.output_type == "display_data" and result.output_type == "execute_result"
