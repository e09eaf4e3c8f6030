"""``check_bounds=True``: what a program would read or write outside of its arrays is found before it is touched.

Faults are planted in texts: in one by hand, which has every kind of place that texts have, and in those of models.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.declare.tensor import Tensor
from graphc.emit import bounds as words
from graphc.emit.bounds import without_table
from graphc.emit.cpu import Program as Text
from graphc.errors import CompilerError, DomainError
from graphc.native.buffers import address, aligned
from graphc.native.build import build
from graphc.native.touched import BLOCKS
from graphc.primitives import names
from graphc.run import bounds
from tests import nets
from tests.gallery import ENTRIES

TEXT = '''"""A table by labels, a shift behind a mask, a product, a scan, a shared nest, a pivot"""
from numpy import float32 as f

from graphc.primitives.names import copy, gemm, noalias, radd

W = 0
H = 16
Z = 48


def nest_1(x0, at0, n):
    noalias()
    for t in range(n*2):
        x0[at0 + t] = x0[at0 + t] + f(1.0)
    return 0


def call(A, P, C, L, x, y):
    noalias()
    n = C[0]
    copy(A, H, x, 0, n*3)
    # h[t] = 2 h[t]
    for now in range(n):
        h = H + now*3
        for j in range(3):
            A[h + j] = f(2.0)*A[h + j]
    # Z = H W
    gemm(A, H, 3, 1, P, W, 2, 1, A, Z, 2, n, 2, 3, P, W, 0)
    nest_1(A, Z, n)
    # y[i] = Σ_j Z[l[i], j] + H[i + 1]
    for i in range(n):
        s = f(0.0)
        for j in range(2):
            s = radd(s, A[Z + L[i]*2 + j] + (A[H + i*3 + 3] if i + 1 < n else f(0.0)))
        y[i] = s
    top = f(-1.0)
    t = 0
    for i in range(n):
        if y[i] > top:
            top = y[i]
            t = i
    y[t] = f(0.0)
    return 0


BOUNDS = {"A": {"H": ("3*n", "16"), "h": ("3", "h", "H"), "Z": ("2*n", "48")}, "P": {"W": ("6", "0")}}
BOUNDS_AT = 1
'''
FAULTS = {
    "a stride": ("L[i]*2", "L[i]*4", "Z[16] is read, but it has 10 elements (working memory)"),
    "an offset": ("\nH = 16", "\nH = 15", "H[-1] is written, but it has 15 elements (working memory)"),
    "a mask": (" if i + 1 < n else f(0.0)", "", "H[15] is read, but it has 15 elements (working memory)"),
    "a loop": ("n):\n        s", "n + 1):\n        s", "L[5] is read, but it has 5 elements"),
    "a write": ("y[i] = s", "y[i + 1] = s", "y[5] is written, but it has 5 elements"),
    "terms of a product": ("2, n, 2, 3, P", "2, n, 2, 4, P", "H[15] is read, but it has 15 elements"),
    "rows of a product": ("2, n, 2, 3, P", "2, n + 1, 2, 3, P", "H[17] is read, but it has 15 elements"),
    "columns of a product": ("2, n, 2, 3, P", "2, n, 3, 3, P", "W[6] is read, but it has 6 elements (the parameters)"),
    "a copy": ("x, 0, n*3)", "x, 1, n*3)", "x[15] is read, but it has 15 elements"),
    "a step": ("h = H + now*3", "h = H + now*3 + 3", "h[0] is read, but it has 3 elements (working memory)"),
    "a shared nest": ("range(n*2)", "range(n*2 + 1)", "Z[10] is read, but it has 10 elements (working memory)"),
    "a pivot": ("t = i\n", "t = i + 5\n", "y[8] is written, but it has 5 elements"),
}
ROWS = 5


def called(text: str, folder: Path, labels: Any = (4, 0, 3, 1, 2)) -> np.ndarray:
    """What the text by hand gives; behind its arrays nothing may have changed."""
    program = build(text, {"call": ("float32*", "float32*", "int64*", "int64*", "float32*", "float32*")}, name="hand",
                    folder=folder)  # fmt: skip
    names = [(n, "") for n in ("A", "P", "C", "L", "x", "y")]
    program.told = lambda: Text("hand", text, "call", tuple(names))
    whole = [np.full(n + 8, 9.0, np.float32) for n in (64, 6, 3 * ROWS, ROWS)]
    a, p, x, y = (array[:-8] for array in whole)
    p[:], x[:] = np.arange(6), np.arange(15) % 7
    c, order = aligned(1 + bounds.room(program), np.int64), np.array(labels)
    c[0] = ROWS
    arrays = [a, p, c, order, x, y]
    bounds.tell(program, c, arrays)
    program.call("call", *map(address, arrays))
    assert all((array[-8:] == 9.0).all() for array in whole)
    bounds.look(program, c)
    return y


def test_a_program_that_is_right_gives_the_bits_that_it_gives_unchecked(tmp_path: Path):
    y = called(TEXT, tmp_path)
    x, w = (np.arange(15) % 7).reshape(5, 3) * 2.0, np.arange(6).reshape(3, 2)
    exact = (x @ w + 1)[[4, 0, 3, 1, 2]].sum(1) + 2 * np.append(x[1:, 0], 0)
    exact[exact.argmax()] = 0
    assert y.tolist() == exact.tolist()


@pytest.mark.parametrize("fault", FAULTS)
def test_an_overrun_is_found_before_it_happens(fault: str, tmp_path: Path):
    """Mutation-checked: without a check of primitives, of conditions, or of the part of a scan, some are not found."""
    old, new, said = FAULTS[fault]
    assert TEXT.count(old) == 1
    with pytest.raises(CompilerError, match=re.escape(said)):
        called(TEXT.replace(old, new), tmp_path)


def test_a_label_that_is_out_of_range_is_found_and_told_with_its_equation(tmp_path: Path):
    line = TEXT[: TEXT.index("            s = radd")].count("\n") + 1
    with pytest.raises(CompilerError) as caught:
        called(TEXT, tmp_path, (4, 0, 3, 5, 2))
    assert str(caught.value) == (
        "internal defect: the compiled program 'hand' was about to touch what is not there\n"
        "  Z[10] is read, but it has 10 elements (working memory)\n"
        "  y[i] = Σ_j Z[l[i], j] + H[i + 1]\n"
        f"  line {line}: s = radd(s, A[Z + L[i]*2 + j] + (A[H + i*3 + 3] if i + 1 < n else f(0.0)))\n"
        "  nothing was touched there; the model is as it was before this part of the run\n"
        "  hint: this is a fault of graphc, please report it with model.source()"
    )


# ---------------------------------------------------------------- models


@cache
def line() -> SimpleNamespace:
    x, t, w = gc.input("x", ("n", 3)), gc.input("t", ("n",)), gc.param("w", (3,), gc.normal(0.5))
    y = gc.tanh(x @ w)
    rng = np.random.default_rng(0)
    data = {"x": rng.normal(size=(16, 3)).astype(np.float32), "t": rng.normal(size=16).astype(np.float32)}
    return SimpleNamespace(x=x, t=t, w=w, y=y, loss=gc.mean((y - t) ** 2), data=data)


def model() -> gc.Model:
    return gc.Model(output=line().y, loss=line().loss)


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str, str, str], None]:
    """Programs of a kind that have a fault from now on."""

    def planted(kind: str, old: str, new: str) -> None:
        monkeypatch.setenv("GRAPHC_CACHE", str(tmp_path))
        made = getattr(__import__("graphc.facade.programs", fromlist=["_"]), kind)

        def wrong(*args: Any, **options: Any) -> Text:
            program = made(*args, **options)
            assert program.text.count(old) >= 1
            return dataclasses.replace(program, text=program.text.replace(old, new, 1))

        monkeypatch.setattr(f"graphc.facade.programs.{kind}", wrong)

    return planted


QUIETLY = {"check_bounds": True, "verify": False}


def test_fit_keeps_what_was_there_when_two_threads_meet_an_overrun(plant: Callable[[str, str, str], None]):
    """The second epoch's last batch has two rows, and one more of the data is asked for; the other thread goes home."""
    plant("training_program", "x_data, row*3, 3)", "x_data, row*3 + 3, 3)")
    m = model().initialize(3)
    w, told = m.params["w"], "x_data[48] is read, but it has 48 elements"
    with pytest.raises(CompilerError, match=re.escape(told)):
        m.fit(line().data, optimizer=gc.SGD(0.1), epochs=2, batch_size=7, threads=2, shuffle=False, **QUIETLY)
    assert (m.params["w"] == w).all() and m.state.sampler.position == 0 and m.last_run.steps == 0
    with pytest.raises(CompilerError, match=re.escape(told)):
        m.sweep(line().data, optimizer=gc.SGD(np.array([0.1, 0.2])), epochs=1, batch_size=7, shuffle=False, **QUIETLY)
    assert (m.params["w"] == w).all()


