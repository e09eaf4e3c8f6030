"""Functions of several variables: partial derivatives are SymPy's, values NumPy's, and a loss by formula is a loss."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy as sp

import graphc as gc
from graphc.emit.reference import evaluate
from graphc.errors import DomainError, FormulaError, NameClashError, TypeMismatchError
from tests.test_plots import drawn  # noqa: F401  a fixture

x, y, w = sp.symbols("x y w", real=True)
FORMULAS = [
    x**2 * y + sp.sin(x * y) / (1 + y**2),
    sp.exp(-x * y) * sp.tanh(y) + w * x,
    sp.erfc(x) * sp.log(1 + y**2) - sp.atan2(y, x**2 + 1),
    sp.gamma(2 + x**2) * sp.sinc(y) + sp.acot(x + y + 9),
    sp.loggamma(1 + x**2) * sp.digamma(1 + y**2) / sp.sec(x),
    sp.factorial(x**2) * sp.erf2(x, y) + sp.asec(3 + x) * sp.acsc(2 + y),
]


def numbers(f, *arrays):
    leaves = [gc.input(f"v{t}", ("n",)) for t in range(len(arrays))]
    return evaluate([f(*leaves).node], {leaf.node: a for leaf, a in zip(leaves, arrays)}, {"n": len(arrays[0])})[0]


@pytest.mark.parametrize("formula", FORMULAS, ids=str)
def test_partial_derivatives_of_every_order_are_those_of_sympy(formula):
    """Mutation-checked: derivatives in the wrong variable, and a sinc of NumPy for SymPy's, are seen."""
    f = gc.function("f", formula, variables=[y, x], w=0.5)
    a, b = np.random.default_rng(0).uniform(0.2, 0.9, (2, 4))
    for by in [(), (x,), (y,), (x, y), (y, x, x)]:
        exact = (formula.diff(*by) if by else formula).rewrite(sp.erf)
        wanted = [float(exact.evalf(25, subs={x: p, y: q, w: 0.5})) for p, q in zip(a, b)]
        d = f.d(*map(str, by)) if by else f
        np.testing.assert_allclose(numbers(d, b, a), wanted, rtol=1e-12, atol=1e-14)


def test_gradient_and_hessian_print_as_on_paper():
    f = gc.function("f", "2*a + k*b**2*a", variables="a, b", k=3)
    assert str(f) == "f(a, b) = a*b**2*k + 2*a,  k = 3"
    assert str(f.gradient()) == "∂f/∂a(a, b) = b**2*k + 2,  k = 3\n∂f/∂b(a, b) = 2*a*b*k,  k = 3"
    assert str(f.hessian()).splitlines()[:2] == ["∂²f/∂a²(a, b) = 0", "∂²f/∂a∂b(a, b) = 2*b*k,  k = 3"]
    assert f.d("b", "a").label == f.d("a").d("b").label == "∂²f/∂a∂b" and f.d("b", 2, "a").label == "∂³f/∂a∂b²"
    assert str(gc.function("g", "a0*z**2", variables=["z", "a0"]).d("z")) == "∂g/∂z(z, a0) = 2*a0*z"
    assert str(gc.function("h", "a0*z**2", a0=3).d()) == "h'(z) = 2*a0*z,  a0 = 3"


def test_arguments_come_in_order_or_by_name_and_broadcast():
    f = gc.function("f", lambda a, b: gc.exp(a) - b, variables="a b")
    assert f == f and f.variables == (sp.Symbol("a", real=True), sp.Symbol("b", real=True))
    a, b = gc.input("a", ("n", 3)), gc.param("b", (3,), 0.0)
    assert f(a, b).node is f(b=b, a=a).node and f(a, b).shape == ("n", 3)
    assert evaluate([f(0, 3.5).node], {})[0] == -2.5
    i, j = gc.indices("i j")
    assert gc.define("H", [i, j], f(a[i, j], b[j])).equation is f(a, b).equation
    swapped = gc.function("g", lambda a, b: f(b, a), variables="a b")
    assert swapped(a, b).node is f(b, a).node


def test_a_report_of_several_variables_names_ties_and_domains():
    report = str(gc.function("m", "max(a, b)*log(a)/b", variables="a b").report())
    for line in ("maximum(a, b): ties share the gradient equally", "domain at log(a): a in", "pole at 1/b: b in"):
        assert line in report


