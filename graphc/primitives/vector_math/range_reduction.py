"""The remainder of any angle by pi/2, for the angles too large for three steps of float arithmetic.

x = M 2^E with an integer M, multiplied by 192 bits of 2/pi: those before them give multiples of four quarter turns,
those behind them less than 2^-126 (M. Payne and R. Hanek, SIGNUM Newsletter 18, 1983). No float64 comes closer to a
multiple of pi/2 than 2^-61 (J.-M. Muller, Elementary Functions, chapter 11): 64 bits of the remainder are right.
"""

from __future__ import annotations

import math

from llvmlite import ir

from graphc.primitives.vector_math.builder import FloatBuilder

_TWO_OVER_PI = (
    "a2f9836e4e441529fc2757d1f534ddc0db6295993c439041fe5163abdebbc561b7246e3a424d"
    "d2e006492eea09d1921cfe1deb1cb129a73ee88235f52ebb4484e99c7026b45f7e413991d639"
    "835339f49c845f8bbdf9283b1ff897ffde05980fef2f118b5a0a6d1f6d367ecf27cb09b74f46"
    "3f669e5fea2d7527bac7ebe5f17b3d0739f78a5292ea6bfb5fb11f8d5d0856033046fc7b6bab"
)
_WORD, _LONG = ir.IntType(64), ir.IntType(128)
_WORDS = [0, *(int(_TWO_OVER_PI[i : i + 16], 16) for i in range(0, len(_TWO_OVER_PI), 16))]
_HALF_PI = (1.5707963267948966, 6.123233995736766e-17)


def reduced_exactly(k: FloatBuilder, x: ir.Value) -> tuple[ir.Value, ir.Value]:
    """r = x - n pi/2 and n mod 4, for |x| >= 1; NaN for inf and NaN, anything for small x."""
    turns = _quarter_turns(k, x)
    n = k.ir.lshr(k.ir.add(turns, _LONG(1 << 125)), _LONG(126))
    r = _angle(k, k.ir.shl(turns, _LONG(2)))
    n = k.ir.trunc(n, k.int_kind)
    return k.select(k.compare(k.abs(x), "<", math.inf), r, math.nan), n


def _quarter_turns(k: FloatBuilder, x: ir.Value) -> ir.Value:
    """x 2/pi mod 4 in units of 2^-126."""
    bits = k.as_int(k.abs(x))
    exponent = k.ir.zext(k.ir.lshr(bits, k.integer(k.mantissa_bits)), _WORD)
    fraction = k.ir.and_(bits, k.integer((1 << k.mantissa_bits) - 1))
    mantissa = k.ir.zext(k.ir.or_(fraction, k.integer(1 << k.mantissa_bits)), _LONG)
    # The first wanted bit of the table has the weight 2^(1 - E); the first word of the table lies before the point.
    first = k.ir.sub(exponent, _WORD(k.bias + k.mantissa_bits - 62))
    first = k.ir.select(k.ir.icmp_signed("<", first, _WORD(0)), _WORD(0), first)
    high, middle, low = (k.ir.zext(word, _LONG) for word in _window(k.ir, first))
    total = k.ir.add(
        k.ir.shl(k.ir.mul(mantissa, high), _LONG(64)),
        k.ir.add(k.ir.mul(mantissa, middle), k.ir.lshr(k.ir.mul(mantissa, low), _LONG(64))),
    )
    return k.ir.select(k.compare(x, "<", 0.0), k.ir.neg(total), total)


def _window(b: ir.IRBuilder, first: ir.Value) -> list[ir.Value]:
    """192 bits of 2/pi from the bit ``first`` of the table on."""
    table = _table(b.module)
    start = b.lshr(first, _WORD(6))
    words = [b.load(b.gep(table, [b.add(start, _WORD(i))], source_etype=_WORD), typ=_WORD) for i in range(4)]
    shifted = b.module.declare_intrinsic("llvm.fshl", [_WORD], ir.FunctionType(_WORD, [_WORD] * 3))
    return [b.call(shifted, [one, following, b.and_(first, _WORD(63))]) for one, following in zip(words, words[1:])]


def _table(module: ir.Module) -> ir.Value:
    name = "graphc_rare_two_over_pi"
    if name not in module.globals:
        kind = ir.ArrayType(_WORD, len(_WORDS))
        table = ir.GlobalVariable(module, kind, name)
        table.linkage, table.global_constant, table.initializer = "internal", True, ir.Constant(kind, _WORDS)
    return module.globals[name]


def _angle(k: FloatBuilder, turns: ir.Value) -> ir.Value:
    """A signed fraction of a quarter turn, in units of 2^-128, in radians."""
    b, wide = k.ir, FloatBuilder(k.ir, ir.DoubleType())
    negative = b.icmp_signed("<", turns, _LONG(0))
    size = b.select(negative, b.neg(turns), turns)
    leading = b.module.declare_intrinsic("llvm.ctlz", [_LONG], ir.FunctionType(_LONG, [_LONG, ir.IntType(1)]))
    zeros = b.call(leading, [size, ir.IntType(1)(0)])
    top = b.trunc(b.lshr(b.shl(size, zeros), _LONG(64)), _WORD)
    high = wide.as_float(b.or_(b.lshr(b.shl(top, _WORD(1)), _WORD(12)), _WORD(wide.bits_of(1.0))))
    rest = b.uitofp(b.and_(top, _WORD((1 << 11) - 1)), wide.kind)
    scale = wide.as_float(b.shl(b.sub(_WORD(1022), b.trunc(zeros, _WORD)), _WORD(52)))
    first, second = _HALF_PI
    low = wide.fma(high, second, wide.mul(rest, first * 2.0**-63))
    r = wide.mul(wide.fma(high, first, low), scale)
    r = wide.select(negative, wide.neg(r), r)
    return r if k.double else k.narrow(r)
