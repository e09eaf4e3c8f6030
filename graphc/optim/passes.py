"""Rules whose elements depend on others of their parameter: sums and means, and the passes of such a step.

`r <- m/sqrt(v)` and `theta <- theta - eta*r/sqrt(sum(r**2))` become::

    r   <- m/sqrt(v)
    _x0 <- r**2                    first pass over all elements
    _s0 <- sum(_x0)                of every parameter, written to each of its elements
    theta <- theta - eta*r/sqrt(_s0)                                            second pass

What one pass assigns and a later one reads is kept like a state.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import sympy as sp
from sympy import Expr, Symbol

from graphc.declare.formula import formula_error

Statement = tuple[str, Expr]


def matrices(shape: Sequence[int]) -> tuple[int, int, int]:
    """(matrices, rows, columns) of a parameter: the last two axes, a vector being a column."""
    if len(shape) < 2:
        return 1, math.prod(shape), 1
    return math.prod(shape[:-2]), shape[-2], shape[-1]


class Reduction(sp.Function):
    """A value of a whole parameter, or of one of its rows or columns, that each of its elements sees."""

    is_real = True
    nargs = 1
    word = ""

    mean = True

    @classmethod
    def sizes(cls, shape: Sequence[int]) -> tuple[int, int, int]:
        """(outer, n, inner): element (o*n + i)*inner + j belongs to value number o*inner + j."""
        return 1, math.prod(shape), 1

    @classmethod
    def of(cls, x: np.ndarray) -> np.ndarray:
        """The value for every element, by NumPy."""
        parts = x.reshape(cls.sizes(x.shape))
        found = (np.mean if cls.mean else np.sum)(parts, axis=1, keepdims=True)
        return np.broadcast_to(found, parts.shape).reshape(x.shape).astype(x.dtype)


class total(Reduction):
    """The sum over the parameter."""

    word, mean = "sum", False


class average(Reduction):
    """The mean over the parameter."""

    word = "mean"


class row_average(Reduction):
    """The mean over the row of an element, along the last axis; an element of a vector is a row."""

    word = "rowmean"

    @classmethod
    def sizes(cls, shape: Sequence[int]) -> tuple[int, int, int]:
        count, rows, columns = matrices(shape)
        return count * rows, columns, 1


class column_average(Reduction):
    """The mean over the column of an element, along the last axis but one; a vector is a column."""

    word = "colmean"

    @classmethod
    def sizes(cls, shape: Sequence[int]) -> tuple[int, int, int]:
        return matrices(shape)


class orthogonal(Reduction):
    """The matrix with all singular values brought near 1, by five steps of Newton and Schulz (Jordan et al. 2024).

    X is divided by its Frobenius norm; then five times X <- p0*X + (p1*A + p2*A**2) X, A = X X' of the shorter side.
    The other two arguments are working memory, which holds the argument again in the end.
    """

    nargs = (3,)  # pyright: ignore[reportAssignmentType]
    word = "orthogonal"
    steps, p0, p1, p2 = 5, 3.4445, -4.775, 2.0315

    @classmethod
    def of(cls, x: np.ndarray) -> np.ndarray:
        """By NumPy, of every matrix of the last two axes."""
        found = x.reshape(matrices(x.shape))
        wide = found.shape[1] <= found.shape[2]
        found = found if wide else found.swapaxes(1, 2)
        size = np.sqrt(np.sum(found * found, axis=(1, 2), keepdims=True))
        found = found / np.where(size > 0, size, x.dtype.type(1))
        p0, p1, p2 = (x.dtype.type(p) for p in (cls.p0, cls.p1, cls.p2))
        for _ in range(cls.steps):
            gram = found @ found.swapaxes(1, 2)
            found = p0 * found + (p1 * gram + p2 * gram @ gram) @ found
        return (found if wide else found.swapaxes(1, 2)).reshape(x.shape).astype(x.dtype)


REDUCTIONS: dict[str, type[Reduction]] = {
    r.word: r for r in (total, average, row_average, column_average, orthogonal)
}


def reduced_by(before: list[Statement], line: str) -> dict[str, Callable[..., Expr]]:
    """The functions of formula text that append what they take and what they give to the statements before theirs."""

    def function(made: type[Reduction]) -> Callable[..., Expr]:
        def reduced(*args: Expr) -> Expr:
            number = sum(isinstance(body, Reduction) for _, body in before)
            x, s = f"_x{number}", f"_s{number}"
            if len(args) != 1:
                problem = f"{made.word} takes 1 argument, not {len(args)}."
                raise formula_error(line, line.index(made.word), problem, f"Write {made.word}(x).")
            before.append((x, args[0]))
            memory = [Symbol(f"_{w}{number}", real=True) for w in "vw"] if made is orthogonal else []
            before.extend((str(w), args[0]) for w in memory)
            before.append((s, made(Symbol(x, real=True), *memory)))
            return Symbol(s, real=True)

        return reduced

    return {word: function(made) for word, made in REDUCTIONS.items()}


def check_passes(name: str, lines: Sequence[str], statements: Sequence[Statement]) -> None:
    """Refuse a rule that assigns theta before it takes a sum: the gradient belongs to the theta of the whole step.

    Raises
    ------
    FormulaError
        With the line of theta.
    """
    targets = [target for target, _ in statements]
    last = max((t for t, (_, body) in enumerate(statements) if isinstance(body, Reduction)), default=0)
    if "theta" in targets[:last]:
        line = next(x for x in lines if x.partition("<-")[0].strip() == "theta")
        raise formula_error(line, 0, f"The rule '{name}' assigns theta before it takes a sum or a mean.",
                            "Assign theta after the last of them.")  # fmt: skip


Pass = tuple[list[Statement], list[tuple[str, Reduction]]]


def passes(statements: Iterable[Statement]) -> list[Pass]:
    """(statements of the elements, the reductions that follow) of every pass; after the last follow none."""
    found: list[Pass] = [([], [])]
    for target, body in statements:
        if isinstance(body, Reduction):
            found[-1][1].append((target, body))
            continue
        if found[-1][1]:
            found.append(([], []))
        found[-1][0].append((target, body))
    return found


def with_gradient(found: list[Pass]) -> list[Pass]:
    """Passes in which the clipped gradient, assigned in the first, is computed again wherever it is read."""
    clipped = [s for s in found[0][0] if s[0] == "g"]
    reads = lambda elements: any("g" in map(str, body.free_symbols) for _, body in elements)
    return [found[0], *((clipped * reads(elements) + elements, after) for elements, after in found[1:])]


def kept_between(statements: Sequence[Statement]) -> list[str]:
    """What must be kept for a later pass: what reductions take and give, and what is assigned in an earlier pass."""
    assigned_in: dict[str, int] = {}
    kept: dict[str, None] = {}
    for number, (elements, reductions) in enumerate(passes(statements)):
        for target, body in elements:
            read = sorted(s.name for s in body.free_symbols)
            kept |= {n: None for n in read if assigned_in.get(n, number) < number}
            assigned_in[target] = number
        for target, body in reductions:
            kept |= {**dict.fromkeys(map(str, body.args)), target: None}
            assigned_in[target] = number
    return list(kept)
