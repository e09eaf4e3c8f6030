"""Every rule of the table: it fires on its example, does not lengthen the formula that is read, and leaves each element
to itself: one that is infinite, huge or not a number changes no other's derivative."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
from sympy import Expr, cosh, exp, log, sinh, tanh

import graphc as gc
from graphc.derive.gradient import gradient
from graphc.emit.reference import evaluate
from graphc.ir.affine import identity
from graphc.ir.build import elementwise, equation
from graphc.ir.node import Node, Read
from graphc.ir.scalar import absolute, guarded, log1p, maximum, placeholder, relu, sigmoid, softplus
from graphc.rewrite.normal import normalise
from graphc.rewrite.stable import TABLES, stabilise

Z, T = placeholder(0), placeholder(1)


EXAMPLES = {
    "logistic": 1 / (1 + exp(Z)),
    "power_of_complement": 1 / (1 - sigmoid(Z)),
    "root_of_sigmoid": sp.sqrt(sigmoid(Z)),
    "root_of_expm1": sp.sqrt(exp(Z) - 1),
    "root_of_softplus": sp.sqrt(log(1 + exp(Z))),
    "exp_times_logistic": exp(Z) / (1 + exp(Z)),
    "share_of_two_exponentials": exp(Z) / (exp(Z) + exp(T)),
    "sinh_over_cosh": sinh(Z) / cosh(Z),
    "expm1_over_one_plus_exp": (exp(Z) - 1) / (exp(Z) + 1),
    "exp_over_expm1": exp(Z) / (exp(Z) - 1),
    "expm1_over_exp": (exp(Z) - 1) * exp(-Z),
    "x_log_x": Z * log(Z),
    "x_times_sum_with_log_x": Z * (log(Z) + T),
    "product_of_exponentials": exp(Z) * exp(T),
    "opposite_exponentials": exp(Z) - exp(-Z),
    "exp_minus_one": exp(Z) - 1,
    "two_sigmoid_minus_one": 2 * sigmoid(Z) - 1,
    "complementary_sigmoids": T * sigmoid(Z) + T * sigmoid(-Z),
    "softplus_by_magnitude": relu(Z) + softplus(-absolute(Z)),
    "cross_entropy": -(T * log(sigmoid(Z)) + (1 - T) * log(1 - sigmoid(Z))),
    "log_of_product": log(T * exp(Z)),
    "log_of_expm1": log(exp(Z) - 1),
    "log_of_one_plus": log(1 + Z),
    "log1p_of_exp": log1p(exp(Z)),
    "log1p_of_tanh": log1p(tanh(Z)),
    "log_of_softplus": log(softplus(Z)),
    "maximum_with_zero": maximum(Z, 0),
}
POISON = (np.inf, -np.inf, np.nan, 1e300, -1e300, 800.0, -800.0)


def read_as(e: Expr) -> Expr:
    """What a reader sees: of the compiler's own case distinctions one branch."""
    return e.replace(guarded, lambda c, a, b: a if b == 0 else b)


def operations(e: Expr) -> int:
    """Functions, powers, and the signs between terms and factors; a minus alone is none."""
    count = 0
    for part in sp.preorder_traversal(read_as(e)):
        if part.is_Add or part.is_Mul:
            count += len(part.args) - 1 - (part.is_Mul and part.args[0] == -1)
        else:
            count += not part.is_Atom
    return count


def test_every_rule_has_an_example_on_which_it_fires():
    rules = {rule.name for table in TABLES for rule in table}
    assert rules == set(EXAMPLES)
    for name, paper in EXAMPLES.items():
        assert name in [f.name for f in stabilise(paper)[1]], name


@pytest.mark.parametrize("name", EXAMPLES)
def test_no_rule_lengthens_the_formula_that_is_read(name: str):
    """Mutation-checked: exp(-softplus(-u)/2) in the place of the root of sigmoid(u) is seen."""
    assert operations(stabilise(EXAMPLES[name])[0]) <= operations(EXAMPLES[name])


def total(body: Expr, *leaves: gc.Tensor) -> Node:
    node = elementwise(body, [leaf.node for leaf in leaves])
    return equation(node.shape, 0, "sum", Z, [Read(node, identity(1))])


def slopes(loss: Node, leaves: list[gc.Tensor], values: list[np.ndarray]) -> list[np.ndarray]:
    loss = normalise([loss]).roots[0]
    grads = normalise(gradient(loss, [leaf.node for leaf in leaves])).roots
    return evaluate(grads, {leaf.node: v for leaf, v in zip(leaves, values, strict=True)})


@pytest.mark.parametrize("name", EXAMPLES)
def test_no_rule_makes_one_element_depend_on_another(name: str):
    z, t = leaves = [gc.param("z", (3,)), gc.param("t", (3,))]
    loss = total(EXAMPLES[name], z, t)
    clean = [np.array([0.3, 0.7, 1.1]), np.array([0.5, 0.25, 0.75])]
    expected = slopes(loss, leaves, clean)
    for poison in POISON:
        values = [v.copy() for v in clean]
        values[0][1] = poison
        for found, wanted in zip(slopes(loss, leaves, values), expected, strict=True):
            np.testing.assert_array_equal(found[[0, 2]], wanted[[0, 2]])


SUMS = {
    "alone": lambda S: S,
    "times a number": lambda S: 3 * S,
    "squared": lambda S: S**2,
    "beside its logarithm": lambda S: 3 * S + gc.log(S),
    "beside its root": lambda S: (S + gc.sqrt(S)) / 2,
    "beside its inverse": lambda S: S + 1 / S,
    "the larger": lambda S: gc.maximum(S, gc.log(S)),
}


@pytest.mark.parametrize("name", SUMS)
def test_a_sum_of_exponentials_is_one_where_nobody_gains(name: str):
    """All but the first three made the gradients of all elements infinite, with exp(logsumexp) for the sum."""
    z = gc.param("z", (3,))
    loss = SUMS[name](gc.sum(gc.exp(z)))
    at = np.array([0.0, 1.0, 710.0])
    with np.errstate(over="ignore"):
        own = {"squared": np.full(3, np.inf), "times a number": 3 * np.exp(at), "beside its logarithm": 3 * np.exp(at),
               "beside its root": np.exp(at) / 2}.get(name, np.exp(at))  # fmt: skip
    [found] = slopes(loss.node, [z], [at])
    np.testing.assert_allclose(found, own, rtol=1e-12)
