"""Statements of generated text -> LLVM IR, by their syntax tree.

Generated text is a small language: names with one type, numbers, typed pointers, loops over ranges, and calls of
intrinsics. Its syntax tree says what Numba finds out from byte code by analysis of its flow and inference of types,
which was most of the time of compiling. Text that does not fit goes through Numba as a whole (:class:`Unfit`).
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
from llvmlite import ir

from graphc.native.operators import Typed, Unfit, arithmetic, comparison, converted, holds, is_whole, negative
from graphc.native.trees import Listed, names_in
from graphc.primitives import convention, types
from graphc.primitives.code import alloca_once
from graphc.primitives.intrinsics import Intrinsic
from graphc.primitives.matmul.vector_ir import vector_unit

WIDE, CHAINS = "graphc.wide", "graphc.chains"
"""They begin the mark of a branch back to the head of a loop; a number of its own, and the lanes of its vectors or how
many vectors stand side by side, follow."""

SIDE_BY_SIDE = 4  # vectors: an addition takes four cycles, and two of them begin in each

FEW, MANY = 4, 16
"""Lanes that are few; turns of a loop that are many, of which some may be left over behind the last vector."""


def _of_floats(kind: Any) -> bool:
    return isinstance(kind, types.CPointer) and isinstance(kind.dtype, types.Float)


class Lowered:
    """One function of the text, written into a module.

    Parameters
    ----------
    tree
        The function.
    kinds
        Types of its arguments.
    names
        What the module's names stand for.
    module, symbol
        Where it is written, under what name.
    """

    def __init__(
        self, tree: ast.FunctionDef, kinds: Sequence[types.Type], names: Mapping[str, Any], module: ir.Module,
        symbol: str,
    ) -> None:  # fmt: skip
        self.names = names
        function = convention.new_function(module, symbol, [a.arg for a in tree.args.args], kinds)
        self.builder = ir.IRBuilder(function.append_basic_block("entry"))
        self.places: dict[str, Typed] = {}
        self.breaks: list[ir.Block] = []
        self.itemsize = max((k.dtype.bitwidth // 8 for k in kinds if _of_floats(k)), default=8)
        self.begin(tree)
        body = function.append_basic_block("body")
        entry = self.builder.block
        self.builder.position_at_end(body)
        values = convention.arguments_of(function)
        for argument, kind, value in zip(tree.args.args, kinds, values, strict=True):
            self.store(argument.arg, (kind, value))
        self.run(tree.body)
        if not self.builder.block.is_terminated:
            raise Unfit("no return")
        ir.IRBuilder(entry).branch(body)

    def begin(self, tree: ast.FunctionDef) -> None:
        """Count what is counted: how often names are assigned, and loops that were marked."""
        self.marked_loops = 0
        self.assigned = names_in([tree])[1]

    def end(self) -> None:
        """What is done before the function returns: nothing."""

    # ------------------------------------------------------------------ statements
    def run(self, body: Sequence[ast.stmt]) -> None:
        for statement in body:
            if self.builder.block.is_terminated:
                return
            STATEMENTS[type(statement)](self, statement) if type(statement) in STATEMENTS else self.unfit(statement)

    def unfit(self, node: ast.AST) -> NoReturn:
        raise Unfit(ast.unparse(node))

    def assign(self, s: ast.Assign) -> None:
        [target] = s.targets
        if isinstance(target, ast.Name):
            self.store(target.id, self.value(s.value))
            return
        if not isinstance(target, ast.Subscript):
            self.unfit(s)
        kind, value = self.value(s.value)
        place, element = self.element(target, writes=True)
        self.builder.store(self.cast((kind, value), element), place)

    def store(self, name: str, found: Typed) -> None:
        """A name keeps the type that it was given first; a whole number that stays the same is known as such."""
        kind, value = found
        if self.assigned[name] > 1 or not isinstance(kind, types.IntegerLiteral):
            kind = types.unliteral(kind)
        if name not in self.places:
            self.places[name] = kind, alloca_once(self.builder, kind.llvm, name)
        elif types.unliteral(self.places[name][0]) != types.unliteral(kind):
            raise Unfit(f"{name} has two types")
        self.builder.store(value, self.places[name][1])

    def expression(self, s: ast.Expr) -> None:
        if not isinstance(s.value, ast.Constant):  # a docstring
            self.value(s.value)

    def give(self, s: ast.Return) -> None:
        if s.value is None:
            self.unfit(s)
        self.end()
        convention.give_back(self.builder, self.cast(self.value(s.value), types.int64))

    def leave(self, s: ast.Break) -> None:
        if not self.breaks:
            self.unfit(s)
        self.builder.branch(self.breaks[-1])

    def choose(self, s: ast.If) -> None:
        then, orelse, after = (self.builder.append_basic_block(n) for n in ("then", "else", "after"))
        self.test(s.test, then, orelse)
        for block, body in ((then, s.body), (orelse, s.orelse)):
            self.builder.position_at_end(block)
            self.run(body)
            if not self.builder.block.is_terminated:
                self.builder.branch(after)
        self.builder.position_at_end(after)

    def repeat(self, s: ast.While) -> None:
        """The test stands before the loop and at its end, as Python's compiler has it."""
        body, again, after = (self.builder.append_basic_block(n) for n in ("while", "again", "after"))
        self.test(s.test, body, after)
        self.turn(s.body, body, again, after)
        self.builder.position_at_end(again)
        self.test(s.test, body, after)
        self.builder.position_at_end(after)

    def turn(self, statements: Sequence[ast.stmt], body: ir.Block, back: ir.Block, after: ir.Block) -> Any:
        """The body of a loop, from which ``break`` leads behind it; returns the branch that ends it."""
        self.breaks.append(after)
        self.builder.position_at_end(body)
        self.run(statements)
        if not self.builder.block.is_terminated:
            self.builder.branch(back)
        end = self.builder.block.terminator
        self.breaks.pop()
        self.builder.position_at_end(after)
        return end

    def count(self, s: ast.For) -> None:
        """A loop over a range, whose step is a whole number that the text tells, or one that is positive."""
        if s.orelse or not isinstance(s.target, ast.Name) or not isinstance(s.iter, ast.Call):
            self.unfit(s)
        start, stop, step = self.bounds(s.iter)
        b, number = self.builder, types.int64.llvm
        turn, left = (alloca_once(b, number, f"{word}.{s.target.id}") for word in ("turn", "left"))
        b.store(start, turn)
        b.store(self.turns(start, stop, step), left)
        test, body, after = (b.append_basic_block(name) for name in ("for", "turn", "after"))
        b.branch(test)
        b.position_at_end(test)
        count = b.load(left)
        b.cbranch(b.icmp_signed(">", count, ir.Constant(number, 0)), body, after)
        b.position_at_end(body)
        now = b.load(turn)
        b.store(b.sub(count, ir.Constant(number, 1), flags=["nsw"]), left)
        b.store(b.add(now, step if isinstance(step, ir.Value) else ir.Constant(number, step), flags=["nsw"]), turn)
        self.store(s.target.id, (types.int64, now))
        self.hint(s, self.turn(s.body, body, test, after))

    def hint(self, s: ast.For, end: Any) -> None:
        """Tell LLVM what the first line of a loop says of its vectors."""
        first = s.body[0].value if isinstance(s.body[0], ast.Expr) else None
        word = first.func.id if isinstance(first, ast.Call) and isinstance(first.func, ast.Name) else ""
        if word in ("wide", "chains") and isinstance(s.iter, ast.Call):
            (self.widen if word == "wide" else self.chain)(s.iter, end)

    def widen(self, call: ast.Call, end: Any) -> None:
        """Tell LLVM how many turns of a loop are a vector, at the branch that ``end`` is: as many as leave no rest, or
        whole vectors where there are many turns."""
        last = call.args[-1]
        turns = last.value if isinstance(last, ast.Constant) and isinstance(last.value, int) else 0
        lanes = vector_unit()[0] // self.itemsize
        while lanes > 1 and turns % lanes:
            lanes //= 2
        if lanes < FEW and turns >= MANY:
            lanes = min(MANY // 2, vector_unit()[0] // self.itemsize)
        if turns and lanes > 1:
            self.mark(end, WIDE, lanes)

    def chain(self, call: ast.Call, end: Any) -> None:
        """Tell LLVM how many vectors of a sum stand side by side: as many as leave no rest."""
        last, lanes = call.args[-1], vector_unit()[0] // self.itemsize
        turns = last.value if isinstance(last, ast.Constant) and isinstance(last.value, int) else 0
        count = SIDE_BY_SIDE
        while count > 1 and turns % (count * lanes):
            count //= 2
        if turns and count > 1:
            self.mark(end, CHAINS, count)

    def mark(self, end: Any, word: str, value: int) -> None:
        """Put a mark with a number of its own at the branch back to the head of a loop."""
        number, module = ir.IntType(32), self.builder.module
        self.marked_loops += 1
        words = [ir.MetaDataString(module, word), number(self.marked_loops), number(value)]
        end.set_metadata("llvm.loop", module.add_metadata(words))

    def turns(self, start: ir.Value, stop: ir.Value, step: int | ir.Value) -> ir.Value:
        """How often a loop runs: known before it begins, which LLVM makes vector code of."""
        b, number = self.builder, start.type
        zero, whole = ir.Constant(number, 0), step if isinstance(step, ir.Value) else ir.Constant(number, step)
        length = b.sub(stop, start)
        count = b.sdiv(length, whole)
        if step not in (1, -1):
            rest = b.icmp_signed("!=", b.srem(length, whole), zero)
            count = b.add(count, b.zext(rest, number))
        falls = isinstance(step, int) and step < 0
        return b.select(b.icmp_signed("<" if falls else ">", length, zero), count, zero)

    def bounds(self, call: ast.Call) -> tuple[ir.Value, ir.Value, int | ir.Value]:
        found = [self.value(a) for a in call.args]
        whole = all(is_whole(kind) for kind, _ in found)
        if not isinstance(call.func, ast.Name) or call.func.id != "range" or not whole or not found:
            self.unfit(call)
        kind, step = found[2] if len(found) == 3 else (types.IntegerLiteral(1), None)
        step = kind.literal_value if isinstance(kind, types.IntegerLiteral) else step
        if step is None or step == 0:
            self.unfit(call)
        numbers = [self.cast(x, types.int64) for x in found[:2]]
        zero = types.int64.llvm(0)
        return (*(numbers if len(numbers) == 2 else [zero, *numbers]), step)  # pyright: ignore[reportReturnType]

    # ------------------------------------------------------------------ conditions
    def test(self, node: ast.expr, then: ir.Block, orelse: ir.Block) -> None:
        """Go on at one of two blocks."""
        if isinstance(node, ast.BoolOp):
            for part in node.values[:-1]:
                further = self.builder.append_basic_block("and" if isinstance(node.op, ast.And) else "or")
                self.test(part, *((further, orelse) if isinstance(node.op, ast.And) else (then, further)))
                self.builder.position_at_end(further)
            self.test(node.values[-1], then, orelse)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            self.test(node.operand, orelse, then)
        else:
            self.builder.cbranch(holds(self.builder, self.value(node)), then, orelse)

    # ------------------------------------------------------------------ values
    def value(self, node: ast.expr) -> Typed:
        return VALUES[type(node)](self, node) if type(node) in VALUES else self.unfit(node)

    def constant(self, node: ast.Constant) -> Typed:
        return self.known(node.value)

    def known(self, x: Any) -> Typed:
        """A number that the text or the module holds."""
        if type(x) is int:
            return types.IntegerLiteral(x), types.int64.llvm(x)
        kind = types.float64 if type(x) is float else types.NUMBERS.get(type(x).__name__)
        if kind is None or not isinstance(x, float | np.number):
            raise Unfit(repr(x))
        return kind, kind.llvm(float(x) if isinstance(kind, types.Float) else int(x))

    def name(self, node: ast.Name) -> Typed:
        if node.id in self.places:
            kind, place = self.places[node.id]
            return kind, self.builder.load(place)
        return self.known(self.names[node.id]) if node.id in self.names else self.unfit(node)

    def listed(self, node: Listed) -> Typed:
        """The number that a list has for the turn of a loop."""
        number = types.int64.llvm
        values = ir.Constant(ir.ArrayType(number, len(node.numbers)), [*node.numbers])
        module = self.builder.module
        table = ir.GlobalVariable(module, values.type, module.get_unique_name("graphc_places"))
        table.linkage, table.global_constant, table.initializer = "internal", True, values
        return types.int64, self.builder.load(self.builder.gep(table, [number(0), self.value(node.turn)[1]]))

    def element(self, node: ast.Subscript, writes: bool = False) -> tuple[ir.Value, Any]:  # noqa: ARG002  a check asks
        """Where an element of a pointer lies, and its type."""
        pointer, base = self.value(node.value)
        at = self.value(node.slice)
        if not isinstance(pointer, types.CPointer) or not is_whole(at[0]):
            self.unfit(node)
        return self.builder.gep(base, [self.cast(at, types.int64)]), pointer.dtype

    def item(self, node: ast.Subscript) -> Typed:
        place, kind = self.element(node)
        return kind, self.builder.load(place)

    def cast(self, found: Typed, kind: types.Type) -> ir.Value:
        return found[1] if found[0] is kind else converted(self.builder, found, kind)

    def binary(self, node: ast.BinOp) -> Typed:
        left, right = self.value(node.left), self.value(node.right)
        if isinstance(node.op, ast.FloorDiv | ast.Mod) and all(is_whole(kind) for kind, _ in (left, right)):
            return self.divide(isinstance(node.op, ast.Mod), left, right)
        return arithmetic(self.builder, type(node.op), (left, right))

    def divide(self, remainder: bool, left: Typed, right: Typed) -> Typed:
        """The floor or the remainder of whole numbers without a branch, so that loops stay open to vector code.
        Divisors of generated text are positive; one that is not known is 1 where it would be 0."""
        b, number = self.builder, types.int64.llvm
        whole = lambda n: ir.Constant(number, n)
        a, by = self.cast(left, types.int64), self.cast(right, types.int64)
        known = right[0].literal_value if isinstance(right[0], types.IntegerLiteral) else 0
        if known < 0 or (isinstance(right[0], types.IntegerLiteral) and not known):
            raise Unfit("a divisor that is not positive")
        if known and known & (known - 1) == 0:
            shift = whole(known.bit_length() - 1)
            return types.int64, b.and_(a, whole(known - 1)) if remainder else b.ashr(a, shift)
        if not known:
            by = b.select(b.icmp_signed("==", by, whole(0)), whole(1), by)
        rest, below = b.srem(a, by), whole(63)
        if remainder:
            return types.int64, b.add(rest, b.and_(b.ashr(rest, below), by))
        return types.int64, b.add(b.sdiv(a, by), b.ashr(rest, below))

    def compare(self, node: ast.Compare) -> Typed:
        if len(node.ops) != 1:
            self.unfit(node)
        return comparison(self.builder, type(node.ops[0]), [self.value(node.left), self.value(node.comparators[0])])

    def unary(self, node: ast.UnaryOp) -> Typed:
        if not isinstance(node.op, ast.USub):
            self.unfit(node)
        if isinstance(node.operand, ast.Constant) and isinstance(node.operand.value, int | float):
            return self.known(-node.operand.value)
        return negative(self.builder, self.value(node.operand))

    def either(self, node: ast.IfExp) -> Typed:
        then, orelse, after = (self.builder.append_basic_block(n) for n in ("then", "else", "after"))
        self.test(node.test, then, orelse)
        found = []
        for block, part in ((then, node.body), (orelse, node.orelse)):
            self.builder.position_at_end(block)
            found.append((self.value(part), self.builder.block))
        kinds = {types.unliteral(kind) for (kind, _), _ in found}
        if len(kinds) != 1:
            self.unfit(node)
        for _, block in found:
            self.builder.position_at_end(block)
            self.builder.branch(after)
        self.builder.position_at_end(after)
        [kind] = kinds
        chosen = self.builder.phi(kind.llvm)
        for (_, value), block in found:
            chosen.add_incoming(value, block)
        return kind, chosen

    def call(self, node: ast.Call) -> Typed:
        function = self.names.get(node.func.id, float) if isinstance(node.func, ast.Name) else None
        known = node.func.id == "float" if function is float and isinstance(node.func, ast.Name) else function
        if not known or node.keywords:
            self.unfit(node)
        found = [self.value(a) for a in node.args]
        if isinstance(function, Intrinsic):
            return self.intrinsic(node, function, found)
        kind = types.float64 if function is float else function
        if not isinstance(kind, types.Float | types.Integer) or len(found) != 1:
            self.unfit(node)
        return kind, self.cast(found[0], kind)

    def intrinsic(self, node: ast.Call, function: Intrinsic, found: Sequence[Typed]) -> Typed:  # noqa: ARG002  likewise
        """A call of a primitive, or of a function that the program shares."""
        typed = function.typing(*(kind for kind, _ in found))
        if typed is None:
            self.unfit(node)
        signature, write = typed
        values = [self.cast(x, kind) for x, kind in zip(found, signature.args, strict=True)]
        return signature.return_type, write(self.builder, signature, values)  # pyright: ignore[reportReturnType]


STATEMENTS: dict[type, Callable[[Lowered, Any], None]] = {
    ast.Assign: Lowered.assign, ast.Expr: Lowered.expression, ast.Return: Lowered.give, ast.Break: Lowered.leave,
    ast.If: Lowered.choose, ast.While: Lowered.repeat, ast.For: Lowered.count,
}  # fmt: skip
VALUES: dict[type, Callable[[Lowered, Any], Typed]] = {
    ast.Constant: Lowered.constant, ast.Name: Lowered.name, ast.Subscript: Lowered.item, ast.BinOp: Lowered.binary,
    ast.Compare: Lowered.compare, ast.UnaryOp: Lowered.unary, ast.IfExp: Lowered.either, ast.Call: Lowered.call,
    Listed: Lowered.listed,
}  # fmt: skip
