"""What is read from SymPy is the very node that is declared without it, and has the value that SymPy computes."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp

import graphc as gc
from graphc.emit.reference import evaluate
from graphc.errors import FormulaError, IndexNotationError, ShapeError, TypeMismatchError

A, B, v, p = gc.input("A", ("n", 3)), gc.param("B", (3, 2)), gc.input("v", ("n",)), gc.param("p", (), 0.5)
L = gc.input("L", ("n",), dtype="int64")
a, b, x = sp.IndexedBase("a"), sp.IndexedBase("b"), sp.IndexedBase("x")
i, j, k, n = sp.symbols("i j k n", integer=True)
s, t = sp.symbols("s t")
m = sp.Symbol("m")
X, W, Q = sp.MatrixSymbol("X", m, 3), sp.MatrixSymbol("W", 3, 2), sp.MatrixSymbol("Q", 2, 2)
GIVEN = {a: A, b: B, x: v, X: A, W: B, s: v, t: p, Q: np.array([[1.0, 2.0], [0.5, -1.0]])}
g = dict(zip("ijk", gc.indices("i j k")))
Z = A @ B

SAME = {
    "scalars": (sp.tanh(s) * t / 2 - sp.erfc(s) ** 2, lambda: gc.tanh(v) * p / 2 - gc.special.erfc(v) ** 2),
    "choices": (sp.Piecewise((s, s > t), (sp.exp(s) - 1, True)), lambda: gc.where(v > p, v, gc.exp(v) - 1)),
    "words": (sp.Max(s, t) + sp.loggamma(s) + sp.Mod(s, 2), lambda: gc.maximum(v, p) + gc.special.gammaln(v) + v % 2),
    "product": (sp.Sum(a[i, k] * b[k, j], (k, 0, 2)), lambda: Z),
    "matrices": (X * W, lambda: Z),
    "layer": ((2 * X * W).applyfunc(sp.tanh), lambda: gc.tanh(2 * (A @ B))),
    "trace": (sp.Trace(W.T * W) / 2, lambda: gc.trace(B.T @ B) / 2),
    "entries": (sp.HadamardProduct(X, X) + 3 * X, lambda: A * A + 3 * A),
    "power": ((W.T * W) ** 2, lambda: (B.T @ B) @ (B.T @ B)),
    "mean": (sp.Sum(sp.tanh(x[i]), (i, 0, n - 1)) / n, lambda: gc.mean(gc.tanh(v))),
    "multiple": (sp.Sum(s, (k, 0, 3)), lambda: 4 * v),
    "transposed": (sp.Eq(sp.IndexedBase("H")[j, i], sp.Sum(a[i, k] * b[k, j], (k, 0, 2))), lambda: Z.T),
    "shifted": (sp.Sum(x[i - 1] * i, (i, 1, n)), lambda: gc.sum(gc.cumsum(gc.ones_like(v), 0) * v)),
    "labels": (b[k, sp.IndexedBase("L", integer=True)[i]] * 2, None),
    "delta": (sp.Sum(sp.KroneckerDelta(k, j) * b[k, j], (k, 0, 2), (j, 0, 1)), lambda: B[0, 0] + B[1, 1]),
    "element": ((X * W)[i, j] + a[i, 0], lambda: Z + A[:, 0][:, None]),
}


def value(y: gc.Tensor):
    rng = np.random.default_rng(0)
    feed = {A: rng.uniform(0.1, 2, (4, 3)), B: rng.normal(size=(3, 2)), v: rng.uniform(0.1, 3, 4), p: np.array(0.7)}
    return evaluate([y.node], {w.node: d for w, d in feed.items()} | {L.node: np.array([0, 1, 1, 0])}, {"n": 4})[0]


@pytest.mark.parametrize("name", SAME)
def test_an_expression_is_what_is_declared_without_sympy(name):
    """Mutation-checked: transposes left out, a division that multiplies and axes in another order are seen."""
    expression, wanted = SAME[name]
    found = gc.from_sympy(expression, GIVEN | {"L": L})
    if wanted is None:
        row, column = gc.indices("row column")
        wanted = lambda: gc.define("C", [row, column], 2 * B[column, L[row]])
    np.testing.assert_allclose(value(found), value(wanted()), rtol=1e-13)
    if name in ("product", "matrices", "layer", "trace", "entries", "power"):
        assert found.equation is wanted().equation


ROUND = {
    "labels": lambda: gc.losses.cross_entropy(Z, L),
    "softmax": lambda: gc.softmax(A, axis=1),
    "deviation": lambda: gc.std(A),
    "layer": lambda: gc.relu(Z) + v[:, None],
    "loss": lambda: gc.mean((gc.sigmoid(Z) - gc.where(Z > 0.3, 1, 0)) ** 2) + gc.l2(B, 0.1),
    "transposed": lambda: gc.exp(Z).T,
    "inverse": lambda: gc.linalg.solve(B.T @ B, A[:, :2].T),
    "determinant": lambda: gc.linalg.det(B.T @ B) * v,
    "determinants": lambda: gc.linalg.slogdet(A[:, :, None] * A[:, None, :] + B @ B.T).logabsdet,
}


@pytest.mark.parametrize("name", ROUND)
def test_what_to_sympy_gives_is_read_back(name):
    y = ROUND[name]()
    back = gc.from_sympy(y.to_sympy(), {"A": A, "B": B, "v": v, "L": L})
    assert back.shape == y.shape and back.name == "Y"
    np.testing.assert_allclose(value(back), value(y), rtol=1e-13)


def test_matrix_expressions_have_the_values_that_sympy_computes():
    """One larger expression for each operation, beside SymPy's explicit matrices of rational numbers."""
    rng = np.random.default_rng(1)
    data = {W: rng.integers(-3, 4, (3, 2)), Q: rng.integers(-3, 4, (2, 2))}
    q = sp.MatrixSymbol("q", 2, 2)
    cases = [
        W * Q.T * Q - 2 * W,
        sp.HadamardProduct(Q, Q.T) + Q**3 + 5 * sp.Identity(2) + sp.OneMatrix(2, 2) - sp.ZeroMatrix(2, 2),
        (W.T * W + q).applyfunc(lambda z: z**3 - z).subs(q, Q),
        sp.ImmutableMatrix([[1, sp.Rational(1, 2)], [0, -2]]) * Q,
        sp.Trace(Q * W.T * W) * Q,
        sp.matrices.expressions.hadamard.HadamardPower(Q, 2) + Q,
        Q.I * W.T + sp.det(Q) * (W * sp.Inverse(Q + 9 * sp.Identity(2))).T,
        sp.MatPow(Q, -2) * sp.log(sp.Abs(sp.Determinant(Q))),
    ]
    for e in cases:
        entries = {M[r, c]: int(d[r, c]) for M, d in data.items() for r, c in np.ndindex(d.shape)}
        whole = e.subs(Q, sp.Matrix(data[Q].tolist())) if e.has(sp.Inverse, sp.Determinant) else e
        whole = whole.doit().replace(sp.Trace, lambda y: sum(y[r, r] for r in range(y.rows)))
        exact = sp.Matrix(*e.shape, lambda r, c, whole=whole: whole[r, c]).xreplace(entries)
        found = evaluate([gc.from_sympy(e, data).node], {})[0]
        np.testing.assert_allclose(found, np.array(exact.tolist(), float), rtol=1e-13, err_msg=str(e))
    mixed = gc.from_sympy(sp.Matrix([[s, 1], [2, s**2]]), {s: p})
    assert mixed.shape == (2, 2) and value(mixed).tolist() == [[0.7, 1.0], [2.0, 0.7**2]]


