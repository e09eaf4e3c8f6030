"""Wrong programs and the errors they get, in full: tests/goldens/errors.txt.

``python -m tests.test_errors`` rewrites the file.
"""

from __future__ import annotations

import linecache
import math
import re
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import sympy

import graphc as gc
from graphc.errors import GraphcError

GOLDEN = Path(__file__).parent / "goldens" / "errors.txt"

X = gc.input("X", ("n", 784))
W = gc.param("W", (785, 256), 0.5)
V = gc.param("V", (256, 784), 0.5)
b = gc.param("b", (256,), 0.0)
T = gc.input("T", ("n",), dtype="int64")
S = gc.input("S", ("m", 784))
U = gc.input("U", ("n",))
column = gc.input("column", ("n", 1))
A = gc.input("A", (4, 3))
D = gc.input("D", (4,))
i, j, k = gc.indices("i j k")
row, place = gc.indices("row place", row=6)
z = sympy.Symbol("z")

PROGRAMS = [
    lambda: X @ W,
    lambda: X @ V,
    lambda: U @ 2.0,
    lambda: X + S,
    lambda: X + b,
    lambda: A + D,
    lambda: gc.tanh(X) * X[:, :3],
    lambda: (gc.sum(X, axis=1, keepdims=True) - U) ** 2,
    lambda: U * column,
    lambda: gc.where(column > 0, gc.maximum(U, 0), 1),
    lambda: X[:, None] - X,
    lambda: gc.sum(X, axis=2),
    lambda: gc.mean(X, axis=(0, 0)),
    lambda: gc.max(X, axis="columns"),
    lambda: gc.reshape(X, ("n", 28, 27)),
    lambda: gc.reshape(X, (-1,)),
    lambda: gc.transpose(A, (0, 0)),
    lambda: gc.concatenate([X, S], axis=0),
    lambda: gc.concatenate([A, A[:, :2]], axis=0),
    lambda: gc.stack([A, X]),
    lambda: A[4],
    lambda: A[0, 0, 0],
    lambda: A[2:2],
    lambda: X[:10],
    lambda: A[X],
    lambda: X[X > 0],
    lambda: X.size,
    lambda: X & (X > 0),
    lambda: 1 & (X > 0) > X,
    lambda: ~X[i, k],
    lambda: A[[0, 7]],
    lambda: A[[0.5, 1]],
    lambda: X[np.array([True, False, True, True])],
    lambda: A[True],
    lambda: gc.where(A == D, A, 0),
    lambda: gc.define("Z", [i, j], gc.sum(X[i, k] * W[k, j], over=k)),
    lambda: gc.define("Z", [i, j], X[i, k] * V[j, k]),
    lambda: gc.define("Z", [i, i], X[i, i]),
    lambda: gc.define("Z", [i], X[i, i]),
    lambda: gc.define("Z", ["i"], U[i]),
    lambda: X[i],
    lambda: X[i, :],
    lambda: X[i, k] + b,
    lambda: X[i, k] @ V[k, j],
    lambda: gc.define("Z", [i], A[0, i + 1] - A[1, i]),
    lambda: gc.define("Z", [i], U[i + 1]),
    lambda: gc.define("Z", [i, j], U[i]),
    lambda: gc.define("X", [i, j], X[i, j] + 1),
    lambda: gc.sum(X[i, k], axis=1),
    lambda: gc.sum(X, over=k),
    lambda: gc.sum(X[i, k]),
    lambda: gc.sum(X[i, k], over=j),
    lambda: gc.softmax(X[i, k]),
    lambda: A[U[i], j],
    lambda: gc.exp(A + gc.define("Q", [i], U[i])[i]),
    lambda: gc.input("2x", ("n", 2)),
    lambda: gc.input("class", ("n", 2)),
    lambda: gc.input("__import__", ("n", 2)),
    lambda: gc.input("x", ("__n__", 2)),
    lambda: gc.input("x" * 65, ("n", 2)),
    lambda: gc.input("Y", ("n", 0)),
    lambda: gc.input("Y", ("n", 2.5)),
    lambda: gc.input("Y", ("n", 2), dtype="complex64"),
    lambda: gc.param("P", ("n", 2), 0.0),
    lambda: gc.param("P", (3, 2), np.zeros((2, 3))),
    lambda: gc.param("P", (3,), math.nan),
    lambda: gc.param("P", (3,), gc.normal),
    lambda: gc.normal(-1.0),
    lambda: gc.uniform(2, 1),
    lambda: gc.param("P", (3,), "glorrot"),
    lambda: gc.param("P", (3,), "orthogonal"),
    lambda: (X + 1).named("X"),
    lambda: X.named("Y"),
    lambda: X + "1",
    lambda: X * None,
    lambda: X * scipy.sparse.eye_array(784),
    lambda: X / 0,
    lambda: X + math.nan,
    lambda: X * np.array([1.0, math.nan]),
    lambda: X + z,
    lambda: math.exp(X),
    lambda: np.partition(X, 1),
    lambda: np.nanmean(X),
    lambda: np.linalg.svd(A),
    lambda: np.sum(X, dtype=float),
    lambda: np.where(X > 0),
    lambda: np.add.reduceat(X, [0]),
    lambda: np.asarray(X),
    lambda: float(X),
    lambda: np.add(X, 1, where=True),
    lambda: len(X),
    lambda: list(X),
    lambda: 1 if X > 0 else 0,
    lambda: X.__setitem__(0, 1.0),
    lambda: gc.losses.mse(X[:, 0], X[:, :1]),
    lambda: gc.losses.mse(X[:, :1], X[:, 0]),
    lambda: gc.losses.cross_entropy(X, T[:, None]),
    lambda: gc.losses.cross_entropy(X, U),
    lambda: gc.losses.mse(X, X, reduce="total"),
    lambda: gc.metrics.accuracy(X, S),
    lambda: gc.nn.Dense(0),
    lambda: gc.nn.Dense(3, "rellu"),
    lambda: gc.nn.sequential(gc.nn.Dense(3)),
    lambda: gc.nn.sequential(64, gc.nn.Dense(3))(X),
    lambda: gc.function("f", "z*w"),
    lambda: gc.function("f", "3"),
    lambda: gc.function("f", lambda x: math.exp(x)),
    lambda: gc.function("f", lambda x: x if x > 0 else 0),
    lambda: gc.function("f", sympy.zeta(z)),
    lambda: gc.function("f", "z*a", a="1"),
    lambda: gc.function("f", "z**2").d(-1),
    lambda: gc.indices("i j", k=3),
    lambda: gc.log(-1.0),
    lambda: gc.losses.huber(X, X, delta=0),
    lambda: X[k // 0, i],
    lambda: gc.define("Z", [row, j], A[row, j]),
    lambda: gc.define("Z", [row, j], X[row, j]),
    lambda: gc.define("Z", [row, place], row * place),
    lambda: gc.segment_sum(A, T, 5),
    lambda: gc.segment_sum(A, D, 5),
    lambda: gc.segment_sum(A, [0, 1, 5, 2], 5),
    lambda: gc.segment_sum(A, [0, -1, 3, 2], "m"),
    lambda: gc.segment_sum(A, [0, 1.5, 3, 2], 5),
    lambda: gc.segment_sum(A, [0, 1, 3, 2], 0),
    lambda: gc.segment_sum(3.0, T, 5),
    lambda: gc.segment_sum(A[i, j], T, 5),
    lambda: gc.segment_sum(X, T[i], 5),
]


def source(program) -> tuple[int, str]:
    """The line of a program and its text."""
    line = program.__code__.co_firstlineno
    return line, linecache.getline(__file__, line).strip()


def complaint(program) -> str:
    """What the user sees: the name of the error and its text."""
    with pytest.raises(GraphcError) as caught:
        program()
    return f"{type(caught.value).__name__}: {caught.value}"


def golden() -> dict[str, str]:
    """The texts by the source line of the program; line numbers are replaced by LINE."""
    texts = GOLDEN.read_text().strip().split("\n\n")
    return {re.search(r"LINE:  (.*)", t)[1]: t for t in texts}


def anonymous(text: str) -> str:
    return re.sub(r"test_errors\.py:\d+", "test_errors.py:LINE", text)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: source(p)[1])
