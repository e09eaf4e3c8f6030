"""Which loop nests of generated text can be gone through before they run, and how the text is prepared for that.

The places that a nest touches follow from whole numbers: indices, extents, rows and labels. Where none of them depends
on a number that the nest computes (a pivot does), the nest is walked once for its places alone, and then runs as it is.
"""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Iterator, Mapping, Sequence

from graphc.native.touched import WHOLE

Trees = Mapping[str, ast.FunctionDef]
_SAME = re.compile(r"at\d+ = at\d+|noalias\(\)|return 0")  # what a shared nest has for LLVM's sake


def assigned(body: ast.AST) -> set[str]:
    """The names that a statement gives a value."""
    return {n.id for n in ast.walk(body) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def terms(e: ast.expr) -> Iterator[str]:
    """The names that are added in an address."""
    if isinstance(e, ast.Name):
        yield e.id
    elif isinstance(e, ast.BinOp) and isinstance(e.op, ast.Add | ast.Sub):
        yield from terms(e.left)
        yield from terms(e.right)


def inlined(call: ast.Call, trees: Trees) -> list[ast.stmt]:
    """The statements of a shared nest with the arguments of a call in them; lines are those of the nest."""
    assert isinstance(call.func, ast.Name)
    tree = trees[call.func.id]
    given = {a.arg: value for a, value in zip(tree.args.args, call.args, strict=True)}
    body = [s for s in tree.body if not _SAME.fullmatch(ast.unparse(s))]
    return [_Given(given).visit(copy.deepcopy(s)) for s in body]


class _Given(ast.NodeTransformer):
    def __init__(self, given: Mapping[str, ast.expr]) -> None:
        self.given = given

    def visit_Name(self, node: ast.Name) -> ast.expr:  # noqa: N802  the name is ast's
        value = self.given.get(node.id)
        return node if value is None else _moved(copy.deepcopy(value), node)


def _moved(value: ast.expr, to: ast.expr) -> ast.expr:
    for part in ast.walk(value):
        if isinstance(part, ast.expr):
            ast.copy_location(part, to)
    return value


class _Counted(ast.NodeTransformer):
    """``for i in range(a, b, step)`` with a step that is not literal, by a loop that counts its turns."""

    def visit_For(self, node: ast.For) -> ast.For:  # noqa: N802  the name is ast's
        self.generic_visit(node)
        call, target = node.iter, node.target
        if not isinstance(call, ast.Call) or not isinstance(target, ast.Name) or len(call.args) != 3:
            return node
        if not isinstance(call.args[2], ast.Name):
            return node
        start, stop, step = map(ast.unparse, call.args)
        turn = f"{target.id}_turn"
        count = f"({stop} - {start} + {step} - 1)//{step}"
        text = f"for {turn} in range({count}):\n    {target.id} = {start} + {turn}*{step}"
        [made] = ast.parse(text).body
        assert isinstance(made, ast.For)
        for part in ast.walk(made):
            if isinstance(part, ast.stmt | ast.expr):
                ast.copy_location(part, node)
        made.body += node.body
        return made


def counted(tree: ast.FunctionDef) -> ast.FunctionDef:
    """A function whose loops all go by literal steps."""
    return _Counted().visit(copy.deepcopy(tree))


class Numbers:
    """Which names of a function are whole numbers and which are not, by what is assigned to them."""

    def __init__(self, body: Sequence[ast.stmt], whole: set[str], trees: Trees) -> None:
        """``whole`` are the pointers to whole numbers."""
        self.whole, self.trees, self.floats = whole, trees, {"INF"}
        assigns = [n for s in body for n in ast.walk(s)
                   if isinstance(n, ast.Assign) and isinstance(n.targets[0], ast.Name)]  # fmt: skip
        before = -1
        while before != len(self.floats):
            before = len(self.floats)
            for s in assigns:
                assert isinstance(s.targets[0], ast.Name)
                if self.is_float(s.value):
                    self.floats.add(s.targets[0].id)

    def is_float(self, e: ast.AST) -> bool:
        """Whether the value of an expression, or a condition, comes of numbers that are not whole."""
        if isinstance(e, ast.Constant):
            return isinstance(e.value, float)
        if isinstance(e, ast.Name):
            return e.id in self.floats
        if isinstance(e, ast.Subscript):
            return not (isinstance(e.value, ast.Name) and e.value.id in self.whole)
        if isinstance(e, ast.Call):
            return not (isinstance(e.func, ast.Name) and e.func.id in WHOLE)
        if isinstance(e, ast.BinOp) and isinstance(e.op, ast.Div):
            return True
        if isinstance(e, ast.IfExp):
            return self.is_float(e.body) or self.is_float(e.orelse)
        return any(self.is_float(part) for part in ast.iter_child_nodes(e))

    def follows(self, s: ast.stmt) -> bool:
        """Whether the places of a nest can be told before it runs."""
        calls = [n for n in ast.walk(s) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
        words = {n.func.id for n in calls if isinstance(n.func, ast.Name)}
        if words & {"meet", "invoke"} or any(isinstance(n, ast.While | ast.Break | ast.Return) for n in ast.walk(s)):
            return False
        shared = [n for n in calls if isinstance(n.func, ast.Name) and n.func.id in self.trees]
        return not any(self._is_led(n) for n in ast.walk(s)) and all(self._inside(call) for call in shared)

    def _inside(self, call: ast.Call) -> bool:
        body = inlined(call, self.trees)
        own = Numbers(body, self.whole, {})
        own.floats |= self.floats - {name for s in body for name in assigned(s)}
        return all(own.follows(s) for s in body)

    def _is_led(self, n: ast.AST) -> bool:
        """Whether a whole number depends on one that is not: chosen by it, or made of one that a program computes."""
        if isinstance(n, ast.If) and self.is_float(n.test):
            parts = [*n.body, *n.orelse]
            loops = {x.target.id for part in parts for x in ast.walk(part) if isinstance(x, ast.For)}  # type: ignore[attr-defined]
            return not {name for part in parts for name in assigned(part)} <= self.floats | loops
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id == "int64":
            [x] = n.args
            return not (isinstance(x, ast.Subscript) and isinstance(x.value, ast.Name) and x.value.id == "K")
        return False
