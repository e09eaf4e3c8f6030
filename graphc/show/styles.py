"""How the parts of a formula look: unicode text, or LaTeX.  A printer asks a style; a style knows no mathematics."""

from __future__ import annotations

import re
from collections.abc import Sequence

from graphc.ir.scalar import Scalar

_SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
_RELATIONS = {"≥": r"\ge", "≠": r"\ne"}
_OF_MATRIX = {
    "inverse": "{}⁻¹", "cholesky": "chol({})", "det": "det {}", "logabsdet": "log|det {}|", "detsign": "sign(det {})"
}  # fmt: skip
_LATEX_OF_MATRIX = {
    "inverse": "{}^{{-1}}",
    "cholesky": r"\operatorname{{chol}}\left({}\right)",
    "det": r"\det {}",
    "logabsdet": r"\log\left|\det {}\right|",
    "detsign": r"\operatorname{{sign}}\left(\det {}\right)",
}
_INFINITIES = {"∞": r"\infty", "−∞": r"-\infty"}
_ADJOINT = {"δ": r"\delta", "Δ": r"\Delta"}
_REDUCERS = {"sum": "Σ", "prod": "Π"}
_LATEX_REDUCERS = {
    "sum": r"\sum", "prod": r"\prod", "max": r"\max", "min": r"\min", "logsumexp": r"\operatorname{logsumexp}"
}  # fmt: skip


class Unicode:
    """X[i,k]·W0[k,j]"""

    dot = "·"
    matmul = " "
    ones = "1"
    bars = False  # fractions need no parentheses
    times = " ⊙ "
    convolved = " * "
    tight_times = "⊙"

    def name(self, name: str) -> str:
        return name

    def ref(self, name: str, maps: Sequence[str]) -> str:
        return f"{name}[{','.join(maps)}]" if maps else name

    def group(self, text: str) -> str:
        return f"({text})"

    def power(self, base: str, exponent: int) -> str:
        return base + str(exponent).translate(_SUPERSCRIPTS)

    def general_power(self, base: str, exponent: str) -> str:
        return f"{base}^({exponent})"

    def function(self, entry: Scalar, args: Sequence[str]) -> str:
        return entry.unicode.format(*args)

    def exponential(self, arg: str) -> str:
        return f"exp({arg})"

    def fraction(self, top: str, bottom: str, outermost: bool) -> str:
        return f"{top} / {bottom}" if outermost else f"{top}/{bottom}"

    def scaled(self, factor: str, text: str) -> str:
        return f"{factor} {text}"

    def reduction(self, reducer: str, letters: Sequence[str], conditions: Sequence[str], body: str) -> str:
        sign = _REDUCERS.get(reducer, reducer)
        under = ",".join(letters) + (": " + ", ".join(conditions) if conditions else "")
        return f"{sign}_{under} {body}" if under == letters[0] else f"{sign}_{{{under}}} {body}"

    def softmax(self, letter: str, body: str) -> str:
        return f"softmax_{letter}({body})"

    def softmax_of(self, name: str, maps: Sequence[str]) -> str:
        return self.ref(f"softmax({name})", maps)

    def bracket(self, condition: str) -> str:
        return f"[{condition}]"

    def relation(self, left: str, sign: str, right: str) -> str:
        tight = sign == "=" and " " not in left + right
        return f"{left}{sign}{right}" if tight else f"{left} {sign} {right}"

    def modulo(self, inner: str, divisor: int) -> str:
        return f"({inner} mod {divisor})"

    def floor(self, inner: str, divisor: int) -> str:
        return f"⌊({inner})/{divisor}⌋" if re.search(r"[+-]", inner) else f"⌊{inner}/{divisor}⌋"

    def partial(self, above: str, below: str) -> str:
        return f"∂{above}/∂{below}"

    def direct(self, text: str) -> str:
        return f"{text} (direct)"

    def of_matrix(self, kind: str, name: str) -> str:
        return _OF_MATRIX[kind].format(name)

    def element(self, text: str, maps: Sequence[str]) -> str:
        """An element of a function of a matrix."""
        return f"{self.group(text) if ' ' in text and '|' not in text else text}[{','.join(maps)}]"

    def transpose(self, text: str) -> str:
        return f"{text.removesuffix('¹')}ᵀ"

    def norm_squared(self, text: str) -> str:
        return f"‖{text}‖²"

    def one_hot(self, text: str) -> str:
        return f"onehot({text})"

    def call(self, function: str, text: str) -> str:
        return f"{function}({text})"


