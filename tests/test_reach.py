"""What the proof that reads stay within what they read says: held to all points of small spaces, and to many models."""

from __future__ import annotations

import itertools
import random

import pytest

import graphc as gc
from graphc.declare.tensor import Tensor
from graphc.facade.trusted import check_reads
from graphc.ir.affine import Affine, Atom, FloorDiv, Modulo, Size, affine, constant, identity
from graphc.ir.build import equation
from graphc.ir.node import Indicator, Leaf, Mask, Read
from graphc.ir.reach import Place, is_inside, point_outside
from graphc.ir.scalar import placeholder, where
from tests.covering.build import build
from tests.covering.search import graphs_of
from tests.gallery import ENTRIES

CASES = 400
EXTENTS = (3, 4, "n")
X = Read(Leaf("X", EXTENTS, "input"), identity(3))
Y = equation(EXTENTS, 3, "sum", placeholder(0) + 1, [X])  # what it reads alone would be no equation of its own


def drawn(rng: random.Random, depth: int = 2) -> Affine:
    """A quasi-affine map of three indices and the size of n."""
    terms: dict[Atom, int] = {t: rng.choice([-2, -1, 0, 0, 1, 1, 3]) for t in range(3)}
    if rng.random() < 0.2:
        terms[Size("n")] = rng.choice([-1, 1])
    found = affine(rng.randrange(-3, 5), terms)
    if depth and rng.random() < 0.4:
        kind = rng.choice([FloorDiv, Modulo])
        found = found + affine(0, {kind(drawn(rng, depth - 1), rng.choice([2, 3])): rng.choice([-1, 1, 2])})
    return found


def value(x: Affine, point: tuple[int, ...], n: int) -> int:
    """What a map gives, by the definition of its atoms."""
    total = x.const
    for atom, coef in x.terms:
        if isinstance(atom, int):
            total += coef * point[atom]
        elif isinstance(atom, Size):
            total += coef * n
        else:
            inner = value(atom.inner, point, n)  # type: ignore[union-attr]
            total += coef * (inner // atom.divisor if isinstance(atom, FloorDiv) else inner % atom.divisor)  # type: ignore
    return total


def holds(mask: Mask, point: tuple[int, ...], n: int) -> bool:
    found = value(mask.map, point, n)
    return found >= 0 if mask.kind == "ge" else found == 0 if mask.kind == "eq" else found != 0


def leaves(place: Place, n: int) -> list[tuple[int, ...]]:
    """The points at which a map leaves its axis."""
    count = n if isinstance(place.extent, str) else place.extent
    points = itertools.product(range(3), range(4), range(n))
    return [p for p in points
            if all(holds(m, p, n) for m in place.masks) and not 0 <= value(place.map, p, n) < count]  # fmt: skip


def test_what_is_proven_holds_at_every_point_and_what_is_refuted_at_one():
    """Mutation-checked: a mask taken for its opposite, and an index that reaches its extent, are seen."""
    rng, proven, refuted = random.Random(0), 0, 0
    for _ in range(CASES * 5):
        masks = tuple(Mask(rng.choice(["ge", "ge", "eq", "ne"]), drawn(rng)) for _ in range(rng.randrange(3)))
        place = Place(drawn(rng), rng.choice([5, 8, "n"]), masks)
        if is_inside(Y, place, {}, {}):
            proven += 1
            assert not any(leaves(place, n) for n in range(1, 9)), place
        elif point_outside(Y, place, {}, {}) is not None:
            refuted += 1
            assert any(leaves(place, n) for n in (1, 2, 7)), place
    assert proven > 50 and refuted > CASES


@pytest.mark.parametrize(
    ("x", "masks"),
    [
        (Affine(1, ((1, 1),)), [Mask("ge", Affine(2, ((1, -1),)))]),
        (Affine(-1, ((0, 1), (1, 1))), [Mask("ge", Affine(-1, ((1, 1),))), Mask("ge", Affine(1, ((0, -1),)))]),
        (affine(0, {FloorDiv(Affine(-2, ((1, 1),)), 2): 1}), [Mask("ge", Affine(-2, ((1, 1),)))]),
        (affine(-2, {0: 2, 1: 1}), [Mask("eq", affine(-3, {0: 2, 1: 1}))]),
    ],
)
def test_masks_narrow_what_is_read(x: Affine, masks: list[Mask]):
    place = Place(x, 4, tuple(masks))
    assert is_inside(Y, place, {}, {}) and not is_inside(Y, Place(x, 4), {}, {})


def test_every_model_of_the_gallery_is_proven():
    for entry in ENTRIES:
        check_reads([entry.loss.node])


def test_graphs_of_the_covering_search_are_proven_with_their_second_derivatives():
    for description in graphs_of(0, 300)[::6]:
        graph = build(description)
        check_reads([graph.loss.node, *(y.node for y in graph.outputs)])


def test_a_read_that_is_not_proven_is_told_with_its_equation():
    x = gc.input("X", ("n", 4))
    far = equation(("n", 4), 2, "sum", placeholder(0), [Read(x.node, (Affine(0, ((0, 1),)), Affine(1, ((1, 1),))))])
    with pytest.raises(ValueError, match=r"^an index map gives 4 on an axis of 4 in .* = X\[i, j \+ 1\]$"):
        check_reads([Tensor(far).node])
    first = equation((), 0, "sum", placeholder(0), [Read(x.node, (constant(5), constant(0)))])
    check_reads([first])  # rows are counted before the run


def test_what_a_condition_chooses_is_read_where_it_holds_and_the_rest_where_it_fails():
    """Mutation-checked: a condition that fails taken for one that holds is seen."""
    x, rest = Leaf("X", ("n", 6), "input"), identity(2)
    later, sooner = (Read(x, (rest[0], affine(c, {1: 1}))) for c in (4, -2))
    since_2 = Indicator(Mask("ge", affine(-2, {1: 1})))
    chosen = lambda *parts: equation(("n", 6), 2, "sum", where(*map(placeholder, (0, 1, 2))), [since_2, *parts])
    check_reads([chosen(sooner, later)])
    with pytest.raises(ValueError, match="gives"):
        check_reads([chosen(later, sooner)])
