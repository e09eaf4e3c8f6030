"""Formula text: the parser, its errors, and the printer that is its inverse."""

import contextlib

import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from graphc.declare.formula import parse
from graphc.declare.formula_text import formula_text
from graphc.errors import FormulaError
from graphc.ir.scalar import FUNCTIONS, absolute, canonical, elu, equal, less, less_equal, maximum, where

X, Y, Z = sp.symbols("x y z", real=True)
N = sp.Symbol("n", integer=True, positive=True)
SYMBOLS = {"x": X, "y": Y, "z": Z, "beta": sp.Symbol("beta", real=True), "n": N}
UNARY = [f for f in FUNCTIONS.values() if f.arity == 1]
BINARY = [f for f in FUNCTIONS.values() if f.arity == 2]


def finite(expr):
    bad = (sp.zoo, sp.nan, sp.oo, -sp.oo, sp.I)
    imaginary = any(t.is_number and t.is_real is False for t in sp.preorder_traversal(expr))
    return not expr.has(*bad) and not imaginary


def leaves():
    fractions = st.fractions(min_value=-50, max_value=50, max_denominator=40)
    numbers = fractions.map(lambda f: sp.Rational(f.numerator, f.denominator))
    return st.one_of(st.sampled_from([X, Y, Z, SYMBOLS["n"], sp.pi]), numbers)


def grow(inner):
    return st.one_of(
        st.lists(inner, min_size=2, max_size=3).map(lambda a: sp.Add(*a)),
        st.lists(inner, min_size=2, max_size=3).map(lambda a: sp.Mul(*a)),
        st.tuples(inner, st.sampled_from([-2, -1, 2, 3, sp.S.Half, -sp.S.Half])).map(lambda a: a[0] ** a[1]),
        st.tuples(inner, inner, st.sampled_from([2, 3, X])).map(lambda a: (a[0] + a[1]) ** a[2]),
        st.tuples(st.sampled_from(UNARY), inner).map(lambda a: a[0](a[1])),
        st.tuples(st.sampled_from(BINARY), inner, inner).map(lambda a: a[0](a[1], a[2])),
        st.tuples(inner, inner, inner).map(lambda a: where(less(a[0], 1), a[1], a[2])),
    )


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.recursive(leaves(), grow, max_leaves=8))
def test_parsing_what_is_printed_gives_the_same_expression(expr):
    """Mutation-checked: printing a - b as a + b, or leaving out the parentheses of a power's base, is caught."""
    if not finite(expr) or len(str(expr)) > 1500:
        return
    text = formula_text(expr)
    assert parse(text, SYMBOLS) == parse(formula_text(parse(text, SYMBOLS)), SYMBOLS)
    assert formula_equal(parse(text, SYMBOLS), canonical(expr)), text


def formula_equal(found, expected):
    """Equal after SymPy has spread a number over a sum, which it does or not depending on how a product was built."""
    return found == expected or found == expected.xreplace({}) or sp.expand(found - expected) == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("z/(1 + exp(-beta*z))", Z / (1 + sp.exp(-SYMBOLS["beta"] * Z))),
        ("-x**2", -(X**2)),
        ("2**-x", 2**-X),
        ("2**3**2", sp.Integer(512)),
        ("x - y - z", X - Y - Z),
        ("x/y/z", X / Y / Z),
        ("2*-x", -2 * X),
        ("--x", X),
        ("x**0.5", sp.sqrt(X)),
        ("0.1*x", X / 10),
        ("1.5e-3", sp.Rational(3, 2000)),
        ("x < y", less(X, Y)),
        ("x >= y", less_equal(Y, X)),
        ("max(x, y, 0)", maximum(maximum(X, Y), 0)),
        ("abs(x)", absolute(X)),
        ("ln(x)", sp.log(X)),
        ("pow(x, 3)", X**3),
        ("elu(x)", elu(X, 1)),
        ("equal(x, y)", equal(X, Y)),
        ("sin(pi)", sp.Integer(0)),
        ("e**x", sp.exp(X)),
    ],
)
def test_text_means_what_a_mathematician_reads(text, expected):
    assert parse(text, SYMBOLS) == expected


def test_a_symbol_of_the_caller_wins_over_a_constant():
    e = sp.Symbol("e", real=True)
    assert parse("2*e", {"e": e}) == 2 * e


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("z*tanhh(z)", "Unknown function 'tanhh'.\n    z*tanhh(z)\n      ^\nDid you mean 'tanh'?"),
        ("x + xx", "Unknown name 'xx'.\n    x + xx\n        ^\nDid you mean 'x'?"),
        ("x^2", "'^' has no meaning in a formula.\n    x^2\n     ^\nWrite a power as **."),
        ("2x", "An operator is missing before 'x'.\n    2x\n     ^\nWrite a product with *: 2*x."),
        ("(x", "This '(' is never closed.\n    (x\n    ^\nAdd a ')'."),
        ("x)", "This ')' closes nothing.\n    x)\n     ^\nRemove it, or open a '(' before."),
        ("x +", "A number, a name or '(' is expected, not the end.\n    x +\n       ^\nComplete the formula here."),
        ("x < y < z", "Comparisons cannot be chained.\n    x < y < z\n          ^\nWrite (a < b)*(b < c)."),
        ("x == y", "'=' has no meaning in a formula.\n    x == y\n      ^\nWrite equal(a, b) to test for equality."),
        ("x/0", "Division by zero.\n    x/0\n      ^\nFormulas are real-valued: change the constant."),
        ("ln(0)", "ln is not finite and real here.\n    ln(0)\n    ^\nFormulas are real-valued: change the constant."),
        ("x**65", "The power 65 is above 64.\n    x**65\n       ^\nWrite exp(p*log(x)) for a power that large."),
        ("exp + 1", "'exp' is a function.\n    exp + 1\n    ^\nCall it: exp(x)."),
        ("sigmoid(x, y)", "sigmoid takes 1 argument, not 2.\n    sigmoid(x, y)\n    ^\nWrite sigmoid(x)."),
        ("beta(x)", "'beta' is no function.\n    beta(x)\n    ^\nWrite a product with *: beta*(...)."),
        ("1 +\n+ y ^ 1", "'^' has no meaning in a formula.\n    + y ^ 1\n        ^\nWrite a power as **."),
    ],
)
def test_an_error_shows_the_text_a_caret_and_one_suggestion(text, message):
    with pytest.raises(FormulaError) as caught:
        parse(text, SYMBOLS)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("x+" * 2100 + "x", "4201 bytes; 4096 is the limit"),
        ("(" * 70 + "x" + ")" * 70, "nested more than 64 deep"),
        ("-" * 70 + "x", "nested more than 64 deep"),
        ("x**" * 70 + "x", "nested more than 64 deep"),
        ("9**9**9", "The power 387420489 is above 64"),
        ("1e99999", "too many digits"),
        ("1" * 100, "too many digits"),
        ("(((9**60)**60)**60)**60", "grows out of bounds"),
    ],
)
def test_hostile_text_is_refused_at_once(text, problem):
    with pytest.raises(FormulaError, match=problem):
        parse(text, SYMBOLS)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text(alphabet="xyz019.eE+-*/()<>=, \n_exp\u03c3", max_size=30))
def test_any_text_gives_an_expression_or_a_formula_error(text):
    with contextlib.suppress(FormulaError):
        assert isinstance(parse(text, SYMBOLS), sp.Expr)
