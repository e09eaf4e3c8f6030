"""The check of program texts finds faults that are planted in them, and none in the programs as they are.

Every test of this folder is followed by the check (``tests/conftest.py``), which is that of :mod:`tests.text_check`.
"""

from __future__ import annotations

import re
from functools import cache

import numpy as np
import pytest

import graphc as gc
from graphc.emit.text import Text
from graphc.errors import REPORT, CompileError
from graphc.facade.pipeline import read_graph
from graphc.facade.preparing import training_lowered
from graphc.facade.programs import evaluation_text, function_text
from graphc.lower.layout import Count, Live, plan_memory
from graphc.lower.plan import PlanOptions
from graphc.show.formulas import Printer as IndexPrinter
from tests import nets
from tests.text_check import Case, findings_of, recording

ROWS = 7


def network() -> gc.Model:
    """A product with a bias, rows that are shifted behind masks, a table read by labels, a logsumexp, a metric."""
    x, t = gc.input("x", ("n", 6)), gc.input("t", ("n",), dtype="int64")
    h = gc.tanh(x @ gc.param("W", (6, 6), gc.normal(0.5)) + gc.param("b", (6,), 0.1))
    h = gc.concatenate([h[:, 1:], h[:, :1] * 2], axis=1) * gc.param("E", (5, 6), gc.normal(0.5))[t]
    z = h @ gc.param("V", (6, 5), gc.normal(0.5))
    highest = gc.mean(gc.max(z, axis=1))
    return gc.Model(output=z, loss=gc.losses.cross_entropy(z, t), metrics={"highest": highest}, dtype="float64")


@cache
def training() -> Case:
    with recording() as cases:
        network().source(batch_size=ROWS)
    return cases[0]


MEETING = """        if team > 1:
            tick = tick + team
            meet(C, 24, tick)
"""
DELTA = "            # δ1[i,j] = (softmax(Z1)[i,j] - [t[i]=j]) / n   (1)\n"
# what stands in the text, what is put there instead, what is found
FAULTS = {
    "a stride that is too short in a write": (
        "A[U0 + i*6 + j] =",
        "A[U0 + i*5 + j] =",
        "U0[36] is read, but nothing has written",
    ),
    "a stride that is too long in a read": (
        "top = rtop(top, A[Z1 + i*5 + j])",
        "top = rtop(top, A[Z1 + i*6 + j])",
        "Z1[40] is read, but the buffer has 35",
    ),
    "the offset of a neighbour": (
        "A[t4_log + i] = log(s)",
        "A[t4 + i] = log(s)",
        "t4_log[0] is read, but nothing has written",
    ),
    "an offset of another buffer in a constant": (
        "\nU0 = 96",
        "\nU0 = 95",
        "U0[-1] is written, but the buffer has 42",
    ),
    "a guard that is dropped": (
        "(A[H0 + i*6 + j + 1] if -j + 4 >= 0 else f(0.0))",
        "A[H0 + i*6 + j + 1]",
        "H0[42] is read, but the buffer has 42",
    ),
    "a guard that lets one index too many": ("if j - 1 >= 0", "if j >= 0", "G0[-1] is read, but the buffer has 42"),
    "a guard that is decided": ("if j - 1 >= 0", "if -1 >= 0", "a condition is decided"),
    "a loop of one turn too many": (
        "for j in range(5):\n                    s = rmax",
        "for j in range(6):\n                    s = rmax",
        "Z1[35] is read, but the buffer has 35",
    ),
    "an accumulator without a start": ("s = -INF\n", "\n", "s is read, but no assignment leads here"),
    "a sum in memory without a start": (
        "            for i in range(6):\n                G[b + i] = f(0.0)\n",
        "",
        "b[0] is read, but nothing has written",
    ),
    "an index behind its loop": ("A[t4 + i] = ", "A[t4 + j] = ", "j is read, but no assignment leads here"),
    "a part that is never written": (
        "                A[t4_log + i] = log(s)\n",
        "",
        "t4_log[0] is read, but nothing has written",
    ),
    "a name assigned in one branch": (
        "            c0 = f(1.0)/f(n)\n            s",
        "            if n > 1:\n                c0 = f(1.0)/f(n)\n            s",
        "c0 is read, but no assignment leads here",
    ),
    "a name that is not assigned": (
        "                a2 = A[t4_inverse + i]\n",
        "",
        "a2 is read, but no assignment leads here",
    ),
    "a name that another kernel left": (
        DELTA + "            c0 = f(1.0)/f(n)\n",
        "            c0 = f(1.0)/f(n)\n" + DELTA,
        "c0 is read, but no assignment leads here",
    ),
    "rows of a full batch in the last": (
        "n = rows - at if rows - at < n_cap else n_cap",
        "n = n_cap",
        "row[13] is read, but the buffer has",
    ),
    "a sum over rows that this batch has not": (
        "for i in range(n):\n                s = radd(s, c0*A[t6",
        "for i in range(n_cap):\n                s = radd(s, c0*A[t6",
        "t6[1] is read, but nothing has written in this step",
    ),
    "one row gathered too many": (
        "        for i in range(first_row, last_row):\n            row",
        "        for i in range(first_row, last_row + 1):\n            row",
        "L[7] is read, but the buffer has 7",
    ),
    "rows of the data that are too long": (
        "x_data, row*6, 6)",
        "x_data, row*7, 6)",
        "x_data[54] is read, but the buffer has 48",
    ),
    "a scatter that fills nothing": ("            fill(G, E, f(0.0), 30)\n", "", "is read, but nothing has written"),
    "a scatter that fills too much": ("fill(G, E, f(0.0), 30)", "fill(G, E, f(0.0), 31)", "E[30] is written, but"),
    "a product of one term too many": (
        "Z0 + lo*6, 6, hi - lo, 6, 6, P, b, 2)",
        "Z0 + lo*6, 6, hi - lo, 6, 7, P, b, 2)",
        "W[41] is read, but",
    ),
    "a product of one row too many": (
        "Z1 + lo*5, 5, hi - lo, 5, 6, A",
        "Z1 + lo*5, 5, hi - lo + 1, 5, 6, A",
        "Z1[39] is written, but the buffer has 35",
    ),
    "a product whose rows lie too close": (
        "A, Z1 + lo*5, 5, hi",
        "A, Z1 + lo*5, 4, hi",
        "Z1[29] is read, but nothing has written",
    ),
    "a copy transposed wrongly": (
        "transpose(A, V_T, P, V, 6, 5, 5)",
        "transpose(A, V_T, P, V, 6, 6, 5)",
        "V[30] is read, but the buffer has 30",
    ),
    "a result that lands elsewhere": ("A[t7] = s", "A[J] = s", "t7[0] is read, but nothing has written"),
    "a neighbour that comes in a later turn": (
        "                A[H0 + t] = tanh(A[Z0 + t])\n",
        "                A[H0 + t] = tanh(A[Z0 + t])\n                A[G0 + t] = A[H0 + min(t + 1, hi*6 - 1)]\n",
        "H0[1] is read, but is written later, by this very loop nest",
    ),
    "an element that nobody's name holds": ("A[t6 + i] = s", "A[448 + i] = s", "is addressed by no buffer"),
    "an address with two offsets": ("A[t6 + i] = s", "A[t6 + t4 + i] = s", "is addressed by t6 and t4"),
    "no meeting": (MEETING, "", "another thread writes since the threads last met"),
    "a loop whose index is taken": (
        "for k in range(n):\n                for j",
        "for j in range(n):\n                for j",
        "j is the index of a loop around it",
    ),
}


