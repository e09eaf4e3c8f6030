"""Random tensors inside compiled code: the twin of :mod:`graphc.primitives.noise`, bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from graphc.ir.drawing import KINDS, MULTIPLIERS, WEYL, normals
from graphc.primitives import types
from graphc.primitives.code import for_range
from graphc.primitives.intrinsics import Intrinsic
from graphc.primitives.memory import as_index
from graphc.primitives.types import is_pointer
from graphc.primitives.vector_math.builder import FloatBuilder

I64 = ir.IntType(64)
LOW = I64(0xFFFFFFFF)
Words = Sequence[ir.Value]
Values = Callable[[ir.IRBuilder, Words, ir.Value], list[ir.Value]]


class _Arithmetic(FloatBuilder):
    """What the formulas of the module noise are made of."""

    def split(self, x: ir.Value) -> tuple[ir.Value, ir.Value]:
        """x = m*2**k with 1 <= m < 2."""
        bits, mantissa = self.as_int(x), I64((1 << 52) - 1)
        m = self.as_float(self.ir.or_(self.ir.and_(bits, mantissa), self.integer(1023 << 52)))
        return m, self.from_whole(self.ir.sub(self.ir.lshr(bits, self.integer(52)), self.integer(1023)))

    def sqrt(self, x: ir.Value) -> ir.Value:
        """The root, rounded to the nearest."""
        return self.intrinsic("sqrt", x)

    def whole(self, x: ir.Value) -> ir.Value:
        """The whole part of a small positive number."""
        return self.ir.fptosi(x, ir.IntType(32))

    def from_whole(self, k: ir.Value) -> ir.Value:
        """A small whole number as float64."""
        return self.ir.sitofp(self.ir.trunc(k, ir.IntType(32)) if k.type == I64 else k, self.kind)

    def next_whole(self, k: ir.Value) -> ir.Value:
        """k + 1."""
        return self.ir.add(k, k.type(1))

    def bit(self, k: ir.Value, value: int) -> ir.Value:
        """Whether k has this power of two."""
        return self.ir.icmp_signed("!=", self.ir.and_(k, k.type(value)), k.type(0))


def _philox(b: ir.IRBuilder, counter: Words, key: Words) -> list[ir.Value]:
    """Ten rounds on words that stand in the lower halves of int64."""
    c0, c1, c2, c3 = counter
    first, second = (I64(multiplier) for multiplier in MULTIPLIERS)
    for step in range(10):
        k0, k1 = (b.and_(b.add(word, I64(step * weyl)), LOW) for word, weyl in zip(key, WEYL))
        p0, p1 = b.mul(first, c0), b.mul(second, c2)
        c0, c2 = b.xor(b.xor(b.lshr(p1, I64(32)), c1), k0), b.xor(b.xor(b.lshr(p0, I64(32)), c3), k1)
        c1, c3 = b.and_(p1, LOW), b.and_(p0, LOW)
    return [c0, c1, c2, c3]


def _bernoulli(kind: ir.Type) -> Values:
    def values(b: ir.IRBuilder, words: Words, limit: ir.Value) -> list[ir.Value]:
        return [b.uitofp(b.icmp_unsigned("<", word, limit), kind) for word in words]

    return values


def _units(b: ir.IRBuilder, words: Words, kind: ir.Type) -> list[ir.Value]:
    a = FloatBuilder(b, kind)
    if isinstance(kind, ir.FloatType):
        return [a.mul(b.sitofp(b.lshr(word, I64(8)), kind), 2.0**-24) for word in words[::2]]
    pairs = zip(words[::2], words[1::2])
    whole = [b.add(b.shl(b.lshr(high, I64(5)), I64(26)), b.lshr(low, I64(6))) for high, low in pairs]
    return [a.mul(b.sitofp(x, kind), 2.0**-53) for x in whole]


def _uniform(kind: ir.Type) -> Values:
    return lambda b, words, _: _units(b, words, kind)


def _normal(kind: ir.Type) -> Values:
    def values(b: ir.IRBuilder, words: Words, _: ir.Value) -> list[ir.Value]:
        double = ir.DoubleType()
        found = normals(_Arithmetic(b, double), *_units(b, words, double))
        return [b.fptrunc(x, kind) if isinstance(kind, ir.FloatType) else x for x in found]

    return values


def _drawing(name: str, values_of: Callable[[ir.Type], Values], doc: str) -> Any:
    def draw(
        dst: Any, off: Any, first: Any, n: Any, limit: Any, key0: Any, key1: Any, at: Any, epoch: Any,
        number: Any,
    ) -> Any:  # fmt: skip
        whole = (off, first, n, limit, key0, key1, at, epoch, number)
        if not is_pointer(dst) or not all(isinstance(kind, types.Integer) for kind in whole):
            return None

        def emit(builder: ir.IRBuilder, signature: types.Signature, args: Sequence[ir.Value]) -> None:
            numbers = [as_index(builder, signature, position, args) for position in range(1, 10)]
            kind = dst.dtype.llvm
            function = _function(builder, f"graphc_random_{name}_{kind}", kind, KINDS[name], values_of(kind))
            builder.call(function, [builder.gep(args[0], [numbers[0]]), *numbers[1:]])

        return types.void(dst, *whole), emit

    draw.__name__, draw.__doc__ = f"random_{name}", doc
    return Intrinsic(draw)


def _function(caller: ir.IRBuilder, name: str, kind: ir.Type, each: int, values: Values) -> ir.Function:
    """The function of the program that fills ``n`` places with the elements from ``first`` on, made once."""
    known = caller.module.globals.get(name)
    if known is not None:
        return known
    function = ir.Function(caller.module, ir.FunctionType(ir.VoidType(), [kind.as_pointer(), *[I64] * 8]), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    b = ir.IRBuilder(function.append_basic_block("entry"))
    dst, first, n, limit, *rest = function.args
    key, place = [b.and_(word, LOW) for word in rest[:2]], [b.and_(word, LOW) for word in rest[2:]]
    end, per = b.add(first, n), I64(each)

    def block_of(number: ir.Value) -> list[ir.Value]:
        return values(b, _philox(b, [b.and_(number, LOW), *place], key), limit)

    low = b.sdiv(b.add(first, I64(each - 1)), per)
    high = b.sdiv(end, per)
    whole = b.select(b.icmp_signed(">", high, low), b.sub(high, low), I64(0))
    with for_range(b, whole) as index:
        number = b.add(low, index)
        start = b.sub(b.mul(number, per), first)
        for t, x in enumerate(block_of(number)):
            b.store(x, b.gep(dst, [b.add(start, I64(t))]))
    last = b.sdiv(b.sub(end, I64(1)), per)
    with b.if_then(b.icmp_signed(">", n, I64(0))), for_range(b, I64(2)) as index:
        number = b.select(b.icmp_signed("==", index, I64(0)), b.sdiv(first, per), last)
        inside = b.and_(b.icmp_signed(">=", number, low), b.icmp_signed("<", number, high))
        with b.if_then(b.not_(inside)):
            for t, x in enumerate(block_of(number)):
                at = b.sub(b.add(b.mul(number, per), I64(t)), first)
                with b.if_then(b.icmp_unsigned("<", at, n)):
                    b.store(x, b.gep(dst, [at]))
    b.ret_void()
    return function


_HEAD = "dst[off + i] = element first + i, for i < n, of random tensor ``number`` at (epoch, at) under two keys"
random_bernoulli = _drawing("bernoulli", _bernoulli, f"{_HEAD}: 1 where its word is below ``limit``, else 0.")
random_uniform = _drawing("uniform", _uniform, f"{_HEAD}, in [0, 1); ``limit`` means nothing.")
random_normal = _drawing("normal", _normal, f"{_HEAD}, by Box and Muller; ``limit`` means nothing.")
