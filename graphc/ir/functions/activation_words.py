"""Activations that are formulas in other functions: those of Keras, jax.nn and torch.nn."""

from __future__ import annotations

from typing import Any

import sympy as sp
from sympy import Expr, Rational

from graphc.ir.functions.analytic import horner
from graphc.ir.functions.choices import absolute, guarded, less, less_equal, maximum, minimum, relu, where
from graphc.ir.functions.declaring import word
from graphc.ir.functions.elementary import expm1
from graphc.ir.functions.normal import ndtr
from graphc.ir.functions.smooth import elu, leaky_relu, sigmoid, softplus

_SELU_SCALE = Rational("1.0507009873554804934193349852946")
_SELU_ALPHA = Rational("1.6732632423543772848170429916717")


def activation(name: str, formula: Any, doc: str, **facts: Any) -> None:
    """A word that layers know by name."""
    word(name, formula, doc, activation=True, **facts)


def _clipped(x: Expr, low: Any, high: Any) -> Expr:
    return minimum(maximum(x, low), high)


def _gelu(x: Expr, approximate: Any = False) -> Expr:
    cubic = sp.sqrt(2 / sp.pi) * (x + Rational(44715, 1000000) * x**3)
    return x * sigmoid(2 * cubic) if approximate else x * ndtr(x)


def _hard_sigmoid(x: Expr) -> Expr:
    return _clipped(x + 3, 0, 6) / 6


def _tanh_shrink(x: Expr) -> Expr:
    """Near 0 by its series: the difference cancels."""
    series = [-sp.bernoulli(2 * n) * 4**n * (4**n - 1) / sp.factorial(2 * n) for n in range(2, 12)]
    near = x**3 * horner(x**2, series)
    return guarded(less(absolute(x), Rational(1, 4)), near, x - sp.tanh(x))


def _squareplus(x: Expr, b: Any = 4.0) -> Expr:
    """Below 0 the sum cancels."""
    root = sp.sqrt(x**2 + b)
    return guarded(less(x, 0), b / (2 * (root - x)), (x + root) / 2)


activation("silu", lambda x: x * sigmoid(x), "x*sigmoid(x) (Hendrycks and Gimpel 2016).", also=("swish",))
activation(
    "gelu",
    _gelu,
    "x*Phi(x), Phi the normal distribution: x*(1 + erf(x/sqrt(2)))/2 (Hendrycks and Gimpel 2016).",
    options={"approximate": "Whether Phi(x) is taken as sigmoid(2*sqrt(2/pi)*(x + 0.044715*x**3))."},
)
activation("celu", lambda x, alpha=1.0: relu(x) - alpha * relu(-expm1(x / alpha)),
           "max(x, 0) + min(alpha*(exp(x/alpha) - 1), 0) (Barron 2017).",
           explained={"alpha": "Minus the limit far below 0."})  # fmt: skip
activation("selu", lambda x: _SELU_SCALE * elu(x, _SELU_ALPHA), "1.0507*elu(x, 1.67326) (Klambauer et al. 2017).")
activation("mish", lambda x: x * sp.tanh(softplus(x)), "x*tanh(log(1 + exp(x))) (Misra 2019).")
activation("softsign", lambda x: x / (1 + absolute(x)), "x/(1 + |x|).", also=("soft_sign",))
activation("relu6", lambda x: _clipped(x, 0, 6), "min(max(x, 0), 6).")
activation("hard_tanh", lambda x: _clipped(x, -1, 1), "min(max(x, -1), 1).")
activation("hard_sigmoid", _hard_sigmoid, "min(max(x/6 + 1/2, 0), 1).")
activation("hard_silu", lambda x: x * _hard_sigmoid(x), "x*hard_sigmoid(x) (Howard et al. 2019).",
           also=("hard_swish",))
activation("log_sigmoid", lambda x: -softplus(-x), "log(sigmoid(x)), accurate in both tails.")
activation("tanh_shrink", _tanh_shrink, "x - tanh(x).")
activation("soft_shrink", lambda x, threshold=0.5: relu(x - threshold) - relu(-x - threshold),
           "x moved towards 0 by a threshold, 0 between.", explained={"threshold": "At least 0."})
activation("hard_shrink", lambda x, threshold=0.5: where(less_equal(absolute(x), threshold), 0, x),
           "x where |x| > threshold, else 0.", explained={"threshold": "At least 0."})
activation("threshold", lambda x, threshold=0.0, value=0.0: where(less_equal(x, threshold), value, x),
           "x where x > threshold, else value.",
           explained={"threshold": "Where it begins.", "value": "What stands below."})
activation("squareplus", _squareplus,
           "(x + sqrt(x**2 + b))/2 (Barron 2021).", explained={"b": "At least 0; 0 gives relu."})
activation("exponential", lambda x: sp.exp(x), "exp(x).")
activation("sparse_plus", lambda x: where(less(x, 1), relu(x + 1) ** 2 / 4, x),
           "0 below -1, x above 1, (x + 1)**2/4 between.")  # fmt: skip
activation("sparse_sigmoid", lambda x: _clipped(x + 1, 0, 2) / 2, "min(max((x + 1)/2, 0), 1).")
word("prelu", lambda x, alpha: leaky_relu(x, alpha),
     "x where x > 0, else alpha*x with a slope that is learned (He et al. 2015).",
     explained={"alpha": "The slope below 0: a parameter, or one for each of the last axis."})  # fmt: skip
activation("snake", lambda x, a=1.0: x + sp.sin(a * x) ** 2 / a, "x + sin(a*x)**2/a (Liu et al. 2020).",
           explained={"a": "The frequency."})
activation("relu_squared", lambda x: relu(x) ** 2, "max(x, 0)**2 (So et al. 2021).")