def test_a_function_of_two_variables_is_drawn_as_a_surface(drawn, tmp_path):  # noqa: F811
    f = gc.function("f", "a**2 - b", variables="a b")
    f.plot(tmp_path / "f.png", low=(-1, 0), high=(1, 3))
    level, surface = drawn[0].axes[0], next(axis for axis in drawn[0].axes if axis.name == "3d")
    assert surface.name == "3d" and (level.get_xlabel(), surface.get_ylabel()) == ("a", "b")
    assert level.get_xlim() == (-1, 1) and level.get_ylim() == (0, 3)
    arrows = next(c for c in level.collections if hasattr(c, "U"))
    np.testing.assert_allclose(arrows.U, 2 * arrows.X, atol=1e-12)
    assert set(arrows.V) == {-1.0}
    with pytest.raises(DomainError, match=r"f\.plot: there is nothing from \(0, 1\) to 1"):
        f.plot(tmp_path / "f.png", low=(0, 1), high=1)
    with pytest.raises(DomainError, match=r"g\.plot: a function of a, b, c has no picture"):
        gc.function("g", "a*b*c", variables="a b c").plot(tmp_path / "f.png")


WRONG = [
    (lambda f: f.d(), DomainError, r'f\.d\(\): by which variable\?.*write f\.d\("a"\), or f\.gradient\(\)'),
    (lambda f: f.d("c"), DomainError, r"f has no variable 'c'.*its variables are a, b"),
    (lambda f: f.d(2), DomainError, r'f\.d\(2\) is no derivative.*say by which variable: f\.d\("a", 2\)'),
    (lambda f: f.d("a", -1), DomainError, r"f\.d\('a', -1\) is no derivative.*whole number"),
    (lambda f: f(1), TypeMismatchError, r"f has 2 variables, but b got no value.*call it as f\(a, b\)"),
    (lambda f: f(1, 2, 3), TypeMismatchError, r"f has 2 variables, not 3"),
    (lambda f: f(1, c=2), TypeMismatchError, r"f has no variable c"),
    (lambda f: f(1, a=2), TypeMismatchError, r"f: a is given twice"),
    (lambda f: gc.function("g", "a*b", variables="a"), FormulaError, r"b is neither a variable nor a constant"),
    (lambda f: gc.function("g", "a*b", variables="a b", b=1), NameClashError, r"b is a constant, too"),
    (lambda f: gc.function("g", "a", variables="a a"), NameClashError, r"a is named twice"),
    (lambda f: gc.function("g", "a", variables=[]), FormulaError, r"variables= is empty"),
    (lambda f: gc.function("g", lambda a, b: a * b), FormulaError, r"name them: variables=\['a', 'b'\]"),
    (lambda f: gc.function("g", sp.LambertW(x)), FormulaError, r"there is no word for LambertW\(x\).*known are"),
    (lambda f: gc.function("g", sp.I * x), FormulaError, r"I\*x is not finite and real"),
    (lambda f: gc.function("g", sp.MatrixSymbol("A", 2, 2)), FormulaError, r"no scalar.*gc\.from_sympy"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "text"), WRONG, ids=[text for *_, text in WRONG])
def test_what_is_no_derivative_and_no_function_is_refused_by_name(call, kind, text):
    with pytest.raises(kind, match=f"(?s){text}"):
        call(gc.function("f", "2*a + b**2", variables=["a", "b"]))


def test_a_loss_by_formula_has_the_gradient_of_jax():
    loss = gc.function("loss", "where(t > 0, k*(y - t)**2, log(cosh(y - t)))", variables=["y", "t"], k=2)
    X, T, W = gc.input("X", ("n", 3)), gc.input("T", ("n", 1)), gc.param("W", (3, 1))
    J = gc.mean(loss(gc.tanh(X @ W), T))
    rng = np.random.default_rng(1)
    a, t, v = rng.normal(size=(6, 3)), rng.normal(size=(6, 1)), rng.normal(size=(3, 1))

    def by_jax(v):
        r = jnp.tanh(a @ v) - t
        return jnp.mean(jnp.where(t > 0, 2 * r**2, jnp.log(jnp.cosh(r))))

    with jax.enable_x64(True):
        wanted = by_jax(v), jax.grad(by_jax)(jnp.asarray(v))
    found = evaluate([J.equation, gc.grad(J, W).equation], {X.node: a, T.node: t, W.node: v})
    for mine, other in zip(found, wanted):
        np.testing.assert_allclose(mine, np.asarray(other), rtol=1e-12)
    assert "loss" not in str(gc.derive(J, W)) and "where" in str(gc.derive(J, W))
