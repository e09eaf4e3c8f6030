"""An entry in parts gives the bits of the entry as a whole, whatever crosses between them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import numpy as np
import pytest

import graphc as gc
from graphc.emit import parts
from graphc.errors import CompileError
from graphc.native import build, divided, target, units

ENTRIES = {"step": ("float32*", "float64*", "int64*", "int64")}
PROGRAM = """
from numpy import float32 as f
{imports}{constant}
def step(X, Y, C, n):
    noalias()
    width = 3
    copy(X, 6, X, 4, 2)
    total = f(0.0)
    weight = 0.0
    carried = 0.0
    turns = 0
    done = 0
    while done < n:
        half = width*done//2
        for i in range(width):
            X[i] = X[i] + f(0.25)*X[i + width]
            total = total + X[i]*X[i]
        for t in range(done, 3*n, n):
            weight = weight + 0.5*float(t)
            for k in range(0, 2*width, 2):
                if k > 2:
                    break
                Y[k] = Y[k] + weight*Y[k + 1]
        for i in range(2*width):
            carried = 0.5*carried + float(i)
            Y[i] = Y[i] + carried
        if done % 2 == 0:
            last = done + half
            Y[last % 4] = Y[last % 4] - 1.0
            for i in range(width):
                X[i + width] = X[i + width]*f(0.5) + f(i)
        else:
            turns = turns + 1
        for i in range(2*width):
            C[i] = C[i] + half + turns
            Y[i] = Y[i] + float(total)*weight
        if weight > 40.0:
            done = done + 1
            turns = turns + 10*width
        done = done + 1
        if done > 7:
            break
    C[0] = turns
    copy(X, 4, X, 7, 1)
    return done
