"""Formula text: an own tokenizer and precedence parser; its inverse is `formula_text.py`.

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
from functools import reduce

import sympy as sp
from sympy import Expr, S, Symbol

from graphc.errors import FormulaError, GraphcError
from graphc.ir.scalar import WORDS, canonical, less, less_equal, number
from graphc.records import record

MAX_BYTES = 4096
MAX_DEPTH = 64
MAX_POWER = 64
_MAX_EXPONENT = 400
_MAX_BITS = 8192
_HUGE = sp.Integer(2) ** _MAX_BITS


@record(frozen=True)
class Limits:
    """How large a formula may be: bytes, depth, powers, digits of a number."""

    n_bytes: int = MAX_BYTES
    depth: int = MAX_DEPTH
    power: float = MAX_POWER
    digits: int = 64


WRITTEN_BY_HAND = Limits()
PRINTED = Limits(n_bytes=2**20, depth=80, power=float("inf"), digits=4000)
"""For what `formula_text` gives of expressions that operators or a Python function made: ``(X @ W)**100``. A level is
eight calls deep, of which Python allows 1000."""
MOST_PARTS = 10_000
_LONGEST_LINE = 160  # characters of a formula that an error shows

CONSTANTS: dict[str, Expr] = {"pi": sp.pi, "e": S.Exp1}
_COMPARISONS: dict[str, Callable[[Expr, Expr], Expr]] = {
    "<": less,
    "<=": less_equal,
    ">": lambda a, b: less(b, a),
    ">=": lambda a, b: less_equal(b, a),
}
_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)|(?P<name>[^\W\d]\w*)"
    r"|(?P<op>\*\*|<=|>=|[-+*/(),<>]))"
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


@record(frozen=True)
class _Token:
    kind: str  # number, name, op, end
    text: str
    at: int


def parse(
    text: str,
    symbols: Mapping[str, Symbol],
    functions: Mapping[str, Callable[..., Expr]] | None = None,
    start: int = 0,
    limits: Limits = WRITTEN_BY_HAND,
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
    limits : Limits
        PRINTED for what `formula_text` printed.

    Raises
    ------
    FormulaError
        With the text, a caret under the offending character, and one suggestion.
    """
    if not isinstance(text, str):
        raise FormulaError(f"A formula is a str, not {type(text).__name__}.")
    size = len(text.encode("utf-8", "replace"))
    if size > limits.n_bytes:
        raise FormulaError(f"The formula has {size} bytes; {limits.n_bytes} is the limit. Split it in two.")
    try:
        return canonical(_Parser(text, symbols, functions or {}, start, limits).whole())
    except GraphcError:
        raise
    except (ArithmeticError, ValueError) as error:  # of SymPy, which evaluates x**erfinv(2)
        problem = f"A number of the formula cannot be computed: {error}."
        raise formula_error(text, start, problem, "Formulas are real-valued: change the constant.") from None
    except RecursionError:  # the caller may have used up most of the calls that Python allows
        raise formula_error(text, start, "The formula is nested too deep.", "Name a part.") from None


