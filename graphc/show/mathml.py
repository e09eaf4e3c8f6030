r"""MathML of what the LaTeX printer writes: a reader of that part of LaTeX, so that no function needs a third look.

``mathml(r"\frac{1}{n} \sum_{i} X_{i}")`` is a fraction beside a sum. Words of several letters are one name, as
``yy`` in ``x_{2yy+i}``, where TeX would show a product. What is not known becomes text as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape

_TOKEN = re.compile(
    r"\\[A-Za-z]+|\\.|[{}^_&]|(?:\d+(?:\.\d+)?)|[^\W\d_][^\W_]*'*|\s+|.", re.DOTALL
)  # commands, structure, numbers, names, the rest
_SYMBOLS = {
    r"\cdot": "⋅", r"\odot": "⊙", r"\times": "×", r"\partial": "∂", r"\infty": "∞", r"\ge": "≥", r"\le": "≤",
    r"\ne": "≠", r"\in": "∈", r"\top": "⊤", r"\dots": "…", r"\lfloor": "⌊", r"\rfloor": "⌋", r"\lVert": "‖",
    r"\rVert": "‖", r"\bmod": "mod", r"\lvert": "|", r"\rvert": "|", r"\pi": "π", r"\_": "_", r"\{": "{", r"\}": "}",
    r"\ast": "∗",
    "-": "−", "*": "⋅", "'": "′",
}  # fmt: skip
_GREEK = {
    rf"\{name}": letter
    for name, letter in zip(
        "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau upsilon phi chi psi"
        " omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega".split(),
        "αβγδεζηθικλμνξρστυφχψωΓΔΘΛΞΠΣΥΦΨΩ",
        strict=True,
    )
}
_WORDS = frozenset(
    r"\log \ln \exp \sin \cos \tan \sinh \cosh \tanh \arcsin \arccos \arctan \det \max \min \gcd".split()
)
_LIMITS = {r"\sum": "∑", r"\prod": "∏"}
_BELOW = frozenset({r"\max", r"\min"})
_SPACES = {r"\,": "0.17em", r"\;": "0.28em", r"\:": "0.22em", r"\!": "0", r"\ ": "0.3em", r"\quad": "1em", "~": "0.3em"}
_UPRIGHT = {r"\operatorname", r"\mathrm"}
_DOUBLE = {"R": "ℝ", "Z": "ℤ", "N": "ℕ"}


def mathml(tex: str, alternative: str = "") -> str:
    """A ``math`` element in display style; ``alternative`` is its text for those who cannot see it."""
    said = f' alttext="{escape(alternative)}"' if alternative else ""
    return f'<math displaystyle="true"{said}>{"".join(_Reader(tex).row())}</math>'


class _Reader:
    """Reads tokens from left to right; every method takes what it stands for and gives elements."""

    def __init__(self, tex: str) -> None:
        self.tokens: Iterator[str] = (t for t in _TOKEN.findall(tex))
        self.next = next(self.tokens, "")

    def take(self) -> str:
        token, self.next = self.next, next(self.tokens, "")
        return token

    def skip(self) -> None:
        while self.next.isspace() or self.next == "&":
            self.take()

    def row(self, *ends: str) -> list[str]:
        """Elements up to one of the ends, which stays."""
        parts: list[str] = []
        while self.next and self.next not in ends:
            if self.next.isspace() or self.next == "&":
                self.take()
                continue
            parts.append(self.scripted())
        return parts

    def scripted(self) -> str:
        """An element with what stands above and below it."""
        word, below = self.next in _BELOW, self.next in _LIMITS or self.next in _BELOW
        base, limits = self.atom()
        after = '<mspace width="0.17em"/>' if word or limits else ""
        under = above = ""
        while True:
            if self.next == "_":
                self.take()
                under = self.argument()
            elif self.next == "^":
                self.take()
                above = self.argument()
            else:
                break
        after = after if self.next != r"\left" else ""
        if not under and not above:
            return base
        nested = base.startswith("<msub>") and not below and not limits  # Z with 0, then with i,j
        if nested and under:
            under = f'<mrow><mspace width="0.15em"/>{under}</mrow>'
        if nested and above and not under:
            return f"<msubsup>{base[6:-7]}{above}</msubsup>"
        kind = ("under", "over") if below or limits else ("sub", "sup")
        if under and above:
            return f"<m{kind[0]}{kind[1]}>{base}{under}{above}</m{kind[0]}{kind[1]}>"
        name = kind[0] if under else kind[1]
        return f"<m{name}>{base}{under or above}</m{name}>{after}"

    def argument(self) -> str:
        """One element: what braces hold, or a single token."""
        self.skip()
        if self.next == "{":
            return _one(self.braces())
        return self.atom()[0]

    def braces(self) -> list[str]:
        self.take()
        inner = self.row("}")
        self.take()
        return inner

    def words(self) -> str:
        """The text in braces, as it stands."""
        self.skip()
        self.take()
        text, depth = "", 1
        while self.next:
            token = self.take()
            depth += {"{": 1, "}": -1}.get(token, 0)
            if not depth:
                break
            text += _SYMBOLS.get(token, token)
        return text

    def atom(self) -> tuple[str, bool]:
        """One element, and whether scripts stand above and below it rather than beside it."""
        token = self.next
        if token == "{":
            return _one(self.braces()), False
        self.take()
        if token in _UPRIGHT:
            word = self.words()
            upright = ' mathvariant="normal"' if len(word) == 1 else ""
            return f"<mi{upright}>{escape(word)}</mi>", word == "logsumexp"
        return self.command(token), False

    def command(self, token: str) -> str:
        """The element of a token that takes no scripts of its own."""
        if token in _LIMITS:
            return f"<mo>{_LIMITS[token]}</mo>"
        if token == r"\frac":
            return f"<mfrac>{self.argument()}{self.argument()}</mfrac>"
        if token == r"\sqrt":
            return self.root()
        if token == r"\left":
            return self.fenced()
        if token in (r"\text", r"\mathbf", r"\mathbb"):
            word = self.words()
            if token == r"\text":
                return f"<mtext>{escape(word)}</mtext>"
            return f"<mi>{_DOUBLE.get(word, escape(word))}</mi>" if token == r"\mathbb" else "<mn>𝟏</mn>"
        if token in _SPACES:
            return f'<mspace width="{_SPACES[token]}"/>'
        if token in _WORDS:
            return f"<mi>{token[1:]}</mi>"
        if token in _GREEK:
            return f"<mi>{_GREEK[token]}</mi>"
        return _leaf(_SYMBOLS.get(token, token))

    def root(self) -> str:
        if self.next != "[":
            return f"<msqrt>{self.argument()}</msqrt>"
        self.take()
        degree = _one(self.row("]"))
        self.take()
        return f"<mroot>{self.argument()}{degree}</mroot>"

    def fenced(self) -> str:
        """Between \\left and \\right: fences that grow with what they hold; a full stop is none."""
        first = self.fence()
        inner = self.row(r"\right")
        self.take()
        return _one([first, *inner, self.fence()])

    def fence(self) -> str:
        self.skip()
        token = self.take()
        sign = "" if token == "." else _SYMBOLS.get(token, token)
        grows = "" if sign in "()[]" else ' stretchy="true"'
        return f"<mo{grows}>{escape(sign)}</mo>" if sign else ""


def _leaf(sign: str) -> str:
    if sign[0].isdigit():
        return f"<mn>{sign}</mn>"
    if sign[0].isalpha() and sign != "mod":
        return f"<mi>{escape(sign)}</mi>"
    return f"<mo>{escape(sign)}</mo>" if not sign.startswith("\\") else f"<mtext>{escape(sign)}</mtext>"


def _one(parts: list[str]) -> str:
    """One element: the part itself where there is one."""
    return parts[0] if len(parts) == 1 else f"<mrow>{''.join(parts)}</mrow>"
