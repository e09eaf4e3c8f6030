"""Index form: ``Σ_k X[i,k]·W0[k,j] + B0[j]``, in unicode or LaTeX, terms and factors in the order a person chooses."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import sympy
from sympy import Expr, S, Symbol

from graphc.ir.affine import Affine, Atom, FloorDiv, Gather, Modulo, Size, indices
from graphc.ir.node import Leaf, Mask, Node
from graphc.ir.scalar import is_complex, scalar_of
from graphc.show.names import Names
from graphc.show.reading import Iverson, Piece, Place, Ref, Shown, Softmax, Sum, Whole
from graphc.show.styles import Latex, Unicode

ADD, MUL, POWER, ATOM = 1, 2, 3, 4
Text = tuple[str, int]  # what is printed, and how strongly it binds


class Printer:
    """Prints the parts of one equation in one style."""

    def __init__(self, shown: Shown, names: Names, style: Unicode) -> None:
        self.shown, self.names, self.style = shown, names, style

    # ------------------------------------------------------------ whole sides

    def left(self) -> str:
        """Z0[i,j]"""
        return self.place(self.shown.node, [self.shown.letters[i] for i in self.shown.free])

    def right(self) -> str:
        """The formula."""
        return self.text(self.shown.expr, outermost=True)[0]

    def place(self, node: Node, letters: Sequence[str]) -> str:
        """A node at an element, unit axes dropped."""
        maps = [x for x, e in zip(letters, node.shape, strict=True) if e != 1]
        return self.style.ref(self.style.name(self.names.of(node)), maps)

    # ------------------------------------------------------------ expressions

    def text(self, expr: Expr, outermost: bool = False) -> Text:
        """An expression and how strongly it binds."""
        if expr in self.shown.pieces:
            return self.piece(self.shown.pieces[expr])
        if expr.is_Rational:
            return self.number(expr)
        if isinstance(expr, sympy.exp):
            return self.style.exponential(self.text(expr.args[0])[0]), ATOM
        if expr.is_Add:
            return self.sum_of_terms(expr, outermost)
        if expr.is_Mul or (expr.is_Pow and expr.exp.could_extract_minus_sign()):
            return self.product(expr, outermost)
        entry = scalar_of(expr)
        if entry is not None:
            args = expr.args[:1] if expr.is_Pow else expr.args
            return self.style.function(entry, [self.text(a)[0] for a in args]), ATOM
        return self.power(expr) if expr.is_Pow else (self.constant_name(expr), ATOM)

    def constant_name(self, expr: Expr) -> str:
        if isinstance(expr, Symbol):  # a free extent
            return self.style.name(expr.name)
        return sympy.latex(expr) if isinstance(self.style, Latex) else {S.Pi: "π", S.Exp1: "e"}.get(expr, str(expr))

    def grouped(self, expr: Expr, least: int) -> str:
        """The expression, in parentheses when it binds less than ``least``."""
        text, binds = self.text(expr)
        return text if binds >= least else self.style.group(text)

    def number(self, value: Expr) -> Text:
        if value < 0:
            return "-" + self.number(-value)[0], ADD
        if value.p == 1 and value.q >= 10**4 and value.q == 10 ** (len(str(value.q)) - 1):
            return self.style.power("10", 1 - len(str(value.q))), POWER
        if value.is_Integer or _decimal(value):
            return _decimal(value) or str(value), ATOM
        return self.style.fraction(str(value.p), str(value.q), False), MUL

    def power(self, expr: Expr) -> Text:
        base = self.grouped(expr.base, ATOM)
        if expr.exp.is_Integer:
            return self.style.power(base, int(expr.exp)), POWER
        return self.style.general_power(base, self.text(expr.exp)[0]), POWER

    def sum_of_terms(self, expr: Expr, outermost: bool) -> Text:
        factor, terms = self.common_factor(expr)
        if factor != 1:
            return self.factored(factor, [sympy.Add(*terms, evaluate=False)], outermost)
        terms.sort(key=self.term_order)
        text = ""
        for term in terms:
            negative = is_negative(term)
            part = self.grouped(-term, MUL) if negative else self.added(term)
            text += (" - " if negative else " + ") + part if text else ("-" if negative else "") + part
        return text, ADD

    def added(self, term: Expr) -> str:
        """A term behind a plus sign."""
        return self.grouped(term, MUL)

    def common_factor(self, expr: Expr) -> tuple[Expr, list[Expr]]:
        """The constant that all terms share up to sign, and the terms without it."""
        parts = [self.shown.constant_factor(t) for t in sympy.Add.make_args(expr)]
        sizes = {abs(c.as_coeff_Mul()[0]) * c.as_coeff_Mul()[1] for c, _ in parts}
        if len(sizes) != 1 or any(rest == 1 for _, rest in parts):
            return S.One, [c * rest for c, rest in parts]
        size = sizes.pop()
        sign = -1 if all(is_negative(c) for c, _ in parts) else 1
        return sign * size, [sympy.Mul(c / size / sign, rest) for c, rest in parts]

    def product(self, expr: Expr, outermost: bool) -> Text:
        constant, rest = self.shown.constant_factor(expr)
        factors = [] if rest == 1 else list(sympy.Mul.make_args(rest))
        opened = []
        for f in factors:
            inner, terms = self.common_factor(f) if f.is_Add else (S.One, [])
            constant *= inner
            opened.append(sympy.Add(*terms, evaluate=False) if inner != 1 else f)
        return self.factored(constant, opened, outermost)

    def factored(self, constant: Expr, factors: list[Expr], outermost: bool) -> Text:
        """constant·f·g / (h·n)"""
        sign, constant = ("-", -constant) if is_negative(constant) else ("", constant)
        top, bottom = self.split_constant(constant)
        below = [_inverse(f) for f in factors if _is_reciprocal(f)]
        above = sorted((f for f in factors if not _is_reciprocal(f)), key=self.factor_order)
        if len(above) == 1 and self.is_reduction(above[0]) and not below:
            return self.scaled_reduction(sign, top, bottom, above[0])
        parts = top + [self.grouped(f, POWER) for f in above]
        under = [self.grouped(f, POWER) for f in sorted(below, key=self.factor_order)]
        binds = ADD if sign else MUL
        if len(parts) == 1 and not top and not bottom and not under:
            return sign + parts[0], binds if sign else POWER
        text = self.style.dot.join(parts) or "1"
        if not bottom and not under:
            return sign + text, binds
        spaced = outermost and bool(above)
        if isinstance(self.style, Latex) and len(parts) == 1 and above:
            text = self.text(above[0])[0]
        return sign + self.style.fraction(text, self.denominator(bottom, under), spaced), binds

    def split_constant(self, constant: Expr) -> tuple[list[str], list[str]]:
        """Texts of the factors above and below the line."""
        value, others = constant.as_coeff_Mul()
        decimal = _decimal(value) if value.p != 1 or others == 1 else ""
        over, under = (decimal, "") if decimal else _shortened(value)
        top, bottom = [over] if over else [], [under] if under else []
        for factor in sympy.Mul.make_args(others) if others != 1 else []:
            below = factor.is_Pow and factor.exp.could_extract_minus_sign()
            (bottom if below else top).append(self.grouped(1 / factor if below else factor, POWER))
        return top, bottom

    def denominator(self, constants: list[str], under: list[str]) -> str:
        latex = isinstance(self.style, Latex)
        tight = not under and all(c.isalnum() for c in constants)
        joined = "".join(constants) if tight else self.style.dot.join(constants + under)
        single = len(constants) + len(under) == 1
        return joined if latex or single else f"({joined})"

    def scaled_reduction(self, sign: str, top: list[str], bottom: list[str], expr: Expr) -> Text:
        text = self.text(expr)[0]
        if not bottom:
            factor = self.style.dot.join(top)
            return (sign + (self.style.scaled(factor, text) if factor else text)), ADD if sign else MUL
        factor = self.style.fraction(self.style.dot.join(top) or "1", self.denominator(bottom, []), False)
        return sign + self.style.scaled(factor, text), ADD if sign else MUL

    def is_reduction(self, expr: Expr) -> bool:
        return isinstance(self.shown.pieces.get(expr), Sum)

    # ------------------------------------------------------------ pieces

    def piece(self, piece: Piece) -> Text:
        if isinstance(piece, Ref):
            return self.ref(piece), ATOM
        if isinstance(piece, Whole):
            text, maps = self.whole(piece), self.maps(piece)
            return (self.style.element(text, maps), ATOM) if maps else (text, MUL)
        if isinstance(piece, Iverson):
            return self.style.bracket(self.condition(piece.mask)), ATOM
        if isinstance(piece, Place):
            text = self.affine(piece.map)
            return text, ATOM if len(piece.map.terms) == 1 and piece.map.plain_index is not None else ADD
        if isinstance(piece, Softmax):
            return self.softmax(piece), ATOM
        return self.reduction(piece), MUL

    def reduction(self, piece: Sum) -> str:
        letters = [self.shown.letters[b] for b in piece.bound]
        conditions = [self.condition(m) for m in piece.masks]
        return self.style.reduction(piece.reducer, letters, conditions, self.grouped(piece.body, MUL))

    def softmax(self, piece: Softmax) -> str:
        inner = self.shown.pieces.get(piece.body)
        if isinstance(inner, Ref) and inner.at and inner.at[-1].plain_index == piece.over:
            return self.style.softmax_of(self.style.name(self.names.of(inner.node)), self.maps(inner))
        return self.style.softmax(self.shown.letters[piece.over], self.text(piece.body)[0])

    def ref(self, ref: Ref) -> str:
        """X[i,k], unit axes dropped."""
        return self.style.ref(self.style.name(self.names.of(ref.node)), self.maps(ref))

    def whole(self, piece: Whole) -> str:
        """A⁻¹, det A: the function of the matrix without a place."""
        matrix = self.names.of(piece.node.reads[0].node)
        return self.style.of_matrix(piece.node.reducer, self.style.name(matrix))

    def maps(self, ref: Ref | Whole) -> list[str]:
        return [self.affine(a) for a, e in zip(ref.at, ref.node.shape, strict=True) if e != 1]

    def affine(self, x: Affine) -> str:
        """2i+j-1"""
        terms = sorted(x.terms, key=lambda t: t[1] < 0)
        if x.const > 0 and all(c < 0 for _, c in terms):
            return str(x.const) + self.affine(x - x.const) if terms else str(x.const)
        text = ""
        for atom, coef in terms:
            factor = "" if abs(coef) == 1 else str(abs(coef))
            text += ("-" if coef < 0 else "+" if text else "") + factor + self.atom(atom)
        constant = f"{x.const:+d}" if text else str(x.const)
        return text + (constant if x.const or not text else "")

    def atom(self, atom: Atom) -> str:
        if isinstance(atom, int):
            return self.shown.letters[atom]
        if isinstance(atom, FloorDiv):
            inner, divisor = _one_floor(atom)
            return self.style.floor(self.affine(inner), divisor)
        if isinstance(atom, Modulo):
            return self.style.modulo(self.affine(atom.inner), atom.divisor)
        return self.style.name(atom.name) if isinstance(atom, Size) else self.ref(Ref(atom.node, atom.at))

    def condition(self, mask: Mask) -> str:
        """T[i]=j, k ≥ j, 2 divides j: every term where it is positive."""
        if mask.kind == "divides":
            return self.style.relation(self.style.modulo(self.affine(mask.map), mask.modulus), "=", "0")
        x = mask.map
        if mask.kind in ("eq", "ne") and self.reads_right(x):
            x = -x
        left = Affine(max(x.const, 0), tuple((a, c) for a, c in x.terms if c > 0))
        right = Affine(max(-x.const, 0), tuple((a, -c) for a, c in x.terms if c < 0))
        sign = {"ge": "≥", "eq": "=", "ne": "≠"}[mask.kind]
        return self.style.relation(self.affine(left), sign, self.affine(right))

    def reads_right(self, x: Affine) -> bool:
        """True when the gather, a bound index or the first index would stand on the right of the sign."""
        gather = [c for a, c in x.terms if isinstance(a, Gather)]
        bound = [c for a, c in x.terms if isinstance(a, int) and a not in self.shown.free]
        return next(iter(gather + bound + [c for _, c in x.terms]), 1) < 0

    # ------------------------------------------------------------ order

    def term_order(self, term: Expr) -> tuple:
        """Positive terms first; a bare 1 leads (1 - H²), sums before single reads, other constants last."""
        constant = not self.used(term)
        lead = 0 if term == 1 else 3 if constant else 1 if self.holds_reduction(term) else 2
        return (is_negative(term), lead, *self.rank(term))

    def factor_order(self, factor: Expr) -> tuple:
        """Reads first, in the order of the indices of the result; then sums, functions and parentheses."""
        return self.rank(factor)

    def rank(self, expr: Expr) -> tuple:
        pieces = [self.shown.pieces[s] for s in self.used(expr)]
        simple = expr in self.shown.pieces
        size = 0 if simple and isinstance(self.shown.pieces[expr], Ref | Sum) else 1 if not expr.is_Add else 2
        place = min((i for p in pieces for i in self.indices_of(p) if i in self.shown.free), default=99)
        node = next((p.node for p in pieces if isinstance(p, Ref)), None)
        return (size, place, self.kind(node), self.names.of(node) if node else "", _text(expr))

    def kind(self, node: Node | None) -> int:
        """δ and data before what is computed from them, parameters between."""
        if isinstance(node, Leaf):
            return 2 if node.kind == "param" else 1
        is_adjoint = node is not None and (self.names.is_adjoint(node) or self.names.of(node).startswith("G"))
        return 0 if is_adjoint else 3

    def used(self, expr: Expr) -> list[Symbol]:
        return sorted((s for s in expr.free_symbols if s in self.shown.pieces), key=_text)

    def holds_reduction(self, expr: Expr) -> bool:
        return any(self.is_reduction(s) for s in sympy.Mul.make_args(expr))

    def indices_of(self, piece: Piece) -> set[int]:
        """The indices that a piece depends on."""
        if isinstance(piece, Ref | Whole):
            return set().union(*(indices(a) for a in piece.at)) if piece.at else set()
        if isinstance(piece, Iverson):
            return indices(piece.mask.map)
        if isinstance(piece, Place):
            return indices(piece.map)
        inner = [self.indices_of(self.shown.pieces[s]) for s in self.used(piece.body)]
        masks = [indices(m.map) for m in piece.masks] if isinstance(piece, Sum) else []
        bound = set(piece.bound) if isinstance(piece, Sum) else set()
        return set().union(*inner, *masks) - bound


@lru_cache(maxsize=4096)
def _text(expr: Expr) -> str:
    """SymPy's own text, which only decides an order: asked for the same terms again and again, and slow."""
    return str(expr)


