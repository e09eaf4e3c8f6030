"""A body as program text.  The text is the same for every backend: function names are those of the scalar table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import sympy

from graphc.ir.letters import safe_name
from graphc.ir.parts import symbols_of
from graphc.ir.scalar import scalar_of
from graphc.lower.exponentials import share_of
from graphc.lower.logsumexp_parts import of_parts

SHARED = (sympy.Function, sympy.Pow)
SUM, PRODUCT, ATOM = 0, 1, 2  # how tightly a text binds
LARGEST_OF_FORM = 4  # whole numbers up to it, and their ratios, stand in the text
ANY = sympy.Symbol("number", real=True)  # in the place of a number that the text leaves open


class Printer:
    """Prints bodies; ``names`` are the texts of symbols, ``cast`` wraps every constant (empty for plain float64).

    ``hoisted`` collects factors of extents such as 2/n, which are computed once before the loops; ``lines`` the
    assignments of sub-expressions that occur more than once. ``given`` gives the name of a number that is passed at
    run time; without it all numbers stand in the text.
    """

    def __init__(
        self,
        names: Mapping[sympy.Symbol, str],
        cast: str = "f",
        share: bool = True,
        hoists: bool = True,
        given: Callable[[sympy.Rational], str] | None = None,
    ) -> None:
        self.names, self.cast, self.share, self.hoists, self.given = dict(names), cast, share, hoists, given
        self.lines: list[str] = []
        self.hoisted: dict[str, str] = {}
        self.temporaries: dict[sympy.Expr, str] = {}
        self.counts: Counter[sympy.Expr] = Counter()
        self.prefix, self.named_so_far = "u", 0
        self.every = False  # number that may be passed at run time is

    def print(self, body: sympy.Expr) -> str:
        """The text of a body; assignments it needs first are appended to ``lines``."""
        self.count([body])
        return self.text(body)[0]

    def statements(self, body: sympy.Expr, names: Mapping[sympy.Symbol, str], target: str) -> list[str]:
        """The lines that give ``target``, which holds {}, the value of a body with other names of its symbols."""
        self.names, self.lines, self.temporaries = dict(names), [], {}
        self.counts.clear()
        value = self.print(body)
        return [*self.lines, target.format(value)]

    def count(self, bodies: Sequence[sympy.Expr]) -> None:
        """Note what occurs more than once in bodies that will be printed."""
        if self.share:
            for body in bodies:
                self.counts.update(_shared_in(body))

    def text(self, e: sympy.Expr) -> tuple[str, int]:
        if e in self.temporaries:
            return self.temporaries[e], ATOM
        text, binding = self._fresh(e)
        if self.share and self.counts[e] > 1 and not _cheap_power(e):
            return self.temporary(e, text), ATOM
        return text, binding

    def temporary(self, e: sympy.Expr, text: str) -> str:
        name = f"{self.prefix}{self.named_so_far}"
        self.named_so_far += 1
        self.lines.append(f"{name} = {text}")
        self.temporaries[e] = name
        return name

    def at_least(self, e: sympy.Expr, binding: int) -> str:
        text, found = self.text(e)
        return text if found >= binding else f"({text})"

    def _fresh(self, e: sympy.Expr) -> tuple[str, int]:
        if isinstance(e, of_parts):
            return " + ".join(self.at_least(part, PRODUCT) for part in e.args), SUM
        if isinstance(e, share_of):
            return "*".join(self.at_least(part, PRODUCT) for part in e.args), PRODUCT
        if e.is_Symbol:
            return self.names.get(e) or self._extent(e), ATOM
        if _is_literal(e):
            return self.number(e), ATOM
        if e.is_Add:
            return self._sum(e), SUM
        if e.is_Mul:
            return self._product(e), PRODUCT
        if e.is_Pow:
            return self._power(e)
        return self._call(e), ATOM

    def number(self, e: sympy.Expr) -> str:
        if self.given and (is_free(e) or self.every and e.is_Rational):
            return self.given(e)
        return self.literal(e)

    def literal(self, e: sympy.Expr) -> str:
        """A number that the text holds."""
        value = repr(float(e)).replace("inf", "INF")  # of 1e350: what the interpreter computes with as well
        return f"{self.cast}({value})" if self.cast else (value if float(e) >= 0 else f"({value})")

    def _sum(self, e: sympy.Expr) -> str:
        pairs = [t for t in e.args if isinstance(t, of_parts) or isinstance(-t, of_parts)]
        if pairs:
            return self._sum_with_pairs(sympy.Add(*[t for t in e.args if t not in pairs]), pairs)
        terms = sorted(self._ordered(e.args), key=lambda t: t.could_extract_minus_sign())
        text = self.at_least(terms[0], SUM)
        for term in terms[1:]:
            negative = term.could_extract_minus_sign()
            text += f" {'-' if negative else '+'} {self.at_least(-term if negative else term, PRODUCT)}"
        return text

    def _ordered(self, terms: Sequence[sympy.Expr]) -> Sequence[sympy.Expr]:
        """Terms in an order that does not depend on their numbers, so that others make the same program."""
        masked = {t: t.xreplace({n: ANY for n in t.atoms(sympy.Rational) if is_free(n)}) for t in terms}
        if sum(t is not m for t, m in masked.items()) < 2:
            return terms
        return sorted(terms, key=lambda t: masked[t].sort_key())

    def _sum_with_pairs(self, rest: sympy.Expr, pairs: list[sympy.Expr]) -> str:
        """(rest - maximum) - logarithm of the sum: the difference of large numbers first, where it is exact."""
        if rest == 0:
            rest, pairs = pairs[0], pairs[1:]
        text = self.at_least(rest, ATOM)
        for term in pairs:
            sign, both = ("+", term) if isinstance(term, of_parts) else ("-", -term)
            top, log = (self.at_least(part, PRODUCT) for part in both.args)
            text = f"({text} {sign} {top}) {sign} {log}"
        return text

    def _product(self, e: sympy.Expr) -> str:
        fixed = [a for a in e.args if self._is_fixed(a)]
        above, below = [], []
        coefficient = sympy.Integer(1)
        for factor in e.args:
            if _is_literal(factor):
                coefficient *= factor
            elif factor in fixed:
                continue
            elif factor.is_Pow and factor.exp.is_number and factor.exp.is_negative:
                below.append(factor**-1)
            else:
                above.append(factor)
        texts = [self.at_least(f, PRODUCT) for f in above]
        if fixed:
            texts.insert(0, self._hoist(coefficient * sympy.Mul(*fixed)))
        elif coefficient == -1 and texts:
            texts[0] = f"-{texts[0]}"
        elif coefficient != 1 or not texts:
            texts.insert(0, self.number(coefficient))
        return "*".join(texts) + "".join(f"/{self.at_least(f, ATOM)}" for f in below)

    def _is_fixed(self, e: sympy.Expr) -> bool:
        """Whether e is made of free extents alone, so that it is computed once, outside the loops."""
        return self.hoists and bool(symbols_of(e)) and all(s.is_integer and s.is_positive for s in symbols_of(e))

    def _extent(self, e: sympy.Expr) -> str:
        """A free extent as a number."""
        return f"{self.cast}({safe_name(str(e))})" if self.cast else safe_name(str(e))

    def _hoist(self, e: sympy.Expr) -> str:
        names, factor = {s: self._extent(s) for s in e.free_symbols}, e.as_coeff_Mul()[0]
        open_numbers = self.given if is_free(factor) else None
        plain = type(self)(names, self.cast, share=False, hoists=False, given=open_numbers)
        plain.every = True
        above, below = e.as_numer_denom()
        text = f"{plain.at_least(above, PRODUCT)}/{plain.at_least(below, ATOM)}" if below != 1 else plain.text(above)[0]
        return self.hoisted.setdefault(text, f"c{len(self.hoisted)}")

    def _power(self, e: sympy.Expr) -> tuple[str, int]:
        base, exponent = e.args
        if self._is_fixed(e):
            return self._hoist(e), ATOM
        if exponent.is_number and exponent.is_negative:
            return f"{self.number(sympy.Integer(1))}/{self.at_least(base**-exponent, ATOM)}", PRODUCT
        if exponent == sympy.S.Half:
            return f"sqrt({self.text(base)[0]})", ATOM
        if exponent.is_Integer and exponent <= 64:
            return self._whole_power(base, int(exponent))
        power = self.literal(exponent) if _is_literal(exponent) else self.text(exponent)[0]
        return f"power({self.text(base)[0]}, {power})", ATOM

    def _whole_power(self, base: sympy.Expr, n: int) -> tuple[str, int]:
        text, binding = self.text(base)
        if n > 3 and self.share:
            half = base ** (n // 2)
            text = self.text(half)[0]  # which may give it a name
            name = self.temporaries.get(half) or self.temporary(half, text)
            return f"{name}*{name}" + (f"*{self.at_least(base, ATOM)}" if n % 2 else ""), PRODUCT
        if binding < ATOM and self.share and not base.is_Symbol:
            text, binding = self.temporary(base, text), ATOM
        text = text if binding == ATOM else f"({text})"
        return "*".join([text] * n), PRODUCT

    def _call(self, e: sympy.Expr) -> str:
        entry = scalar_of(e)
        name = entry.name if entry else type(e).__name__
        if name == "where":
            return self._where(e)
        if name == "stop_gradient":
            return self.at_least(e.args[0], ATOM)
        return f"{name}({', '.join(map(self._argument, e.args))})"

    def _argument(self, e: sympy.Expr) -> str:
        """-1.7*a as -(1.7*a), so that f(x) and f(-x) share what they compute from the absolute value of x."""
        if e.is_Mul and e.could_extract_minus_sign() and not e.is_number:
            return f"-{self.at_least(-e, ATOM)}"
        return self.text(e)[0]

    def _where(self, e: sympy.Expr) -> str:
        condition, yes, no = e.args
        guard = self.names.get(condition, "") if condition.is_Symbol else ""
        if guard.startswith("("):  # an indicator: out of its range a read may not even be valid, so branch
            inner = type(self)(self.names, self.cast, share=False, given=self.given)
            inner.hoisted = self.hoisted
            a, b = inner.text(yes)[0], inner.text(no)[0]
            test = guard.removeprefix("(").partition(" if ")[2].partition(" else ")[0]
            return f"({a} if {test} else {b})"
        return f"where({', '.join(self.text(a)[0] for a in e.args)})"


def is_free(e: sympy.Expr) -> bool:
    """Whether another number in its place would make no other program: a slope, a bound, a weight of a penalty. Small
    whole numbers and their ratios are part of a formula's form, as in a derivative of a square or a mean of three."""
    return bool(e.is_Rational and max(abs(e.p), e.q) > LARGEST_OF_FORM)


def _is_literal(e: sympy.Expr) -> bool:
    """Whether e is a number that is known here; softplus(1)**2 is one that the program computes."""
    return bool(e.is_Number or e.is_number and not e.is_Function and e.is_comparable)


@lru_cache(maxsize=4096)
def _shared_in(body: sympy.Expr) -> tuple[sympy.Expr, ...]:
    """What may be computed once of a body, as often as it stands there."""
    found = (e for e in sympy.preorder_traversal(body) if isinstance(e, SHARED))
    return tuple(e for e in found if not isinstance(e, of_parts))


def _cheap_power(e: sympy.Expr) -> bool:
    """x**2 and the like are printed as products of a name."""
    return bool(e.is_Pow and e.exp.is_Integer and 0 < e.exp <= 3 and e.base.is_Symbol)
