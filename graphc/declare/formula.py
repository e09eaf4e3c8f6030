"""Formula text: an own tokenizer and precedence parser, and the printer that is its inverse.

Grammar (no `eval`, no `sympify`: text can name only what the caller passes in and the functions of the scalar table)::

    comparison := sum [("<" | "<=" | ">" | ">=") sum]          0 or 1
    sum        := ["-" | "+"] product {("+" | "-") product}
    product    := factor {("*" | "/") factor}
    factor     := ("-" | "+") factor | power
    power      := atom ["**" factor]
    atom       := number | name | name "(" comparison {"," comparison} ")" | "(" comparison ")"
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce

import sympy as sp
from sympy import Expr, S, Symbol

from graphc.errors import FormulaError
from graphc.ir.scalar import FUNCTIONS, WORDS, canonical, guarded, less, less_equal, number, scalar_of

MAX_BYTES = 4096
MAX_DEPTH = 64
MAX_POWER = 64
_MAX_DIGITS = 64
_MAX_EXPONENT = 400
_MAX_BITS = 8192

CONSTANTS: dict[str, Expr] = {"pi": sp.pi, "e": S.Exp1}
_COMPARISONS: dict[str, Callable[[Expr, Expr], Expr]] = {
    "<": less,
    "<=": less_equal,
    ">": lambda a, b: less(b, a),
    ">=": lambda a, b: less_equal(b, a),
}
_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[^\W\d]\w*)|(?P<op>\*\*|<=|>=|[-+*/(),<>]))"
)
_ADVICE = {
    "^": "Write a power as **.",
    "=": "Write equal(a, b) to test for equality.",
    "!": "Write 1 - equal(a, b) for 'not equal'.",
    "[": "A formula is scalar: pass an index expression as an operand instead.",
    "%": "Write mod(a, b) for the remainder.",
    "&": "Write a product of comparisons for 'and'.",
    "|": "Write abs(x) for a magnitude, max(a, b) of comparisons for 'or'.",
    ".": "Call a function by its plain name: exp(x).",
    "{": "Group with parentheses.",
}


@dataclass(frozen=True)
class _Token:
    kind: str  # number, name, op, end
    text: str
    at: int


def parse(
    text: str,
    symbols: Mapping[str, Symbol],
    functions: Mapping[str, Callable[..., Expr]] | None = None,
    start: int = 0,
) -> Expr:
    """The SymPy expression that formula text stands for.

    Parameters
    ----------
    text : str
        At most 4 kB, nested at most 64 deep, integer powers up to 64. Decimals are exact: 0.1 is 1/10.
    symbols : mapping of str to Symbol
        The names the text may use; they win over the constants `pi` and `e`.
    functions : mapping of str to callable, optional
        Further functions, called with expressions.
    start : int
        Where the formula begins in `text`; what stands before it is only shown in errors.

    Raises
    ------
    FormulaError
        With the text, a caret under the offending character, and one suggestion.
    """
    if not isinstance(text, str):
        raise FormulaError(f"A formula is a str, not {type(text).__name__}.")
    if len(text.encode()) > MAX_BYTES:
        raise FormulaError(f"The formula has {len(text.encode())} bytes; {MAX_BYTES} is the limit. Split it in two.")
    return canonical(_Parser(text, symbols, functions or {}, start).whole())


def formula_error(text: str, at: int, problem: str, suggestion: str) -> FormulaError:
    """The FormulaError that shows `text` with a caret under position `at`."""
    begin = text.rfind("\n", 0, at) + 1
    line = text[begin:].split("\n", 1)[0]
    shown = line.expandtabs(1)
    caret = " " * (at - begin) + "^"
    return FormulaError(f"{problem}\n    {shown}\n    {caret}\n{suggestion}")


def suggest(name: str, known: list[str]) -> str:
    """'Did you mean ...?' by spelling, else the list of what is known."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"Did you mean '{close[0]}'?" if close else f"Known here: {', '.join(sorted(known))}."


