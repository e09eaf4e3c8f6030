"""The scalar functions of generated CPU code, by name: intrinsics that write LLVM IR inside the caller.

Every name in :data:`VECTOR_MATH` takes float32 or float64 and returns the same type. Integer and boolean arguments
beside a float are converted to it; float32 beside float64 gives float64. There are no branches, and no calls but those
of ABI_FUNCTIONS, so a loop around any mix of them is vectorised.
The code is right under ``fastmath={'contract'}`` and without; it is not made for ``reassoc``, ``nnan`` or ``nsz``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from graphc.ir.scalar import FUNCTIONS, Scalar, formula_of, placeholder
from graphc.primitives import types
from graphc.primitives.code import cast
from graphc.primitives.intrinsics import Intrinsic
from graphc.primitives.vector_math import (
    exponential,
    logarithmic,
    normal,
    powers,
    register_table,
    selection,
    slow_path,
    trigonometric,
)
from graphc.primitives.vector_math.builder import FloatBuilder
from graphc.primitives.vector_math.formulas import Straight
from graphc.primitives.vector_math.vector_abi import AbiFunction

Emitter = Callable[..., ir.Value]


def _result_type(arguments: tuple[types.Type, ...]) -> types.Float | None:
    """The widest float among the arguments; None without one or beside a non-number."""
    floats = [a for a in arguments if isinstance(a, types.Float)]
    numbers = all(isinstance(a, (types.Float, types.Integer, types.Boolean)) for a in arguments)
    return max(floats, key=lambda kind: kind.bitwidth) if floats and numbers else None


def _typed(emit: Emitter, arguments: tuple[types.Type, ...]) -> tuple[Any, Callable[..., ir.Value]] | None:
    """Signature and code generator for one call."""
    kind = _result_type(arguments)
    if kind is None:
        return None

    def generate(builder: ir.IRBuilder, signature: types.Signature, values: Sequence[ir.Value]) -> ir.Value:
        numbers = [cast(builder, v, t, kind) for v, t in zip(values, signature.args, strict=True)]
        return emit(FloatBuilder(builder, kind.llvm), *numbers)

    return kind(*arguments), generate


def _one(emit: Emitter) -> Callable[..., Any]:
    def typing(x: types.Type) -> Any:
        return _typed(emit, (x,))

    return typing


def _two(emit: Emitter) -> Callable[..., Any]:
    def typing(x: types.Type, y: types.Type) -> Any:
        return _typed(emit, (x, y))

    return typing


def _three(emit: Emitter) -> Callable[..., Any]:
    def typing(x: types.Type, y: types.Type, z: types.Type) -> Any:
        return _typed(emit, (x, y, z))

    return typing


def _primitive(emit: Emitter, arity: int = 0) -> Any:
    """The intrinsic for an emitter; its arity is the emitter's, less the builder."""
    arity = arity or len(inspect.signature(emit).parameters) - 1
    typing = {1: _one, 2: _two, 3: _three}[arity](emit)
    typing.__name__ = typing.__qualname__ = emit.__name__
    typing.__doc__ = emit.__doc__
    return Intrinsic(typing)


_EMITTERS: tuple[Emitter, ...] = (
    *(exponential.exp, exponential.expm1, exponential.tanh, exponential.tanh_slope),
    *(exponential.sinh, exponential.cosh),
    *(exponential.sigmoid, exponential.sigmoid_minus, exponential.sigmoid_slope, exponential.elu),
    *(logarithmic.log, logarithmic.log1p, logarithmic.softplus),
    *(logarithmic.bce, logarithmic.logcosh, logarithmic.xlogx),
    *(trigonometric.sin, trigonometric.cos, trigonometric.tan),
    *(trigonometric.asin, trigonometric.acos, trigonometric.atan),
    *(trigonometric.erf, normal.erfc, normal.ndtr, normal.gaussian, powers.sqrt, powers.power),
    *(selection.relu, selection.leaky_relu, selection.step, selection.absolute, selection.sign),
    *(selection.round_, selection.floor_, selection.maximum, selection.minimum, selection.where),
    *(selection.equal, selection.less, selection.less_equal, selection.isfinite),
)

EMITTERS: dict[str, Emitter] = {emit.__name__: emit for emit in _EMITTERS}
VECTOR_MATH: dict[str, Any] = {name: _primitive(emit) for name, emit in EMITTERS.items()}
globals().update(VECTOR_MATH)


def __getattr__(name: str) -> Any:
    """A function of the table that has no code here: it is computed as its formula."""
    entry = FUNCTIONS.get(name)
    if entry is None or entry.formula is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    made = globals()[name] = _primitive(_of_formula(entry), entry.arity)
    return made


def _of_formula(entry: Scalar) -> Emitter:
    slots = [placeholder(j) for j in range(entry.arity)]
    formula = formula_of(entry, slots)

    def emit(k: FloatBuilder, *values: ir.Value) -> ir.Value:
        return Straight(k, EMITTERS, dict(zip(slots, values, strict=True))).value(formula)

    emit.__name__, emit.__doc__ = entry.name, entry.doc
    return emit

ABI_FUNCTIONS: dict[str, AbiFunction] = {}
for _name, _emit in trigonometric.OF_LARGE.items():
    ABI_FUNCTIONS.update(slow_path.definitions(_name, _emit, vectorized=False))
ABI_FUNCTIONS.update(slow_path.definitions("power", powers.power_of_any, vectorized=True))
for _name, _values in powers.TABLES.items():
    ABI_FUNCTIONS.update(register_table.definition(_name, _values))
