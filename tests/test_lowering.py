"""Generated text -> LLVM by its syntax tree: what Python computes, bit for bit what Numba's passes make of it."""

from __future__ import annotations

import ast
from collections.abc import Callable

import numpy as np
import pytest

import graphc as gc
from graphc.facade import preparing
from graphc.native import build, loader, machine_code, target
from graphc.optim import rule_named
from tests.covering.compare import check
from tests.covering.search import graphs_of
from tests.gallery import ENTRIES
from tests.text_check import recording

WORDS = {"run": ("float64*", "int64*", "int64", "int64")}
TEXT = """
import math
from numpy import float64 as f
INF = f(math.inf)
HALF = 0.5
PLACE = 3
def part(a, at, n):
    for i in range(n):
        a[at + i] = a[at + i]*f(HALF) - f(1.0)/f(n)
    return 0
def run(a, c, n, m):
    done = 0
    small = 2
    total = f(0.0)
    while done < n:
        for i in range(n - 1, -1, -2):
            a[i] = a[i] + float(i)/float(m)
            total = total + (a[i] if i % 3 != 0 and not a[i] < 0.25 else -a[i])
        for lo in range(1, n, 4):
            hi = lo + 4 if lo + 4 < n else n
            for j in range(lo, hi):
                c[j] = c[j] + (j - m)//3 + (j - m)%5 - small
                if c[j] >= m or c[j] == PLACE:
                    c[j] = -c[j]
                elif not (a[j] < INF and j != 1):
                    c[j] = 7
                else:
                    a[j] = total - a[j]*f(2)
        part(a, PLACE, n - PLACE)
        done = done + 1
        if total > 1e3 or c[2] > 40:
            break
    for empty in range(5, 5):
        a[0] = INF
    a[0] = f(done)/f(-3) + total
    return done*10 + (1 if n > m else 2)
"""


def compiled(text: str, words: dict[str, tuple[str, ...]], trees: bool) -> loader.Program:
    """The text as a program, by its syntax tree or by its byte code."""
    tree = ast.parse(text)
    functions = build._execute(text, "m", target.replace_numbers, tree)
    shared = target.replace_shared(functions, words)
    entries = {name: (functions[name], kinds) for name, kinds in words.items()}
    own, units = target.lower(entries, shared, build.functions_of(tree) if trees else {})
    images = machine_code.compiled([own, *units.values()], target.target_machines(2))
    return loader.Program("m", loader.pack(images), words)


def memory() -> tuple[np.ndarray, np.ndarray]:
    return np.random.default_rng(0).normal(size=16), np.arange(-8, 8)


@pytest.fixture
def never_by_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "_of_byte_code", None)


def test_a_text_of_everything_computes_what_python_does_and_numba_s_passes_do(monkeypatch: pytest.MonkeyPatch):
    """Seen to fail: and for or, not that is no not, steps that do not divide a range, steps backwards."""
    by_numba = compiled(TEXT, WORDS, trees=False)
    monkeypatch.setattr(target, "_of_byte_code", None)
    by_tree = compiled(TEXT, WORDS, trees=True)
    python: dict[str, Callable] = {}
    exec(TEXT, python)  # noqa: S102  our own text
    for n, m in ((16, 3), (9, 12), (1, 1), (0, 5), (13, 13)):
        results = []
        for run in (by_numba, by_tree, python["run"]):
            a, c = memory()
            if callable(run):
                results.append((run(a, c, n, m), a, c))
            else:
                results.append((run.call("run", a.ctypes.data, c.ctypes.data, n, m), a, c))
        for result in results[1:]:
            assert result[0] == results[0][0]
            np.testing.assert_array_equal(result[2], results[0][2])
        np.testing.assert_array_equal(results[1][1], results[0][1])
        np.testing.assert_allclose(results[2][1], results[0][1], rtol=1e-13)  # without fused multiply-add


KINDS = ("int32", "int64", "float32", "float64")
OPERATORS = ("+", "-", "*", "/", "<", "<=", ">", ">=", "==", "!=")