"""


IMPORTS = "from graphc.primitives.names import copy, noalias\n"


def text(count: int) -> str:
    return PROGRAM.format(imports=IMPORTS, constant=f"{parts.PARTS} = {count}" if count else "")


def in_python() -> dict:
    """The same text, run by Python."""

    def copy(target: np.ndarray, at: int, source: np.ndarray, begin: int, count: int) -> None:
        target[at : at + count] = source[begin : begin + count].copy()

    names: dict = {"copy": copy, "noalias": lambda: None}
    exec(PROGRAM.format(imports="", constant=""), names)  # noqa: S102  the text of this file
    return names


def arrays() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=8).astype("f4"), rng.normal(size=8), np.arange(8)


def test_the_parts_of_an_entry_are_runs_of_its_statements():
    """Of those that no way leads out of, each once, in their order; the more there are to be, the shorter they are."""
    [entry] = [s for s in ast.parse(text(0)).body if isinstance(s, ast.FunctionDef)]
    lengths = []
    for count in (2, 3, 5, 9):
        found = divided.parts_of(entry.body, count)
        lines = [line for run in found for s in run for line in range(s.lineno, (s.end_lineno or s.lineno) + 1)]
        assert lines == sorted(set(lines)) and found
        assert not any(isinstance(s, ast.While | ast.Return | ast.Break) for run in found for s in run)
        lengths.append(max(sum(map(divided._Weights().of, run)) for run in found))
    assert lengths == sorted(lengths, reverse=True) and lengths[-1] < lengths[0] / 2
    assert divided.parts_of(entry.body, 1) == []


@pytest.mark.parametrize("count", [0, 3, 9])
def test_a_program_in_parts_computes_what_its_text_says(count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Beside Python, which runs the same text. Planted faults, seen to fail: a number that a part changes and the entry
    does not take back; one that only later turns of the part itself read; a step of a loop taken for 1; a call at
    the top of the entry repeated in every part."""
    monkeypatch.setattr(target, "_of_byte_code", None)
    wanted, found = arrays(), arrays()
    steps = in_python()["step"](*wanted, 6)
    before = build.unit_statistics["compiled"]
    program = build.build(text(count), ENTRIES, name="parts", folder=tmp_path)
    assert program.call("step", *(a.ctypes.data for a in found), 6) == steps
    assert build.unit_statistics["compiled"] - before >= count // 2
    for a, b in zip(wanted, found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


LATE = """
from numpy import float64 as f
from graphc.primitives.names import noalias, sin
{constant}
def call(X, Y, C, n):
    noalias()
    for i in range(n):
        X[i] = X[i] + f(1.0)
    for i in range(n):
        Y[i] = sin(X[i])
    return 0
"""


def test_functions_that_are_written_behind_the_vectoriser_follow_their_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A part that left one behind would call address 0; that is told when it is compiled."""
    entries = {"call": ("float64*", "float64*", "int64*", "int64")}
    monkeypatch.setattr(divided, "SHORT", 0.0)
    x, y = np.arange(8.0), np.zeros(8)
    program = build.build(LATE.format(constant="PARTS = 2"), entries, name="late", folder=tmp_path)
    program.call("call", x.ctypes.data, y.ctypes.data, 0, 8)
    np.testing.assert_allclose(y, np.sin(np.arange(1.0, 9.0)), rtol=1e-14)
    monkeypatch.setattr(units, "keeper", lambda name: name)
    with pytest.raises(CompileError, match=r"'late' calls graphc_late_\w+, which nothing defines"):
        build.compile_image(LATE.format(constant="PARTS = 2"), entries, name="late")


INLINE = """
from numpy import float32 as f
from graphc.primitives.matmul.gemm import gemm
from graphc.primitives.names import noalias
PARTS = 2
def call(X, Y, C, n):
    noalias()
    gemm(X, 0, 4, 1, X, 64, 8, 1, Y, 0, 8, n, 8, 4, Y, 0, 0)
    for i in range(n):
        Y[i] = Y[i]*Y[i] + f(1.0)
    for i in range(n):
        Y[i + 8] = Y[i + 8]*Y[i + 8] + f(1.0)
    gemm(Y, 0, 1, 8, Y, 64, 8, 1, X, 0, 8, 8, 8, n, Y, 0, 0)
    return 0
"""


def test_a_product_that_is_put_into_a_part_stands_beside_no_other_text(monkeypatch: pytest.MonkeyPatch):
    """Seen to fail where the entry brings along whatever the module holds: LLVM read, and dropped, a seventh of all."""
    monkeypatch.setattr(divided, "SHORT", 0.0)
    entries = {"call": ("float32*", "float32*", "int64*", "int64")}
    tree = ast.parse(INLINE)
    functions = build._execute(INLINE, "inline", target.replace_numbers, tree)
    wanted = {"call": (functions["call"], entries["call"])}
    own, found = target.lower(wanted, None, build.functions_of(tree))
    texts = [*own, *(part for unit in found.values() for part in unit)]
    products = [re.findall(r"^define .*(graphc_gemm_\w+)", text, re.MULTILINE) for text in texts]
    called = [re.findall(r"call void @\"(graphc_gemm_\w+)\"", text) for text in texts]
    assert products == called and sum(map(len, products)) == 2 and not called[0]


def test_training_in_parts_has_the_same_bits(monkeypatch: pytest.MonkeyPatch):
    """By two threads, in batches and all rows at once."""
    monkeypatch.setattr(target, "_of_byte_code", None)
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(96, 20)), rng.integers(0, 4, 96)

    def trained(batch: int | None) -> list:
        X, T = gc.input("X", ("n", 20)), gc.input("T", ("n",), dtype="int64")
        h = gc.nn.sequential(X, gc.nn.Dense(24, gc.tanh), gc.nn.Dense(4)).output
        model = gc.Model(output=h, loss=gc.losses.cross_entropy(h, T))
        run = model.fit(x, t, optimizer="adam", steps=6, batch_size=batch, threads=2, seed=1)
        return [model.source().count(parts.PARTS), list(run.history["loss"]), model.predict(x).tobytes()]

    monkeypatch.setattr(parts, "WORK", 10**12)
    wanted = [trained(32), trained(None)]
    for name, value in {"LINES": 5, "MOST": 20, "WORK": 0}.items():
        monkeypatch.setattr(parts, name, value)
    found = [trained(32), trained(None)]
    assert [a[0] for a in wanted] == [0, 0] and [a[0] for a in found] == [1, 1]
    assert [a[1:] for a in wanted] == [a[1:] for a in found]
