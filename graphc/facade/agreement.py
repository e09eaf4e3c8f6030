"""Do the numbers of a program agree with its formulas?  Rounding is told from a fault by evaluating again with noise.

A program rounds in its own order and precision.  How much of that reaches a result is seen when every value of the
graph, and every number that goes in, is changed by a few units in its last place (Monte Carlo arithmetic: Parker,
UCLA CSD-970002, 1997): the spread of the results is what rounding may do.  A kink so near that rounding may cross it
shows as a spread as large as the result, and then nothing is concluded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from graphc.emit.reference import Product, Values, evaluate, evaluate_all, evaluate_in_parts
from graphc.ir.node import Leaf, Node
from graphc.records import record

PIECE = 1 << 16  # elements that are compared at a time: what is computed on the way stays in the cache
LARGE = 1 << 20  # elements of a product from which on weighted sums of its rows are compared first
SPREAD = 64.0  # a difference of so many times the spread is none of rounding
LOST = 64.0  # units of rounding: what is smaller than so many may have been lost beside a 1
VAGUE = 0.2  # a spread above this part of the result leaves nothing to be concluded
QUICK, THOROUGH = 3, 24  # evaluations with noise: to see whether rounding explains it; before a fault is claimed
SQUARES = (1e-150, 1e150)  # between these the squares of numbers are numbers, and so are sums of many
UNITS = (4.0, 32.0)  # amplitudes of the noise, in units of the last place, in turn

Feed = Mapping[Leaf, NDArray]


@record(frozen=True)
class Precision:
    """What a program computes in: the type of its results, the unit of rounding of its factors, and how near a result
    may be (relative to the largest element) without asking further."""

    dtype: str
    eps: float
    close: float

    @property
    def least(self) -> float:
        """The smallest number that is not subnormal: programs may take for 0 what is below."""
        return float(np.finfo(self.dtype).tiny)


PRECISIONS = {
    "float32": Precision("float32", 2.0**-23, 2e-4),
    "float64": Precision("float64", 2.0**-52, 1e-9),
    "tf32": Precision("float32", 2.0**-10, 0.02),
    "bf16": Precision("float32", 2.0**-7, 0.1),
}


@record(frozen=True)
class Difference:
    """A result of the program that is not what the formula gives."""

    place: int
    at: tuple[int, ...]
    found: float
    exact: float


@record
class Judgement:
    """``difference`` is None where all agree; ``unclear`` are the places of results of which nothing is known."""

    difference: Difference | None
    unclear: list[int]


Graph = tuple[Callable[[], Sequence[Node]], Feed]


def judge(
    found: Sequence[NDArray | None],
    graphs: Sequence[Graph],
    precision: Precision,
    known: Values | None = None,
) -> Judgement:
    """Compare results with the values of nodes.

    Parameters
    ----------
    found
        What the program gave; None where it told nothing.
    graphs
        Nodes of the same results with the numbers of their leaves, exact in ``dtype``, the precision of the program:
        as declared, then rewritten.  The second is asked where the first says nothing, because it overflows or cancels
        where the rewritten one does not.
    known
        What the first nodes give in the precision of the program, where that was evaluated before.
    """
    silent = {t for t, value in enumerate(found) if value is None}
    told = {t: value for t, value in enumerate(found) if value is not None and value.size}
    if known is None:
        quick = _not_near(told, graphs[0][0](), list(told), graphs[0][1], precision)
    else:
        quick = _apart(told, known.of(told), list(told), precision)
    lost = {t for t in quick if not np.isfinite(told[t]).all()}
    if lost:  # what overflows in the precision of the program by the formula itself is no fault
        graph, feed = graphs[-1]
        rounded = evaluate([graph()[t] for t in sorted(lost)], feed, dtype=precision.dtype)
        lost = {t for t, value in zip(sorted(lost), rounded, strict=True) if not np.isfinite(value).all()}
    quick, asked = {t: value for t, value in quick.items() if t not in lost}, []
    for left, (graph, feed) in zip(range(len(graphs) - 1, -1, -1), graphs, strict=True):
        quick = _not_near(told, graph(), asked, feed, precision) if asked else quick
        if not quick:
            return Judgement(None, sorted({*lost, *silent}))
        difference, asked = _compare(told, graph(), quick, feed, precision, LOST * precision.eps if left else 0.0)
        if difference is not None or not asked:
            return Judgement(difference, sorted({*asked, *lost, *silent}))
    return Judgement(None, sorted({*asked, *lost, *silent}))


def _compare(
    found: Mapping[int, NDArray],
    nodes: Sequence[Node],
    quick: Mapping[int, NDArray | Product],
    feed: Feed,
    precision: Precision,
    lost: float,
) -> tuple[Difference | None, list[int]]:
    """A difference, and the places of results of which nothing can be said: also of what is below ``lost``, which
    1 + exp(z) as declared cannot tell from 0.

    What rounding does is seen first of the interpreter's own, in ``quick``: a gradient that is 0, as of the bias of the
    keys before a softmax, is nothing but rounding.
    """
    exact = dict(zip(quick, evaluate([nodes[t] for t in quick], feed), strict=True))
    apart = [t for t in quick if not near(found[t], exact[t], precision.close)]
    apart = [t for t in apart if not _is_as_rounded(found[t], exact[t], quick[t], precision)]
    for samples in (QUICK, THOROUGH):
        if not apart:
            return None, []
        spreads = spreads_of([nodes[t] for t in apart], feed, precision, samples)
        verdicts = {t: _verdict(found[t], exact[t], s, precision) for t, s in zip(apart, spreads, strict=True)}
        apart = [t for t, verdict in verdicts.items() if verdict != "agrees"]
        verdicts |= {t: "unclear" for t in apart if max(_largest(found[t]), _largest(exact[t])) < lost}
        if "differs" not in verdicts.values():
            return None, apart
    if lost and _has_squares_out_of_range([nodes[t] for t in apart], feed):
        return None, apart
    worst = next(t for t in apart if verdicts[t] == "differs")
    return _difference(worst, found[worst], exact[worst]), apart


def _has_squares_out_of_range(nodes: Sequence[Node], feed: Feed) -> bool:
    """Whether a value on the way is so large or so small that its square is no number: norms as declared are wrong."""
    values = [np.abs(np.asarray(v, np.float64)) for v in (*feed.values(), *evaluate_all(nodes, feed).values())]
    return any(bool(((v > SQUARES[1]) | ((v > 0) & (v < SQUARES[0]))).any()) for v in values)


def _not_near(
    found: Mapping[int, NDArray], nodes: Sequence[Node], asked: Sequence[int], feed: Feed, precision: Precision
) -> dict[int, NDArray | Product]:
    """What a quick evaluation in the precision of the program does not confirm, with what that gives."""
    values = evaluate_in_parts([nodes[t] for t in asked], feed, dtype=precision.dtype)
    return _apart(found, values, asked, precision)


def _apart(
    found: Mapping[int, NDArray], values: Values, asked: Sequence[int], precision: Precision
) -> dict[int, NDArray | Product]:
    """The values that are not near what was found, nor as near as a sum of such terms may be."""
    apart: dict[int, NDArray | Product] = {}
    for k, t in enumerate(asked):
        if not near(found[t], values[k], precision.close) and not _adds_up(found[t], values, k, precision):
            apart[t] = values[k]
    return apart


def _adds_up(found: NDArray, values: Values, place: int, precision: Precision) -> bool:
    """Whether a sum is as near as the rounding of its terms lets it be: that which is 0, as the gradient of the bias of
    the keys before a softmax, is nothing but rounding."""
    terms, value = values.terms(place), values[place]
    if terms is None or not np.isfinite(found).all():
        return False
    exact = value.rows() if isinstance(value, Product) else value
    with np.errstate(all="ignore"):
        return bool((np.abs(found - exact) <= SPREAD * precision.eps * terms).all())


def _is_as_rounded(found: NDArray, exact: NDArray, quick: NDArray | Product, precision: Precision) -> bool:
    """Whether a result is as near as that of an evaluation in the precision of the program."""
    rounded = quick.rows() if isinstance(quick, Product) else quick
    with np.errstate(all="ignore"):
        spread = np.where(rounded == exact, 0, np.abs(rounded - exact))
    return _verdict(found, exact, spread, precision) == "agrees"


def near(found: NDArray, exact: NDArray | Product, tolerance: float) -> bool:
    """Whether every element is within ``tolerance`` of the largest; NaN is near nothing, an infinity near itself."""
    with np.errstate(invalid="ignore"):
        if isinstance(exact, Product) and found.size >= LARGE and _sums_near(found, exact, tolerance):
            return True
        sizes = [(_largest(other), _largest(part - other)) for part, other in _pieces(np.asarray(found), exact)]
        scale, gap = np.max(sizes, axis=0)  # NaN where there is one
        if np.isinf(scale):
            whole = exact.rows() if isinstance(exact, Product) else exact
            return near(*_finite_part(found, whole), tolerance)
        return bool(gap <= tolerance * scale)


def _sums_near(found: NDArray, exact: Product, tolerance: float) -> bool:
    """Whether the rows of a large product, each added up with random weights, are near: the product is read once and
    never made (Freivalds, "Probabilistic machines can use less running time", 1977).

    Weights of size 1 to 2 hide no element that is wrong alone in its row; several hide one another only where their
    weighted sum is as small as the tolerance. The largest element is taken from one row, which is no larger than that
    of all; what does not pass may still be near.
    """
    rng = np.random.default_rng(0)
    weights = (rng.uniform(1, 2, exact.shape[1]) * rng.choice([-1, 1], exact.shape[1])).astype(found.dtype)
    row = int(np.argmax(np.abs(exact.left).max(axis=1)))
    sums = lambda matrix, by: np.einsum("ij,j->i", matrix, by)  # BLAS would begin threads
    gap = np.abs(sums(found, weights) - sums(exact.left, sums(exact.right, weights)))
    return bool(np.max(gap) <= tolerance * _largest(exact.rows(row, row + 1)))


def _pieces(found: NDArray, exact: NDArray | Product) -> Iterator[tuple[NDArray, NDArray]]:
    """Both in parts that lie in the cache."""
    if isinstance(exact, Product):
        many = max(PIECE // max(exact.shape[1], 1), 1)
        for row in range(0, len(found), many):
            yield found[row : row + many], exact.rows(row, row + many)
        return
    flat, other = found.reshape(-1), np.asarray(exact).reshape(-1)
    for at in range(0, flat.size, PIECE):
        yield flat[at : at + PIECE], other[at : at + PIECE]


def _finite_part(found: NDArray, exact: NDArray) -> tuple[NDArray, NDArray]:
    """Both with 0 where the same infinity stands in both, as the logarithm of a masked probability has it."""
    infinite = np.isinf(exact)
    if not infinite.any():
        return found, exact
    same = infinite & (found == exact)
    other = np.where(infinite & ~same, np.nan, exact)  # nothing else is near an infinity
    return np.where(same, 0, found), np.where(same, 0, other)


def _largest(x: NDArray) -> float:
    """The largest absolute value; NaN where there is one."""
    return float(np.maximum(x.max(), -x.min())) if x.size else 0.0


def _verdict(found: NDArray, exact: NDArray, spread: NDArray, precision: Precision) -> str:
    """ "agrees", "differs", or "unclear" where rounding alone may change the result beyond recognition."""
    found, exact = _finite_part(found, exact)
    with np.errstate(all="ignore"):
        scale = float(np.max(np.abs(exact)))
        allowed = SPREAD * float(np.max(spread)) + precision.eps * scale + precision.least
        gap = float(np.max(np.abs(found - exact)))
    if not np.isfinite(scale) or not np.isfinite(allowed) or scale > float(np.finfo(precision.dtype).max) / 2:
        return "unclear"
    if gap <= allowed:
        filled = scale < precision.eps  # zeros that rounding has filled
        return "agrees" if allowed <= VAGUE * scale or filled else "unclear"
    return "differs"  # also what is NaN, as memory that nobody wrote, where no noise makes a NaN


def _difference(place: int, found: NDArray, exact: NDArray) -> Difference:
    with np.errstate(all="ignore"):
        gap = np.where(found == exact, 0, np.abs(found - exact))
    worst = np.unravel_index(int(np.argmax(np.where(np.isnan(gap), np.inf, gap))), exact.shape)
    at = tuple(int(i) for i in worst)
    return Difference(place, at, float(found[at]), float(exact[at]))


def spreads_of(nodes: Sequence[Node], feed: Feed, precision: Precision, samples: int) -> list[NDArray]:
    """The largest change that noise makes to every element, or that subnormal numbers make when they become 0."""
    eps, least = precision.eps, precision.least
    exact = evaluate(nodes, feed)
    spreads = [np.zeros_like(e) for e in exact]
    with np.errstate(all="ignore"):
        for noisy in [_flushed_values(nodes, feed, least), *_noisy_values(nodes, feed, eps, samples)]:
            gaps = [np.where(n == e, 0, np.abs(n - e)) for n, e in zip(noisy, exact, strict=True)]
            spreads = [np.maximum(s, gap) for s, gap in zip(spreads, gaps, strict=True)]
    return spreads


def _flushed_values(nodes: Sequence[Node], feed: Feed, least: float) -> list[NDArray]:
    def flush(value: NDArray) -> NDArray:
        return np.where(np.abs(value) < least, 0, value) if value.dtype.kind == "f" else value

    return evaluate(nodes, {leaf: flush(np.asarray(x)) for leaf, x in feed.items()}, blur=flush)


def _noisy_values(nodes: Sequence[Node], feed: Feed, eps: float, samples: int) -> Iterator[list[NDArray]]:
    rng = np.random.default_rng(0)
    for sample in range(samples):
        amplitude = UNITS[sample % len(UNITS)] * eps

        def blur(value: NDArray) -> NDArray:
            """Whole numbers stay as they are: labels, counts and the results of comparisons are exact."""
            if value.dtype.kind != "f" or np.array_equal(value, np.rint(value)):
                return value
            return value * (1 + amplitude * rng.choice((-1.0, 1.0), value.shape))  # noqa: B023  called at once

        yield evaluate(nodes, {leaf: blur(np.asarray(x)) for leaf, x in feed.items()}, blur=blur)