def test_the_program_as_it_is_has_no_finding():
    assert findings_of(training()) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(fault: str):
    """The text with that fault, run as the others are."""
    old, new, wanted = FAULTS[fault]
    text = training().program.shown
    assert text.count(old) >= 1, "the text has changed: plant the fault elsewhere"
    found = findings_of(training(), text.replace(old, new, 1))
    assert any(wanted in finding for finding in found), found


def test_formulas_are_written_when_the_text_is_read(monkeypatch: pytest.MonkeyPatch):
    """What is compiled has numbers in their places, line for line; seen to fail where a mapping of captions is asked
    whether it is empty."""
    made: list[str] = []
    right = IndexPrinter.right
    monkeypatch.setattr(IndexPrinter, "right", lambda printer: (made.append(printer.left()), right(printer))[1])
    program = training_lowered(network()._core, gc.SGD(0.1), ROWS).text
    assert not made
    pairs = [*zip(program.text.splitlines(), program.shown.splitlines(), strict=True)]
    noted = [(number, formula) for number, formula in pairs if number != formula]
    assert [number.strip() for number, _ in noted] == [f"# kernel {t}" for t in range(len(program.notes))]
    assert DELTA.rstrip() in [formula for _, formula in noted]
    assert made


@cache
def evaluation() -> Case:
    """The loss and the output, five rows at a time."""
    model = network()
    with recording() as cases:
        (output,) = (r for name, r in model._core.graph.roots.items() if name.startswith("output:"))
        roots = {"y": output, "loss": model._core.graph.roots["loss"]}
        evaluation_text("model", roots, model._core.param_leaves, ["y"], ["loss"], 5, PlanOptions("float64"))
    return cases[0]


