"""What stands in a syntax tree."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Sequence


def names_in(nodes: Sequence[ast.AST]) -> tuple[Counter[str], Counter[str]]:
    """How often names are read and assigned, in the order of ``ast.walk``."""
    read: list[str] = []
    written: list[str] = []
    for node in nodes:
        waiting = [node]
        for one in waiting:  # it grows
            if type(one) is ast.Name:
                (read if type(one.ctx) is ast.Load else written).append(one.id)
            else:
                waiting += children(one)
    return Counter(read), Counter(written)


def children(node: ast.AST) -> list[ast.AST]:
    """What ``ast.iter_child_nodes`` gives, in half the time."""
    found: list[ast.AST] = []
    for name in node._fields:
        part = getattr(node, name, None)
        if type(part) is list:
            found += part
        elif isinstance(part, ast.AST):
            found.append(part)
    return found


class Listed(ast.expr):
    """The number that a list has for the turn of a loop."""

    _fields = ("turn",)

    def __init__(self, turn: str, numbers: Sequence[int]) -> None:
        super().__init__()
        self.turn, self.numbers = ast.Name(turn, ast.Load()), numbers
