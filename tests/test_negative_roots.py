"""Roots of what is never positive: SymPy makes complex numbers of them, a program NaN, as NumPy does."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import graphc as gc
from graphc.emit.reference import evaluate
from graphc.errors import DomainError
from graphc.ir.scalar import is_complex
from graphc.ir.walk import equations
from graphc.rewrite.normal import normalise

POINTS = np.array([-1.5, 0.0, 2.0])
CASES: dict[str, tuple[Callable, Callable, str]] = {
    "root of -relu": (
        lambda x: gc.sqrt(-gc.relu(x)), lambda x: np.sqrt(-np.maximum(x, 0)), "√(-relu(x[i]))"),
    "root of -square": (
        lambda x: gc.sqrt(-(x**2)), lambda x: np.sqrt(-(x**2)), "√(-x[i]²)"),
    "root of a product": (
        lambda x: gc.sqrt(-gc.exp(x) * gc.relu(x)), lambda x: np.sqrt(-np.exp(x) * np.maximum(x, 0)),
        "√(-exp(x[i])·relu(x[i]))"),
    "broken power": (
        lambda x: (-gc.exp(x)) ** 0.25, lambda x: (-np.exp(x)) ** 0.25, "(-exp(x[i]))^(1/4)"),
    "arcsine beyond 1": (
        lambda x: gc.arcsin(gc.cosh(x) + 1), lambda x: np.arcsin(np.cosh(x) + 1), "asin(1 + cosh(x[i]))"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_values_are_numpys_and_formulas_real(case: str):
    """Seen to fail where fusion puts the argument into the root."""
    ours, theirs, text = CASES[case]
    x = gc.input("x", ("n",))
    y = ours(x)
    slope = gc.grad(gc.sum(y), x)
    roots = normalise([y.node, slope.node, gc.grad(gc.sum(slope), x).node]).roots
    assert not any(is_complex(e.body) for e in equations(roots))
    with np.errstate(invalid="ignore", divide="ignore"):
        found, first, _ = evaluate(roots, {x.node: POINTS}, dtype=np.float64)
        wanted = theirs(POINTS)
        ahead, behind = theirs(POINTS + 1e-7), theirs(POINTS - 1e-7)
    np.testing.assert_array_equal(found, wanted)
    assert text in str(y) and "I" not in str(slope)
    smooth = np.isfinite(ahead) & np.isfinite(behind) & (POINTS > 0)
    np.testing.assert_allclose(first[smooth], ((ahead - behind) / 2e-7)[smooth], rtol=1e-5)


def test_a_power_of_a_negative_number_is_refused():
    x = gc.input("x", ("n",))
    for power in (lambda: (-2.0) ** x, lambda: gc.power(-2.0, x)):
        with pytest.raises(DomainError, match="is not finite and real"):
            power()
    assert "x[i]³" in str((-2.0) * x**3)
