"""What graphc derives, written out by SymPy, is what SymPy derives from the loss that is written out."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import graphc as gc
from graphc.emit.reference import evaluate
from graphc.errors import DomainError, FormulaError, NameClashError
from graphc.ir.functions.choices import isfinite, round_, stop_gradient
from graphc.ir.functions.floats import nextafter, spacing
from graphc.ir.scalar import FUNCTIONS
from graphc.ir.walk import leaves

X, T, L = gc.input("X", ("n", 2)), gc.input("T", ("n", 2)), gc.input("L", ("n",), dtype="int64")
V, W, b = gc.param("V", (2, 3)), gc.param("W", (3, 2)), gc.param("b", (3,), 0.0)
H = gc.tanh(X @ V + b)
Z = H @ W
NETWORKS = {
    "squares": gc.losses.mse(Z, T),
    "cross-entropy": gc.mean(-T * gc.log(gc.sigmoid(Z)) - (1 - T) * gc.log(1 - gc.sigmoid(Z))),
    "labels": gc.losses.cross_entropy(Z, L),
    "rectified": gc.mean(gc.relu(X @ V + b)) + gc.losses.huber(Z, T) + gc.l1(W, 0.3),
    "softmax": gc.mean(gc.sum(gc.softmax(Z, axis=1) ** 2, axis=1)) + gc.l2(V, 0.1),
    "layer norm": gc.mean((H - gc.mean(H, axis=1, keepdims=True)) ** 3 / (1 + gc.var(H, axis=0))),
    "views": gc.sum(gc.concatenate([Z.T, V[:, 1:].T @ T.T], axis=0)[::2] ** 3) + gc.prod(W),
    "choices": gc.mean(gc.maximum(X @ V[:, 1:], T) * gc.where(X < 0.1, gc.exp(X @ W[1:]), gc.gelu(T))) + gc.max(W[:2]),
}
A = V @ W
NETWORKS["matrices"] = (
    gc.sum(gc.linalg.inv(A) ** 2) + gc.linalg.slogdet(A).logabsdet + gc.linalg.det(A) ** 2
    + gc.sum(gc.linalg.cholesky(V @ V.T) ** 3)
)  # fmt: skip
SIZES = {"n": 2}


def plain(x: gc.Tensor) -> list[sp.Expr]:
    found = x.to_sympy(explicit=SIZES)
    return sp.flatten(found.tolist()) if isinstance(found, sp.NDimArray) else [found]


def drawn(J: gc.Tensor, seed: int = 0) -> dict:
    rng = np.random.default_rng(seed)
    shapes = {leaf: [SIZES.get(str(e), e) for e in leaf.shape] for leaf in leaves([J.node])}
    return {
        x: rng.integers(0, 2, s) if x.dtype == "int" else np.round(rng.normal(size=s), 3) for x, s in shapes.items()
    }


def at(expressions: list[sp.Expr], feed: dict) -> list:
    """The values with 30 digits."""
    known = {s: v for x, a in feed.items() for s, v in zip(plain(gc.Tensor(x)), np.ravel(a).tolist())}
    with mpmath.workdps(30):
        return list(sp.lambdify(list(known), expressions, "mpmath", cse=True)(*map(mpmath.mpf, known.values())))


@pytest.mark.parametrize("name", NETWORKS)
def test_the_gradient_written_out_is_the_derivative_by_sympy_of_the_loss_written_out(name):
    """Mutation-checked: another relu, masks left out and sums that are one short are seen."""
    J = NETWORKS[name]
    feed = drawn(J)
    (loss,) = plain(J)
    np.testing.assert_allclose(evaluate([J.node], feed)[0], float(at([loss], feed)[0]), rtol=1e-12)
    for leaf in (x for x in feed if x.kind == "param"):
        g = gc.grad(J, gc.Tensor(leaf))
        mine, other = at(plain(g), feed), at([loss.diff(s) for s in plain(gc.Tensor(leaf))], feed)
        assert max(abs(a - o) for a, o in zip(mine, other)) < 1e-25
        np.testing.assert_allclose(
            np.ravel(evaluate([g.node], feed)[0]), np.array(other, float), rtol=1e-11, atol=1e-13
        )


ACTIVATIONS = [
    gc.tanh,
    gc.sigmoid,
    gc.softplus,
    gc.relu,
    gc.abs,
    gc.sin,
    lambda z: z**2,
    lambda z: gc.elu(z, 0.5),
    gc.gelu,
]


@st.composite
def losses(draw):
    """A network of one or two layers that share a parameter, and a loss."""
    A, z = gc.param("A", (2, 2)), X
    for _ in range(draw(st.integers(1, 2))):
        f = draw(st.sampled_from(ACTIVATIONS))
        y = f(z @ A if draw(st.booleans()) else z * A[0] - A[1, 1])
        z = y + z if draw(st.booleans()) else y
    reduced = draw(st.sampled_from([gc.mean, gc.sum, lambda e: gc.sum(gc.prod(e, axis=1)), lambda e: gc.std(e + X)]))
    return reduced((z - T) ** 2), A


@settings(max_examples=5, deadline=None, derandomize=True)
@given(losses())
def test_gradients_of_networks_that_hypothesis_draws_are_those_of_sympy(drawn_loss):
    J, A = drawn_loss
    feed = drawn(J, 1)
    (loss,) = plain(J)
    wanted = np.array(at([loss.diff(s) for s in plain(A)], feed), float)
    np.testing.assert_allclose(np.ravel(evaluate([gc.grad(J, A).node], feed)[0]), wanted, rtol=1e-9, atol=1e-11)


def test_equations_read_as_on_paper():
    x = gc.input("x", ("n",))
    assert str((X @ V + b).to_sympy()) == "Eq(Y[i, j], b[j] + Sum(V[k, j]*X[i, k], (k, 0, 1)))"
    assert str(gc.mean(gc.tanh(x)).named("J").to_sympy()) == "Eq(J, Sum(tanh(x[i]), (i, 0, n - 1))/n)"
    assert str(gc.softmax(x, axis=0).to_sympy()) == "Eq(Y[i], exp(x[i])/Sum(exp(x[j]), (j, 0, n - 1)))"
    assert str((x - gc.mean((x - gc.mean(x)) ** 2)).to_sympy().rhs) == (
        "x[i] - Sum((x[j] - Sum(x[k], (k, 0, n - 1))/n)**2, (j, 0, n - 1))/n"
    )
    p, q = gc.indices("p q")
    assert str(gc.define("G", [p, q], gc.where(p >= q, V[p, q], 0)).to_sympy()).startswith(
        "Eq(G[p, q], Piecewise((V[p, q]"
    )
    assert str(gc.losses.cross_entropy(Z, L, reduce=None).to_sympy().rhs).count("L[i]") == 1
    assert str(V.to_sympy(explicit={})[1, 2]) == "V_1_2" and V.to_sympy(explicit={})[0, 0].is_real
    assert str((W[0] * np.array([0.1, 2.0])).to_sympy(explicit={})) == "[W_0_0/10, 2*W_0_1]"


def test_every_function_has_a_form_in_sympy_or_is_refused():
    """The value is the same where both have numbers; mutation-checked: ndtr without its 1/2 is seen."""
    refused = set()
    for entry in FUNCTIONS.values():
        leaves_ = [gc.input(f"u{t}", ()) for t in range(entry.arity)]
        f = gc.function("f", lambda *a, entry=entry: entry(*a), variables=[f"u{t}" for t in range(entry.arity)])
        y = f(*leaves_)
        try:
            found = y.to_sympy(explicit={})
        except FormulaError:
            refused.add(entry.cls)
            continue
        symbols = [x.to_sympy(explicit={}) for x in leaves_]
        for point in ([0.3, 0.6, 0.2], [1.4, 0.4, 2.5]):
            wanted = evaluate([y.node], {x.node: np.array(v) for x, v in zip(leaves_, point)})[0]
            if np.isfinite(wanted) and entry.domain[0] <= point[0] <= entry.domain[1]:
                value = found.replace(sp.erfcinv, lambda p: sp.erfinv(1 - p)).subs(dict(zip(symbols, point))).evalf(20)
                np.testing.assert_allclose(float(value), wanted, rtol=1e-11, err_msg=entry.name)
    assert refused == {round_, isfinite, stop_gradient, spacing, nextafter}


WRONG = [
    (lambda: gc.max(Z, axis=1).to_sympy(), FormulaError, "no word for a max over an index.*to_sympy.explicit="),
    (lambda: gc.stop_gradient(Z).named("S").to_sympy(), FormulaError, r"no word for stop_gradient in S\[n, 2\]"),
    (lambda: gc.linalg.cholesky(A).named("F").to_sympy(), FormulaError, r"no word for a Cholesky factor in F\[2, 2\]"),
    (lambda: gc.linalg.det(gc.input("M", (7, 7))).to_sympy(explicit={}), DomainError, "7 rows.*at most 6 rows are"),
    (lambda: Z.to_sympy(explicit={}), DomainError, "the free extent n.*explicit={'n': 2}"),
    (lambda: Z.to_sympy(explicit={"n": 1.5}), DomainError, "the extent n is 1.5"),
    (lambda: gc.sum(Z).to_sympy(explicit={"n": 10**6}), DomainError, r"\d+ terms would be written out.*at most 20000"),
    (lambda: (gc.input("a", ()) + gc.input("a", ())).to_sympy(explicit={}), NameClashError, "the symbol a would stand"),
    (lambda: (gc.input("a_0", (2,)) + gc.input("a", (1, 2))).to_sympy(explicit={}), NameClashError, "symbol a_0_0"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "text"), WRONG, ids=[text for *_, text in WRONG])
def test_what_sympy_cannot_say_is_refused_by_name(call, kind, text):
    with pytest.raises(kind, match=f"(?s)to_sympy: .*{text}"):
        call()
