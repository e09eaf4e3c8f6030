"""The rules of the kernel dialect (docs/cuda.md), checked on the text of every kernel that the tests load."""

from __future__ import annotations

import ast

WRAPPERS = ("U", "int32", "uint64")
FLOATS = ("f", "float64")
WHOLE = (ast.FloorDiv, ast.Mod, ast.LShift, ast.RShift, ast.BitOr, ast.BitXor)


def lint(text: str) -> list[str]:
    """What breaks a rule, a line each."""
    tree = ast.parse(text)
    parent = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    kernels = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    nodes = [node for kernel in kernels for statement in kernel.body for node in ast.walk(statement)]
    found = [f"{reason}: {ast.unparse(node)}" for node in nodes if (reason := _broken(node, parent))]
    return found + _arrays_of_one_line(text)


def _broken(node: ast.AST, parent: dict[ast.AST, ast.AST]) -> str:
    above = parent.get(node)
    if isinstance(node, ast.Constant) and isinstance(node.value, float) and _called(above) not in FLOATS:
        negative = isinstance(above, ast.UnaryOp) and _called(parent[above]) in FLOATS
        return "" if negative else "a bare float literal"
    if isinstance(node, ast.BinOp) and isinstance(node.op, WHOLE) and _called(above) not in WRAPPERS:
        return "whole-number arithmetic that is not wrapped"
    if isinstance(node, ast.Subscript):
        bare = [n for n in ast.walk(node.slice) if isinstance(n, ast.BinOp) and _called(parent[n]) not in WRAPPERS]
        return "an index that is not wrapped" if bare else ""
    if isinstance(node, ast.Call) and _called(node) == "range":
        bound = node.args[0]
        return "" if ast.unparse(bound) == "count" or _called(bound) == "U" else "a bound that is no uint32"
    if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("cuda.") and _foreign(node):
        return "a word that is not of the dialect"
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "cuda.shared.array":
        size = node.args[0]
        literal = isinstance(size, ast.Constant) or (isinstance(size, ast.Name) and size.id == "SHARED")
        return "" if literal else "a shared array without a literal size"
    return ""


def _foreign(node: ast.Call) -> bool:
    return ast.unparse(node.func) not in ("cuda.syncthreads", "cuda.shared.array")


def _called(node: ast.AST | None) -> str:
    return node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""


def _arrays_of_one_line(text: str) -> list[str]:
    return [f"two shared arrays: {line}" for line in text.splitlines() if line.count("cuda.shared.array") > 1]