def test_predict_finds_an_output_that_is_too_long(plant: Callable[[str, str, str], None]):
    plant("evaluation_program", "y_output_out[y_output_rows + i]", "y_output_out[y_output_rows + i + 1]")
    with pytest.raises(CompilerError, match=re.escape("y_output_out[5] is written, but it has 5 elements")):
        model().initialize(3).predict(line().data["x"][:5], **QUIETLY)


def test_a_function_finds_a_row_too_many(plant: Callable[[str, str, str], None]):
    plant("function_program", "for i in range(n):", "for i in range(n + 1):")
    f = gc.compile(line().y, inputs=[line().x, line().w], dtype="float32", **QUIETLY)
    with pytest.raises(CompilerError, match=re.escape("b0_t0[4] is read, but it has 4 elements (working memory)")):
        f(line().data["x"][:4], np.ones(3))


def test_checked_programs_have_the_bits_and_the_text_of_the_others():
    """Texts differ by the table alone, so that the cache has them under keys of their own."""
    plain, checked, texts = model(), model(), []
    for m, checks in ((plain, False), (checked, True)):
        m.fit(line().data, optimizer=gc.SGD(0.1), epochs=2, batch_size=7, seed=1, check_bounds=checks)
        texts.append(m._core.last_compiled.text.text)
    assert (plain.params["w"] == checked.params["w"]).all()
    assert words.TABLE not in texts[0] and without_table(texts[1]).rstrip() == texts[0].rstrip()
    x = line().data["x"]
    assert (plain.predict(x) == checked.predict(x, check_bounds=True)).all()