class _Parser:
    """Recursive descent over the tokens; one method a grammar rule."""

    def __init__(
        self,
        text: str,
        symbols: Mapping[str, Symbol],
        functions: Mapping[str, Callable[..., Expr]],
        start: int,
    ) -> None:
        self.text, self.symbols, self.functions = text, symbols, functions
        self.tokens = self._tokenize(start)
        self.next = 0
        self.depth = 0

    # ------------------------------------------------------------ tokens

    def _tokenize(self, start: int) -> list[_Token]:
        found, at = [], start
        while self.text[at:].strip():
            match = _TOKEN.match(self.text, at)
            if match is None:
                at += len(self.text[at:]) - len(self.text[at:].lstrip())
                advice = _ADVICE.get(self.text[at], "A formula has numbers, names, + - * / ** ( ) , and comparisons.")
                raise formula_error(self.text, at, f"'{self.text[at]}' has no meaning in a formula.", advice)
            kind = str(match.lastgroup)
            found.append(_Token(kind, match[kind], match.start(kind)))
            at = match.end()
        return [*found, _Token("end", "the end", len(self.text.rstrip()))]

    @property
    def token(self) -> _Token:
        return self.tokens[self.next]

    def take(self, *ops: str) -> _Token | None:
        token = self.token
        if token.kind != "op" or token.text not in ops:
            return None
        self.next += 1
        return token

    def error(self, token: _Token, problem: str, suggestion: str) -> FormulaError:
        return formula_error(self.text, token.at, problem, suggestion)

    def deeper(self, rule: Callable[[], Expr]) -> Expr:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.error(self.token, f"The formula is nested more than {MAX_DEPTH} deep.", "Name a part.")
        value = rule()
        self.depth -= 1
        return value

    # ------------------------------------------------------------ grammar

    def whole(self) -> Expr:
        value = self.comparison()
        token = self.token
        if token.kind == "end":
            return value
        if token.kind == "op" and token.text in _COMPARISONS:
            raise self.error(token, "Comparisons cannot be chained.", "Write (a < b)*(b < c).")
        if token.text == ")":
            raise self.error(token, "This ')' closes nothing.", "Remove it, or open a '(' before.")
        raise self.error(token, f"An operator is missing before '{token.text}'.", "Write a product with *: 2*x.")

    def comparison(self) -> Expr:
        left = self.sum()
        op = self.take(*_COMPARISONS)
        return _COMPARISONS[op.text](left, self.sum()) if op else left

    def sum(self) -> Expr:
        sign = self.take("-", "+")
        terms = [self.product(negative=sign is not None and sign.text == "-")]
        while op := self.take("+", "-"):
            terms.append(self.product(negative=op.text == "-"))
        return sp.Add(*terms)

    def product(self, negative: bool) -> Expr:
        factors = [S.NegativeOne] if negative else []
        factors.append(self.factor())
        while op := self.take("*", "/"):
            at = self.token
            value = self.factor()
            factors.append(value if op.text == "*" else self.checked(S.One / value, at, "Division by zero."))
        return sp.Mul(*factors)

    def factor(self) -> Expr:
        sign = self.take("-", "+")
        if sign is None:
            return self.power()
        value = self.deeper(self.factor)
        return -value if sign.text == "-" else value

    def power(self) -> Expr:
        base = self.atom()
        op = self.take("**")
        if op is None:
            return base
        at = self.token
        exponent = self.deeper(self.factor)
        if exponent.is_number and abs(exponent) > MAX_POWER:
            problem = f"The power {exponent} is above {MAX_POWER}."
            raise self.error(at, problem, "Write exp(p*log(x)) for a power that large.")
        if base.is_Rational and exponent.is_number and _bits(base) * abs(exponent) > _MAX_BITS:
            raise self.error(op, "The number grows out of bounds.", "Write the number itself, such as 1e30.")
        return self.checked(base**exponent, op, "This power is no finite real number.")

    def atom(self) -> Expr:
        token = self.token
        if self.take("("):
            return self.closed(token, self.deeper(self.comparison))
        if token.kind in ("op", "end"):
            problem = f"A number, a name or '(' is expected, not {_quoted(token)}."
            raise self.error(token, problem, "Complete the formula here.")
        self.next += 1
        if token.kind == "number":
            return self.literal(token)
        opening = self.take("(")
        return self.call(token, opening) if opening else self.name(token)

    def closed(self, opening: _Token, value: Expr) -> Expr:
        if self.take(")"):
            return value
        if self.token.kind == "end":
            raise self.error(opening, "This '(' is never closed.", "Add a ')'.")
        raise self.error(self.token, f"A ')' is expected, not {_quoted(self.token)}.", "Write a product with *: 2*x.")

    # ------------------------------------------------------------ leaves and calls

    def literal(self, token: _Token) -> Expr:
        mantissa, _, exponent = token.text.lower().partition("e")
        if len(mantissa) > _MAX_DIGITS or len(exponent) > 4 or abs(int(exponent or 0)) > _MAX_EXPONENT:
            raise self.error(token, "This number has too many digits.", "A float64 holds 17 digits, exponents to 308.")
        return sp.Rational(token.text)

    def name(self, token: _Token) -> Expr:
        known = {**CONSTANTS, **self.symbols}
        if token.text in known:
            return known[token.text]
        if self.is_function(token.text):
            raise self.error(token, f"'{token.text}' is a function.", f"Call it: {token.text}(x).")
        raise self.error(token, f"Unknown name '{token.text}'.", suggest(token.text, list(known)))

    def is_function(self, name: str) -> bool:
        return name in self.functions or name in WORDS or name in ("pow", "log2", "log10")

    def call(self, token: _Token, opening: _Token) -> Expr:
        args = [self.deeper(self.comparison)] if self.token.text != ")" else []
        while self.take(","):
            args.append(self.deeper(self.comparison))
        value = self.closed(opening, self.apply(token, args))
        return self.checked(value, token, f"{token.text} is not finite and real here.")

    def apply(self, token: _Token, args: list[Expr]) -> Expr:
        if token.text in self.functions:
            return self.functions[token.text](*args)
        if token.text in ("pow", "log2", "log10"):
            return self.special(token, args)
        entry = WORDS.get(token.text)
        if entry is None:
            raise self.unknown_function(token)
        if entry.folds and len(args) > 2:
            return reduce(entry, args)
        missing = entry.arity - len(args)
        if 0 < missing <= len(entry.defaults):
            args = [*args, *map(number, entry.defaults[-missing:])]
        self.expect(token, args, entry.arity)
        return entry(*args)

    def special(self, token: _Token, args: list[Expr]) -> Expr:
        self.expect(token, args, 2 if token.text == "pow" else 1)
        if token.text != "pow":
            return sp.log(args[0]) / sp.log(int(token.text[3:]))
        if args[1].is_number and abs(args[1]) > MAX_POWER:
            raise self.error(token, f"The power {args[1]} is above {MAX_POWER}.", "Write exp(p*log(x)).")
        return args[0] ** args[1]

    def expect(self, token: _Token, args: list[Expr], arity: int) -> None:
        if len(args) == arity:
            return
        wanted = f"{arity} argument{'s' if arity > 1 else ''}"
        example = ", ".join("xyz"[:arity])
        raise self.error(token, f"{token.text} takes {wanted}, not {len(args)}.", f"Write {token.text}({example}).")

    def unknown_function(self, token: _Token) -> FormulaError:
        if token.text in self.symbols:
            return self.error(token, f"'{token.text}' is no function.", f"Write a product with *: {token.text}*(...).")
        known = [*WORDS, *self.functions, "pow"]
        return self.error(token, f"Unknown function '{token.text}'.", suggest(token.text, known))

    def checked(self, value: Expr, token: _Token, problem: str) -> Expr:
        """`value`, if it is defined somewhere on the real line."""
        if value.has(S.ComplexInfinity, S.NaN, S.Infinity, S.NegativeInfinity, S.ImaginaryUnit):
            raise self.error(token, problem, "Formulas are real-valued: change the constant.")
        if value.is_number and value.is_real is False:
            raise self.error(token, problem, "Formulas are real-valued: change the constant.")
        return value