def formula_error(text: str, at: int, problem: str, suggestion: str) -> FormulaError:
    """The FormulaError that shows `text` with a caret under position `at`."""
    begin = text.rfind("\n", 0, at) + 1
    line = text[begin:].split("\n", 1)[0]
    if len(line) > _LONGEST_LINE:
        first = max(0, at - begin - _LONGEST_LINE // 2)
        line, begin = line[first : first + _LONGEST_LINE], begin + first
    shown = "".join(c if c.isprintable() else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in line)
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
        limits: Limits,
    ) -> None:
        self.text, self.symbols, self.functions, self.limits = text, symbols, functions, limits
        self.tokens = self._tokenize(start)
        self.next = 0
        self.depth = 0
        self.parts: dict[Expr, int] = {}

    # ------------------------------------------------------------ tokens

    def _tokenize(self, start: int) -> list[_Token]:
        found, at, end = [], start, len(self.text.rstrip())
        while at < end:
            match = _TOKEN.match(self.text, at)
            if match is None:
                raise self.unknown_character(at + len(self.text[at:]) - len(self.text[at:].lstrip()))
            kind = str(match.lastgroup)
            if kind == "name" and not match[kind].isidentifier():  # a regular expression counts ² among letters
                alien = next(t for t in range(1, len(match[kind])) if not match[kind][: t + 1].isidentifier())
                raise self.unknown_character(match.start(kind) + alien)
            found.append(_Token(kind, match[kind], match.start(kind)))
            at = match.end()
        return [*found, _Token("end", "the end", end)]

    def unknown_character(self, at: int) -> FormulaError:
        character = self.text[at]
        shown = character if character.isprintable() else f"\\u{ord(character):04x}"  # a half of a pair has no bytes
        advice = _ADVICE.get(character, "A formula has numbers, names, + - * / ** ( ) , and comparisons.")
        return formula_error(self.text, at, f"'{shown}' has no meaning in a formula.", advice)

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
        if self.depth > self.limits.depth:
            raise self.error(self.token, f"The formula is nested more than {self.limits.depth} deep.", "Name a part.")
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
        return self.raised(base, self.deeper(self.factor), op, at)

    def raised(self, base: Expr, exponent: Expr, op: _Token, at: _Token) -> Expr:
        """``base**exponent``, refused while it is still small; a power of a power counts as the one that it is."""
        self.check_power(exponent, at)
        if base.is_Rational and exponent.is_comparable and _bits(base) * abs(exponent) > _MAX_BITS:
            raise self.too_large(op)
        power = base**exponent
        if power.is_Pow and not power.is_number:
            self.check_power(power.exp, at)
        return self.checked(power, op, "This power is no finite real number.")

    def check_power(self, exponent: Expr, at: _Token) -> None:
        if exponent.is_comparable and abs(exponent) > self.limits.power:
            problem = f"The power {exponent} is above {self.limits.power}."
            raise self.error(at, problem, "Write exp(p*log(x)) for a power that large.")

    def too_large(self, at: _Token) -> FormulaError:
        return self.error(at, "The number grows out of bounds.", "Write the number itself, such as 1e30.")

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
        if len(mantissa) > self.limits.digits or len(exponent) > 4 or abs(int(exponent or 0)) > _MAX_EXPONENT:
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
        if self.count(value) > MOST_PARTS:
            problem = f"{token.text} is more than {MOST_PARTS} operations here, written out."
            raise self.error(token, problem, "Name a part.")
        return self.checked(value, token, f"{token.text} is not finite and real here.")

    def count(self, expr: Expr) -> int:
        """The size of an expression written out, as all that walks it takes it: silu of silu doubles every time."""
        if expr not in self.parts:
            self.parts[expr] = 1 + sum(self.count(a) for a in expr.args if isinstance(a, Expr))
        return self.parts[expr]

    def apply(self, token: _Token, args: list[Expr]) -> Expr:
        if token.text in self.functions:
            return self.functions[token.text](*args)
        if token.text in ("pow", "log2", "log10"):
            return self.special(token, args)
        entry = WORDS.get(token.text)
        if entry is None:
            raise self.unknown_function(token)
        if entry.folds and len(args) > MAX_DEPTH:
            raise self.error(token, f"{token.text} of {len(args)} numbers; {MAX_DEPTH} is the limit.", "Name a part.")
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
        return self.raised(args[0], args[1], token, token)

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
        """`value`, if it is defined somewhere on the real line, and no number that is too large to compare.

        SymPy finds out whether a number is real, or above another, by evaluating it, which for exp(exp(exp(100))) does
        not end; what it is made of has passed here before, so that it can still be evaluated.
        """
        if value.is_number and not value.is_Rational and _is_huge(value):
            raise self.too_large(token)
        if value.has(S.ComplexInfinity, S.NaN, S.Infinity, S.NegativeInfinity, S.ImaginaryUnit):
            raise self.error(token, problem, "Formulas are real-valued: change the constant.")
        if value.is_number and value.is_real is False:
            raise self.error(token, problem, "Formulas are real-valued: change the constant.")
        return value


def _bits(value: sp.Rational) -> int:
    return max(int(value.p).bit_length(), int(value.q).bit_length())


def _is_huge(number: Expr) -> bool:
    try:
        found = number.evalf(5)
    except (ArithmeticError, ValueError):  # erfinv(2): no real number, as a program will say
        return False
    return bool(found.is_Float and abs(found) > _HUGE)


def _quoted(token: _Token) -> str:
    return token.text if token.kind == "end" else f"'{token.text}'"
