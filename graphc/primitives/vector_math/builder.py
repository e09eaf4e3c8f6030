"""A short-hand over an llvmlite builder for straight-line arithmetic in one floating-point type."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir

# Numba puts the caller's fast-math flags on every flagless fadd, fsub and fmul. ``arcp`` means nothing on these three
# instructions, but its presence keeps ``contract`` away, so that rounding errors are those of the written operations.
_AS_WRITTEN = ("arcp",)
# Measured: up to here Horner is faster in loops (fewer products) and loses less to rounding.
_HORNER_LIMIT = 10


class FloatBuilder:
    """Emit branch-free arithmetic on values of one type, float32 or float64.

    Every method appends instructions to the wrapped builder and returns an ``ir.Value``. Nothing here branches or calls
    a library (``llvm.fma`` and the rounding intrinsics are single instructions on every host with FMA), so that a
    loop around the emitted code can be vectorised.

    Parameters
    ----------
    builder : ir.IRBuilder
        Where the instructions go.
    kind : ir.FloatType or ir.DoubleType
        The type of all floating-point values.
    """

    def __init__(self, builder: ir.IRBuilder, kind: ir.Type) -> None:
        self.ir = builder
        self.kind = kind
        self.double = isinstance(kind, ir.DoubleType)
        self.int_kind = ir.IntType(64 if self.double else 32)
        self.mantissa_bits = 52 if self.double else 23
        self.bias = 1023 if self.double else 127
        self._scalar = np.float64 if self.double else np.float32
        self._bits = np.int64 if self.double else np.int32

    def pick(self, single: Any, double: Any) -> Any:
        """The first value for float32, the second for float64."""
        return double if self.double else single

    def const(self, value: float) -> ir.Constant:
        """A constant, rounded to the type."""
        return ir.Constant(self.kind, float(self._scalar(value)))

    def integer(self, value: int) -> ir.Constant:
        """An integer constant as wide as the type."""
        return ir.Constant(self.int_kind, value)

    def bits_of(self, value: float) -> int:
        """The bit pattern of a constant as a Python integer."""
        return int(self._scalar(value).view(self._bits))

    def value(self, operand: ir.Value | float) -> ir.Value:
        """Numbers become constants; values pass through."""
        return self.const(operand) if isinstance(operand, (int, float)) else operand

    def add(self, a: ir.Value | float, b: ir.Value | float) -> ir.Value:
        """a + b, never fused."""
        return self.ir.fadd(self.value(a), self.value(b), flags=_AS_WRITTEN)

    def sub(self, a: ir.Value | float, b: ir.Value | float) -> ir.Value:
        """a - b, never fused."""
        return self.ir.fsub(self.value(a), self.value(b), flags=_AS_WRITTEN)

    def mul(self, a: ir.Value | float, b: ir.Value | float) -> ir.Value:
        """a * b, never fused."""
        return self.ir.fmul(self.value(a), self.value(b), flags=_AS_WRITTEN)

    def div(self, a: ir.Value | float, b: ir.Value | float) -> ir.Value:
        """a / b, correctly rounded."""
        return self.ir.fdiv(self.value(a), self.value(b))

    def widen(self, a: ir.Value) -> ir.Value:
        """A float32 as float64."""
        return self.ir.fpext(a, ir.DoubleType())

    def narrow(self, a: ir.Value) -> ir.Value:
        """A float64, rounded to float32."""
        return self.ir.fptrunc(a, ir.FloatType())

    def neg(self, a: ir.Value) -> ir.Value:
        """-a, the sign bit flipped."""
        return self.ir.fneg(a)

    def intrinsic(self, name: str, *operands: ir.Value | float) -> ir.Value:
        """``llvm.name`` of operands that all have the type."""
        signature = ir.FunctionType(self.kind, [self.kind] * len(operands))
        function = self.ir.module.declare_intrinsic(f"llvm.{name}", [self.kind], signature)
        return self.ir.call(function, [self.value(operand) for operand in operands])

    def fma(self, a: ir.Value | float, b: ir.Value | float, c: ir.Value | float) -> ir.Value:
        """a*b + c with one rounding."""
        return self.intrinsic("fma", a, b, c)

    def abs(self, a: ir.Value) -> ir.Value:
        """|a|."""
        return self.intrinsic("fabs", a)

    def copysign(self, size: ir.Value, sign: ir.Value) -> ir.Value:
        """|size| with the sign bit of ``sign``."""
        return self.intrinsic("copysign", size, sign)

    def compare(self, a: ir.Value | float, relation: str, b: ir.Value | float) -> ir.Value:
        """An i1 that is false when an operand is NaN, except for ``!=``, which is then true."""
        ordered = self.ir.fcmp_unordered if relation == "!=" else self.ir.fcmp_ordered
        return ordered(relation, self.value(a), self.value(b))

    def is_nan(self, a: ir.Value) -> ir.Value:
        """An i1 that is true for NaN."""
        return self.ir.fcmp_unordered("uno", a, a)

    def select(self, condition: ir.Value, a: ir.Value | float, b: ir.Value | float) -> ir.Value:
        """``a`` where the i1 holds, else ``b``; a NaN in the other one stays there."""
        return self.ir.select(condition, self.value(a), self.value(b))

    def at_least(self, a: ir.Value, low: float) -> ir.Value:
        """max(a, low); NaN stays NaN."""
        return self.select(self.compare(a, "<", low), low, a)

    def at_most(self, a: ir.Value, high: float) -> ir.Value:
        """min(a, high); NaN stays NaN."""
        return self.select(self.compare(a, ">", high), high, a)

    def as_int(self, a: ir.Value) -> ir.Value:
        """The bit pattern of a float."""
        return self.ir.bitcast(a, self.int_kind)

    def as_float(self, a: ir.Value) -> ir.Value:
        """The float of a bit pattern."""
        return self.ir.bitcast(a, self.kind)

    def poly(self, x: ir.Value, coefficients: Sequence[float], horner: bool | None = None) -> ir.Value:
        """sum_k coefficients[k] x^k: Horner when short, Estrin (a shorter chain of dependent steps) when long."""
        short = len(coefficients) <= _HORNER_LIMIT if horner is None else horner
        return self._horner(x, coefficients) if short else self._estrin(x, coefficients)

    def _horner(self, x: ir.Value, coefficients: Sequence[float]) -> ir.Value:
        total = self.const(coefficients[-1])
        for coefficient in reversed(coefficients[:-1]):
            total = self.fma(total, x, coefficient)
        return total

    def _estrin(self, x: ir.Value, coefficients: Sequence[float]) -> ir.Value:
        power, terms = x, [self.const(c) for c in coefficients]
        while len(terms) > 1:
            pairs = zip(terms[1::2], terms[::2])
            terms = [self.fma(odd, power, even) for odd, even in pairs] + terms[len(terms) & ~1 :]
            power = self.mul(power, power) if len(terms) > 1 else power
        return terms[0]

    def nearest(self, x: ir.Value, scale: float) -> tuple[ir.Value, ir.Value]:
        """n = round(x*scale), as a float and as an integer that is right in its low ``mantissa_bits - 2`` bits.

        Adding 1.5*2^mantissa_bits makes the last place of the sum a one, so rounding and the conversion cost one
        operation each, and NaN gives no undefined conversion. Needs |x*scale| < 2^(mantissa_bits - 1).
        """
        shift = 1.5 * 2.0**self.mantissa_bits
        shifted = self.fma(x, scale, shift)
        return self.sub(shifted, shift), self.as_int(shifted)

    def power_of_two(self, n: ir.Value, offset: int = 0) -> ir.Value:
        """2^(n + offset) for an exponent in the normal range; only the low bits of ``n`` count."""
        biased = self.ir.add(n, self.integer(self.bias + offset))
        return self.as_float(self.ir.shl(biased, self.integer(self.mantissa_bits)))
