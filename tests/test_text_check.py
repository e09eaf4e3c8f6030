"""The check of program texts finds faults that are planted in them, and none in the programs as they are.

Every test of this folder is followed by this check (``tests/conftest.py``); what it knows is in :mod:`tests.text_check`.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

import graphc as gc
from graphc.emit.check import decided, unassigned
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
        "A[U0 + i*6 + j] =", "A[U0 + i*5 + j] =", "U0[36] is read, but nothing has written"),
    "a stride that is too long in a read": (
        "top = rtop(top, A[Z1 + i*5 + j])", "top = rtop(top, A[Z1 + i*6 + j])", "Z1[40] is read, but the buffer has 35"),
    "the offset of a neighbour": (
        "A[t4_log + i] = log(s)", "A[t4 + i] = log(s)", "t4_log[0] is read, but nothing has written"),
    "an offset of another buffer in a constant": ("\nU0 = 144", "\nU0 = 143", "U0[-1] is written, but the buffer has 42"),
    "a guard that is dropped": (
        "(tanh(A[Z0 + i*6 + j + 1]) if -j + 4 >= 0 else f(0.0))", "tanh(A[Z0 + i*6 + j + 1])",
        "Z0[42] is read, but the buffer has 42"),
    "a guard that lets one index too many": ("if j - 1 >= 0", "if j >= 0", "G0[-1] is read, but the buffer has 42"),
    "a guard that is decided": ("if j - 1 >= 0", "if -1 >= 0", "a condition is decided"),
    "a loop of one turn too many": (
        "for j in range(5):\n                    s = rmax", "for j in range(6):\n                    s = rmax",
        "Z1[35] is read, but the buffer has 35"),
    "an accumulator without a start": ("s = -INF\n", "\n", "s is read, but no assignment leads here"),
    "a sum in memory without a start": (
        "            for i in range(6):\n                G[b + i] = f(0.0)\n", "", "b[0] is read, but nothing has written"),
    "an index behind its loop": ("A[t4 + i] = ", "A[t4 + j] = ", "j is read, but no assignment leads here"),
    "a part that is never written": (
        "                A[t4_log + i] = log(s)\n", "", "t4_log[0] is read, but nothing has written"),
    "a name assigned in one branch": (
        "            c0 = f(1.0)/f(n)\n            s", "            if n > 1:\n                c0 = f(1.0)/f(n)\n            s",
        "c0 is read, but no assignment leads here"),
    "a name that is not assigned": (
        "                a1 = A[t4 + i]\n", "", "a1 is read, but no assignment leads here"),
    "a name that another kernel left": (
        DELTA + "            c0 = f(1.0)/f(n)\n", "            c0 = f(1.0)/f(n)\n" + DELTA,
        "c0 is read, but no assignment leads here"),
    "rows of a full batch in the last": (
        "n = rows - at if rows - at < n_cap else n_cap", "n = n_cap", "row[13] is read, but the buffer has"),
    "a sum over rows that this batch has not": (
        "for i in range(n):\n                s = radd(s, c0*A[t6", "for i in range(n_cap):\n                s = radd(s, c0*A[t6",
        "t6[1] is read, but nothing has written in this step"),
    "one row gathered too many": (
        "        for i in range(first_row, last_row):\n            row",
        "        for i in range(first_row, last_row + 1):\n            row", "L[7] is read, but the buffer has 7"),
    "rows of the data that are too long": ("x_data, row*6, 6)", "x_data, row*7, 6)", "x_data[54] is read, but the buffer has 48"),
    "a scatter that fills nothing": ("            fill(G, E, f(0.0), 30)\n", "", "is read, but nothing has written"),
    "a scatter that fills too much": ("fill(G, E, f(0.0), 30)", "fill(G, E, f(0.0), 31)", "E[30] is written, but"),
    "a product of one term too many": (
        "Z0 + lo*6, 6, hi - lo, 6, 6, P, b, 2)", "Z0 + lo*6, 6, hi - lo, 6, 7, P, b, 2)", "W[41] is read, but"),
    "a product of one row too many": (
        "Z1 + lo*5, 5, hi - lo, 5, 6, A", "Z1 + lo*5, 5, hi - lo + 1, 5, 6, A", "Z1[39] is written, but the buffer has 35"),
    "a product whose rows lie too close": (
        "A, Z1 + lo*5, 5, hi", "A, Z1 + lo*5, 4, hi", "Z1[29] is read, but nothing has written"),
    "a copy transposed wrongly": ("transpose(A, V_T, P, V, 6, 5)", "transpose(A, V_T, P, V, 6, 6)", "V[35] is read, but"),
    "a result that lands elsewhere": (
        "A[t7] = s", "A[J] = s", "t7[0] is read, but nothing has written"),
    "a neighbour that comes in a later turn": (
        "                A[H0 + t] = tanh(A[Z0 + t])\n",
        "                A[H0 + t] = tanh(A[Z0 + t])\n                A[G0 + t] = A[H0 + min(t + 1, hi*6 - 1)]\n",
        "H0[1] is read, but is written later, by this very loop nest"),
    "an element that nobody's name holds": ("A[t6 + i] = s", "A[448 + i] = s", "is addressed by no buffer"),
    "two offsets in one address": ("A[t6 + i] = s", "A[t6 + t4 + i] = s", "is addressed by t6 and t4"),
    "no meeting": (MEETING, "", "another thread writes since the threads last met"),
    "a loop whose index is taken": ("for k in range(n):\n                for j", "for j in range(n):\n                for j", "j is the index of a loop around it"),
}  # fmt: skip


def test_the_program_as_it_is_has_no_finding():
    assert findings_of(training()) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(fault: str):
    """The text with that fault, run as the others are."""
    old, new, wanted = FAULTS[fault]
    text = training().program.text
    assert text.count(old) >= 1, "the text has changed: plant the fault elsewhere"
    found = findings_of(training(), text.replace(old, new, 1))
    assert any(wanted in finding for finding in found), found


def evaluation() -> Case:
    """Another loss and a whole output, five rows at a time."""
    model = network()
    with recording() as cases:
        roots = {"y": model.graph.roots["output"], "loss": model.graph.roots["loss"]}
        evaluation_text("model", roots, model.param_leaves, ["y"], ["loss"], "float64", 5)
    return cases[0]


def call() -> Case:
    """A function of two free extents, with a constant array that serves as an index."""
    a, b = gc.input("a", ("n", 3)), gc.input("b", ("m", 3))
    places = gc.constant(np.array([2, 0, 1, 1]))
    roots = [gc.tanh(a @ b.T), gc.logsumexp(a, axis=1)[:, None] * a[:, places]]
    with recording() as cases:
        function_text("call", [y.node for y in roots], [a.node, b.node], "float64")
    return cases[0]