SAMPLE = [e for e in ENTRIES if e.name in ("glove", "conditional_random_field", "inverse_heat")]


def test_models_of_the_gallery_pass_with_the_same_bits():
    assert len(SAMPLE) == 3
    leaves = [Tensor(leaf) for e in SAMPLE for leaf in e.leaves]
    arrays = [a for e in SAMPLE for a in e.arrays().values()]
    outputs = [y for e in SAMPLE for y in (e.loss, *e.slopes)]
    plain, checked = (gc.compile(outputs, leaves, "float32", check_bounds=on)(*arrays) for on in (False, True))
    assert all((a == b).all() for a, b in zip(plain, checked, strict=True))


def test_a_model_of_single_numbers_trains_to_the_same_bits():
    """Mutation-checked: checks between the terms of a statement, which keep products from being fused, are seen."""
    [entry], found = [e for e in ENTRIES if e.name == "epidemic"], []
    data = {str(leaf.name): a for leaf, a in zip(entry.leaves, entry.arrays().values(), strict=True)
            if leaf.kind == "input"}  # fmt: skip
    for checks in (False, True):
        m = gc.Model(loss=entry.loss)
        m.fit(data, optimizer=gc.SGD(1e-3), steps=4, batch_size=None, check_bounds=checks)
        found.append([*m.params.values()])
    assert all((a == b).all() for a, b in zip(*found, strict=True))


def test_programs_on_a_gpu_are_not_checked():
    with pytest.raises(DomainError) as caught:
        model().fit(line().data, target="cuda", check_bounds=True)
    assert nets.text_of(caught).startswith("check_bounds is for target='cpu', not 'cuda'")


def test_every_primitive_that_touches_memory_says_what():
    """Planted fault, seen to fail: tiles of lines that nobody knows. ``invoke`` calls entries that check themselves."""
    of_numbers = {"chains", "invoke", "noalias", "permuted", "radd", "rlargest", "rmax", "rmin", "rtop", "wide"}
    assert {*names.__all__} - of_numbers == {*BLOCKS}