def _bits(value: sp.Rational) -> int:
    return max(int(value.p).bit_length(), int(value.q).bit_length())


def _quoted(token: _Token) -> str:
    return token.text if token.kind == "end" else f"'{token.text}'"


# ---------------------------------------------------------------- printing

_COMPARISON, _SUM, _PRODUCT, _POWER, _ATOM = range(5)
_SIGNS = {less: "<", less_equal: "<="}


def formula_text(expr: Expr) -> str:
    """Formula text of `expr`, such that `parse` gives `expr` back.

    Raises
    ------
    FormulaError
        When `expr` holds something the formula language has no word for.
    """
    return _show(canonical(expr), _COMPARISON)


def _show(expr: Expr, level: int) -> str:
    text, own = _text(expr)
    return text if own >= level else f"({text})"


def _text(expr: Expr) -> tuple[str, int]:
    if expr.is_Symbol:
        return expr.name, _ATOM
    if expr.is_Rational:
        return str(expr), (_ATOM if expr.is_Integer and expr >= 0 else _SUM)
    if expr is S.Exp1 or expr is S.Pi:
        return ("exp(1)" if expr is S.Exp1 else "pi"), _ATOM
    if expr.is_Add:
        return _sum_text(expr), _SUM
    if expr.is_Mul or (expr.is_Pow and expr.exp.is_Rational and expr.exp < 0):
        return _product_text(expr)
    if expr.is_Pow and expr.exp is not S.Half:
        return f"{_show(expr.base, _ATOM)}**{_show(expr.exp, _ATOM)}", _POWER
    return _call_text(expr)