def test_a_wrong_program_gets_the_error_in_the_golden_file(program):
    line, text = source(program)
    found = complaint(program)
    assert f"\n  at test_errors.py:{line}:  {text}\n  hint: " in found
    assert anonymous(found) == golden()[text]


def test_the_golden_file_has_no_text_that_no_program_gives():
    assert set(golden()) == {source(p)[1] for p in PROGRAMS}


def test_an_error_is_also_the_built_in_error_that_python_users_expect():
    with pytest.raises(ValueError):
        X @ W
    with pytest.raises(TypeError):
        bool(X)
    with pytest.raises(KeyError):
        gc.nn.Dense(3, "rellu")


def test_an_array_cannot_be_changed_by_a_tensor():
    array = np.ones(784)
    with pytest.raises(TypeError, match="NumPy cannot compute np.add"):
        array += X


def test_a_line_without_source_text_is_shown_by_its_number_alone():
    code = compile("X @ W", "<cell>", "eval")
    program = type(complaint)(code, {"X": X, "W": W, "__name__": "cell"})
    assert "\n  at <cell>:1\n  hint: " in complaint(program)


def write_golden() -> None:
    """Rewrite the golden file from what the programs give now."""
    GOLDEN.write_text("\n\n".join(anonymous(complaint(p)) for p in PROGRAMS) + "\n")


if __name__ == "__main__":
    write_golden()
