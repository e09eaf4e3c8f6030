"""An entry whose statements LLVM compiles in parts, side by side: runs of statements become functions of their own.

A part takes as arguments what it reads, and leaves in a frame what others read of it. The text says how many parts
there are to be, so that they do not depend on the cores of a machine.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llvmlite import ir

from graphc.emit.parts import PARTS
from graphc.native.lowering import Lowered
from graphc.native.operators import Unfit
from graphc.native.repeats import rolled
from graphc.native.trees import children, names_in
from graphc.primitives import types
from graphc.primitives.code import alloca_once
from graphc.primitives.convention import called

CALL = 40
"""What a call of a primitive weighs, which is written out where it stands; a node of the syntax tree weighs 1."""

PART = 600
"""What a part weighs where statements repeat, so that lines do not say how many there are to be: some thirty lines."""

SHORT, FULL, LONG = 0.25, 1.2, 1.5
"""Lengths of a run that is none of its own, that ends a run, of a statement that is divided itself; in parts."""

_LIGHT = frozenset(
    {"f", "float", "int64", "range", "noalias", "wide", "chains", "meet", "atomic_load", "atomic_store", "copy"}
)
_FRAME = "the frame"


class Divided(Lowered):
    """The entry, which calls its parts."""

    def __init__(
        self, tree: ast.FunctionDef, kinds: Sequence[types.Type], names: Mapping[str, Any], module: ir.Module,
        symbol: str,
    ) -> None:  # fmt: skip
        self.tree, self.symbol = rolled(tree, names), symbol
        self.loads = names_in(self.tree.body)[0]
        count = names[PARTS] if self.tree is tree else min(names[PARTS], _count_of(self.tree.body))
        self.parts = {id(run[0]): run for run in parts_of(self.tree.body, count)}
        self.written = 0
        super().__init__(self.tree, kinds, names, module, symbol)

    def run(self, body: Sequence[ast.stmt]) -> None:
        waiting = [*body]
        while waiting:
            part = self.parts.get(id(waiting[0]))
            if part is None:
                super().run([waiting.pop(0)])
            else:
                del waiting[: len(part)]
                self.apart(part)

    def apart(self, statements: Sequence[ast.stmt]) -> None:
        """Write a part, and its call."""
        self.written += 1
        part = Part(self, statements, f"{self.symbol}_{self.written}")
        self.marked_loops = part.marked_loops
        function = part.builder.function
        frame = alloca_once(self.builder, ir.ArrayType(ir.IntType(64), len(part.given) + 1))
        frame = self.builder.bitcast(frame, function.args[-1].type)
        values = [self.builder.load(self.places[name][1]) for name in part.taken]
        called(self.builder, function, [*values, frame])
        for t, name in enumerate(part.given):
            kind, place = part.places[name]
            self.store(name, (kind, self.builder.load(_slot(self.builder, frame, t, place.type))))


class Part(Lowered):
    """Some statements of an entry: a function whose last argument is the frame."""

    def __init__(self, whole: Divided, statements: Sequence[ast.stmt], symbol: str) -> None:
        reads, writes = names_in(statements)
        self.whole = whole
        self.given = [n for n in writes if n in whole.places or whole.loads[n] > reads[n]]
        known = {n: whole.places[n][0] for n in dict.fromkeys([*reads, *self.given]) if n in whole.places}
        literal = {n: kind.literal_value for n, kind in known.items() if isinstance(kind, types.IntegerLiteral)}
        self.taken = {n: kind for n, kind in known.items() if n not in literal}
        if any(isinstance(kind, types.Boolean) for kind in self.taken.values()):
            raise Unfit("the outcome of a comparison crosses parts")
        tree = ast.parse("def part():\n    return 0").body[0]
        assert isinstance(tree, ast.FunctionDef)
        alone = [s for s in whole.tree.body if _calls(s, "noalias")]
        tree.args.args = [ast.arg(n) for n in (*self.taken, _FRAME)]
        tree.body = [*alone, *statements, *tree.body]
        kinds = [*self.taken.values(), types.POINTERS["int64*"]]
        super().__init__(tree, kinds, {**whole.names, **literal}, whole.builder.module, symbol)
        self.builder.function.attributes.add("noinline")

    def begin(self, tree: ast.FunctionDef) -> None:  # noqa: ARG002
        self.assigned, self.marked_loops = self.whole.assigned, self.whole.marked_loops

    def end(self) -> None:
        frame = self.builder.load(self.places[_FRAME][1])
        for t, name in enumerate(self.given):
            place = self.places[name][1]
            self.builder.store(self.builder.load(place), _slot(self.builder, frame, t, place.type))


def _slot(builder: ir.IRBuilder, frame: ir.Value, t: int, kind: ir.Type) -> ir.Value:
    """Where the frame holds its value number t."""
    return builder.bitcast(builder.gep(frame, [ir.IntType(64)(t)]), kind)


def parts_of(body: Sequence[ast.stmt], count: int) -> list[list[ast.stmt]]:
    """Runs of statements, each about as long as ``count`` parts of equal length would be."""
    weights = _Weights()
    whole = sum(map(weights.of, body))
    return [*_runs(body, whole / count, weights)] if count > 1 else []


def _count_of(body: Sequence[ast.stmt]) -> int:
    """How many parts there are to be where statements repeat."""
    return round(sum(map(_Weights().of, body)) / PART)


def _runs(body: Sequence[ast.stmt], length: float, weights: _Weights) -> Iterator[list[ast.stmt]]:
    """Those of a list of statements, and of what stands within a long one; what is short stays where it is."""
    run: list[ast.stmt] = []
    for s in body:
        own, lists = weights.of(s), _inner(s)
        weight = sum(map(weights.of, run))
        is_whole = _may_stand_alone(s) and (own <= LONG * length or not lists)
        if run and (not is_whole or (weight + own > FULL * length and not _gives_number(run[-1]))):
            while run and _gives_number(run[-1]):
                run.pop()
            if run and weight > SHORT * length:
                yield run
            run = []
        if is_whole:
            run.append(s)
        else:
            for inner in lists:
                yield from _runs(inner, length, weights)
    if run and sum(map(weights.of, run)) > SHORT * length:
        yield run


def _gives_number(s: ast.stmt) -> bool:
    """Whether what follows may be fused with it, a product with a sum: there is no cut behind it. Whole numbers are not
    fused, loops and calls end a block of instructions."""
    if not isinstance(s, ast.Assign):
        return False
    nodes = [*ast.walk(s)]
    return any(isinstance(n, ast.Subscript | ast.Call) or (isinstance(n, ast.Constant) and isinstance(n.value, float))
               for n in nodes)  # fmt: skip


class _Weights:
    """How much LLVM has to do for a statement, about."""

    def __init__(self) -> None:
        self.known: dict[int, int] = {}

    def of(self, node: ast.AST) -> int:
        if id(node) not in self.known:
            own = CALL if type(node) is ast.Call and not _is_light(node.func) else 1
            self.known[id(node)] = own + sum(map(self.of, children(node)))
        return self.known[id(node)]


def _is_light(function: ast.expr) -> bool:
    return isinstance(function, ast.Name) and function.id in _LIGHT


def _may_stand_alone(s: ast.stmt) -> bool:
    """No way leads out of it but its end."""
    if isinstance(s, ast.If):
        return all(map(_may_stand_alone, (*s.body, *s.orelse)))
    return not isinstance(s, ast.Return | ast.While | ast.Break)


def _inner(s: ast.stmt) -> list[list[ast.stmt]]:
    """The lists of statements within a statement in which calls of parts may stand: of choices, and of loops whose
    turns are products and nests rather than numbers."""
    if isinstance(s, ast.If):
        return [s.body, s.orelse]
    if isinstance(s, ast.While) or (isinstance(s, ast.For) and any(map(_is_call, s.body))):
        return [s.body]
    return []


def _is_call(s: ast.stmt) -> bool:
    return isinstance(s, ast.Expr) and isinstance(s.value, ast.Call) and not _is_light(s.value.func)


def _calls(s: ast.stmt, name: str) -> bool:
    call = s.value if isinstance(s, ast.Expr) else None
    return isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == name
