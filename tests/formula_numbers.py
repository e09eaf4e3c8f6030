"""An independent reader of printed index formulas: its own tokens and grammar, NumPy for the numbers, no graphc.

    expr     = [-] term {(+|-) term}
    term     = factor {[·|/] factor}                  a reduction takes the rest of the term as its body
    factor   = base [superscript | ^(expr)]
    base     = number | name | name[expr, ..] | name(expr, ..) | (expr [mod n]) | [expr relation expr] | |expr|
             | ⌊expr⌋ | Σ_k term | Σ_{i,k: condition, ..} term | softmax(Z)[i,j] | softmax_j(expr)
             | name superscript(expr) | log Φ(expr) | matrix | matrix[expr, ..]
    matrix   = name⁻¹ | chol(name) | det name, and functions of one, such as log|det S|

Unit axes of the arrays are dropped, as in the formulas. The extent of an index is that of an axis it stands alone in.
A function has the name that NumPy or SciPy gives it, but for those in FUNCTIONS.
"""

from __future__ import annotations

import re

import numpy as np
from scipy import special

TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?)|(?P<reduce>(?:Σ|Π|max|min|logsumexp|softmax)_(?:\{|[a-z]\w*))"
    r"|(?P<name>[^\W\d⁰¹²³⁴⁵⁶⁷⁸⁹][^\W⁰¹²³⁴⁵⁶⁷⁸⁹]*|[√∛]|−?∞)|(?P<power>[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)|(?P<sign>\S))"
)
DIGITS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
RELATIONS = {
    "=": np.equal, "≠": np.not_equal, "≥": np.greater_equal, "≤": np.less_equal, ">": np.greater, "<": np.less
}  # fmt: skip
FUNCTIONS = {
    "√": np.sqrt, "∛": np.cbrt, "Φ": special.ndtr, "Φ⁻¹": special.ndtri, "σ": special.expit, "Γ": special.gamma,
    "erf⁻¹": special.erfinv, "erfc⁻¹": special.erfcinv, "ψ": special.digamma,
    "softplus": lambda z: np.logaddexp(0, z),
    "relu": lambda z: np.maximum(z, 0), "leaky_relu": lambda z, a: np.where(z > 0, z, a * z),
    "elu": lambda z, a: np.where(z > 0, z, a * np.expm1(np.minimum(z, 0))),
    "max": np.maximum, "min": np.minimum, "stop_gradient": lambda z: z,
}  # fmt: skip
MATRICES = {"⁻¹": np.linalg.inv, "chol": np.linalg.cholesky, "det": np.linalg.det}
CONSTANTS = {"π": np.pi, "e": np.e, "∞": np.inf, "−∞": -np.inf}
IDENTITY = {"Σ": 0.0, "Π": 1.0, "max": -np.inf, "min": np.inf, "logsumexp": -np.inf}
REDUCE = {"Σ": np.sum, "Π": np.prod, "max": np.max, "min": np.min, "logsumexp": special.logsumexp}


def value_of(
    left: str, formula: str, arrays: dict, shape: tuple[int, ...], extents: dict[str, int] | None = None
) -> np.ndarray:
    """The values of ``left = formula``, an array over the free indices of ``left``, whose extents are ``shape``.

    ``extents`` says how far the other letters run where the formula does not: over a part of an axis, or alone.
    """
    free = re.findall(r"[^,\[\]]+", left[left.index("[") :]) if "[" in left else []
    squeezed = {name: np.squeeze(np.asarray(a)) for name, a in arrays.items()}
    tree = Parser(formula).whole()
    known = dict(zip(free, [n for n in shape if n != 1], strict=True))
    numbers = Numbers(tree, squeezed, known, extents or {})
    return numbers.result(tree, free)


