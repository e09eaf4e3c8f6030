"""Loop nests as program text: how a nest, or several that share their loops, compute their elements."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial

from graphc.emit.expressions import Printer
from graphc.emit.matrices import Matrix, print_function
from graphc.emit.text import BLOCK, KEYS, Part, Text, extent, offset, place, simple, stride
from graphc.emit.windows import Windows, in_one_piece, windows_of
from graphc.ir.affine import Affine, FloorDiv, Gather, Modulo, Size, identity, indices
from graphc.ir.letters import index_letters, safe_name
from graphc.ir.node import DENSE, Mask, Node, Operand, Position, Read
from graphc.ir.parts import places_of
from graphc.ir.scalar import placeholder, placeholders
from graphc.lower.kernels import Nest, safest_first
from graphc.lower.layout import Buffer
from graphc.lower.loop_fusion import guarded, joint_bodies, reads_straight
from graphc.lower.norms import rare_part
from graphc.lower.plan import scatter_target
from graphc.records import record

COMPARED = {"ge": ">=", "eq": "==", "ne": "!="}
START = {"sum": "f(0.0)", "max": "-INF", "min": "INF", "prod": "f(1.0)", "logsumexp": "-INF"}
GROUP = 4  # rows that are added to a sum in memory in one go
JOIN = {"sum": "radd({0}, {1})", "max": "rmax({0}, {1})", "min": "rmin({0}, {1})", "prod": "{0}*({1})"}


def divided_index(nest: Nest) -> int:
    """The index of a nest that threads divide: that of the rows, the innermost where the result accumulates in memory,
    else the first."""
    return 0 if nest.share == "rows" else nest.order[-1 if nest.how == "memory" else 0]


@record(frozen=True)
class Frame:
    """What stands around a nest in blocks: the letters of its indices whose loops are there, or will be, other letters
    that are taken, the index that goes block by block, and that of keys which end before all of them."""

    letters: Mapping[int, str]
    taken: Collection[str]
    block: int
    key: int = -1


class NestPrinter:
    """Prints the loops of a nest, or of several elementwise ones that share their loops; ``around`` of them, the first,
    are printed already; in blocks the ``frame`` gives their letters."""

    def __init__(
        self,
        text: Text,
        buffers: Mapping[Node, Buffer],
        nests: Sequence[Nest],
        part: Part,
        around: int = 0,
        frame: Frame | None = None,
    ) -> None:
        self.text, self.buffers, self.nests, self.part, self.around = text, buffers, nests, part, around
        self.nest, self.y = nests[0], nests[0].equation
        self.order = self.nest.order[around:]
        self.divided = divided_index(self.nest) if self.nest.order else -1
        self.names, self.alone = index_letters(self.y.extents), frame is None and not around
        if frame is not None:
            wanted = [frame.letters.get(i, "") for i in range(len(self.y.extents))]
            self.names, self.divided = index_letters(self.y.extents, wanted, frame.taken), frame.block
        self.key = frame.key if frame is not None else -1
        self.masks = list(self.y.masks)
        self.invariant: list[str] = []

    def print(self) -> bool:
        """Print the loops; whether LLVM makes vectors of them only where no pointers overlap: as a function."""
        flat = self._flat_count() if self.alone else None
        single = flat is None and len(self.nests) == 1 and self.alone
        written = windows_of(self.nest, self.divided) if single else None
        if written is not None:
            self._windows(written)
            return True
        printers = {"map": self._map, "register": self._register, "memory": self._memory, "scatter": self._scatter,
                    "dense": self._dense}  # fmt: skip
        if flat is not None:
            self._print_flat(flat)
        else:
            printers[self.nest.how]()
        return False

    def heads(self, count: int) -> list[str]:
        """The first of the loops."""
        return [f"for {self.names[i]} in range({self._bounds(i)}):" for i in self.nest.order[:count]]

    # ------------------------------------------------------------------ the four shapes of a nest
    def _map(self) -> None:
        if len(self.nests) > 1:
            lines = self._joint_lines(flat=False)
            with self._loops(self.order, self.invariant):
                self.text.add(*lines)
            return
        value, lines = self._body()
        with self._loops(self.order, self.invariant):
            self._guarded(lines, f"{self._out()} = {value}", f"{self._out()} = {START[self.y.reducer]}")

    def _register(self) -> None:
        rare = rare_part(self.y)
        tested = self._operand(self.y.operands[rare[0]], flat=False) if rare else ""
        y = self.y = rare[1] if rare else self.y
        free, bound = ([i for i in self.order if (i < y.n_free) is here] for here in (True, False))
        if y.reducer == "sum" and rare is None:
            y, bound = self.y, bound = in_one_piece(y, bound, self.buffers)
        value, lines = self._body()
        with self._loops(free):
            if y.reducer == "logsumexp":
                self._logsumexp(bound, value, lines)
                return
            self.text.add(f"s = {START[y.reducer]}")
            once = self.text.block(f"if {tested} != f(0.0):") if rare else nullcontext()
            with once, self._loops(bound, self.invariant):
                self.text.add(*["chains()"] * (bool(self.nest.around) and y.reducer == "sum" and not rare))
                self._guarded(lines, f"s = {JOIN[y.reducer].format('s', value)}")
            self.text.add(f"{self._out()} = s")

    def _logsumexp(self, bound: Sequence[int], value: str, lines: list[str]) -> None:
        """log sum exp u = top + log sum exp(u - top), top = max u; -inf for an empty sum."""
        self.text.add("top = -INF")
        with self._loops(bound, self.invariant):
            self._guarded(lines, f"top = rtop(top, {value})")
        self.text.add("shift = top if absolute(top) < INF else f(0.0)", "s = f(0.0)")
        term, kept = f"exp({value if simple(value) else f'({value})'} - shift)", self.nest.terms
        if kept is not None:
            name = f"a{len(self.y.operands)}"
            lines = [*lines, f"{name} = {term}", f"{self._element(kept.out, kept.at)} = {name}"]
            term = name
        with self._loops(bound, self.invariant):
            self._guarded(lines, f"s = radd(s, {term})")
        if self.nest.log is not None:
            self.text.add(f"{self._out()} = shift", f"{self._element(self.nest.log, self._own_place())} = log(s)")
        if kept is not None and kept.top is not None:
            self.text.add(f"{self._element(kept.top, self._own_place())} = shift")
        if kept is not None:
            self.text.add(f"{self._element(kept.inverse, self._own_place())} = f(1.0)/s")

    def _memory(self) -> None:
        y, order = self.y, self.nest.order
        outer = [i for i in order[:-1] if i < y.n_free]
        bound = [i for i in order[:-1] if i >= y.n_free]
        value, lines = self._body()
        with self._loops(outer):
            with self._loops(order[-1:]):
                self.text.add(f"{self._out()} = {START[y.reducer]}")
            if y.reducer == "sum" and y.body == placeholder(0) and len(bound) == 1 and not y.masks:
                self._sum_rows(bound[0], order[-1])
                return
            with self._loops([*bound, order[-1]], self.invariant):
                step = JOIN[y.reducer] if y.reducer != "sum" else "{0} + {1}"
                self._guarded(lines, f"{self._out()} = {step.format(self._out(), value)}")

    def _sum_rows(self, row: int, column: int) -> None:
        """The sum of the rows of a tensor, one after the other; it is loaded and stored once for GROUP of them."""
        letter, rows, out, terms = self.names[row], extent(self.y.extents[row]), self._out(), []
        for q in range(GROUP):
            self.names[row] = f"({letter} + {q})" if q else letter
            terms.append(self._operand(self.y.operands[0], flat=False))
        self.names[row] = letter
        last = f"{rows} - {rows}%{GROUP}"
        for head, added in ((f"range(0, {last}, {GROUP})", terms), (f"range({last}, {rows})", terms[:1])):
            heads = [f"for {letter} in {head}:", f"for {self.names[column]} in range({self._bounds(column)}):"]
            with self.text.loops(heads):
                self.text.add(" + ".join([f"{out} = {out}", *added]))

    def _windows(self, written: Windows) -> None:
        """The loops that are left, and every turn of the windows; what no turn moves is computed once."""
        y, sums, printer = self.y, not self.y.elementwise, Printer({}, given=self.text.number)
        texts = [[self._operand(op, flat=False) for op in turn.operands] for turn in written.turns]
        same = [j for j, first in enumerate(texts[0]) if all(t[j] == first for t in texts)]
        lines = [f"a{j} = {texts[0][j]}" for j in same]
        fixed, rest = y.body.as_independent(*(placeholder(j) for j in range(len(y.operands)) if j not in same))
        if y.body.is_Mul and placeholders(fixed):
            names = {placeholder(j): f"a{j}" for j in same}
            lines += printer.statements(fixed, names, f"a{len(texts[0])} = {{}}")
            rest = rest * placeholder(len(texts[0]))
        else:
            rest = y.body
        lines += [f"s = {START[y.reducer]}"] if sums else []
        join = "{0} + {1}" if y.reducer == "sum" else JOIN[y.reducer]
        for turn, own in zip(written.turns, texts, strict=True):
            twice = [j for j in range(len(own)) if j not in same and places_of(rest, placeholder(j)) > 1]
            lines += [f"a{j} = {own[j]}" for j in twice]
            known = {*same, *twice, len(own)}
            names = {placeholder(j): f"a{j}" if j in known else own[j] for j in range(len(own) + 1)}
            target = f"s = {join.format('s', '{}')}" if sums else f"{self._element(self.nest.out, turn.place)} = {{}}"
            lines += printer.statements(rest, names, target)
        self.text.add(*(f"{name} = {text}" for text, name in printer.hoisted.items()))
        heads = [f"for {self.names[i]} in range({self.part.bounds if i == self.divided else extent(e)}):"
                 for i, e in written.loops]  # fmt: skip
        with self.text.loops(heads):
            self.text.add("wide()", *lines, *([f"{self._out()} = s"] if sums else []))

    def _scatter(self) -> None:
        """out[gather, ..] += body, over the bound indices and the other free ones."""
        found = scatter_target(self.y)
        assert found is not None
        target, mask = found
        gather = next(a for a, _ in mask.map.terms if isinstance(a, Gather))
        self.masks.remove(mask)
        self.text.add(f"fill({self.nest.out.region}, {place(self.nest.out)}, f(0.0), {self.nest.out.size.text()})")
        value, lines = self._body()
        # masks that the gathered index has no part in stand before it: they may be what keeps it inside its array
        before = [m for m in self.masks if target not in indices(m.map)]
        self.masks = [m for m in self.masks if m not in before]
        with self._loops(self.nest.order), self._where(before):
            # what is read once stands behind the gather too, whose value it may need
            self.text.add(f"{self.names[target]} = {self._atom(gather)}")
            self._guarded([*self.invariant, *lines], f"{self._out()} = {self._out()} + {value}")

    def _dense(self) -> None:
        """A function of every matrix of a stack."""
        y, nest = self.y, self.nest
        self.names = index_letters((*y.extents, 1, 1, 1))
        batch = self._own_place()[: y.n_free - DENSE[y.reducer]]
        source, target, out = (partial(self._placed, b, batch) for b in (
            self.buffers[y.reads[0].node], nest.work or nest.out, nest.out))  # fmt: skip
        p, r, c = self.names[-3:]
        with self._loops(nest.order):
            matrix = Matrix(source, target, extent(y.extents[-1]), (p, r, c))
            print_function(self.text, y.reducer, matrix, out if DENSE[y.reducer] else lambda *_: self._out())

    def _placed(self, buffer: Buffer, batch: Sequence[Affine], *inner: str) -> str:
        """The value of an element of a matrix at indices that are program text."""
        found = self._element(buffer, (*batch, *(Affine(0) for _ in inner))).removesuffix("]")
        widths = map(stride, buffer.strides[len(batch) :])
        steps = [name if width == "1" else f"{name}*{width}" for name, width in zip(inner, widths, strict=True)]
        start = "" if found.endswith("[0") else f"{found.partition('[')[2]} + "
        return f"{buffer.region}[{start}{' + '.join(steps)}]"

    # ------------------------------------------------------------------ one flat loop
    def _flat_count(self) -> str | None:
        """The elements of a row when every read walks along with the result, so that one loop does."""
        y = self.y
        if self.nest.how != "map" or y.masks or len(self.nest.order) < 2:
            return None
        if not all(reads_straight(n.equation, o) for n in self.nests for o in n.equation.operands):
            return None
        if any(isinstance(e, str) for e in y.shape[1:]):
            return None
        return "*".join(extent(e) for e in y.shape[self.divided + 1 :] if e != 1)

    def _print_flat(self, count: str) -> None:
        if len(self.nests) > 1:
            joint = self._joint_lines(flat=True)
            with self.text.block(f"for t in range({self.part.times(count).bounds}):"):
                self.text.add(*joint)
            return
        value, lines = self._body(flat=True)
        with self.text.block(f"for t in range({self.part.times(count).bounds}):"):
            self.text.add(*lines, f"{self.nest.out.region}[{place(self.nest.out)} + t] = {value}")

    # ------------------------------------------------------------------ parts
    def _joint_lines(self, flat: bool) -> list[str]:
        """The statements of all nests, one after the other; what they share is computed once."""
        bodies, operands = joint_bodies(self.nests)
        names, lines = {}, []
        for j, op in enumerate(operands):
            names[placeholder(j)] = self._loaded(j, op, flat, sum(places_of(b, placeholder(j)) for b in bodies), lines)
        values = [placeholder(len(operands) + t) for t in range(len(bodies))]
        printer = Printer(names | {v: str(v) for v in values}, given=self.text.number)
        printer.count(bodies)
        for nest, body, value in zip(self.nests, bodies, values, strict=True):
            text = printer.text(body)[0]
            lines += printer.lines
            printer.lines = []
            target = f"{nest.out.region}[{place(nest.out)} + t]" if flat else self._element(nest.out, self._own_place())
            read = any(value in b.free_symbols for b in bodies)
            lines += [f"{value} = {text}", f"{target} = {value}"] if read else [f"{target} = {text}"]
        self.text.add(*(f"{name} = {text}" for name, text in ((n, t) for t, n in printer.hoisted.items())))
        return lines

    def _loaded(self, j: int, op: Operand, flat: bool, uses: int, lines: list[str]) -> str:
        """The text of an operand: its own, or a name for what is read once and used several times."""
        text = self._operand(op, flat)
        if not isinstance(op, Read):
            return text
        fixed = not flat and self._is_fixed(op)
        if not fixed and uses < 2:
            return text
        (self.invariant if fixed else lines).append(f"a{j} = {text}")
        return f"a{j}"

    def _body(self, flat: bool = False) -> tuple[str, list[str]]:
        """The text of the body and the lines it needs inside the innermost loop.

        Factors of extents are printed now; reads that the innermost index does not move go to ``invariant``.  In a
        guarded nest every read stays where it is needed: out of its range it may not even be valid.
        """
        lines: list[str] = []
        loose = bool(self.masks) or guarded(self.y)
        names = {}
        for j, op in enumerate(self.y.operands):
            uses = places_of(self.y.body, placeholder(j))
            names[placeholder(j)] = self._operand(op, flat) if loose else self._loaded(j, op, flat, uses, lines)
        printer = Printer(names, share=not loose, given=self.text.number)
        value = printer.print(self.y.body)
        self.text.add(*(f"{name} = {text}" for text, name in printer.hoisted.items()))
        return value, lines + printer.lines

    def _guarded(self, lines: list[str], statement: str, otherwise: str | None = None) -> None:
        self.text.guarded(list(map(self._condition, safest_first(self.masks))), lines, statement, otherwise)

    def _where(self, masks: Sequence[Mask]) -> AbstractContextManager[object]:
        """A block inside which the masks hold."""
        conditions = " and ".join(map(self._condition, safest_first(masks)))
        return self.text.block(f"if {conditions}:") if masks else nullcontext()

    def _loops(self, order: Sequence[int], invariant: Sequence[str] = ()) -> AbstractContextManager[None]:
        """Nested loops; ``invariant`` are lines to print just outside the innermost."""
        heads = [f"for {self.names[i]} in range({self._bounds(i)}):" for i in order]
        return self.text.loops(heads, invariant)

    def _bounds(self, i: int) -> str:
        if i == self.divided:
            return self.part.bounds
        return KEYS if i == self.key else extent(self.y.extents[i])

    def _out(self) -> str:
        return self._element(self.nest.out, self._own_place())

    def _own_place(self) -> tuple[Affine, ...]:
        return tuple(Affine(0) if e == 1 else a for a, e in zip(identity(self.y.n_free), self.y.shape, strict=True))

    def _operand(self, op: Operand, flat: bool) -> str:
        if isinstance(op, Read):
            buffer = self.buffers[op.node]
            if flat:
                return f"{buffer.region}[{offset(place(buffer), 't')}]"
            text = self._element(buffer, op.at)
            return f"f({text})" if buffer.integer else text
        if isinstance(op, Position):
            return f"f({self._affine(op.map)})"
        return f"(f(1.0) if {self._condition(op.mask)} else f(0.0))"

    def _is_fixed(self, op: Read) -> bool:
        """True when the innermost index does not move a read."""
        return bool(self.nest.order) and not any(self.nest.order[-1] in indices(a) for a in op.at)

    def _element(self, buffer: Buffer, at: Sequence[Affine]) -> str:
        """``A[Z0 + i*16 + j]``."""
        parts = []
        for t, (a, step) in enumerate(zip(at, buffer.strides, strict=True)):
            text = f"{self._affine(a)} - {BLOCK.start}" if buffer.in_blocks(t) else self._affine(a)
            width = stride(step)
            if text != "0" and width != "0":
                parts.append(text if width == "1" else f"{text if simple(text) else f'({text})'}*{width}")
        return f"{buffer.region}[{offset(place(buffer), ' + '.join(parts))}]"

    def _condition(self, mask: Mask) -> str:
        x = self._affine(mask.map)
        if mask.kind == "divides":
            return f"({x}) % {mask.modulus} == 0"
        return f"{x} {COMPARED[mask.kind]} 0"

    def _affine(self, x: Affine) -> str:
        parts = []
        for atom, coef in x.terms:
            text = self._atom(atom)
            parts.append(f"{'- ' if coef < 0 else '+ '}{text if abs(coef) == 1 else f'{text}*{abs(coef)}'}")
        if x.const or not parts:
            parts.append(f"{'- ' if x.const < 0 else '+ '}{abs(x.const)}")
        text = " ".join(parts)
        return text[2:] if text.startswith("+ ") else f"-{text[2:]}"

    def _atom(self, atom) -> str:
        if isinstance(atom, int):
            return self.names[atom]
        if isinstance(atom, FloorDiv):
            return f"(({self._affine(atom.inner)})//{atom.divisor})"
        if isinstance(atom, Modulo):
            return f"(({self._affine(atom.inner)}) % {atom.divisor})"
        if isinstance(atom, Gather):
            text = self._element(self.buffers[atom.node], atom.at)
            return text if self.buffers[atom.node].integer else f"int64({text})"
        assert isinstance(atom, Size)
        return safe_name(atom.name)
