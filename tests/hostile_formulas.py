"""Formula text that was written to hang, to crash, to deceive or to reach what it must not; and what is said of it.

`None`: it is a formula, however odd. Run as a program, each text is read with 1 GB of memory, and what came of it is
printed as JSON.
"""

from __future__ import annotations

import json
import resource
import sys

import sympy as sp

FORMULAS: dict[str, tuple[str, str | None]] = {
    # numbers that SymPy would evaluate for ever
    "a tower as a power": ("x**exp(exp(exp(100)))", "The number grows out of bounds"),
    "a tower": ("x + exp(exp(exp(exp(9))))", "The number grows out of bounds"),
    "towers compared": ("x + (exp(exp(exp(100))) < exp(exp(exp(101))))", "The number grows out of bounds"),
    "the larger of two towers": ("max(exp(exp(exp(100))), exp(exp(exp(101))))*x", "The number grows out of bounds"),
    "sixty exponentials of one": ("x + " + "exp(" * 60 + "1" + ")" * 60, "The number grows out of bounds"),
    "the floor of a huge number": ("x + floor(exp(1e300))", "The number grows out of bounds"),
    "one over next to nothing": ("x/exp(-exp(exp(8)))", "The number grows out of bounds"),
    "sinh of sinh": ("x + sinh(sinh(sinh(sinh(9))))", "The number grows out of bounds"),
    "squares of squares": ("x + " + "(" * 60 + "pi + 1" + ")**2" * 60, "The number grows out of bounds"),
    "pow of pow": ("x*pow(pow(pow(9, 60), 60), 60)", "The number grows out of bounds"),
    "9 to the 9 to the 9": ("9**9**9*x", "The power 387420489 is above 64"),
    "a root to the gamma": ("2**gamma(5.5)*x", None),
    "a power of gamma": ("x**gamma(5.5)", None),
    "the gamma function of a huge number": ("x + gamma(1e300)", None),
    "an angle of 300 digits": ("x*sin(1e300)", None),
    "sixty logarithms": ("log(" * 60 + "x" + ")" * 60, None),
    "sixty sines of one": ("x + " + "sin(" * 60 + "1" + ")" * 60, None),
    "roots of many numbers": (" + ".join(f"sqrt({k})" for k in range(2, 200)) + " + x", None),
    "a number that is all but whole": ("x/(exp(pi*sqrt(163)) - 262537412640768744)", None),
    "zero in disguise": ("x/(sqrt(2 + sqrt(3)) - (sqrt(6) + sqrt(2))/2)", "Division by zero"),
    "no real number": ("x + erfinv(2)", None),
    "a power of no real number": ("x**erfinv(2)", "A number of the formula cannot be computed"),
    # depth and length
    "a million parentheses": ("(" * 10**6, "The formula has 1000000 bytes"),
    "a million pairs": ("()" * 10**6, "The formula has 2000000 bytes"),
    "a name of a megabyte": ("x" * 10**6, "The formula has 1000000 bytes"),
    "parentheses": ("(" * 2000 + "x" + ")" * 2000, "The formula is nested more than 64 deep"),
    "minus signs": ("-" * 4000 + "x", "The formula is nested more than 64 deep"),
    "powers": ("x**" * 1000 + "x", "The formula is nested more than 64 deep"),
    "the maximum of three hundred": (f"max({', '.join(f'x + {k}' for k in range(300))})", "max of 300 numbers"),
    "two thousand quotients": ("x" + "/x" * 2000, None),
    "two thousand factors": ("1*" * 2000 + "x", None),
    "powers of powers": ("(" * 60 + "x + 1" + ")**2" * 60, "The power 128 is above 64"),
    "words that double": ("silu(" * 30 + "x" + ")" * 30, "silu is more than 10000 operations here"),
    "words that double, a few": ("silu(" * 9 + "x" + ")" * 9, None),
    "a hundred digits": ("x + " + "7" * 100, "This number has too many digits"),
    "an exponent of nine digits": ("1e999999999*x", "This number has too many digits"),
    # what is no letter, no digit or not what it looks like
    "half a pair": ("x\ud800", "'\\ud800' has no meaning"),
    "an Arabic one": ("x*\u0661", "'\u0661' has no meaning"),
    "a wide one": ("x*\uff11", "'\uff11' has no meaning"),
    "a small two": ("x\u00b2", "'\u00b2' has no meaning"),
    "a Cyrillic letter": ("\u0435xp(x)", "Unknown function '\u0435xp'"),
    "a null byte": ("x\0 + 1", "'\\u0000' has no meaning"),
    "text turned round": ("x\u202e + 1", "'\\u202e' has no meaning"),
    "a space of no width": ("x\u200b + 1", "'\\u200b' has no meaning"),
    "a minus sign of another kind": ("x \u2212 1", "'\u2212' has no meaning"),
    # code
    "an import": ("__import__('os')", "''' has no meaning"),
    "a class": ("x.__class__", "'.' has no meaning"),
    "a call of a class": ("__class__(x)", "Unknown function '__class__'"),
    "a lambda": ("lambda: x", "':' has no meaning"),
    "an assignment": ("(x := 1)", "':' has no meaning"),
    "an index": ("x[0]", "'[' has no meaning"),
    "a name of SymPy": ("Symbol(x)", "Unknown function 'Symbol'"),
    "eval": ("eval(x)", "Unknown function 'eval'"),
    "a backslash": ("x\\\n+ 1", "'\\' has no meaning"),
    "a comment": ("x # + 1", "'#' has no meaning"),
    "infinity": ("x + oo", "Unknown name 'oo'"),
    "no number": ("x + nan", "Unknown name 'nan'"),
}


def outcomes() -> dict[str, str | None]:
    """What is said of each text, None for a formula; a formula is printed and read back."""
    # The parser is imported where the memory is already limited.
    from graphc.declare.formula import PRINTED, parse  # noqa: PLC0415
    from graphc.declare.formula_text import formula_text  # noqa: PLC0415
    from graphc.errors import FormulaError  # noqa: PLC0415

    symbols, found = {"x": sp.Symbol("x", real=True)}, {}
    for name, (text, _) in FORMULAS.items():
        try:
            expr = parse(text, symbols)
            back = parse(formula_text(expr), symbols, limits=PRINTED)
            found[name] = None if back == expr else f"read back as {back}"
        except FormulaError as error:
            found[name] = str(error)
    return found


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
    json.dump(outcomes(), sys.stdout)
