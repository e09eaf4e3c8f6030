"""Matrix form: ``(δ1 W1ᵀ) ⊙ (1 - H0⊙H0)``, ``Xᵀ δ0``, ``δ0ᵀ 1``; None where matrices cannot say it.

A tensor with one axis is a column; an index over extent 1 does not count.  ``1`` before or behind a product is the
column of ones, ``1`` in a difference the matrix of ones.  Tensors of more axes are stacks of matrices, their last two
axes, and ``A B`` is the product of each with each, as NumPy's ``A @ B``.
"""

from __future__ import annotations

import sympy
from sympy import Expr

from graphc.ir.affine import Gather
from graphc.ir.node import Mask
from graphc.ir.scalar import scalar_of
from graphc.records import record
from graphc.show.convolved import Convolution, convolution_of
from graphc.show.formulas import ADD, ATOM, MUL, POWER, Printer, is_negative
from graphc.show.names import Names
from graphc.show.reading import Iverson, Piece, Ref, Shown, Softmax, Sum, Whole
from graphc.show.styles import Unicode

Index = int | None
PRODUCT = MUL + 0.5  # X W0 binds more than ⊙, less than a power


@record(frozen=True)
class Form:
    """A printed matrix expression: how strongly it binds, whether it has rows, columns, and holds products."""

    text: str
    binds: float
    rows: bool
    columns: bool
    products: bool = False


class _Impossible(Exception):
    """No matrix form."""


def matrix_form(shown: Shown, names: Names, style: Unicode) -> Form | None:
    """The right side of an equation as matrices, or None."""
    found = convolution_of(shown)
    if found is not None:
        return _convolved(found, names, style)
    free = [i for i in shown.free if shown.extents[i] != 1]
    stack, free = tuple(free[:-2]), free[-2:]
    as_row = len(free) == 1 and shown.node.rank == 2 and free[0] == 1
    row, column = (None, free[0]) if as_row else (free + [None, None])[:2]
    try:
        return _Matrix(shown, names, style, stack).form(shown.expr, row, column, True)
    except _Impossible:
        return None


def _convolved(found: Convolution, names: Names, style: Unicode) -> Form:
    """K * X + b"""
    kernel, x, bias = (style.name(names.of(ref.node)) if ref is not None else None for ref in found)
    text = f"{kernel}{style.convolved}{x}"
    return Form(f"{text} + {bias}" if bias else text, ADD if bias else PRODUCT, True, True, True)


