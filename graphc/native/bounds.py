"""Machine code that checks every read and write before it is made: what a table behind the text asks for.

Statements up to the next meeting of threads are gone through once for the places alone that they touch, and then run as
they are, so that vector code, the order of sums and fused operations stay what they are without the check. Where places
depend on the numbers that loops compute, smaller parts are taken, down to conditions, which are checked access by
access. Primitives (products, copies) are
hand-made machine code: the blocks that they are told are checked before the call. A place is held to the buffer that
the text names in its address, and to the array as it lies in memory.
"""

from __future__ import annotations

import ast
import itertools
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from llvmlite import ir

from graphc.emit import bounds as words
from graphc.native.ahead import Numbers, Trees, assigned, counted, inlined, terms
from graphc.native.lowering import Lowered
from graphc.native.operators import Typed, arithmetic, comparison, holds, is_whole, negative
from graphc.native.touched import BLOCKS, ONE, WHOLE, Block
from graphc.primitives import types
from graphc.primitives.code import alloca_once
from graphc.primitives.convention import give_back
from graphc.primitives.intrinsics import Intrinsic

I64 = ir.IntType(64)
TRUE, FALSE = (ir.Constant(ir.IntType(1), truth) for truth in (1, 0))
GONE = 1 << 40  # what is added to the counter of a meeting: nobody waits for a thread that has returned


class Checks(Lowered):
    """What writes checks into a program."""

    program: Checked

    def whole(self, found: Typed | None) -> ir.Value:
        if found is None or not is_whole(found[0]):
            raise ValueError("a place that is no whole number")
        return self.cast(found, types.int64)

    def check_blocks(self, name: str, node: ast.Call, found: Sequence[Typed | None]) -> None:
        """The blocks that a primitive is told."""
        for block in BLOCKS.get(name, ()):
            if block.mode is None or ast.unparse(node.args[block.mode[0]]) == str(block.mode[1]):
                self._check_block(block, node, found)

    def _check_block(self, block: Block, node: ast.Call, found: Sequence[Typed | None]) -> None:
        b, number = self.builder, lambda t: I64(1) if t == ONE else self.whole(found[t])
        low = high = number(block.offset)
        there = TRUE
        for step, count in block.sides:
            reach = b.mul(number(step), b.sub(number(count), I64(1)))
            back = b.icmp_signed("<", reach, I64(0))
            low = b.add(low, b.select(back, reach, I64(0)))
            high = b.add(high, b.select(back, I64(0), reach))
            there = b.and_(there, b.icmp_signed(">", number(count), I64(0)))
        for count in block.needs:
            there = b.and_(there, b.icmp_signed(">", number(count), I64(0)))
        base, at = node.args[block.base], node.args[block.offset]
        with b.if_then(there):
            self.check(base, at, low, block.writes)
            if block.sides:
                self.check(base, at, high, block.writes)

    def check(self, base: ast.expr, at: ast.expr, index: ir.Value, writes: bool) -> None:
        """Return before an element is touched that is not there; ``at`` names the buffer that it belongs to."""
        assert isinstance(base, ast.Name)
        b, table = self.builder, self.program.table.get(base.id, {})
        inside = lambda low, high: b.and_(b.icmp_signed(">=", index, low), b.icmp_signed("<", index, high))
        low, high = self.extent(base.id)
        good, number = inside(low, high), I64(0)
        name = next((n for n in terms(at) if n in table), None)
        if name is not None:
            start, end, placed = self._buffer(name, table)
            fits = b.and_(placed, inside(start, end))
            low, high = b.select(fits, low, start), b.select(fits, high, end)
            number = b.select(fits, number, I64(1 + list(table).index(name)))
            good = b.and_(good, fits)
        where = [I64(at.lineno), I64(self.program.arguments.index(base.id)), number, index, low, high, I64(int(writes))]
        c = self.places["C"][1]
        self.return_if(b.not_(good), lambda: b.call(self.program.noting, [b.load(c), *where]))

    def extent(self, pointer: str) -> tuple[ir.Value, ir.Value]:
        """The first element of an array and its end, as the host has told; the control words' own are known."""
        b, at = self.builder, self.program.first + words.HEAD + 2 * self.program.arguments.index(pointer)
        if pointer == "C":
            return I64(0), I64(self.program.first)
        c = b.load(self.places["C"][1])
        low, high = (b.load(b.gep(c, [I64(at + t)])) for t in range(2))
        return low, high

    def _buffer(self, name: str, table: Mapping[str, tuple[str, ...]]) -> tuple[ir.Value, ir.Value, ir.Value]:
        """Where a buffer begins and ends, and whether one that moves lies in the whole of which it is a part."""
        b = self.builder
        size, start, *whole = table[name]
        number = lambda text: self.whole(self.value(ast.parse(text, mode="eval").body))
        start = number(start)
        end = b.add(start, number(size))
        if not whole:
            return start, end, TRUE
        first, last, _ = self._buffer(whole[0], table)
        return start, end, b.and_(b.icmp_signed(">=", start, first), b.icmp_signed("<=", end, last))

    def return_if(self, gone: ir.Value, note: Callable[[], None] = lambda: None) -> None:
        b = self.builder
        home, on = b.append_basic_block("home"), b.append_basic_block("on")
        b.cbranch(gone, home, on)
        b.position_at_end(home)
        note()
        give_back(b, I64(-1))
        b.position_at_end(on)


