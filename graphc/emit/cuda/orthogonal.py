"""The steps of Newton and Schulz on a GPU, the matrix products of a rule: one block takes a parameter.

X, the matrix over its norm, lies where the result will be; A = X X' and then the next X in working memory,
p1*A + p2*A**2 in more of it (:class:`graphc.optim.passes.orthogonal`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from graphc.emit.cuda.arithmetic import Term, plus, times
from graphc.emit.cuda.groups import GroupPrinter
from graphc.emit.text import Text
from graphc.lower.tiers import LANES
from graphc.optim.passes import matrices, orthogonal


class Orthogonal:
    """Prints what a block does; ``names`` are those of source, two memories to work in, and result."""

    def __init__(
        self,
        text: Text,
        groups: GroupPrinter,
        place: Callable[[str, Term], str],
        names: Sequence[str],
        at: int,
        shape: Sequence[int],
    ) -> None:
        self.text, self.groups, self.place = text, groups, place
        self.source, self.work, self.more, self.result = names
        self.at, (self.count, self.rows, self.columns) = at, matrices(shape)
        self.size, self.short = self.rows * self.columns, min(self.rows, self.columns)

    def print(self) -> None:
        add, text = self.text.add, self.text
        add("t = U(0)")
        with text.block(f"while t < U({self.count}):"):
            add(f"lo = U(U({self.at}) + U(t*U({self.size})))")
            self._scaled()
            add("turn = U(0)")
            with text.block(f"while turn < U({orthogonal.steps}):"):
                self._turn()
                add("turn = U(turn + U(1))")
            add("t = U(t + U(1))")
        whole = lambda name: self.place(name, plus(self.at, "e"))
        copies = (f"{whole(memory)} = {whole(self.source)}" for memory in (self.work, self.more))
        self.groups.lanes(self.count * self.size, lambda: add(*copies))

    def _scaled(self) -> None:
        """X = source over its Frobenius norm."""
        add, text = self.text.add, self.text

        def partial_sum() -> None:
            add("s = f(0.0)", "q = e")
            with text.block(f"while q < U({self.size}):"):
                add(f"scale = {self._of(self.source, 'q')}", "s = s + scale*scale", f"q = U(q + U({LANES}))")
            add("G[e] = s")

        self.groups.lanes(LANES, partial_sum)
        self.groups.fold("sum", LANES)
        add("scale = math.sqrt(G[0]) if G[0] > f(0.0) else f(1.0)")
        self._every(self.size, lambda: add(f"{self._of(self.result)} = {self._of(self.source)}/scale"))

    def _turn(self) -> None:
        """X <- p0*X + (p1*A + p2*A**2) X."""
        add, short, columns = self.text.add, self.short, self.columns
        work, more, result = (self._of(name) for name in (self.work, self.more, self.result))
        wide = self.rows <= columns
        down, along = (columns, 1) if wide else (1, columns)
        other = max(self.rows, columns)
        line = lambda i: lambda k: plus(times(i, down), times(k, along))

        def gram() -> None:
            self._place_of(short)
            self._sum(other, (self.result, line("i")), (self.result, line("j")))
            add(f"{work} = s")

        def polynomial() -> None:
            self._place_of(short)
            row, column = (lambda k: plus(times("i", short), k)), (lambda k: plus(times(k, short), "j"))
            self._sum(short, (self.work, row), (self.work, column))
            add(f"{more} = f({orthogonal.p1})*{work} + f({orthogonal.p2})*s")

        def product() -> None:
            self._place_of(columns)
            matrix = lambda k: plus(times("i", columns), k) if not wide else plus(times(k, columns), "j")
            factor = lambda k: plus(times("i", short), k) if wide else plus(times(k, short), "j")
            self._sum(short, (self.more, factor), (self.result, matrix))
            add(f"{work} = f({orthogonal.p0})*{result} + s")

        self._every(short * short, gram)
        self._every(short * short, polynomial)
        self._every(self.size, product)
        self._every(self.size, lambda: add(f"{result} = {work}"))

    def _every(self, total: int, inside: Callable[[], None]) -> None:
        self.groups.lanes(total, inside)
        self.text.add("cuda.syncthreads()")

    def _place_of(self, columns: int) -> None:
        self.text.add(f"i = U(e // U({columns}))", f"j = U(e % U({columns}))")

    def _sum(self, n: int, *factors: tuple[str, Callable[[Term], Term]]) -> None:
        """s = the sum over q < n of the product of the factors."""
        product = "*".join(self._of(name, place("q")) for name, place in factors)
        self.text.add("s = f(0.0)", "q = U(0)")
        with self.text.block(f"while q < U({n}):"):
            self.text.add(f"s = s + {product}", "q = U(q + U(1))")

    def _of(self, name: str, place: Term = "e") -> str:
        """An element of the matrix that begins at lo."""
        return self.place(name, plus("lo", place))
