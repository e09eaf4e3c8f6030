"""The hazard report of a scalar expression: what is named, with which subgradient, and what is not a false alarm."""

import math

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from graphc.derive.differentiability import hazards
from graphc.ir.scalar import (
    FUNCTIONS,
    absolute,
    bce,
    elu,
    leaky_relu,
    less,
    logcosh,
    maximum,
    numpy_function,
    placeholder,
    relu,
    round_,
    sigmoid,
    sign,
    softplus,
    where,
    xlogx,
)

A, B = placeholder(0), placeholder(1)
UNIT = (0.0, 1.0)


def kinds(expr, **known):
    return [h.kind for h in hazards(expr, {{"a": A, "b": B}[n]: v for n, v in known.items()})[1]]


@pytest.mark.parametrize(
    "expr",
    [
        sp.tanh(A),
        sigmoid(A),
        softplus(A),
        bce(A, B),
        logcosh(A),
        sp.sqrt(A**2 + 1),
        sp.log(A**2 + sp.Rational(1, 10**6)),
        A * (1 + sp.erf(A / sp.sqrt(2))) / 2,
        sp.exp(-(A**2)),
        elu(A, 1),
        where(less(0, A), A, sp.exp(A) - 1),
        where(less(absolute(A - B), 1), (A - B) ** 2 / 2, absolute(A - B) - sp.S.Half),
    ],
)
def test_smooth_functions_have_no_hazard(expr):
    assert kinds(expr) == []


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        (1 / A, ["pole"]),
        (sp.log(A), ["domain", "pole"]),
        (sp.sqrt(A), ["domain", "infinite slope"]),
        (sp.cbrt(A), ["domain", "infinite slope"]),
        (sp.log(1 - sigmoid(A)), ["pole"]),  # floats saturate: sigmoid reaches 1
        (relu(A), ["kink"]),
        (absolute(A), ["kink"]),
        (maximum(A, B), ["kink"]),
        (leaky_relu(A, B), ["kink"]),
        (sign(A), ["jump", "zero gradient"]),
        (round_(A), ["jump", "zero gradient"]),
        (less(A, B), ["jump", "zero gradient"]),
        (sp.floor(A), ["jump", "zero gradient"]),
        (sp.Heaviside(A), ["jump", "zero gradient"]),
        (sp.log(1 + sp.exp(A)), ["overflow"]),
        (sp.cosh(A), ["overflow"]),
        (sp.tan(A), ["pole"]),
        (sp.asin(A), ["domain", "infinite slope"]),
        (xlogx(A), ["domain", "infinite slope"]),
        (A**B, ["domain"]),
        (where(less(0, A), A, A / 100), ["kink"]),
        (where(less(0, A), A**2, A + 1), ["jump"]),
        (sp.Piecewise((A, A > 1), (A + 1, True)), ["jump"]),
        (where(less(A, B), A, sp.sin(B)), ["jump"]),
        (where(less(absolute(A), 1), A**2, absolute(A)), ["kink", "kink"]),
    ],
)
def test_each_hazard_is_named(expr, expected):
    assert kinds(expr) == expected


def test_intervals_silence_what_cannot_happen():
    assert kinds(sp.log(A), a=(0.5, 2)) == []
    assert kinds(sp.sqrt(A), a=(1e-6, 5)) == []
    assert kinds(relu(A), a=(1, 2)) == []
    assert kinds(sp.tan(A), a=(-1, 1)) == []
    assert kinds(sp.exp(A), a=(-5, 5)) == []
    assert kinds(where(less(0, A), sp.log(A + 1), 0), a=(1, 5)) == []
    assert kinds(1 / (A - B), a=(2, 3), b=(0, 1)) == []


def test_a_branch_is_judged_only_where_it_is_taken():
    assert kinds(where(less(1, A), sp.sqrt(A), (A + 1) / 2)) == []  # value and slope agree at 1
    assert kinds(where(less(0, A), sp.log(1 + A), A)) == []


def test_cross_entropy_as_written_has_two_poles_and_none_in_its_stable_form():
    as_written = -(B * sp.log(A) + (1 - B) * sp.log(1 - A))
    assert kinds(as_written, a=UNIT, b=UNIT) == ["pole", "pole"]
    assert hazards(bce(A, B), {B: UNIT}) == ((0.0, math.inf), [])


def test_the_texts_name_the_place_and_the_subgradient():
    texts = [str(h) for h in hazards(relu(A) + sp.log(B) + sign(A), {B: UNIT})[1]]
    assert sorted(texts) == [
        "jump at sign(a0): jumps at 0",
        "kink at relu(a0): subgradient 0 at 0",
        "pole at log(a1): a1 in [0, 1] can be 0",
        "zero gradient at sign(a0): constant between its jumps: no gradient flows through it",
    ]


SAFE = [f for f in FUNCTIONS.values() if f.arity == 1 and f.name not in ("tan", "asin", "acos")]


def grow(inner):
    return st.one_of(
        st.tuples(inner, inner).map(lambda a: a[0] + a[1]),
        st.tuples(inner, inner).map(lambda a: a[0] * a[1]),
        st.tuples(inner, st.sampled_from([2, 3, -1, -2, sp.S.Half])).map(lambda a: a[0] ** a[1]),
        st.tuples(st.sampled_from(SAFE), inner).map(lambda a: a[0](a[1])),
        st.tuples(inner, inner, inner).map(lambda a: where(less(a[0], 0), a[1], a[2])),
    )


LEAVES = st.sampled_from([A, B, sp.Integer(2), sp.Rational(-1, 3)])


@settings(max_examples=250, deadline=None, derandomize=True)
@given(st.recursive(LEAVES, grow, max_leaves=6), st.floats(-2, 2), st.floats(0.5, 3), st.floats(0, 1))
def test_the_interval_holds_the_value_and_a_nan_is_never_unannounced(expr, low, width, weight):
    """Mutation-checked: an even power without its 0, or a swapped product bound, is caught."""
    if expr.has(sp.zoo, sp.nan, sp.oo, sp.I):
        return
    known = {A: (low, low + width), B: (0.5, 2.0)}
    (lowest, highest), found = hazards(expr, known)
    value = float(numpy_function(expr, 2)(np.float64(low + weight * width), np.float64(0.5 + 1.5 * weight)))
    if math.isnan(value):
        assert {h.kind for h in found} & {"pole", "domain", "overflow"}, expr
    elif not {h.kind for h in found} & {"domain"}:
        slack = 1e-9 * max(1.0, abs(value))
        assert lowest - slack <= value <= highest + slack, (expr, value, lowest, highest)


def test_a_root_of_what_is_never_negative_has_the_subgradient_0():
    """A norm has a kink where a plain root has an infinite slope (graphc.derive.zero_times_infinity)."""
    x, y = sp.symbols("x y", real=True)
    assert [h.kind for h in hazards(sp.sqrt(x**2 + y**2))[1]] == ["kink"]
    assert "infinite slope" in [h.kind for h in hazards(sp.sqrt(x))[1]]
