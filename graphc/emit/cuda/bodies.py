"""One element of a kernel as statements: what a single thread computes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import partial

from graphc.emit.cuda.arithmetic import Maps, Term, plus, times, u
from graphc.emit.cuda.functions import TEMPLATES, CudaPrinter
from graphc.emit.cuda.memory_map import Places
from graphc.emit.expressions import PRODUCT
from graphc.emit.matrices import Matrix, Words, print_function
from graphc.emit.text import Text
from graphc.ir.affine import Affine, Extent, Gather, identity, indices
from graphc.ir.letters import index_letters
from graphc.ir.node import DENSE, Indicator, Node, Operand, Read
from graphc.ir.scalar import placeholder
from graphc.lower.kernels import Kernel, Nest, Product, View, safest_first
from graphc.lower.layout import Buffer, root_of
from graphc.lower.loop_fusion import joint_bodies
from graphc.lower.norms import rare_part
from graphc.lower.plan import scatter_target

START = {"sum": "f(0.0)", "max": "-INF", "min": "INF", "prod": "f(1.0)", "logsumexp": "-INF"}
JOIN = {
    "sum": "{0} + {1}",
    "prod": "{0}*{1}",
    "max": "({0} if {0} > {1} or {0} != {0} else {1})",
    "min": "({0} if {0} < {1} or {0} != {0} else {1})",
}
COUNT = "count"


def loop_bound(extent: Extent) -> str:
    """The number of values of an index."""
    return COUNT if isinstance(extent, str) else f"U({extent})"


def term_of(extent: Extent) -> Term:
    """The same as a term of index arithmetic."""
    return COUNT if isinstance(extent, str) else extent


class CudaWords(Words):
    """Loops over uint32, which a range gives as wider numbers."""

    def loop(self, letter: str, first: str, stop: str) -> str:
        start = {"": "", "0": ""}.get(first, f"{u(first)}, ")
        return f"for {letter} in range({start}{stop}):"

    def index(self, letter: str) -> str:
        return f"U({letter})"

    def after(self, letter: str) -> str:
        return plus(letter, 1)  # pyright: ignore[reportReturnType]  text, as the letter is

    def call(self, function: str, x: str) -> str:
        return f"({TEMPLATES[function].format(x)})"


class Element:
    """Prints the statements that compute one element of a nest, the free indices given by name."""

    def __init__(self, text: Text, places: Places, nest: Nest, dtype: str) -> None:
        self.text, self.places, self.nest, self.y = text, places, nest, nest.equation
        letters: list[Term] = list(index_letters(self.y.extents))
        self.names = [0 if e == 1 else name for e, name in zip(self.y.extents, letters, strict=True)]
        self.maps = Maps(self.names, self.y.extents, COUNT, self._gathered)
        self.masks = list(self.y.masks)
        self.dtype = dtype

    def _gathered(self, gather: Gather) -> str:
        return self.places.gathered(gather, self.maps)

    @property
    def bound(self) -> list[int]:
        """The bound indices that need a loop."""
        return [i for i in range(self.y.n_free, len(self.y.extents)) if self.y.extents[i] != 1]

    def print(self) -> None:
        """The value of one element, written where it belongs."""
        if not self.bound:
            self._map()
        elif self.y.reducer == "logsumexp":
            self._logsumexp()
        else:
            self._reduced()
            self.text.add(f"{self.out()} = s")

    def _reduced(self) -> None:
        """``s`` = the reduction; without a loop where all its terms are 0 (:func:`graphc.lower.norms.rare_part`)."""
        rare = rare_part(self.y)
        if rare is None:
            self.reduce(self.bound)
            return
        tested, self.y = self.operand(self.y.operands[rare[0]]), rare[1]
        self.text.add(f"s = {START[self.y.reducer]}")
        with self.text.block(f"if {tested} != f(0.0):"):
            self.reduce(self.bound)

    def _map(self) -> None:
        value, lines = self.body()
        self._guarded(lines, f"{self.out()} = {value}", f"{self.out()} = {START[self.y.reducer]}")

    def reduce(self, bound: Sequence[int]) -> None:
        """``s`` = the reduction over the given bound indices, in order."""
        self.text.add(f"s = {START[self.y.reducer]}")
        value, lines = self.body()
        self._loops(bound, partial(self.join, value, lines))

    def join(self, value: str, lines: list[str], into: str = "s") -> None:
        """One more value into the accumulator."""
        if self.y.reducer in ("max", "min") and not value.isidentifier():
            lines, value = [*lines, f"value = {value}"], "value"
        value = f"({value})" if self.y.reducer == "prod" else value
        self._guarded(lines, f"{into} = {JOIN[self.y.reducer].format(into, value)}")

    def _logsumexp(self) -> None:
        """log sum exp w = top + log sum exp(w - top), top = max w; -inf for an empty sum."""
        value, lines = self.body()
        self.text.add("top = -INF")
        top = [*lines, f"value = {value}"]
        self._loops(self.bound, partial(self._guarded, top, "top = (top if top > value or top != top else value)"))
        self.text.add("shift = top if abs(top) < INF else f(0.0)", "s = f(0.0)")
        self._loops(self.bound, partial(self._guarded, lines, f"s = s + math.exp(({value}) - shift)"))
        assert self.nest.log is not None
        log = self.places.element(self.nest.log, self.own_place(), self.maps)
        self.text.add(f"{self.out()} = shift", f"{log} = math.log(s)")

    def scatter(self, others: Sequence[int]) -> None:
        """out[gather, ..] += body for one value of the other free indices: rows one after the other, in order."""
        found = scatter_target(self.y)
        assert found is not None
        target, mask = found
        gather = next(a for a, _ in mask.map.terms if isinstance(a, Gather))
        self.masks.remove(mask)
        self._loops([target], lambda: self.text.add(f"{self.out()} = f(0.0)"))
        value, lines = self.body()
        before = [m for m in self.masks if target not in indices(m.map)]  # they may keep the gather inside its array
        self.masks = [m for m in self.masks if m not in before]

        def add() -> None:
            conditions = [self.maps.condition(m) for m in safest_first(before)]
            with self.text.block(f"if {' and '.join(conditions)}:") if before else nullcontext():
                self.text.add(f"{self.names[target]} = U({self._gathered(gather)})")
                self._guarded(lines, f"{self.out()} = {self.out()} + {value}")

        self._loops([i for i in self.bound if i not in others], add)

    def function_of_matrix(self) -> None:
        """A function of one matrix, by plain loops; it works in memory of its own, or where the result will be."""
        y, nest = self.y, self.nest
        batch = self.own_place()[: y.n_free - DENSE[y.reducer]]

        def at(buffer: Buffer, *inner: Term) -> str:
            offset: Term = 0
            for a, step in zip(batch, buffer.strides, strict=False):
                offset = plus(offset, times(self.maps.text(a), self.places.number(step)))
            for index, step in zip(inner, buffer.strides[len(batch) :], strict=False):
                offset = plus(offset, times(index, self.places.number(step)))
            return self.places.at(buffer, offset)

        source, result = self.places.buffers[y.reads[0].node], partial(at, nest.out)
        letters = [f"{name}_" for name in index_letters((*y.extents, 1, 1, 1))[-3:]]
        matrix = Matrix(partial(at, source), partial(at, nest.work or nest.out), loop_bound(y.extents[-1]),
                        (letters[0], letters[1], letters[2]), CudaWords())  # fmt: skip
        print_function(self.text, y.reducer, matrix, result if DENSE[y.reducer] else lambda *_: result())

    # ------------------------------------------------------------------ parts
    def body(self) -> tuple[str, list[str]]:
        """The text of the body and the lines it needs before it."""
        names = {placeholder(j): self.operand(op) for j, op in enumerate(self.y.operands)}
        lines: list[str] = []
        guarded = bool(self.masks) or any(isinstance(op, Indicator) for op in self.y.operands)
        for j, op in enumerate(self.y.operands):
            if isinstance(op, Read) and not guarded and self.y.body.count(placeholder(j)) > 1:
                lines.append(f"a{j} = {names[placeholder(j)]}")
                names[placeholder(j)] = f"a{j}"
        printer = CudaPrinter(names, share=not guarded)
        value = printer.print(self.y.body)
        self.text.add(*(f"{name} = {text}" for text, name in printer.hoisted.items()))
        return value, lines + printer.lines

    def operand(self, op: Operand) -> str:
        if isinstance(op, Read):
            buffer = self.places.buffers[op.node]
            text = self.places.element(buffer, op.at, self.maps)
            return f"f({text})" if root_of(buffer).integer else text
        if isinstance(op, Indicator):
            return f"(f(1.0) if {self.maps.condition(op.mask)} else f(0.0))"
        return self._position(op.map)

    def _position(self, x: Affine) -> str:
        """An index map as a number; both sides are exact in floating point."""
        up = Affine(max(x.const, 0), tuple((a, c) for a, c in x.terms if c > 0))
        down = Affine(max(-x.const, 0), tuple((a, -c) for a, c in x.terms if c < 0))
        text = f"f({u(self.maps.text(up))})"
        return text if not down.terms and not down.const else f"({text} - f({u(self.maps.text(down))}))"

    def out(self) -> str:
        return self.places.element(self.nest.out, self.own_place(), self.maps)

    def own_place(self) -> tuple[Affine, ...]:
        return tuple(Affine(0) if e == 1 else a for a, e in zip(identity(self.y.n_free), self.y.shape, strict=True))

    def _guarded(self, lines: Sequence[str], statement: str, otherwise: str | None = None) -> None:
        self.text.guarded([self.maps.condition(m) for m in safest_first(self.masks)], lines, statement, otherwise)

    def _loops(self, order: Sequence[int], inside) -> None:
        """Nested loops around what ``inside`` prints."""
        for i in order:
            self.text.add(f"for {self.names[i]}_ in range({loop_bound(self.y.extents[i])}):")
            self.text.depth += 1
            self.text.add(f"{self.names[i]} = U({self.names[i]}_)")
        inside()
        self.text.depth -= len(order)


def joint_element(text: Text, places: Places, nests: Sequence[Nest], known: Mapping[Node, str], dtype: str) -> None:
    """One element of several elementwise nests: what they share is computed once.

    ``known`` are the names of values of the same element that are in registers already.
    """
    bodies, operands = joint_bodies(nests)
    element = Element(text, places, nests[0], dtype)
    held = {j: known[op.node] for j, op in enumerate(operands) if isinstance(op, Read) and op.node in known}
    names = {placeholder(j): held.get(j) or element.operand(op) for j, op in enumerate(operands)}
    for j, op in enumerate(operands):
        if isinstance(op, Read) and j not in held and sum(b.count(placeholder(j)) for b in bodies) > 1:
            text.add(f"a{j} = {names[placeholder(j)]}")
            names[placeholder(j)] = f"a{j}"
    names |= {placeholder(len(operands) + t): f"y{t}" for t in range(len(nests))}
    printer = CudaPrinter(names)
    printer.count(bodies)
    for t, (nest, body) in enumerate(zip(nests, bodies, strict=True)):
        value = printer.text(body)[0]
        text.add(*(f"{name} = {factor}" for factor, name in printer.hoisted.items()), *printer.lines, f"y{t} = {value}")
        text.add(f"{Element(text, places, nest, dtype).out()} = y{t}")
        printer.hoisted, printer.lines = {}, []


def is_plain(kernel: Kernel) -> bool:
    """Elementwise without any guard: its reads are always valid."""
    if not isinstance(kernel, Nest) or not kernel.equation.elementwise or kernel.equation.masks:
        return False
    return not any(isinstance(op, Indicator) for op in kernel.equation.operands)


def product_element(text: Text, places: Places, p: Product, row: Term, column: Term) -> None:
    """One element of a matrix product: the row of the left factor times the column of the right one."""
    k = next(letter for letter in "klm" if letter not in (row, column))  # which are read again behind the loop
    text.add(f"s = {bias_text(places, p, column)}")
    text.add(f"for {k}_ in range({loop_bound(p.k)}):")
    text.depth += 1
    text.add(f"{k} = U({k}_)", f"s = s + {view_text(places, p.a, row, k)}*{view_text(places, p.b, k, column)}")
    text.depth -= 1
    if p.scale != 1:
        text.add(f"s = {scaled(p)}")
    text.add(f"{view_text(places, p.c, row, column)} = s")


def bias_text(places: Places, p: Product, column: Term) -> str:
    """Where the sum begins: at the bias, or at 0."""
    return view_text(places, p.bias, 0, column) if p.bias else "f(0.0)"


def scaled(p: Product, value: str = "s") -> str:
    """The sum times the constant before it."""
    if p.scale == 1:
        return value
    printer = CudaPrinter({}, share=False)
    scale = printer.at_least(p.scale, PRODUCT)
    hoisted = {name: text for text, name in printer.hoisted.items()}
    return f"({hoisted.get(scale, scale)})*{value}"


def view_text(places: Places, view: View, row: Term, column: Term) -> str:
    """Element [row, column] of a matrix inside a buffer."""
    offset = plus(times(row, places.number(view.row)), times(column, places.number(view.column)))
    return places.at(view.buffer, offset)


def decode(text: Text, flat: str, names: Sequence[Term], extents: Sequence[Extent]) -> None:
    """Split a flat index into the indices of extents above 1."""
    rest = flat
    moving = [(name, term_of(e)) for name, e in zip(names, extents, strict=True) if e != 1]
    for t, (name, _) in enumerate(moving):
        inner: Term = 1
        for _, e in moving[t + 1 :]:
            inner = times(inner, e)
        if inner == 1:
            text.add(f"{name} = {rest}")
            return
        text.add(f"{name} = U({rest} // {u(inner)})")
        rest = f"U({rest} % {u(inner)})"