class Parser:
    """Text to a tree of tuples."""

    def __init__(self, text: str) -> None:
        self.tokens = [(m.lastgroup, m[m.lastgroup]) for m in TOKEN.finditer(text)] + [("end", "")]
        self.at = 0

    def whole(self):
        tree = self.expr()
        assert self.kind == "end", f"the text goes on with {self.tokens[self.at :]}"
        return tree

    @property
    def kind(self) -> str:
        return self.tokens[self.at][0]

    @property
    def next(self) -> str:
        return self.tokens[self.at][1]

    def take(self, *wanted: str) -> str:
        text = self.next
        assert not wanted or text in wanted, f"{text!r} instead of {wanted}"
        self.at += 1
        return text

    def expr(self):
        negative = self.next == "-" and bool(self.take())
        tree = ("-", self.term()) if negative else self.term()
        while self.next in ("+", "-"):
            tree = ("add" if self.take() == "+" else "subtract", tree, self.term())
        return tree

    def term(self):
        tree = self.factor()
        while self.next != "mod" and (self.kind in ("number", "name", "reduce") or self.next in tuple("·/(√⌊[")):
            operator = self.take() if self.next in ("·", "/") else "·"
            tree = ("multiply" if operator == "·" else "divide", tree, self.factor())
        return tree

    def factor(self):
        base = self.base()
        if self.kind == "power":
            return ("power", base, ("number", float(self.take().translate(DIGITS))))
        if self.next == "^":
            self.take()
            return ("power", base, self.inside("(", ")")[0])
        return base

    def base(self):
        tree = self.alone()
        return ("at", tree, self.inside("[", "]")) if self.next == "[" and _has_matrix(tree) else tree

    def alone(self):
        if self.kind == "number":
            return ("number", float(self.take()))
        if self.kind == "reduce":
            return self.reduction()
        if self.kind == "name":
            return self.named()
        opening = self.take("(", "[", "|", "⌊")
        if opening == "[":
            tree = self.condition()
            self.take("]")
            return tree
        tree = self.expr()
        if self.next == "mod":
            self.take()
            tree = ("mod", tree, self.factor())
        self.take({"(": ")", "|": "|", "⌊": "⌋"}[opening])
        return {"(": tree, "|": ("abs", tree), "⌊": ("floor", tree)}[opening]

    def condition(self):
        left = self.expr()
        return ("compare", self.take(*RELATIONS), left, self.expr())

    def named(self):
        name = self.take()
        if name == "softmax" and self.next == "(":
            [logits] = self.inside("(", ")")
            at = self.inside("[", "]")
            return ("softmax", ("read", logits[1], at), at[-1][1])
        if name == "det" and self.kind == "name":
            return ("matrix", name, self.take())
        if name == "log" and (self.kind == "name" or self.next == "|"):
            return ("call", name, [self.alone()])
        if self.kind == "power" and self.tokens[self.at + 1][1] in ("(", "["):
            power = self.take()
            return ("call", name + power, self.inside("(", ")")) if self.next == "(" else ("matrix", power, name)
        if self.next == "(":
            args = self.inside("(", ")")
            return ("matrix", name, args[0][1]) if name in MATRICES else ("call", name, args)
        return ("read", name, self.inside("[", "]") if self.next == "[" else [])

    def inside(self, opening: str, closing: str) -> list:
        self.take(opening)
        found = [self.expr()]
        while self.next == ",":
            self.take()
            found.append(self.expr())
        self.take(closing)
        return found

    def reduction(self):
        sign, _, letter = self.take().partition("_")
        letters, conditions = [letter], []
        if letter == "{":
            letters = [self.take()]
            while self.next == ",":
                self.take()
                letters.append(self.take())
            while self.next != "}":
                self.take(":", ",")
                conditions.append(self.condition())
            self.take("}")
        if sign == "softmax":
            return ("softmax", self.inside("(", ")")[0], letters[0])
        return ("reduce", sign, letters, conditions, self.term())


def _has_matrix(tree) -> bool:
    return isinstance(tree, tuple | list) and ("matrix" in tree or any(map(_has_matrix, tree)))


def _function(name: str):
    """What a name means: ψ² is the second derivative of ψ."""
    if name[0] == "ψ" and name[1:]:
        return lambda z: special.polygamma(int(name[1:].translate(DIGITS)), z)
    return FUNCTIONS.get(name) or getattr(np, name, None) or getattr(special, name)


