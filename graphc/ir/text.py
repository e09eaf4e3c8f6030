"""One line of plain text for an equation: ``dW[k, j] = sum_{n} X[n, k]*D[n, j]``."""

from __future__ import annotations

import re

from graphc.ir.affine import Affine, FloorDiv, Gather, Modulo, Size
from graphc.ir.letters import index_letters
from graphc.ir.node import Equation, Indicator, Mask, Node, Operand, Position, Read
from graphc.ir.scalar import placeholder


def node_name(node: Node) -> str:
    """The user's name or a number."""
    return node.name or f"t{node.serial}"


def affine_text(x: Affine, names: list[str]) -> str:
    """``2*i + j - 1``."""
    parts: list[str] = []
    for atom, coef in x.terms:
        sign = "-" if coef < 0 else "+"
        text = _atom_text(atom, names)
        parts.append(f"{sign} {'' if abs(coef) == 1 else f'{abs(coef)}*'}{text}")
    if x.const or not parts:
        parts.append(f"{'-' if x.const < 0 else '+'} {abs(x.const)}")
    text = " ".join(parts)
    return text[2:] if text.startswith("+ ") else "-" + text[2:]


def _atom_text(atom, names: list[str]) -> str:
    if isinstance(atom, int):
        return names[atom]
    if isinstance(atom, FloorDiv):
        return f"(({affine_text(atom.inner, names)})//{atom.divisor})"
    if isinstance(atom, Modulo):
        return f"(({affine_text(atom.inner, names)}) % {atom.divisor})"
    if isinstance(atom, Gather):
        return f"{node_name(atom.node)}[{', '.join(affine_text(a, names) for a in atom.at)}]"
    assert isinstance(atom, Size)
    return atom.name


def mask_text(mask: Mask, names: list[str]) -> str:
    """``i - j >= 0``."""
    x = affine_text(mask.map, names)
    relation = {"ge": ">= 0", "eq": "== 0", "ne": "!= 0"}
    return f"{mask.modulus} divides {x}" if mask.kind == "divides" else f"{x} {relation[mask.kind]}"


def operand_text(op: Operand, names: list[str]) -> str:
    """``X[i, k]``, ``[i == j]`` or an index as a number."""
    if isinstance(op, Read):
        inside = ", ".join(affine_text(a, names) for a in op.at)
        return f"{node_name(op.node)}[{inside}]" if op.at else node_name(op.node)
    if isinstance(op, Indicator):
        return f"[{mask_text(op.mask, names)}]"
    assert isinstance(op, Position)
    return f"({affine_text(op.map, names)})"


def equation_text(y: Equation) -> str:
    """The whole equation in one line."""
    names = index_letters(y.extents)
    operands = {str(placeholder(j)): operand_text(op, names) for j, op in enumerate(y.operands)}
    body = re.sub(r"\ba\d+\b", lambda m: operands.get(m[0], m[0]), str(y.body))
    free, bound = names[: y.n_free], names[y.n_free :]
    left = f"{node_name(y)}[{', '.join(free)}]" if free else node_name(y)
    conditions = "".join(f"; {mask_text(m, names)}" for m in y.masks)
    if bound:
        return f"{left} = {y.reducer}_{{{', '.join(bound)}{conditions}}} {body}"
    return f"{left} = {body}" + (f"  where {conditions[2:]}" if conditions else "")


Equation.__repr__ = equation_text  # type: ignore[method-assign]