Condition = tuple[ir.Value, ir.Value, bool]  # whether it may hold, whether it may not, whether that is certain


class Ahead(Checks):
    """Goes through statements before they run: whole numbers, and the places that they touch; None is another number.

    Names have values of their own here. What is written of whole numbers (the order of rows, labels) is written twice.
    """

    def __init__(self, program: Checked, body: Sequence[ast.stmt]) -> None:
        self.program, self.builder, self.names, self.breaks = program, program.builder, program.names, []
        self.assigned = defaultdict(lambda: 2)  # pyright: ignore[reportAttributeAccessIssue]  no name is a literal
        self.floats = {*program.numbers.floats}
        own = {name for s in body for name in assigned(s)}
        self.places = {name: place for name, place in program.places.items() if name not in own}
        for name in sorted(own & program.places.keys()):
            kind, place = program.places[name]
            if is_whole(kind):
                self.store(name, (types.int64, self.cast((kind, self.builder.load(place)), types.int64)))

    def run(self, body: Sequence[ast.stmt]) -> None:
        for s in body:
            if isinstance(s, ast.For):
                Lowered.count(self, s)
            elif isinstance(s, ast.If):
                may, may_not, _ = self.condition(s.test)
                for there, part in ((may, s.body), (may_not, s.orelse)):
                    if part:
                        with self.builder.if_then(there):
                            self.run(part)
            elif isinstance(s, ast.Assign):
                self.assign(s)
            elif isinstance(s, ast.Expr):
                self.value(s.value)
            else:
                self.unfit(s)

    def hint(self, s: ast.For, end: Any) -> None:
        """Nothing: these loops make no vectors."""

    def assign(self, s: ast.Assign) -> None:
        [target] = s.targets
        found = self.value(s.value)
        if isinstance(target, ast.Name):
            self.floats.discard(target.id)
            if found is None:
                self.floats.add(target.id)
                return
            self.store(target.id, (types.int64, self.cast(found, types.int64)))
            return
        assert isinstance(target, ast.Subscript)
        self._touch(target, writes=True)
        place, kind = super().element(target, True)
        if isinstance(kind, types.Integer):
            self.builder.store(self.whole(found), place)

    # ------------------------------------------------------------------ conditions
    def condition(self, node: ast.expr) -> Condition:
        if isinstance(node, ast.BoolOp):
            found = self.condition(node.values[0])
            for part in node.values[1:]:
                found = self._joined(found, part, isinstance(node.op, ast.And))
            return found
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            may, may_not, certain = self.condition(node.operand)
            return may_not, may, certain
        found = self.value(node)
        if found is None:
            return TRUE, TRUE, False
        true = holds(self.builder, found)
        return true, self.builder.not_(true), True

    def _joined(self, first: Condition, part: ast.expr, every: bool) -> Condition:
        """``and`` and ``or``: what stands behind is looked at where what stands before lets it."""
        b, (may, may_not, certain) = self.builder, first
        slots = [alloca_once(b, TRUE.type) for _ in range(2)]
        for slot in slots:
            b.store(FALSE, slot)
        with b.if_then(may if every else may_not):
            then, otherwise, known = self.condition(part)
            b.store(then, slots[0])
            b.store(otherwise, slots[1])
        then, otherwise = map(b.load, slots)
        both = certain and known
        return (then, b.or_(may_not, otherwise), both) if every else (b.or_(may, then), otherwise, both)

    # ------------------------------------------------------------------ values
    def value(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Constant):
            return self.known(node.value) if isinstance(node.value, int) else None
        if isinstance(node, ast.Name):
            return None if node.id in self.floats else self.name(node)
        if isinstance(node, ast.Subscript):
            self._touch(node)
            place, kind = self.element(node)
            return (kind, self.builder.load(place)) if isinstance(kind, types.Integer) else None
        if isinstance(node, ast.BinOp | ast.Compare | ast.UnaryOp):
            return self._operation(node)
        if isinstance(node, ast.IfExp):
            return self._either(node)
        return self._call(node) if isinstance(node, ast.Call) else self.unfit(node)

    def _operation(self, node: ast.BinOp | ast.Compare | ast.UnaryOp) -> Typed | None:
        if isinstance(node, ast.UnaryOp):
            if isinstance(node.operand, ast.Constant):
                return Lowered.unary(self, node) if isinstance(node.operand.value, int) else None
            found = self.value(node.operand)
            return None if found is None else negative(self.builder, found)
        parts = (node.left, node.right) if isinstance(node, ast.BinOp) else (node.left, node.comparators[0])
        left, right = map(self.value, parts)
        if left is None or right is None or (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)):
            return None
        if isinstance(node, ast.Compare):
            return comparison(self.builder, type(node.ops[0]), (left, right))
        if isinstance(node.op, ast.FloorDiv | ast.Mod):
            return self.divide(isinstance(node.op, ast.Mod), left, right)
        return arithmetic(self.builder, type(node.op), (left, right))

    def _either(self, node: ast.IfExp) -> Typed | None:
        may, may_not, certain = self.condition(node.test)
        place, known = alloca_once(self.builder, I64), certain
        for there, part in ((may, node.body), (may_not, node.orelse)):
            with self.builder.if_then(there):
                found = self.value(part)
                known = known and found is not None
                if found is not None:
                    self.builder.store(self.cast(found, types.int64), place)
        return (types.int64, self.builder.load(place)) if known else None

    def _call(self, node: ast.Call) -> Typed | None:
        name = node.func.id  # pyright: ignore[reportAttributeAccessIssue]
        if name in self.program.trees:
            self.run(inlined(node, self.program.trees))
            return None
        found = [self.value(a) for a in self._numbers(name, node)]
        self.check_blocks(name, node, found)
        if name not in WHOLE and not (name == "copy" and self._is_whole(node.args[0])):
            return None
        if name == "int64":
            if found[0] is not None:
                return found[0]
            place, kind = self.element(node.args[0])  # pyright: ignore[reportArgumentType]
            return types.int64, self.cast((kind, self.builder.load(place)), types.int64)
        function = self.names[name]
        given = [self._pointer(a) if x is None else x for a, x in zip(node.args, found, strict=True)]
        return Lowered.intrinsic(self, node, function, given)

    def _numbers(self, name: str, node: ast.Call) -> list[ast.expr]:
        """The arguments but for pointers, which stand as they are."""
        pointers = {block.base for block in BLOCKS.get(name, ())}
        return [ast.Constant(0.0) if t in pointers else a for t, a in enumerate(node.args)]

    def _is_whole(self, pointer: ast.expr) -> bool:
        return isinstance(pointer, ast.Name) and pointer.id in self.program.numbers.whole

    def _pointer(self, node: ast.expr) -> Typed:
        return self.name(node)  # pyright: ignore[reportArgumentType]

    def _touch(self, node: ast.Subscript, writes: bool = False) -> None:
        self.check(node.value, node.slice, self.whole(self.value(node.slice)), writes)


