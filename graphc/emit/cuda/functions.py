"""Scalar functions as expressions of the functions that every GPU has.

Each entry is a template; an argument that occurs more than once is given a name first where that is possible.  Tests
are written so that NaN goes through: ``min`` and ``max`` would drop it.
"""

from __future__ import annotations

import sympy

from graphc.emit.expressions import ATOM, Printer
from graphc.ir.scalar import scalar_of

_SOFTPLUS = "((f(0.0) if {0} <= f(0.0) else {0}) + math.log1p(math.exp(-abs({0}))))"
_RINT = "({0} if abs({0}) >= f(BIG) else math.copysign((abs({0}) + f(BIG)) - f(BIG), {0}))"
_HALF = "math.sinh(f(0.5)*{0})"
TEMPLATES = {
    name: f"math.{name}({{0}})"
    for name in "exp log sqrt tanh sin cos erf tan sinh cosh asin acos atan log1p expm1".split()
} | {
    "power": "math.pow({0}, {1})",
    "sigmoid": "(f(1.0)/(f(1.0) + math.exp(-{0})))",
    "softplus": _SOFTPLUS,
    "relu": "(f(0.0) if {0} <= f(0.0) else {0})",
    "leaky_relu": "({1}*{0} if {0} <= f(0.0) else {0})",
    "elu": "({1}*math.expm1({0}) if {0} <= f(0.0) else {0})",
    "step": "(f(1.0) if {0} > f(0.0) else f(0.0))",
    "absolute": "abs({0})",
    "sign": "(f(1.0) if {0} > f(0.0) else f(-1.0) if {0} < f(0.0) else {0})",
    "round_": _RINT,
    "floor_": f"({_RINT} - (f(1.0) if {_RINT} > {{0}} else f(0.0)))",
    "maximum": "({0} if {0} > {1} or {0} != {0} else {1})",
    "minimum": "({0} if {0} < {1} or {0} != {0} else {1})",
    "where": "({1} if {0} != f(0.0) else {2})",
    "equal": "(f(1.0) if {0} == {1} else f(0.0))",
    "less": "(f(1.0) if {0} < {1} else f(0.0))",
    "less_equal": "(f(1.0) if {0} <= {1} else f(0.0))",
    # log cosh x = log(1 + 2 sinh(x/2)^2), or |x| - log 2 + log(1 + e^-2|x|) where the square might overflow
    "logcosh": f"(math.log1p(f(2.0)*{_HALF}*{_HALF}) if abs({{0}}) < f(1.0) else "
               "abs({0}) - f(0.6931471805599453) + math.log1p(math.exp(f(-2.0)*abs({0}))))",
    "xlogx": "({0}*math.log({0}) if {0} != f(0.0) else f(0.0))",
    # softplus(z) - t z, without a difference of large numbers
    "bce": "((-{1}*{0} if {0} <= f(0.0) else (f(1.0) - {1})*{0}) + math.log1p(math.exp(-abs({0}))))",
    # sigmoid(z) - t = (1 - t) sigmoid(z) - t sigmoid(-z): no digit is lost at t = 1
    "sigmoid_minus": "((f(1.0) - {1})/(f(1.0) + math.exp(-{0})) - {1}/(f(1.0) + math.exp({0})))",
}  # fmt: skip


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
        template = TEMPLATES[name]
        several = [template.count(f"{{{t}}}") > 1 for t in range(len(e.args))]
        alone = template.startswith("math.") and name != "power"
        texts = [
            self.named(a) if twice else self.text(a)[0] if alone else self.at_least(a, ATOM)
            for a, twice in zip(e.args, several, strict=True)
        ]
        return template.format(*texts)

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
