"""Names in LaTeX: in mathematics KaTeX takes the letters of English and Greek alone, all others inside ``\\text``."""

from __future__ import annotations

import re

_PLAIN = r"A-Za-zΑ-Ωα-ωϑϕϖϱϵ"
_OTHER = re.compile(rf"[^\W\d_{_PLAIN}]")
# what stays (text, commands), a name set upright, a bare name
_PART = re.compile(r"\\text\{[^{}]*\}|\\mathrm\{((?:[^{}\\]|\\_)*)\}|\\[A-Za-z]+|[^\W\d_][^\W_]*")
_GREEK = re.compile(r"([Α-Ωα-ωϑϕϖϱϵ]+)")


def with_words(tex: str) -> str:
    r"""LaTeX with every name that has a letter of another script in ``\text``: é becomes \text{é}."""
    return _PART.sub(_part, tex) if _OTHER.search(tex) else tex


def _part(match: re.Match[str]) -> str:
    whole, inside = match[0], match[1]
    if whole.startswith(r"\text{") or _OTHER.search(whole) is None:
        return whole
    pieces = [p for p in _GREEK.split(whole if inside is None else inside) if p]
    words = "".join(p if _GREEK.fullmatch(p) else rf"\text{{{p}}}" for p in pieces)
    return words if len(pieces) == 1 else f"{{{words}}}"
