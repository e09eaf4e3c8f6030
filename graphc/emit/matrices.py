"""Functions of matrices as program text: plain loops, so that every target prints them in its own words.

The matrix M is a copy that is worked on: in the result for a Cholesky factor, else in working memory. Rows are combined
from left to right, so that neighbours in memory are computed together; a matrix is computed by one thread, so that the
bits do not depend on their number. What is singular or not positive definite gives NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from graphc.emit.text import Text
from graphc.records import record

NAN = "INF - INF"


class Words:
    """How the CPU's programs count and name functions; other targets print the same loops in theirs."""

    def loop(self, letter: str, first: str, stop: str) -> str:
        """Head of a loop over an index."""
        return f"for {letter} in range({first}, {stop}):" if first else f"for {letter} in range({stop}):"

    def index(self, letter: str) -> str:
        """The index of a loop, where it is used."""
        return letter

    def after(self, letter: str) -> str:
        """The next index."""
        return f"{letter} + 1"

    def call(self, function: str, x: str) -> str:
        """A function of a number."""
        return f"{function}({x})"


@record(frozen=True)
class Matrix:
    """Text of element [row, column] of the matrix of ``n`` rows and of the copy to work on, and three loop letters."""

    given: Callable[[str, str], str]
    at: Callable[[str, str], str]
    n: str
    letters: tuple[str, str, str]
    words: Words = Words()  # noqa: RUF009  it holds nothing

    @property
    def places(self) -> tuple[str, str, str]:
        """The three indices where they are used."""
        p, r, c = map(self.words.index, self.letters)
        return p, r, c

    def pivots(self) -> str:
        """Head of the loop over the diagonal."""
        return self.words.loop(self.letters[0], "", self.n)

    def rows(self, first: str = "0") -> str:
        """Head of the loop over rows."""
        return self.words.loop(self.letters[1], first, self.n)

    def columns(self, first: str = "0") -> str:
        """Head of the loop over columns."""
        return self.words.loop(self.letters[2], first, self.n)


def print_function(text: Text, kind: str, m: Matrix, result: Callable[[str, str], str]) -> None:
    """A function of one matrix; ``result`` is the text of an element of it, the same for all where it is a number."""
    _, r, c = m.places
    with text.loops([m.rows(), m.columns()]):
        text.add(f"{m.at(r, c)} = f({m.given(r, c)})")
    if kind == "inverse":
        _inverse(text, m, result)
    elif kind == "cholesky":
        _cholesky(text, m)
    else:
        _determinant(text, m, kind, result(r, c))


def _inverse(text: Text, m: Matrix, inverse: Callable[[str, str], str]) -> None:
    """Gauss-Jordan elimination with partial pivoting: what makes M the identity makes the identity M⁻¹."""
    p, r, c = m.places
    both = (m.at, inverse)
    with text.loops([m.rows(), m.columns()]):
        text.add(f"{inverse(r, c)} = f(1.0) if {r} == {c} else f(0.0)")
    text.add("s = f(0.0)")
    with text.block(m.pivots()):
        _pivot(text, m, both)
        with text.block("if not top > f(0.0):"):
            text.add(f"s = {NAN}")
        text.add(f"shift = {m.at(p, p)}")
        with text.block(m.columns()):
            text.add(*(f"{x(p, c)} = {x(p, c)}/shift" for x in both))
        with text.block(m.rows()), text.block(f"if {r} != {p}:"):
            text.add(f"shift = {m.at(r, p)}")
            with text.block(m.columns()):
                text.add(*(f"{x(r, c)} = {x(r, c)} - shift*{x(p, c)}" for x in both))
    with text.loops([m.rows(), m.columns()]):
        text.add(f"{inverse(r, c)} = {inverse(r, c)} + s")


def _determinant(text: Text, m: Matrix, kind: str, result: str) -> None:
    """Elimination with partial pivoting: the product of the pivots, the sum of their logarithms, or their sign."""
    (p, r, c), call = m.places, m.words.call
    text.add("s = f(0.0)" if kind == "logabsdet" else "s = f(1.0)")
    with text.block(m.pivots()):
        _pivot(text, m, (m.at,))
        if kind != "logabsdet":
            with text.block(f"if t != {p}:"):
                text.add("s = -s")
        if kind == "det":
            text.add(f"s = s*{m.at(p, p)}")
        elif kind == "logabsdet":
            text.add(f"s = s + {call('log', call('absolute', m.at(p, p)))}")
        else:
            text.add(f"s = s*{call('sign', m.at(p, p))}")
        with text.block("if top > f(0.0):"), text.block(m.rows(m.words.after(p))):
            text.add(f"shift = {m.at(r, p)}/{m.at(p, p)}")
            with text.block(m.columns(m.words.after(p))):
                text.add(f"{m.at(r, c)} = {m.at(r, c)} - shift*{m.at(p, c)}")
    text.add(f"{result} = s")


def _cholesky(text: Text, m: Matrix) -> None:
    """The rows of Lᵀ one after the other, above the diagonal, then transposed; NaN when a pivot is not positive."""
    p, r, c = m.places
    text.add("s = f(0.0)")
    with text.block(m.pivots()):
        with text.block(f"if not {m.at(p, p)} > f(0.0):"):
            text.add(f"s = {NAN}")
        text.add(f"shift = {m.words.call('sqrt', m.at(p, p))}")
        with text.block(m.columns(p)):
            text.add(f"{m.at(p, c)} = {m.at(p, c)}/shift")
        with text.block(m.rows(m.words.after(p))):
            text.add(f"shift = {m.at(p, r)}")
            with text.block(m.columns(r)):
                text.add(f"{m.at(r, c)} = {m.at(r, c)} - shift*{m.at(p, c)}")
    with text.block(m.rows()), text.block(m.columns(r)):
        text.add(f"{m.at(c, r)} = {m.at(r, c)} + s")
        with text.block(f"if {c} != {r}:"):
            text.add(f"{m.at(r, c)} = s")


def _pivot(text: Text, m: Matrix, swapped: Sequence[Callable[[str, str], str]]) -> None:
    """Row t: that of the largest element at or below the diagonal, whose size is ``top``; it becomes row p."""
    p, r, c = m.places
    size = m.words.call("absolute", m.at(r, p))
    text.add("top = f(0.0)", f"t = {p}")
    with text.block(m.rows(p)), text.block(f"if {size} > top:"):
        text.add(f"top = {size}", f"t = {r}")
    with text.block(f"if t != {p}:"), text.block(m.columns()):
        for x in swapped:
            text.add(f"shift = {x(p, c)}", f"{x(p, c)} = {x('t', c)}", f"{x('t', c)} = shift")
