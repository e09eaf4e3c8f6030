"""Operators of single elements, in graphc's words."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

import graphc as gc
from tests.onnx_nodes.case import Case

Operator = Callable[[Case], Any]


def of(function: Callable[..., Any]) -> Operator:
    """A function of all inputs."""
    return lambda case: function(*case.all())


def folded(function: Callable[..., Any]) -> Operator:
    """A function of two, of the inputs one after the other."""
    return lambda case: functools.reduce(function, case.all())


def with_alpha(function: Callable[..., Any], default: float) -> Operator:
    return lambda case: function(case.x(), case.option("alpha", default))


def clip(case: Case) -> Any:
    low, high = case.value(1), case.value(2)
    x = case.x()
    x = x if low is None else gc.maximum(x, case.x(1))
    return x if high is None else gc.minimum(x, case.x(2))


def div(case: Case) -> Any:
    whole = case.value(0).dtype.kind in "iu"
    return gc.trunc(case.x(0) / case.x(1)) if whole else case.x(0) / case.x(1)


def gelu(case: Case) -> Any:
    return gc.gelu(case.x(), approximate=case.option("approximate", "none") == "tanh")


def hard_sigmoid(case: Case) -> Any:
    return gc.clip(case.option("alpha", 0.2) * case.x() + case.option("beta", 0.5), 0, 1)


def is_inf(case: Case) -> Any:
    kinds = {(1, 1): gc.isinf, (1, 0): gc.isneginf, (0, 1): gc.isposinf}
    return kinds[case.option("detect_negative", 1), case.option("detect_positive", 1)](case.x())


def mean(case: Case) -> Any:
    return gc.mean(gc.stack(gc_broadcast(case.all())), axis=0)


def gc_broadcast(xs: list[Any]) -> list[Any]:
    shape = np.broadcast_shapes(*(x.shape for x in xs))
    return [gc.broadcast_to(x, shape) for x in xs]


def mod(case: Case) -> Any:
    return (gc.fmod if case.option("fmod", 0) else gc.mod)(case.x(0), case.x(1))


def power(case: Case) -> Any:
    found = case.x(0) ** case.x(1)
    return gc.trunc(found) if case.value(0).dtype.kind in "iu" else found


def selu(case: Case) -> Any:
    alpha = case.option("alpha")
    if alpha is None:
        return gc.selu(case.x())
    return case.option("gamma", 1.0507009873554805) * gc.elu(case.x(), alpha)


def shrink(case: Case) -> Any:
    """|x| > lambd: x moved towards 0 by a bias."""
    x, edge, bias = case.x(), case.option("lambd", 0.5), case.option("bias", 0.0)
    if bias == 0:
        return gc.hard_shrink(x, edge)
    return gc.where(x < -edge, x + bias, gc.where(x > edge, x - bias, 0))


def swiglu(case: Case) -> Any:
    a, b = case.all()
    return a * gc.sigmoid(case.option("alpha", 1.0) * a) * b


def swish(case: Case) -> Any:
    alpha, x = case.option("alpha", 1.0), case.x()
    return gc.swish(x) if alpha == 1 else x * gc.sigmoid(alpha * x)


ELEMENTWISE: dict[str, Operator] = {
    "Abs": of(gc.abs), "Acos": of(gc.arccos), "Acosh": of(gc.arccosh), "Add": of(gc.add), "And": of(gc.logical_and),
    "Asin": of(gc.arcsin), "Asinh": of(gc.arcsinh), "Atan": of(gc.arctan), "Atanh": of(gc.arctanh), "Ceil": of(gc.ceil),
    "Celu": with_alpha(gc.celu, 1.0), "Clip": clip, "Cos": of(gc.cos), "Cosh": of(gc.cosh), "Div": div,
    "Elu": with_alpha(gc.elu, 1.0), "Equal": of(gc.equal), "Erf": of(gc.erf), "Exp": of(gc.exp), "Floor": of(gc.floor),
    "Gelu": gelu, "Greater": of(gc.greater), "GreaterOrEqual": of(gc.greater_equal), "HardSigmoid": hard_sigmoid,
    "HardSwish": of(gc.hard_swish), "Identity": of(gc.positive), "IsInf": is_inf, "IsNaN": of(gc.isnan),
    "LeakyRelu": with_alpha(gc.leaky_relu, 0.01), "Less": of(gc.less), "LessOrEqual": of(gc.less_equal),
    "Log": of(gc.log), "Max": folded(gc.maximum), "Mean": mean, "Min": folded(gc.minimum), "Mish": of(gc.mish),
    "Mod": mod, "Mul": of(gc.multiply), "Neg": of(gc.negative), "Not": of(gc.logical_not), "Or": of(gc.logical_or),
    "PRelu": of(gc.prelu), "Pow": power, "Reciprocal": of(gc.reciprocal), "Relu": of(gc.relu), "Round": of(gc.round),
    "Selu": selu, "Shrink": shrink, "Sigmoid": of(gc.sigmoid), "Sign": of(gc.sign), "Sin": of(gc.sin),
    "Sinh": of(gc.sinh), "Softplus": of(gc.softplus), "Softsign": of(gc.softsign), "Sqrt": of(gc.sqrt),
    "Sub": of(gc.subtract), "Sum": folded(gc.add), "SwiGLU": swiglu, "Swish": swish, "Tan": of(gc.tan),
    "Tanh": of(gc.tanh), "ThresholdedRelu": lambda case: gc.threshold(case.x(), case.option("alpha", 1.0)),
    "Where": of(gc.where), "Xor": of(gc.logical_xor),
}  # fmt: skip