def test_axes_come_in_the_order_of_the_alphabet_or_as_wanted():
    outer = a[j, k] * x[i]
    assert gc.from_sympy(outer, GIVEN).shape == ("n", "n", 3)
    assert gc.from_sympy(outer, GIVEN, indices=[k, j, i]).shape == (3, "n", "n")
    named = gc.from_sympy(sp.Eq(sp.Symbol("J"), sp.Sum(x[i], (i, 0, n - 1))), {"x": v, "n": "n"})
    assert named.name == "J" and gc.from_sympy(sp.Sum(b[k, 0], (k, 0, n - 1)), {b: B, n: 3}).shape == ()
    kk = sp.Idx("kk", 3)
    assert gc.from_sympy(sp.Sum(b[kk, j], kk), GIVEN).shape == (2,)


WRONG = [
    (lambda: gc.from_sympy(s + sp.Symbol("u"), GIVEN), FormulaError, "u is not given.*add u to the mapping"),
    (lambda: gc.from_sympy(sp.LambertW(s), GIVEN), FormulaError, "no word for LambertW in LambertW.s."),
    (lambda: gc.from_sympy(sp.MatPow(Q, m), GIVEN), FormulaError, "no word for MatPow in Q"),
    (lambda: gc.from_sympy(sp.Integral(s, s), GIVEN), FormulaError, "no word for Integral"),
    (lambda: gc.from_sympy(sp.I * s, GIVEN), FormulaError, "I is not finite and real"),
    (lambda: gc.from_sympy(W, {W: A}), ShapeError, r"W has shape \(3, 2\) but its Tensor has \(n, 3\)"),
    (lambda: gc.from_sympy(W, {W: v}), ShapeError, r"its Tensor has \(n\).*as many axes"),
    (lambda: gc.from_sympy(sp.Sum(a[i, k], (k, 0, n)), GIVEN), IndexNotationError, "extent n [+] 1 of k is not known"),
    (lambda: gc.from_sympy(a[i, k], GIVEN, indices=[i]), IndexNotationError, "not summed are i, k"),
    (lambda: gc.from_sympy(sp.Sum(a[i, k], (k, 0, n - 1), (i, 0, n - 1)), GIVEN), ShapeError, "the extent n is"),
    (lambda: gc.from_sympy("s", GIVEN), TypeMismatchError, "'s' is no SymPy expression.*gc.function"),
    (lambda: gc.from_sympy(sp.Piecewise((s, s > 0)), GIVEN), FormulaError, "says nothing for the other cases"),
    (lambda: gc.from_sympy(sp.Matrix([[s, 1]]), GIVEN), ShapeError, "the entry s of a matrix is no single number"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "text"), WRONG, ids=[text for *_, text in WRONG])
def test_what_cannot_be_read_is_refused_by_name(call, kind, text):
    with pytest.raises(kind, match=f"(?s)gc.from_sympy: .*{text}"):
        call()