def is_negative(expr: Expr) -> bool:
    return bool(expr.as_coeff_Mul()[0] < 0)


def _inverse(power: Expr) -> Expr:
    """What stands below the line; the root of what is negative stays one."""
    found = 1 / power
    return sympy.Pow(power.base, -power.exp, evaluate=False) if power.is_Pow and is_complex(found) else found


def _is_reciprocal(f: Expr) -> bool:
    return bool(f.is_Pow and not isinstance(f, sympy.exp) and f.exp.could_extract_minus_sign())


def _decimal(value: Expr) -> str:
    """1.7 for 17/10; empty when the decimal does not end, or a small fraction reads better."""
    if value.is_Integer or value in (S.Half, S.One / 4, S.One / 8):
        return ""
    texts = f"{float(value):.8g}", repr(float(value))
    return next((t for t in texts if "e" not in t and sympy.Rational(t) == value), "")


def _shortened(value: Expr) -> tuple[str, str]:
    """What stands above and below the line: 100000/12533 is 1 over 0.12533."""
    under = _decimal(1 / value) if value.q > 10**4 else ""
    if under:
        return "", under
    return str(value.p) if value.p != 1 else "", str(value.q) if value.q != 1 else ""


def _one_floor(atom: FloorDiv) -> tuple[Affine, int]:
    """⌊⌊i/a⌋/b⌋ as ⌊i/ab⌋; equations keep both, which belong to remainders by a and by b."""
    terms = atom.inner.terms
    below: Atom = terms[0][0]
    if not isinstance(below, FloorDiv) or terms[0][1] != 1 or len(terms) > 1:
        return atom.inner, atom.divisor
    inner, divisor = _one_floor(below)
    return inner + atom.inner.const * divisor, divisor * atom.divisor