def _call_text(expr: Expr) -> tuple[str, int]:
    entry = scalar_of(expr)
    if entry is None:
        raise FormulaError(f"{expr} cannot be written as formula text. Known: {', '.join(sorted(FUNCTIONS))}.")
    if expr.func in _SIGNS:
        left, right = (_show(a, _SUM) for a in expr.args)
        return f"{left} {_SIGNS[expr.func]} {right}", _COMPARISON
    args = (expr.base,) if expr.is_Pow else expr.args
    name = "guarded" if isinstance(expr, guarded) else entry.name
    return f"{name}({', '.join(_show(a, _COMPARISON) for a in args)})", _ATOM


def _sum_text(expr: Expr) -> str:
    first, *others = (_show(t, _PRODUCT) if not _negative(t) else f"-{_show(-t, _PRODUCT)}" for t in _readable(expr))
    return first + "".join(f" - {t[1:]}" if t.startswith("-") else f" + {t}" for t in others)


def _negative(term: Expr) -> bool:
    return bool(term.as_coeff_Mul()[0] < 0)


def _readable(expr: Expr) -> list[Expr]:
    """The terms in SymPy's printing order, a positive one first if there is any."""
    terms = expr.as_ordered_terms()
    return sorted(terms, key=_negative) if _negative(terms[0]) else terms


def _product_text(expr: Expr) -> tuple[str, int]:
    if _negative(expr):
        return f"-{_show(-expr, _PRODUCT)}", _SUM
    coefficient, rest = expr.as_coeff_Mul()
    factors = rest.as_ordered_factors()
    below = [1 / f for f in factors if f.is_Pow and f.exp.is_Rational and f.exp < 0]
    above = [f for f in factors if not (f.is_Pow and f.exp.is_Rational and f.exp < 0)]
    above = [sp.Integer(coefficient.p)] * (coefficient.p != 1 or not above) + above
    below = [sp.Integer(coefficient.q)] * (coefficient.q != 1) + below
    top = "*".join(_show(f, _POWER) for f in above)
    return top + "".join(f"/{_show(f, _POWER)}" for f in below), _PRODUCT
