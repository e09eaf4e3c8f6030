"""Scalar functions as expressions of the functions that every GPU has.

The table of scalar functions has a template for each, or a formula that is printed in its place; an argument that
occurs more than once is given a name first where that is possible.  Tests are written so that NaN goes through: ``min``
and ``max`` would drop it.
"""

from __future__ import annotations

import sympy

from graphc.emit.expressions import ATOM, Printer
from graphc.ir.scalar import FUNCTIONS, formula_of, scalar_of

TEMPLATES = {name: f.cuda for name, f in FUNCTIONS.items() if f.cuda} | {"power": "math.pow({0}, {1})"}


class CudaPrinter(Printer):
    """Prints bodies with the functions of a GPU; ``size`` is the name of the free extent's count."""

    size = "count"

    def __init__(self, *args, **options) -> None:
        super().__init__(*args, **options)
        self.prefix = "v_"

    def named(self, e: sympy.Expr) -> str:
        """The text of an argument that is written several times: a name where lines may be added."""
        text, binding = self.text(e)
        if binding == ATOM and (text.isidentifier() or text.startswith("f(")):
            return text
        if not self.share:
            return f"({text})"
        return self.temporaries.get(e) or self.temporary(e, text)

    def _call(self, e: sympy.Expr) -> str:
        entry = scalar_of(e)
        name = entry.name if entry else type(e).__name__
        if name == "stop_gradient":
            return self.at_least(e.args[0], ATOM)
        if name == "where" and self._is_guard(e.args[0]):
            return self._where(e)
        if entry is not None and not entry.cuda:
            return self._computed(formula_of(entry, e.args))
        template = entry.cuda if entry else TEMPLATES[name]
        several = [template.count(f"{{{t}}}") > 1 for t in range(len(e.args))]
        alone = template.startswith("math.") and name != "power"
        texts = [
            self.named(a) if twice else self.text(a)[0] if alone else self.at_least(a, ATOM)
            for a, twice in zip(e.args, several, strict=True)
        ]
        return template.format(*texts)

    def _computed(self, formula: sympy.Expr) -> str:
        """The formula of a function in its place."""
        self.count([formula])
        return self.at_least(formula, ATOM)

    def _is_guard(self, condition: sympy.Expr) -> bool:
        """An indicator guards reads that may not be valid where it is 0."""
        return condition.is_Symbol and self.names.get(condition, "").startswith("(")

    def _power(self, e: sympy.Expr) -> tuple[str, int]:
        text, binding = super()._power(e)
        if text.startswith("sqrt("):
            return f"math.{text}", binding
        if text.startswith("power("):
            return f"math.pow({text.removeprefix('power(')}", binding
        return text, binding

    def _extent(self, e: sympy.Expr) -> str:
        return f"{self.cast}({self.size})"