class Latex(Unicode):
    r"""X_{i,k} \, {W_0}_{k,j}"""

    dot = r"\, "
    times = r" \odot "
    convolved = r" \ast "
    tight_times = r" \odot "
    bars = True
    ones = r"\mathbf{1}"

    def name(self, name: str) -> str:
        if name in _INFINITIES:
            return _INFINITIES[name]
        head, sub = split_name(name)
        head = _ADJOINT[head] if head in _ADJOINT else head if len(head) == 1 else rf"\mathrm{{{head}}}"
        return f"{head}_{{{sub}}}" if sub else head

    def ref(self, name: str, maps: Sequence[str]) -> str:
        if not maps:
            return name
        base = f"{{{name}}}" if "_" in name or name.startswith("\\") else name
        return f"{base}_{{{','.join(maps)}}}"

    def group(self, text: str) -> str:
        return rf"\left({text}\right)"

    def power(self, base: str, exponent: int) -> str:
        return f"{_one_group(base)}^{{{exponent}}}"

    def general_power(self, base: str, exponent: str) -> str:
        return f"{{{base}}}^{{{exponent}}}"

    def function(self, entry: Scalar, args: Sequence[str]) -> str:
        return entry.latex.format(*args)

    def exponential(self, arg: str) -> str:
        return f"e^{{{arg}}}"

    def fraction(self, top: str, bottom: str, outermost: bool) -> str:
        return rf"\frac{{{top}}}{{{bottom}}}"

    def reduction(self, reducer: str, letters: Sequence[str], conditions: Sequence[str], body: str) -> str:
        under = ",".join(letters) + (": " + ", ".join(conditions) if conditions else "")
        return f"{_LATEX_REDUCERS[reducer]}_{{{under}}} {body}"

    def softmax(self, letter: str, body: str) -> str:
        return rf"\operatorname{{softmax}}_{{{letter}}}\left({body}\right)"

    def softmax_of(self, name: str, maps: Sequence[str]) -> str:
        return rf"\operatorname{{softmax}}\left({name}\right)" + (f"_{{{','.join(maps)}}}" if maps else "")

    def bracket(self, condition: str) -> str:
        return rf"\left[{condition}\right]"

    def relation(self, left: str, sign: str, right: str) -> str:
        return f"{left} {_RELATIONS.get(sign, sign)} {right}"

    def modulo(self, inner: str, divisor: int) -> str:
        return rf"\left({inner} \bmod {divisor}\right)"

    def floor(self, inner: str, divisor: int) -> str:
        return rf"\left\lfloor\frac{{{inner}}}{{{divisor}}}\right\rfloor"

    def partial(self, above: str, below: str) -> str:
        return rf"\frac{{\partial {above}}}{{\partial {below}}}"

    def direct(self, text: str) -> str:
        return rf"\left.{text}\right|_{{\text{{direct}}}}"

    def of_matrix(self, kind: str, name: str) -> str:
        return _LATEX_OF_MATRIX[kind].format(_one_group(name))

    def element(self, text: str, maps: Sequence[str]) -> str:
        return f"{self.group(text)}_{{{','.join(maps)}}}"

    def transpose(self, text: str) -> str:
        if text.endswith("^{-1}"):
            return text.removesuffix("1}") + r"\top}"
        return f"{_one_group(text)}^{{\\top}}"

    def norm_squared(self, text: str) -> str:
        return rf"\left\lVert {text} \right\rVert^{{2}}"

    def one_hot(self, text: str) -> str:
        return rf"\operatorname{{onehot}}\left({text}\right)"

    def call(self, function: str, text: str) -> str:
        return rf"\operatorname{{{function}}}\left({text}\right)"


def _one_group(text: str) -> str:
    """What an exponent can stand on: a subscript in braces."""
    return f"{{{text}}}" if "_" in text and not text.startswith(r"\left") else text


def split_name(name: str) -> tuple[str, str]:
    """A name and its subscript: W0 -> (W, 0), hidden_w -> (hidden, w)."""
    match = re.fullmatch(r"(.*?[^\d_])_?(\d+)", name)
    if match:
        return match[1].replace("_", r"\_"), match[2]
    head, _, tail = name.partition("_")
    return (head, rf"\mathrm{{{tail}}}".replace("_", r"\_")) if head and tail else (name.replace("_", r"\_"), "")