class Numbers:
    """Evaluates a tree: every letter has an axis of its own in one big space."""

    def __init__(self, tree, arrays: dict, extents: dict[str, int], given: dict[str, int]) -> None:
        self.arrays, self.extents, self.given = arrays, dict(extents), given
        self.letters = list(extents)
        self.find_letters(tree, self.letters)
        self.extents |= {x: given[x] for x in self.letters if x in given and x not in extents}
        self.find_extents(tree)
        missing = [x for x in self.letters if x not in self.extents]
        assert not missing, f"no extent of {missing}"

    def find_letters(self, tree, around: list[str]) -> None:
        """The letters of reductions; two that stand side by side may have one letter."""
        if isinstance(tree, tuple) and tree[0] == "reduce":
            assert not set(tree[2]) & set(around), "a letter is bound twice"
            around = [*around, *tree[2]]
            self.letters = [*self.letters, *(x for x in tree[2] if x not in self.letters)]
        for part in tree if isinstance(tree, tuple | list) else ():
            self.find_letters(part, around)

    def find_extents(self, tree) -> None:
        if isinstance(tree, tuple) and tree[0] == "read" and tree[2]:
            shape = self.arrays[tree[1]].shape
            assert len(shape) == len(tree[2]), f"{tree[1]} has the axes {shape} but {len(tree[2])} indices"
            for extent, at in zip(shape, tree[2], strict=True):
                if at[0] == "read" and not at[2] and at[1] in self.letters:
                    known = self.extents.setdefault(at[1], extent)
                    assert known == extent or at[1] in self.given, f"{at[1]} runs over two extents"
        for part in tree if isinstance(tree, tuple | list) else ():
            self.find_extents(part)

    def result(self, tree, free: list[str]) -> np.ndarray:
        value = np.asarray(self.value(tree), dtype=float)
        shape = [self.extents[x] if x in free else 1 for x in self.letters]
        return np.broadcast_to(value, shape).reshape([self.extents[x] for x in free])

    def axis(self, letter: str) -> np.ndarray:
        shape = [-1 if x == letter else 1 for x in self.letters]
        return np.arange(self.extents[letter]).reshape(shape)

    def value(self, tree):
        return getattr(self, f"_{tree[0]}".replace("-", "negative"))(*tree[1:])

    def _number(self, value):
        return value

    def _read(self, name, at):
        if not at and name in self.letters:
            return self.axis(name)
        if not at and name in CONSTANTS and name not in self.arrays:
            return CONSTANTS[name]
        return self._element(self.arrays[name], at)

    def _matrix(self, function, name):
        return MATRICES[function](self.arrays[name])

    def _at(self, tree, at):
        return self._element(self.value(tree), at)

    def _element(self, array, at):
        places = [np.asarray(self.value(a)).astype(int) for a in at]
        return array[tuple(np.clip(p, 0, n - 1) for p, n in zip(places, array.shape, strict=True))]

    def _call(self, name, args):
        return _function(name)(*(self.value(a) for a in args))

    def _negative(self, a):
        return -self.value(a)

    def _add(self, a, b):
        return self.value(a) + self.value(b)

    def _subtract(self, a, b):
        return self.value(a) - self.value(b)

    def _multiply(self, a, b):
        return np.where(self.absent(("multiply", a, b)), 0, self.value(a) * self.value(b))

    def _divide(self, a, b):
        return np.where(self.absent(a), 0, self.value(a) / self.value(b))

    def absent(self, tree):
        """Where a bracket of a product is 0: its other factors need not be numbers there (Iverson, Knuth 1992)."""
        if tree[0] == "multiply":
            return self.absent(tree[1]) | self.absent(tree[2])
        if tree[0] in ("divide", "-"):
            return self.absent(tree[1])
        return self.value(tree) == 0 if tree[0] == "compare" else np.False_

    def _power(self, a, b):
        return np.asarray(self.value(a), dtype=float) ** self.value(b)

    def _mod(self, a, b):
        return np.mod(self.value(a), self.value(b))

    def _abs(self, a):
        return np.abs(self.value(a))

    def _floor(self, a):
        return np.floor(self.value(a))

    def _compare(self, relation, a, b):
        return RELATIONS[relation](self.value(a), self.value(b)) * 1.0

    def _softmax(self, body, letter):
        """Along the axes that the letter stands alone in, where it runs further than they do."""
        inside = self.axis(letter) < min(self.lengths(body, letter), default=self.extents[letter])
        return special.softmax(np.where(inside, self.value(body), -np.inf), axis=self.letters.index(letter))

    def lengths(self, tree, letter):
        if isinstance(tree, tuple) and tree[0] == "read" and tree[2]:
            yield from (n for n, at in zip(self.arrays[tree[1]].shape, tree[2]) if at == ("read", letter, []))
        for part in tree if isinstance(tree, tuple | list) else ():
            yield from self.lengths(part, letter)

    def _reduce(self, sign, letters, conditions, body):
        axes = tuple(self.letters.index(x) for x in letters)
        value = np.asarray(self.value(body), dtype=float)
        for condition in conditions:
            value = np.where(self.value(condition) != 0, value, IDENTITY[sign])
        shape = np.broadcast_shapes(value.shape, *(self.axis(x).shape for x in letters))
        return REDUCE[sign](np.broadcast_to(value, shape), axis=axes, keepdims=True)