def test_operators_have_the_types_and_bits_that_numba_finds(monkeypatch: pytest.MonkeyPatch):
    """Every pair of kinds of numbers that memory holds; NaN, infinities, zeros of both signs. Planted faults, seen to
    fail: two float32 give float64, an int32 beside a float32 gives float32, != or the truth of NaN is ordered, whole
    numbers grow without their sign."""
    pairs = [(a, b) for a in KINDS for b in KINDS]
    given = {kind: np.array([0, 3, -7, 1 << 20, -2, 1], kind) for kind in KINDS}
    for kind in KINDS[2:]:
        given[kind][:5] = [np.nan, np.inf, -0.0, 16777217.0, -2.3]
    lines, words = [], {}
    for t, (a, b) in enumerate(pairs):
        lines += [f"def run{t}(a, b, out, f, n, m):", "    for i in range(6):", "        for j in range(6):"]
        for k, op in enumerate(OPERATORS):
            value = f"a[i]{op}b[j]" if k < 4 else f"(1 if a[i] {op} b[j] else 0)"
            lines.append(f"            out[({k}*6 + i)*6 + j] = {value}")
        chosen = "float(f32(a[i])) - b[j]*2.0 if a[i] and not -b[j] < 0 else -float(f32(b[j]))"
        lines += [f"            f[i*6 + j] = {chosen}", "    return n"]
        words[f"run{t}"] = (f"{a}*", f"{b}*", "float64*", "float32*", "int64", "int64")
    text = "from numpy import float32 as f32\n" + "\n".join(lines)
    by_numba = compiled(text, words, trees=False)
    monkeypatch.setattr(target, "_of_byte_code", None)
    programs = [compiled(text, words, trees=True), by_numba]
    for t, (a, b) in enumerate(pairs):
        found = []
        for program in programs:
            out, f = np.zeros(36 * len(OPERATORS)), np.zeros(36, "float32")
            addresses = [x.ctypes.data for x in (given[a], given[b], out, f)]
            assert program.call(f"run{t}", *addresses, 5, 6) == 5
            found.append(out.tobytes() + f.tobytes())
        assert found[0] == found[1], (a, b)
        with np.errstate(all="ignore"):
            smaller = np.less.outer(given[a], given[b]).ravel()
        np.testing.assert_array_equal(out[4 * 36 : 5 * 36], smaller)


UNFIT = """
def run(a, c, n, m):
    x = 1
    if 0 < n < m:
        x = a[0]
    return c[0] + (2 if x > 2.0 else 1)
"""


def test_text_of_another_form_goes_through_numba():
    """A chained comparison, a name of two types: whole numbers become floats, as Numba has it."""
    program = compiled(UNFIT, WORDS, trees=True)
    a, c = np.array([2.5]), np.array([10])
    assert [program.call("run", a.ctypes.data, c.ctypes.data, n, 4) for n in (3, 4)] == [12, 11]


@pytest.mark.usefixtures("never_by_numba")
def test_the_texts_of_graphc_never_need_numba_s_passes():
    """Graphs of the covering array, models of the literature and every update rule; nothing is optimised here."""
    with recording() as cases:
        for description in graphs_of(0)[::15]:
            check(description)
        for entry in ENTRIES[::6]:
            preparing.training_lowered(gc.Model(loss=entry.loss)._core, gc.SGD(0.1), 8)
        model = gc.Model(loss=ENTRIES[0].loss)
        for name in ("adam", "lamb", "adafactor", "rprop", "muon", "lion"):
            preparing.training_lowered(model._core, rule_named("fit", name), 8)
    assert len(cases) > 30
    for case in cases:
        lowered(case.program.text, {case.program.entry: case.program.signature})


def lowered(text: str, words: dict[str, tuple[str, ...]]) -> None:
    tree = ast.parse(text)
    functions = build._execute(text, "m", target.replace_numbers, tree)
    shared = target.replace_shared(functions, words)
    target.lower({n: (functions[n], kinds) for n, kinds in words.items()}, shared, build.functions_of(tree))
