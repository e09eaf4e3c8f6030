"""Statements that repeat at other places, as those of equal layers do: they become a loop, which is compiled once.

    gemm(A, H0 + lo*64, .., P, W1, ..)         for turn in range(3):
    nest_1(A, H1, Z1, lo, hi)            ->        gemm(A, [H0, H1, H2][turn] + lo*64, .., P, [W1, W2, W3][turn], ..)
    ..                                             nest_1(A, [H1, H2, H3][turn], [Z1, Z2, Z3][turn], lo, hi)

The last turn may end early: what it leaves out stands behind a question. The text stays as it is, and so do the calls
and their order: the syntax tree alone is another one.  What repeats are
calls, with choices, loops and whole numbers around them, and elements that are set to a number; nothing that reads an
element, since LLVM would know less of where it lies.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Any

from graphc.native.trees import Listed

LEAST = 8
"""Statements that a loop saves, at least."""

LONGEST = 128
"""Statements of a turn, at most."""


def rolled(tree: ast.FunctionDef, names: Mapping[str, Any]) -> ast.FunctionDef:
    """The function with loops where its statements repeat; the function itself where none do.  ``names`` are those of
    the module."""
    rolling = _Rolling(names)
    body = rolling.list_of(tree.body)
    return _with(tree, body=body) if rolling.loops else tree


class _Form:
    """What a statement is but for its places: names of whole numbers, and numbers whose remainder is taken."""

    def __init__(self, statement: ast.stmt, rolling: _Rolling) -> None:
        self.names, self.form, self.words, self.places = rolling.names, rolling.form, [], []
        self.repeats = self.add_parts(statement)
        self.text = " ".join(self.words)

    def add(self, node: ast.AST) -> bool:
        """Whether a node may stand in a loop; what it is goes into the words."""
        if isinstance(node, ast.Name):
            place = type(self.names.get(node.id)) is int
            self.words.append("?" if place else node.id)
            self.places += [node] if place else []
            return True
        if isinstance(node, ast.Constant):
            self.words.append(repr(node.value))
            return type(node.value) is int
        if isinstance(node, ast.stmt):
            inner = self.form(node)
            self.words.append(inner.text)
            self.places += inner.places
            return inner.repeats
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod) and isinstance(node.left, ast.Constant):
            self.words.append("? %")
            self.places.append(node.left)
            return self.add(node.right)
        return self.add_parts(node)

    def add_parts(self, node: ast.AST) -> bool:
        """The same of what a node consists of."""
        if isinstance(node, _ELEMENTS_AND_WAYS_OUT):
            return False
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
            self.words += ["set", ast.unparse(node.value)]
            return _is_number(node.value) and self.add(node.targets[0].value) and self.add(node.targets[0].slice)
        self.words.append(type(node).__name__)
        for field in node._fields:
            part = getattr(node, field)
            if isinstance(part, list):
                self.words.append("(")
                if not all(map(self.add, part)):
                    return False
                self.words.append(")")
            elif isinstance(part, ast.AST) and not self.add(part):
                return False
        return True

    def numbers(self) -> list[int]:
        """The places."""
        return [self.names[p.id] if isinstance(p, ast.Name) else p.value for p in self.places]


_ELEMENTS_AND_WAYS_OUT = (ast.Subscript, ast.Return, ast.Break, ast.While)


class _Rolling:
    def __init__(self, names: Mapping[str, Any]) -> None:
        self.names, self.loops = names, 0
        self.forms: dict[int, _Form] = {}

    def form(self, s: ast.stmt) -> _Form:
        """The form of a statement, which is asked for again where it stands within another one."""
        if id(s) not in self.forms:
            self.forms[id(s)] = _Form(s, self)
        return self.forms[id(s)]

    def list_of(self, body: Sequence[ast.stmt]) -> list[ast.stmt]:
        """The statements of a list, those that repeat as loops."""
        forms = [*map(self.form, body)]
        kinds: dict[str, int] = {}
        known = [kinds.setdefault(f.text, len(kinds)) if f.repeats else -1 for f in forms]
        found: list[ast.stmt] = []
        at = 0
        while at < len(body):
            length, count = _longest(known, at)
            if count > length:
                turns = [forms[t : min(t + length, at + count)] for t in range(at, at + count, length)]
                found.append(self.loop(turns, body[at : at + length]))
                at += count
            else:
                found.append(self.within(body[at]))
                at += 1
        return found

    def within(self, s: ast.stmt) -> ast.stmt:
        """A statement whose lists of statements were looked through."""
        if not isinstance(s, ast.If | ast.For | ast.While):
            return s
        return _with(s, body=self.list_of(s.body), orelse=self.list_of(s.orelse))

    def loop(self, turns: Sequence[Sequence[_Form]], first: Sequence[ast.stmt]) -> ast.For:
        """The loop over some turns, of which the first is given as it stands, and the last may be shorter."""
        name = f"turn {self.loops}"
        self.loops += 1
        listed: dict[int, ast.expr] = {}
        for t, form in enumerate(turns[0]):
            columns = zip(*(turn[t].numbers() for turn in turns if t < len(turn)), strict=True)
            for place, numbers in zip(form.places, columns, strict=True):
                if len({*numbers}) > 1:
                    listed[id(place)] = Listed(name, numbers)
        body = [_replaced(s, listed) for s in first]
        if len(turns[-1]) < len(body):
            whole = ast.Compare(ast.Name(name, ast.Load()), [ast.Lt()], [ast.Constant(len(turns) - 1)])
            body[len(turns[-1]) :] = [ast.If(whole, body[len(turns[-1]) :], [])]
        count = ast.Call(ast.Name("range", ast.Load()), [ast.Constant(len(turns))], [])
        return ast.For(ast.Name(name, ast.Store()), count, body, [])


def _longest(kinds: Sequence[int], at: int) -> tuple[int, int]:
    """The length of the turn that begins at a place, and how many statements its turns are, where most are saved; the
    last turn may be a part, if it is not short."""
    best, saved = (1, 1), LEAST - 1
    for length in range(1, min(LONGEST, (len(kinds) - at) // 2) + 1):
        end = at
        while end + length < len(kinds) and kinds[end] == kinds[end + length] != -1:
            end += 1
        more = end - at
        more -= more % length if more % length < LEAST or more < length else 0
        if more > saved:
            best, saved = (length, length + more), more
    return best


def _is_number(value: ast.expr) -> bool:
    """A number of the text: 0.0, f(0.0)."""
    return isinstance(value, ast.Constant) or (isinstance(value, ast.Call) and all(map(_is_number, value.args)))


def _with(node: Any, **fields: Any) -> Any:
    """The node with other parts."""
    return type(node)(**{name: fields.get(name, getattr(node, name, None)) for name in node._fields})


def _replaced(node: Any, listed: Mapping[int, ast.expr]) -> Any:
    """The node with lists of numbers in some places."""
    if isinstance(node, list):
        return [_replaced(part, listed) for part in node]
    if not isinstance(node, ast.AST):
        return node
    return listed.get(id(node)) or _with(node, **{f: _replaced(getattr(node, f), listed) for f in node._fields})
