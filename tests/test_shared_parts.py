"""Parts of expressions, each once: what SymPy finds by walking through the tree, and expressions too large for that."""

import pytest
import sympy as sp
from hypothesis import example, given, settings
from hypothesis import strategies as st

from graphc.ir.parts import parts, parts_of_kind, symbols_of, with_symbols
from graphc.ir.scalar import _expensive_terms, cost, is_complex, placeholder, placeholders, sigmoid
from graphc.rewrite.common_factors import factored
from graphc.rewrite.fuse import _compared_with

A = [placeholder(j) for j in range(4)]
NUMBERS = st.fractions(-3, 3, max_denominator=4).map(lambda q: sp.Rational(q.numerator, q.denominator))
POWERS = st.sampled_from([2, 3, -1, -2, sp.Rational(1, 2)])


def combined(inner: st.SearchStrategy) -> st.SearchStrategy:
    several = st.lists(inner, min_size=2, max_size=3)
    return st.one_of(
        several.map(lambda terms: sp.Add(*terms)),
        several.map(lambda terms: sp.Mul(*terms)),
        st.tuples(inner, POWERS).map(lambda a: a[0] ** a[1]),
        st.tuples(st.sampled_from([sp.exp, sp.sin, sp.tanh, sigmoid]), inner).map(lambda a: a[0](a[1])),
    )


EXPRESSIONS = st.recursive(st.one_of(st.sampled_from(A), NUMBERS), combined, max_leaves=8).filter(
    lambda e: not e.has(sp.zoo, sp.nan, sp.oo, sp.I)
)
OTHERS = st.lists(st.one_of(st.sampled_from(A), NUMBERS), min_size=4, max_size=4)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(EXPRESSIONS, OTHERS)
def test_parts_are_those_of_the_tree(e: sp.Expr, others: list[sp.Expr]) -> None:
    assert parts(e) == list(dict.fromkeys(sp.preorder_traversal(e)))
    assert parts_of_kind(e, sp.Pow, sigmoid) == e.atoms(sp.Pow, sigmoid)
    assert symbols_of(e) == e.free_symbols
    new = dict(zip(A[1:], others, strict=False))
    found, wanted = with_symbols(e, new), e.xreplace(new)
    assert found == wanted or wanted.has(sp.nan)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(EXPRESSIONS)
@example(sp.exp(-A[0] - A[1]) * A[2])
@example(-A[0] * A[2] - A[1] * A[2])
@example(sp.exp(sp.Mul(-1, A[0] + 2, evaluate=False)) + A[1])
@example(sp.sin(2 * A[0] + 2 * A[1]) / 3 + A[2] / 3)
def test_common_factors_are_those_of_sympy(e: sp.Expr) -> None:
    found, wanted = factored(e), sp.factor_terms(e)
    assert found == wanted and str(found) == str(wanted)


@pytest.fixture
def tower() -> sp.Expr:
    """Sixty different parts, in a tree of 10**12."""
    e = A[0] + A[1]
    for _ in range(40):
        e = sp.Mul(sigmoid(e), e + 1, evaluate=False)
    return e


def test_what_is_shared_is_looked_at_once(tower: sp.Expr) -> None:
    assert len(parts(tower)) < 200 and placeholders(tower) == [0, 1]
    moved = with_symbols(tower, {A[0]: A[2]})
    assert symbols_of(moved) == {A[1], A[2]} and len(parts(moved)) == len(parts(tower))
    assert cost(tower) > 10**12 and not is_complex(tower)
    assert _compared_with(tower, 0) == () and len(_expensive_terms(tower)) == 40