@cache
def call() -> Case:
    """A function of two free extents, with a constant array that serves as an index."""
    a, b = gc.input("a", ("n", 3)), gc.input("b", ("m", 3))
    values = [gc.tanh(a @ b.T), gc.logsumexp(a, axis=1)[:, None] * a[:, np.array([2, 0, 1, 1])]]
    with recording() as cases:
        roots = read_graph({f"y{t}": y.node for t, y in enumerate(values)}).roots
        function_text("call", [*roots.values()], [a.node, b.node], PlanOptions("float64"))
    return cases[0]


OTHERS = {
    "an output whose last rows are missing": (
        evaluation,
        "y_out, y_rows, 5, n, 5, 6",
        "y_out, y_rows, 5, n - 1, 5, 6",
        "y_rows[20] is read, but nothing has written",
    ),
    "an output that is too long": (
        evaluation,
        "y_out, y_rows, 5, n, 5, 6",
        "y_out, y_rows, 5, n_cap, 5, 6",
        "t2[6] is read, but nothing",
    ),
    "rows that do not go on": (evaluation, "x_ = at*6", "x_ = at*6 + 6", "but the buffer has 0 element"),
    "labels of the rows before": (evaluation, "t_data[t_ + i]", "t_data[t_ + i - n]", "t_[-5] is read, but"),
    "extents that are exchanged": (
        call,
        "y0_out[i*m__cap",
        "y0_out[i*n_cap",
        "y0_out[2] is written, but the buffer has 2",
    ),
    "a gather from the next row": (
        call,
        "x0_a[i*3 + int64",
        "x0_a[i*3 + 1 + int64",
        "x0_a[6] is read, but the buffer has 6",
    ),
    "a table of places that is too short": (call, "for j in range(4)", "for j in range(5)", "K_0[4] is read, but"),
    "an offset without the other buffer's size": (
        call,
        "b2_t2_log = 16*m__cap*n_cap + 16*n_cap",
        "b2_t2_log = 16*n_cap",
        "t2_log",
    ),
}


@pytest.mark.parametrize("fault", OTHERS)
def test_a_fault_planted_in_an_evaluation_or_a_function_is_found(fault: str):
    case, old, new, wanted = OTHERS[fault]
    assert findings_of(case()) == [] and old in case().program.text
    found = findings_of(case(), case().program.text.replace(old, new, 1))
    assert any(wanted in finding for finding in found), found


# ---------------------------------------------------------------- faults of the compiler


def found_in(model: gc.Model) -> list[str]:
    with recording() as cases:
        model.source(batch_size=ROWS)
        (case,), cases[:] = cases, []
    return findings_of(case)


def test_memory_that_is_given_away_too_early_is_found(monkeypatch: pytest.MonkeyPatch):
    def short(requests: list[Live], capacity: dict[str, int]) -> Count:
        return plan_memory([Live(r.buffer, r.start, r.start) for r in requests], capacity)

    monkeypatch.setattr("graphc.lower.plan.plan_memory", short)
    assert any("was last written as part of" in finding for finding in found_in(network()))


def test_a_result_written_in_place_of_what_a_later_turn_reads_is_found(monkeypatch: pytest.MonkeyPatch):
    """Column 5 of the shifted rows reads column 0, which the first turn has overwritten."""
    monkeypatch.setattr("graphc.lower.lifetimes._at_same_place", lambda y, read: True)
    monkeypatch.setattr("graphc.lower.lifetimes._reads_last", lambda kernel, readers: True)
    assert any("later" in finding or "was last written as part of" in finding for finding in found_in(network()))


def test_rows_that_lie_too_close_are_found(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("graphc.emit.loops.KernelPrinter._row_stride", staticmethod(lambda p: "4"))
    assert any("is read, but nothing has written" in finding for finding in found_in(network()))


def test_a_finding_names_line_buffer_element_and_reason():
    text = training().program.text.replace("A[t6 + i] = s", "A[t6 + i + 1] = s")
    line = text[: text.index("A[t6 + i + 1]")].count("\n") + 1
    expected = f"line {line}, A[t6 + i + 1] = s: t6[7] is written, but the buffer has 7 elements"
    assert expected in findings_of(training(), text)


def test_a_program_that_reads_an_unassigned_name_is_not_compiled(monkeypatch: pytest.MonkeyPatch):
    """What is read once, outside the innermost loop, is left out."""
    loops = Text.loops
    monkeypatch.setattr(Text, "loops", lambda text, heads, invariant=(): loops(text, heads))
    data = {"x": np.zeros((ROWS, 6)), "t": np.zeros(ROWS, int)}
    with recording(), pytest.raises(CompileError) as caught:
        network().fit(data, steps=1, batch_size=ROWS)
    first, hint = nets.text_of(caught).split("\n")
    assert re.match(r"internal defect: the text of the program 'model': line \d+, A\[δ1 \+ i\*5 \+ j\] = ", first)
    assert first.endswith(": a2 is read, but no assignment leads here") and hint == f"  hint: {REPORT}"