class _Matrix:
    def __init__(self, shown: Shown, names: Names, style: Unicode, stack: tuple[int, ...] = ()) -> None:
        self.shown, self.style, self.stack = shown, style, stack
        self.printer = Printer(shown, names, style)

    def form(self, expr: Expr, row: Index, column: Index, outermost: bool = False) -> Form:
        """The matrix whose element [row, column] is ``expr``."""
        if expr in self.shown.pieces:
            return self.piece(self.shown.pieces[expr], row, column)
        if not self.printer.used(expr):
            text, binds = self.printer.text(expr)
            return Form(text, binds, False, False)
        if expr.is_Add:
            return self.terms(expr, row, column)
        if expr.is_Mul:
            return self.product(expr, row, column, outermost)
        if expr.is_Pow and not isinstance(expr, sympy.exp) and expr.exp.is_Integer:
            return self.power(expr, row, column)
        return self.function(expr, row, column)

    # ------------------------------------------------------------ pieces

    def piece(self, piece: Piece, row: Index, column: Index) -> Form:
        if isinstance(piece, Ref):
            return self.ref(piece, row, column)
        if isinstance(piece, Whole):
            return self.placed(piece, self.printer.whole(piece), row, column)
        if isinstance(piece, Sum):
            return self.reduction(piece, row, column)
        if isinstance(piece, Softmax):
            return self.softmax(piece, row, column)
        if isinstance(piece, Iverson):
            return self.one_hot(piece.mask, row, column)
        raise _Impossible

    def ref(self, ref: Ref, row: Index, column: Index) -> Form:
        return self.placed(ref, self.style.name(self.printer.names.of(ref.node)), row, column)

    def placed(self, ref: Ref | Whole, name: str, row: Index, column: Index) -> Form:
        own = [a.plain_index for a, e in zip(ref.at, ref.node.shape, strict=True)]
        deep = len(self.stack)
        if deep and len(own) == deep + 2 and tuple(own[:deep]) == self.stack:
            own = own[deep:]
        elif ref.node.rank > 2 or set(own) & set(self.stack):
            raise _Impossible
        unit = ref.node.rank - len(own)
        if any(i is None and not _unit(ref, unit + t) for t, i in enumerate(own)):
            raise _Impossible
        here = tuple((own + [None, None])[:2])
        if here == (None, None):
            return Form(name, MUL if " " in name else ATOM, False, False)
        straight = {(row, column): (True, True), (row, None): (True, False), (None, column): (False, True)}
        turned = {(column, row): (True, True), (None, row): (True, False), (column, None): (False, True)}
        if here in straight:
            rows, columns = straight[here]
            return Form(name, ATOM, rows and row is not None, columns and column is not None)
        if here in turned:
            rows, columns = turned[here]
            text = self.style.transpose(name)
            return Form(text, ATOM, rows and row is not None, columns and column is not None, True)
        raise _Impossible

    def softmax(self, piece: Softmax, row: Index, column: Index) -> Form:
        inner = self.form(piece.body, row, column)
        if piece.over != column or row is None or not (inner.rows and inner.columns):
            raise _Impossible
        return Form(self.style.call("softmax", inner.text), ATOM, True, True, inner.products)

    def one_hot(self, mask: Mask, row: Index, column: Index) -> Form:
        gather = next((a for a, _ in mask.map.terms if isinstance(a, Gather)), None)
        others = [a for a, _ in mask.map.terms if a is not gather]
        if mask.kind != "eq" or gather is None or mask.map.const or others != [column] or row is None:
            raise _Impossible
        inner = self.ref(Ref(gather.node, gather.at), row, column)
        if inner.text != self.style.name(self.printer.names.of(gather.node)) or inner.columns:
            raise _Impossible
        return Form(self.style.one_hot(inner.text), ATOM, True, True)

    # ------------------------------------------------------------ sums

    def reduction(self, piece: Sum, row: Index, column: Index) -> Form:
        if piece.reducer != "sum" or piece.masks:
            raise _Impossible
        b, *more = piece.bound
        if more:
            return self.total(piece, row, column)
        left, right = self.split(piece.body, b, column if row is not None else None)
        if row is None and column is None:
            return self.scalar_sum(piece.body, left, right, b)
        if row is None:  # the result is a row: what has its columns stands on the right
            first = self.factors(right, None, b) if right else self.ones(False)
            return self.joined(first, self.factors(left, b, column))
        return self.joined(
            self.factors(left, row, b) if left else self.ones(False),
            self.factors(right, b, column) if right else self.ones(True),
        )

    def split(self, body: Expr, bound: int, column: Index) -> tuple[list[Expr], list[Expr]]:
        """The factors for the left and the right matrix of a sum over ``bound``."""
        factors = sorted(sympy.Mul.make_args(body), key=self.printer.factor_order)
        if column is None:
            reached = [f for f in factors if self.depends(f) - {bound}]
            rest = [f for f in factors if f not in reached]
            return (reached, rest) if reached else (factors[:1], factors[1:])
        right = [f for f in factors if column in self.depends(f)]
        return [f for f in factors if f not in right], right

    def scalar_sum(self, body: Expr, left: list[Expr], right: list[Expr], b: int) -> Form:
        if isinstance(body, sympy.Pow) and body.exp == 2:
            inner = self.form(body.base, b, None)
            return Form(self.style.norm_squared(inner.text), ATOM, False, False, True)
        plain = all(f in self.shown.pieces for f in (*left, *right))
        if right and plain:
            return self.joined(self.factors(left, None, b), self.factors(right, b, None))
        return self.joined(self.ones(False), self.factors([*left, *right], b, None))

    def total(self, piece: Sum, row: Index, column: Index) -> Form:
        """sum over rows and columns: the squared norm, or 1ᵀ M 1."""
        if row is not None or column is not None or self.stack:
            raise _Impossible
        body, square = piece.body, isinstance(piece.body, sympy.Pow) and piece.body.exp == 2
        a, b, *more = piece.bound
        if more:
            return self.norm_of_stack(piece, square)
        inner = self.form(body.base if square else body, a, b)
        if not (inner.rows and inner.columns):
            raise _Impossible
        if square:
            return Form(self.style.norm_squared(inner.text), ATOM, False, False, True)
        return self.joined(self.joined(self.ones(False), inner), self.ones(True))

    def norm_of_stack(self, piece: Sum, square: bool) -> Form:
        """The sum of all squares of a tensor, its squared norm."""
        reads = [p for p in map(self.shown.pieces.get, self.printer.used(piece.body)) if isinstance(p, Ref)]
        orders = [tuple(a.plain_index for a in ref.at) for ref in reads]
        order = next((o for o in orders if sorted(map(str, o)) == sorted(map(str, piece.bound))), None)
        if order is None or not square:
            raise _Impossible
        *stack, row, column = (i for i in order if i is not None)
        whole = _Matrix(self.shown, self.printer.names, self.style, tuple(stack))
        inner = whole.form(piece.body.base, row, column)
        if not (inner.rows and inner.columns):
            raise _Impossible
        return Form(self.style.norm_squared(inner.text), ATOM, False, False, True)

    def factors(self, factors: list[Expr], row: Index, column: Index) -> Form:
        form = self.form(sympy.Mul(*factors), row, column)
        if (row is not None) != form.rows or (column is not None) != form.columns:
            raise _Impossible
        return form

    def ones(self, column: bool) -> Form:
        one = self.style.ones
        return Form(one if column else self.style.transpose(one), ATOM, column, not column, True)

    def joined(self, left: Form, right: Form) -> Form:
        """The matrix product."""
        texts = [self.inside(f, PRODUCT) for f in (left, right)]
        return Form(self.style.matmul.join(texts), PRODUCT, left.rows, right.columns, True)

    def inside(self, form: Form, least: float) -> str:
        return form.text if form.binds >= least else self.style.group(form.text)

    def depends(self, expr: Expr) -> set[int]:
        found = [self.printer.indices_of(self.shown.pieces[s]) for s in self.printer.used(expr)]
        return {i for i in set().union(*found) if self.shown.extents[i] != 1} - {*self.stack}

    # ------------------------------------------------------------ element by element

    def product(self, expr: Expr, row: Index, column: Index, outermost: bool) -> Form:
        constant, rest = self.shown.constant_factor(expr)
        factors = sorted(sympy.Mul.make_args(rest), key=self.printer.factor_order)
        scalars = [f for f in factors if not self.depends(f)]
        if any(f.is_Pow and f.exp.is_negative for f in factors):
            raise _Impossible
        forms = [self.form(f, row, column) for f in factors if f not in scalars]
        form = self.hadamard(forms, [self.form(s, None, None) for s in scalars])
        return form if constant == 1 else self.scaled(constant, form, outermost)

    def hadamard(self, forms: list[Form], scalars: list[Form]) -> Form:
        full = [f for f in forms if f.rows == f.columns] if any(f.rows and f.columns for f in forms) else []
        thin = [f for f in forms if f not in full]
        rows, columns = [f for f in thin if f.columns], [f for f in thin if f.rows]
        if rows and columns:
            full.insert(0, self.joined(self.multiplied(columns), self.multiplied(rows)))
        elif thin and full:
            one = self.multiplied(thin)
            full.insert(0, self.joined(one, self.ones(False)) if one.rows else self.joined(self.ones(True), one))
        elif thin:
            full = thin
        form = self.multiplied(full) if full else Form("", ATOM, False, False)
        texts = [self.inside(s, POWER) for s in scalars] + ([self.inside(form, PRODUCT)] if form.text else [])
        if not scalars or (len(scalars) == 1 and not form.text):
            return form if form.text else scalars[0]
        return Form(self.style.matmul.join(texts), MUL, form.rows, form.columns, form.products)

    def multiplied(self, forms: list[Form]) -> Form:
        """Element by element: ``A ⊙ B``."""
        if len(forms) == 1:
            return forms[0]
        texts = [self.inside(f, POWER) for f in forms]
        first = forms[0]
        return Form(self.style.times.join(texts), MUL, first.rows, first.columns, any(f.products for f in forms))

    def scaled(self, constant: Expr, form: Form, outermost: bool) -> Form:
        sign, text = ("-", self.printer.text(-constant)) if is_negative(constant) else ("", self.printer.text(constant))
        if constant in (1, -1):
            scaled = self.inside(form, MUL)
        elif outermost and (1 / constant).is_Symbol and (form.rows or form.columns):
            top = form.text if self.style.bars else self.inside(form, POWER)
            scaled = self.style.fraction(top, self.printer.text(1 / constant)[0], True)
        else:
            scaled = f"{text[0]} {self.inside(form, MUL)}"
        return Form(sign + scaled, ADD if sign else MUL, form.rows, form.columns, form.products)

    def terms(self, expr: Expr, row: Index, column: Index) -> Form:
        factor, terms = self.printer.common_factor(expr)
        if factor != 1:
            return self.scaled(factor, self.form(sympy.Add(*terms), row, column), True)
        terms = sorted(terms, key=self.printer.term_order)
        forms = [(is_negative(t), self.form(-t if is_negative(t) else t, row, column)) for t in terms]
        rows, columns = any(f.rows for _, f in forms), any(f.columns for _, f in forms)
        text = ""
        for (negative, form), term in zip(forms, terms, strict=True):
            whole = self.spread(form, rows, columns, bool(self.printer.used(term)))
            part = self.inside(whole, MUL)
            text += (" - " if negative else " + ") + part if text else ("-" if negative else "") + part
        return Form(text, ADD, rows, columns, any(f.products for _, f in forms))

    def spread(self, form: Form, rows: bool, columns: bool, read: bool) -> Form:
        """A row, a column or a scalar repeated to the whole matrix: ``1 B0ᵀ``."""
        if (form.rows, form.columns) == (rows, columns) or not read:
            return form
        if rows and columns and form.rows != form.columns:
            return self.joined(form, self.ones(False)) if form.rows else self.joined(self.ones(True), form)
        if rows and not columns:
            return self.joined(self.ones(True), form)
        raise _Impossible

    def power(self, expr: Expr, row: Index, column: Index) -> Form:
        base, exponent = self.form(expr.base, row, column), int(expr.exp)
        if not (base.rows or base.columns) and exponent > 0:
            return Form(self.style.power(self.inside(base, ATOM), exponent), POWER, False, False)
        if exponent not in (2, 3):
            raise _Impossible
        text = self.style.tight_times.join([self.inside(base, ATOM)] * exponent)
        return Form(text, MUL, base.rows, base.columns, base.products)

    def function(self, expr: Expr, row: Index, column: Index) -> Form:
        entry = scalar_of(expr)
        args = [self.form(a, row, column) for a in (expr.args[:1] if expr.is_Pow else expr.args)]
        shaped = [a for a in args if a.rows or a.columns]
        if entry is None or len({(a.rows, a.columns) for a in shaped}) > 1:
            raise _Impossible
        first = shaped[0] if shaped else args[0]
        text = self.style.function(entry, [a.text for a in args])
        return Form(text, ATOM, first.rows, first.columns, any(a.products for a in args))


def _unit(ref: Ref | Whole, axis: int) -> bool:
    return ref.node.shape[axis] == 1
