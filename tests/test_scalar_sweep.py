"""Compositions, products and ratios of scalar functions at special points beside mpmath: value, slope and curvature, in
double and single precision; limits from both sides where a step alone is not finite.

What may differ is what the formula itself forbids: rounding of a value on the way (its size times the derivative behind
it), of a slope and of a curvature (exact to a unit of 1, since they are computed from outputs), and in curvatures,
products and ratios what is lost on the way: a number that leaves the range, or whose last digit decides.  Beyond that
nothing is excused but the lines of ``REASONS``.  ``make fuzz`` goes through all pairs, products and ratios, and many
triples.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tests.scalar_sweep import FUNCTIONS, Formula, off, words

SEEDS = 10  # formulas of each kind in a run of the tests
PARTS = 20  # that the triples are looked at in
CURVATURE, ALL = (2,), (0, 1, 2)
ONE = [(name,) for name in FUNCTIONS]
PAIRS: list[Formula] = list(itertools.product(FUNCTIONS, repeat=2))
PRODUCTS: list[Formula] = [("*", f, g) for f, g in itertools.combinations_with_replacement(ONE, 2)]
RATIOS: list[Formula] = [("/", f, g) for f in ONE for g in ONE]
LISTED: list[Formula] = [
    ("exp", "log1p"), ("softplus", "log"), ("softplus", "sqrt"), ("expm1", "log"), ("expm1", "log1p"),
    ("tanh", "log1p"), ("expm1", "sqrt"), ("sigmoid", "sqrt"), ("sigmoid", "abs", "log"), ("exp", "log"),
    ("expm1", "inverse"), ("/", ("expm1",), ("exp",)), ("/", ("exp",), ("expm1",)),
]  # fmt: skip


def sample(formulas: list[Formula]) -> list[Formula]:
    return formulas[:: len(formulas) // SEEDS]


@pytest.mark.parametrize("formula", [*LISTED, *sample(PAIRS)], ids=words)
def test_compositions_are_right_where_the_formula_lets_them(formula: Formula):
    """The listed ones were infinite, 0 or NaN where they have a finite value."""
    assert off(formula, CURVATURE) == []


@pytest.mark.parametrize("formula", [*sample(PRODUCTS), *sample(RATIOS)], ids=words)
def test_products_and_ratios_are_right_where_the_formula_lets_them(formula: Formula):
    """Mutation-checked: a curvature of log1p that is half as large is seen."""
    assert off(formula, ALL) == []


@pytest.mark.fuzz
@pytest.mark.parametrize("formulas", [PAIRS, PRODUCTS, RATIOS], ids=("pairs", "products", "ratios"))
def test_all_of_them_are_right_where_the_formula_lets_them(formulas: list[Formula]):
    lost = CURVATURE if formulas is PAIRS else ALL
    assert [line for formula in formulas for line in off(formula, lost)] == []


@pytest.mark.fuzz
@pytest.mark.parametrize("share", range(PARTS))
def test_many_triples_and_their_products_are_right_where_the_formula_lets_them(share: int):
    """In parts, since they take 12 to 20 minutes together."""
    rng = np.random.default_rng(1)
    names = list(FUNCTIONS)
    triples: list[Formula] = [tuple(rng.choice(names, 3)) for _ in range(500)]
    mixed: list[Formula] = [(str(rng.choice(["*", "/"])), tuple(rng.choice(names, 2)), tuple(rng.choice(names, 1)))
                            for _ in range(500)]  # fmt: skip
    assert [line for formula in (*triples, *mixed)[share::PARTS] for line in off(formula, ALL)] == []
