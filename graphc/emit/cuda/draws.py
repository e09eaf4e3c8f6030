"""What a training step draws at its start: the CUDA text of :mod:`graphc.ir.drawing`.

A thread takes a block of random words and writes the elements that it gives. Words, Bernoulli variables and uniform
numbers are exact and have the bits of the CPU; normal numbers are computed in float64, in the formula of the CPU, and
differ in the last place where a compiler fuses a product into a sum.
"""

from __future__ import annotations

from collections.abc import Callable

from graphc.emit.cuda.arithmetic import Term, plus, quotient, times, u
from graphc.emit.cuda.groups import GroupPrinter
from graphc.emit.cuda.memory_map import Places
from graphc.emit.text import Text
from graphc.ir.drawing import KINDS, MULTIPLIERS, WEYL, normals
from graphc.lower.training import Draw, StepPlan

KEY0, KEY1, EPOCH, FIRST, SIZE = range(5)
"""Words behind D, a set a copy: the keys of the seed, the epoch in which the launch begins, and where in the epoch the
rows begin that the launch has."""
ROUNDS = 10


def arguments(step: StepPlan) -> list[tuple[str, str]]:
    """What a kernel takes for it: nothing where nothing is drawn."""
    return [("D", "int32*")] if step.draws else []


class DrawPrinter:
    """Fills the random tensors of a step."""

    def __init__(self, text: Text, places: Places, step: StepPlan, groups: GroupPrinter, dtype: str) -> None:
        self.text, self.places, self.step, self.groups, self.dtype = text, places, step, groups, dtype
        self.ways: dict[str, Callable[[Draw], list[str]]] = {
            "bernoulli": self._bernoulli, "uniform": self._uniform, "normal": self._normal,
        }  # fmt: skip

    def words(self, copy: Term) -> None:
        """Load what is the same for all steps of a launch."""
        word = lambda w: f"U(D[{u(plus(times(copy, SIZE), w))}])"
        if self.step.draws:
            self.text.add(f"draw_key0 = {word(KEY0)}", f"draw_key1 = {word(KEY1)}")
            self.text.add(f"draw_epoch = {word(EPOCH)}", f"draw_first = {word(FIRST)}")

    def print(self) -> None:
        """Every random tensor, anew."""
        for d in self.step.draws:
            total, each = times("count", d.row) if d.batched else d.row, KINDS[d.leaf.value.kind]
            self.text.add(f"# {d.leaf.name}: {d.leaf.value.kind}")
            self.groups.every(quotient(plus(total, each - 1), each), lambda d=d, total=total: self._block(d, total))

    def _block(self, d: Draw, total: Term) -> None:
        """The elements that block e of random words gives, as far as the tensor has them."""
        self._philox(d.number)
        values = self.ways[d.leaf.value.kind](d)
        self.text.add(f"q = {u(times('e', len(values)))}")
        for t, value in enumerate(values):
            at = plus("q", t)
            with self.text.block(f"if {u(at)} < {u(total)}:"):
                self.text.add(f"{self.places.at(d.buffer, at)} = {value}")

    def _philox(self, number: int) -> None:
        """Philox4x32-10 (:func:`graphc.primitives.philox.philox`): words c0 .. c3."""
        add = self.text.add
        add("c0 = e", "c1 = U(draw_first + at)", "c2 = U(draw_epoch + epochs)", f"c3 = {u(number)}")
        add("key0 = draw_key0", "key1 = draw_key1")
        with self.text.block(f"for round_ in range(U({ROUNDS})):"):
            add(*(f"wide{t} = uint64(uint64({m})*uint64(c{2 * t}))" for t, m in enumerate(MULTIPLIERS)))
            add("c0 = U(U(U(wide1 >> uint64(32)) ^ c1) ^ key0)", "c2 = U(U(U(wide0 >> uint64(32)) ^ c3) ^ key1)")
            add("c1 = U(wide1)", "c3 = U(wide0)")
            add(*(f"key{t} = U(key{t} + U({weyl}))" for t, weyl in enumerate(WEYL)))

    def _bernoulli(self, d: Draw) -> list[str]:
        limit = d.leaf.value.limit  # up to 2**32
        return [f"f(1.0) if c{t} <= {u(limit - 1)} else f(0.0)" if limit else "f(0.0)" for t in range(4)]

    def _uniform(self, d: Draw) -> list[str]:
        if self.dtype == "float32":
            return [f"f(U(c{t} >> U(8)))*f({2.0**-24!r})" for t in (0, 2)]
        return self._doubles()

    def _doubles(self) -> list[str]:
        """Two numbers in [0, 1) of 53 random bits."""
        self.text.add(
            *(
                f"wide{t} = uint64(uint64(uint64(c{2 * t} >> U(5)) << uint64(26)) + uint64(c{2 * t + 1} >> U(6)))"
                for t in range(2)
            )
        )
        return [f"float64(wide{t})*float64({2.0**-53!r})" for t in range(2)]

    def _normal(self, d: Draw) -> list[str]:
        a = Arithmetic(self.text)
        found = normals(a, *(a.named(x) for x in self._doubles()))
        return [f"f({x})" for x in found]


class Arithmetic:
    """The operations of the formulas of :mod:`graphc.ir.drawing`: a statement each, in float64."""

    def __init__(self, text: Text) -> None:
        self.text, self.count = text, 0

    def named(self, value: str) -> str:
        """A name for a value."""
        name = f"b_{self.count}"
        self.count += 1
        self.text.add(f"{name} = {value}")
        return name

    def const(self, x: float | str) -> str:
        """A number, or what is text already."""
        return x if isinstance(x, str) else f"float64({x!r})"

    def add(self, x: float | str, y: float | str) -> str:
        """x + y."""
        return self.named(f"{self.const(x)} + {self.const(y)}")

    def sub(self, x: float | str, y: float | str) -> str:
        """x - y."""
        return self.named(f"{self.const(x)} - {self.const(y)}")

    def mul(self, x: float | str, y: float | str) -> str:
        """x*y."""
        return self.named(f"{self.const(x)}*{self.const(y)}")

    def div(self, x: float | str, y: float | str) -> str:
        """x/y."""
        return self.named(f"{self.const(x)}/{self.const(y)}")

    def neg(self, x: str) -> str:
        """-x."""
        return self.named(f"-{x}")

    def sqrt(self, x: str) -> str:
        """The root, rounded to the nearest."""
        return self.named(f"math.sqrt({x})")

    def split(self, x: str) -> tuple[str, str]:
        """x = m*2**k with 1 <= m < 2."""
        self.text.add(f"half, exponent = math.frexp({x})")
        return self.mul("half", 2.0), self.sub("float64(exponent)", 1.0)

    def compare(self, x: str, relation: str, y: float) -> str:
        """x > y."""
        return f"{x} {relation} {self.const(y)}"

    def select(self, condition: str, x: str, y: str) -> str:
        """x where the condition holds, else y."""
        return self.named(f"{x} if {condition} else {y}")

    def whole(self, x: str) -> str:
        """The whole part of a small positive number."""
        self.text.add(f"quarter = U({x})")
        return "quarter"

    def from_whole(self, k: str) -> str:
        """A small whole number as float64."""
        return f"float64({k})"

    def next_whole(self, k: str) -> str:
        """k + 1."""
        return f"U({k} + U(1))"

    def bit(self, k: str, value: int) -> str:
        """Whether k has this power of two."""
        return f"U({k} & U({value})) != U(0)"
