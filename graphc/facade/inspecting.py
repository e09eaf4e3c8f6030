"""What a model shows of itself: derivation, stages, source, checks."""

from __future__ import annotations

from typing import Any

from graphc.ir.text import equation_text


def captions(model: Any) -> dict:
    return {}


def formula_of(model: Any, node: Any) -> str:
    return equation_text(node)


def derivation(model, wrt):
    raise NotImplementedError


explain = source = check = derivation
