"""LaTeX of a derivation: index, matrix and lecture form, as one ``aligned`` block."""

from __future__ import annotations

from graphc.errors import DomainError
from graphc.ir.latex_words import with_words
from graphc.ir.node import Leaf
from graphc.show.chain import chain_rule
from graphc.show.outline import Line, Outline
from graphc.show.styles import Latex

STYLES = ("index", "matrix", "lecture")


def latex_document(out: Outline, style: str) -> str:
    """The derivation in one of the styles.

    Raises
    ------
    DomainError
        When ``style`` is none of "index", "matrix", "lecture".
    """
    if style not in STYLES:
        raise DomainError(f"latex(style={style!r}): the styles are {', '.join(STYLES)}.")
    rows = _lecture(out) if style == "lecture" else [_row(line, style) for line in out.lines]
    return with_words("\\begin{aligned}\n" + " \\\\\n".join(rows) + "\n\\end{aligned}")


def sides(line: Line, style: str) -> list[str]:
    """Name, partial derivative and formula of a line, those that there are, in "index" or "matrix" form."""
    look, names = Latex(), line.names
    matrix = line.matrix_in(look) if style == "matrix" else None
    right = matrix or line.index_in(look)
    if matrix:
        left = "" if isinstance(line.target, Leaf) else look.name(names.of(line.node))
        partial = look.partial(look.name(names.loss), look.name(names.of(line.target))) if line.target else ""
    else:
        left, partial = line.left_in(look), line.partial_in(look)
    return [x for x in (left, partial, right) if x]


def _row(line: Line, style: str) -> str:
    number = rf" && \text{{({line.number})}}" if line.number else ""
    first, *others = sides(line, style)
    return f"{first} &= " + " = ".join(others) + number


def _lecture(out: Outline) -> list[str]:
    rows = []
    for leaf in out.gradients:
        chain = chain_rule(out, leaf, Latex())
        rows.append(f"{chain.total} &= {chain.product}")
        rows += [rf"{left} &= {right}" for left, right in [*chain.factors, chain.result]]
    return rows
