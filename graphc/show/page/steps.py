"""The derivation with steps that open: which rule, of what, and each factor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sympy import Symbol, exp, preorder_traversal, sqrt

from graphc.errors import DomainError
from graphc.ir.node import Equation, Leaf
from graphc.ir.scalar import FUNCTIONS, OUT, derivative, placeholder, scalar_of
from graphc.ir.scalar_latex import scalar_latex
from graphc.rewrite.normal import Applied
from graphc.show.chain import last_steps
from graphc.show.diagram.boxes import full_text, read_by, shape_of
from graphc.show.explain import rewritten_rows
from graphc.show.latex import sides
from graphc.show.mathml import mathml
from graphc.show.outline import Line, Outline
from graphc.show.page.tags import code, folded, text
from graphc.show.reading import Softmax, Sum
from graphc.show.styles import Latex

SOFTMAX = f"the derivative of a softmax takes {code('v')} to {code('(v - Σ v·a)·a')}, where {code('a')} is its value."


def formula(line: Line, style: str = "index") -> str:
    """A line as MathML."""
    return mathml(" = ".join(sides(line, style)), full_text(line))


def derivation(
    out: Outline | None, lines: Sequence[Line], applied: Sequence[Applied], marks: Mapping[int, str], explained: bool
) -> str:
    """A list of lines; each opens to show how it is made. ``marks`` are the ids that a line marks, by its place."""
    items = []
    for t, line in enumerate(lines):
        number = f'<span class="number">({line.number})</span>' if line.number else ""
        where = f'<span class="number">{text(line.origin)}</span>' if line.origin and not number else ""
        stable = f' <span class="tag">{text(line.remark)}</span>' if line.remark else ""
        shown = f"{formula(line)}{stable}{number}{where}"
        inside = _explained(out, line, applied) if explained else ""
        marked = f' data-marks="{marks[t]}"' if marks.get(t) else ""
        items.append(f'<li id="f-{t}"{marked}>{folded(shown, inside) if inside else shown}</li>')
    return f'<ol class="lines">{"".join(items)}</ol>'


def _explained(out: Outline | None, line: Line, applied: Sequence[Applied]) -> str:
    said = _chain(out, line) if line.number and out is not None else _declared(line, applied)
    matrix = formula(line, "matrix") if line.matrix else ""
    rows = [*said, f"As matrices: {matrix}"] if matrix else said
    reads = ", ".join(line.names.of(n) for n in read_by(line)) or "nothing"
    rows.append(f"Shape {code(shape_of(line.node))}, reads {code(reads)}.")
    return "".join(f"<p>{row}</p>" for row in rows)


def _declared(line: Line, applied: Sequence[Applied]) -> list[str]:
    node = line.node
    rows = [f"Declared in {text(line.origin)}." if line.origin else "Declared."]
    kind = _kind(line)
    rows += [f"It is {kind}."] if kind else []
    fired = [a for a in applied if a.origin is not None and a.origin == node.origin] if line.remark else []
    reasons = dict.fromkeys((a.rule, a.why) for a in fired)
    for rule, before, after, _ in rewritten_rows(fired):
        why = next(w for r, w in reasons if r == rule)
        rows.append(f"Stable form, rule {code(rule)}: {code(before)} becomes {code(after)}. {text(why)}")
    return rows


def _kind(line: Line) -> str:
    """What sort of equation it is, in words."""
    pieces = line.shown.pieces.values()
    letters = line.shown.letters
    sums = [p for p in pieces if isinstance(p, Sum)]
    if isinstance(line.node, Equation) and line.node.dense:
        return "a function of a whole matrix"
    if any(isinstance(p, Softmax) for p in pieces):
        return "a softmax"
    if sums:
        over = ", ".join(letters[b] for b in sums[0].bound)
        return f"a reduction ({sums[0].reducer}) over {code(over)}"
    names = functions(line)
    return f"computed element by element with {code(', '.join(names))}" if names else "computed element by element"


def functions(line: Line) -> list[str]:
    """Scalar functions that an equation applies."""
    bodies = [line.shown.expr, *(p.body for p in line.shown.pieces.values() if isinstance(p, Sum))]
    found = [scalar_of(e) for body in bodies for e in preorder_traversal(body)]
    return list(dict.fromkeys(f.name for f in found if f is not None))


def slope_of(name: str) -> str:
    """``tanh(z)' = 1 - tanh(z)²`` as MathML, for a function of one variable that has a derivative; else nothing."""
    entry, z = FUNCTIONS.get(name), placeholder(0)
    if entry is None or entry.arity != 1:
        return ""
    body = exp(z) if name == "exp" else sqrt(z) if name == "sqrt" else entry.cls(z)
    try:
        slope = derivative(body, 0).xreplace({OUT: Symbol("y")})
    except DomainError:  # the last of a row of functions whose derivatives are declared
        return ""
    named = {z: "z", Symbol("y"): scalar_latex(body, {z: "z"})}
    return mathml(rf"\frac{{d}}{{dz}} {scalar_latex(body, {z: 'z'})} = {scalar_latex(slope, named)}")


def _slopes(out: Outline, line: Line) -> list[str]:
    """The derivatives of the functions that the readers of a line's target apply."""
    readers = [x for x in out.lines if x.number is None and any(n is line.target for n in read_by(x))]
    names = dict.fromkeys(name for x in readers for name in functions(x))
    soft = any(isinstance(p, Softmax) for x in readers for p in x.shown.pieces.values())
    return [*(s for s in map(slope_of, names) if s), *([SOFTMAX] if soft else [])]


def _chain(out: Outline, line: Line) -> list[str]:
    look = Latex()
    steps = last_steps(out, line, look)
    if steps is None:
        name = line.names.of(line.node)
        return [f"A part that the derivatives below share, named {code(name)} so that it is computed once."]
    rule = "Chain rule, over every way from the loss" if " + " in steps.product else "Chain rule"
    rows = [f"{rule}: {mathml(f'{steps.total} = {steps.product}')}"] if steps.product else []
    if steps.product == steps.total:
        rows = [f"{code(line.names.loss)} reads it itself: its formula is differentiated."]
    rows += [f"Rule: {slope}" for slope in _slopes(out, line)]
    rows += [f"where {mathml(f'{left} = {right}')}" for left, right in steps.factors]
    summed = _summed(line)
    if summed and line.target is not None:
        rows.append(f"Summed over {code(summed)}: {code(line.names.of(line.target))} has no such index, and every"
                    " element that reads it adds its share.")  # fmt: skip
    if isinstance(line.target, Leaf):
        rows.append("This is what the update rule reads as <code>g</code>.")
    return rows


def _summed(line: Line) -> str:
    """The letters of the sum that a derivative is, a constant factor apart."""
    piece = line.shown.pieces.get(line.shown.constant_factor(line.shown.expr)[1])
    if not isinstance(piece, Sum) or piece.reducer != "sum" or line.target is None:
        return ""
    return ", ".join(line.shown.letters[b] for b in piece.bound)