class Checked(Checks):
    """The entry of a program, with a check before everything that it touches."""

    def __init__(
        self, tree: ast.FunctionDef, kinds: Sequence[types.Type], names: Mapping[str, Any], module: ir.Module,
        symbol: str, trees: Trees,
    ) -> None:  # fmt: skip
        self.program = self
        self.trees = {name: t for name, t in trees.items() if name != tree.name}
        self.table: Mapping[str, Mapping[str, tuple[str, ...]]] = names[words.TABLE]
        self.first: int = names[words.WORDS]
        self.arguments = [a.arg for a in tree.args.args]
        whole = {a for a, kind in zip(self.arguments, kinds, strict=True) if _points_to_whole(kind)}
        tree = counted(tree)
        self.numbers = Numbers(tree.body, whole, self.trees)
        meetings = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and ast.unparse(n.func) == "meet"]
        self.meeting = ast.unparse(meetings[0].args[1]) if meetings else None
        self.seen = False  # whether what is being written was checked before
        self.noting = _noting(module, self.first, int(self.meeting) if self.meeting else None)
        self.ends: dict[str, tuple[ir.Value, ir.Value]] = {}
        super().__init__(tree, kinds, names, module, symbol)

    # ------------------------------------------------------------------ statements
    def run(self, body: Sequence[ast.stmt]) -> None:
        if self.seen:
            super().run(body)
            return
        for follows, part in itertools.groupby(body, self.numbers.follows):
            statements = [*part]
            if follows and not self.builder.block.is_terminated:
                Ahead(self, statements).run(statements)
            self.seen = follows
            super().run(statements)
            self.seen = False

    # ------------------------------------------------------------------ what is touched
    def element(self, node: ast.Subscript, writes: bool = False) -> tuple[ir.Value, Any]:
        if not self.seen:
            self.check(node.value, node.slice, self.whole(self.value(node.slice)), writes)
        return super().element(node, writes)

    def intrinsic(self, node: ast.Call, function: Intrinsic, found: Sequence[Typed]) -> Typed:
        name = node.func.id  # pyright: ignore[reportAttributeAccessIssue]
        if not self.seen:
            self.check_blocks(name, node, found)
        given = super().intrinsic(node, function, found)
        if name == "meet":
            self._go_home()
        return given

    def _go_home(self) -> None:
        """After a meeting: return when another thread has noted something."""
        b = self.builder
        _, c = self.places["C"]
        flag = b.load_atomic(b.gep(b.load(c), [I64(self.first + words.FLAG)]), "seq_cst", 8)
        self.return_if(b.icmp_signed("!=", flag, I64(0)))


def _points_to_whole(kind: Any) -> bool:
    return isinstance(kind, types.CPointer) and isinstance(kind.dtype, types.Integer)


def _noting(module: Any, first: int, meeting: int | None) -> ir.Function:
    """A function that notes an access: the first of all threads, which then need not wait for this one."""
    kind = ir.FunctionType(ir.VoidType(), [I64.as_pointer(), *[I64] * 7])
    function = ir.Function(module, kind, "graphc_out_of_bounds")
    function.linkage = "internal"
    function.attributes.add("noinline")
    function.attributes.add("cold")
    b = ir.IRBuilder(function.append_basic_block("entry"))
    c, *values = function.args
    flag = b.gep(c, [I64(first + words.FLAG)])
    before = b.extract_value(b.cmpxchg(flag, I64(0), I64(1), "seq_cst"), 0)
    with b.if_then(b.icmp_signed("==", before, I64(0))):
        for word, value in zip(range(words.LINE, words.HEAD), values, strict=True):
            b.store(value, b.gep(c, [I64(first + word)]))
    if meeting is not None:
        b.atomic_rmw("add", b.gep(c, [I64(meeting)]), I64(GONE), "seq_cst")
    b.ret_void()
    return function
