"""Short-hand for vector code over llvmlite: integers that fold, masked loads and stores, loops with carried values."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir

from graphc.primitives import host

I1, I32, I64 = ir.IntType(1), ir.IntType(32), ir.IntType(64)

Int = int | ir.Value
"""An integer that is a literal of the program, or known when it runs."""


@functools.cache
def vector_unit() -> tuple[int, int]:
    """Bytes a vector register, number of vector registers of this host."""
    features = host.features()
    if features.get("avx512f"):
        return 64, 32
    if features.get("avx") or features.get("avx2"):
        return 32, 16
    wide = llvm.get_process_triple().startswith(("aarch64", "arm64"))
    return 16, 32 if wide else 16


class Vectors:
    """Emits arithmetic on vectors of one floating-point type into a builder.

    Parameters
    ----------
    builder : ir.IRBuilder
        Where the instructions go.
    kind : ir.FloatType or ir.DoubleType
        The type of an element.
    """

    def __init__(self, builder: ir.IRBuilder, kind: ir.Type) -> None:
        self.ir = builder
        self.kind = kind
        self.size = 8 if isinstance(kind, ir.DoubleType) else 4
        self.suffix = "f64" if self.size == 8 else "f32"

    def int(self, value: Int) -> ir.Value:
        """An int64 value."""
        return I64(value) if isinstance(value, int) else value

    def add(self, a: Int, b: Int) -> Int:
        """a + b, folded where possible."""
        if isinstance(a, int) and isinstance(b, int):
            return a + b
        if a == 0 or b == 0:
            return b if a == 0 else a
        return self.ir.add(self.int(a), self.int(b), flags=("nsw",))

    def mul(self, a: Int, b: Int) -> Int:
        """a * b, folded where possible."""
        if isinstance(a, int) and isinstance(b, int):
            return a * b
        if a == 1 or b == 1:
            return b if a == 1 else a
        if a == 0 or b == 0:
            return 0
        return self.ir.mul(self.int(a), self.int(b), flags=("nsw",))

    def least(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """The smaller of two int64 values."""
        return self.ir.select(self.ir.icmp_signed("<", a, b), a, b)

    def most(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """The larger of two int64 values."""
        return self.ir.select(self.ir.icmp_signed(">", a, b), a, b)

    def at(self, pointer: ir.Value, *offsets: Int) -> ir.Value:
        """The address ``pointer + sum(offsets)``, in elements."""
        total = functools.reduce(self.add, offsets)
        return pointer if isinstance(total, int) and total == 0 else self.ir.gep(pointer, [self.int(total)])

    def type(self, lanes: int) -> ir.Type:
        """The type of ``lanes`` elements; one lane is a scalar."""
        return self.kind if lanes == 1 else ir.VectorType(self.kind, lanes)

    def zero(self, lanes: int) -> ir.Value:
        """0 in every lane."""
        return ir.Constant(self.type(lanes), None if lanes > 1 else 0.0)

    def splat(self, x: ir.Value, lanes: int) -> ir.Value:
        """x in every lane."""
        if lanes == 1:
            return x
        first = self.ir.insert_element(ir.Constant(self.type(lanes), ir.Undefined), x, I32(0))
        everywhere = ir.Constant(ir.VectorType(I32, lanes), [0] * lanes)
        return self.ir.shuffle_vector(first, ir.Constant(self.type(lanes), ir.Undefined), everywhere)

    def mask(self, lanes: int, active: Int | None) -> ir.Value | None:
        """True in the first ``active`` lanes; None stands for all of them."""
        if active is None or (isinstance(active, int) and active >= lanes):
            return None
        if isinstance(active, int):
            return ir.Constant(ir.VectorType(I1, lanes), [int(lane < active) for lane in range(lanes)])
        count = ir.VectorType(I64, lanes)
        first = self.ir.insert_element(ir.Constant(count, ir.Undefined), active, I32(0))
        zeros = ir.Constant(ir.VectorType(I32, lanes), [0] * lanes)
        limit = self.ir.shuffle_vector(first, ir.Constant(count, ir.Undefined), zeros)
        return self.ir.icmp_signed("<", ir.Constant(count, list(range(lanes))), limit)

    def load(self, pointer: ir.Value, lanes: int, mask: ir.Value | None = None) -> ir.Value:
        """Consecutive elements; 0 where the mask is false, and memory there is not touched."""
        if mask is None:
            kind = self.type(lanes)
            return self.ir.load(self.ir.bitcast(pointer, kind.as_pointer()), align=self.size)
        kind = self.type(lanes)
        arguments = [pointer, I32(self.size), mask, self.zero(lanes)]
        signature = ir.FunctionType(kind, [ir.PointerType(), I32, mask.type, kind])
        return self._call(f"llvm.masked.load.v{lanes}{self.suffix}.p0", signature, arguments)

    def store(self, value: ir.Value, pointer: ir.Value, lanes: int, mask: ir.Value | None = None) -> None:
        """Consecutive elements where the mask is true."""
        kind = self.type(lanes)
        if mask is None:
            self.ir.store(value, self.ir.bitcast(pointer, kind.as_pointer()), align=self.size)
            return
        signature = ir.FunctionType(ir.VoidType(), [kind, ir.PointerType(), I32, mask.type])
        arguments = [value, pointer, I32(self.size), mask]
        self._call(f"llvm.masked.store.v{lanes}{self.suffix}.p0", signature, arguments)

    def prefetch(self, pointer: ir.Value, written: bool = False) -> None:
        """Ask for the cache line of an address, to be read soon, or ``written``; no address is wrong."""
        signature = ir.FunctionType(ir.VoidType(), [ir.PointerType(), I32, I32, I32])
        self._call("llvm.prefetch.p0", signature, [pointer, I32(int(written)), I32(3), I32(1)])

    def fma(self, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        """a*b + c, in one rounding where the machine has that instruction."""
        lanes = c.type.count if isinstance(c.type, ir.VectorType) else 1
        name = f"llvm.fmuladd.{'' if lanes == 1 else f'v{lanes}'}{self.suffix}"
        return self._call(name, ir.FunctionType(c.type, [c.type] * 3), [a, b, c])

    def total(self, x: ir.Value) -> ir.Value:
        """The sum of all lanes, in a fixed tree order."""
        if not isinstance(x.type, ir.VectorType):
            return x
        signature = ir.FunctionType(self.kind, [self.kind, x.type])
        zero = ir.Constant(self.kind, -0.0)
        name = f"llvm.vector.reduce.fadd.v{x.type.count}{self.suffix}"
        return self._call(name, signature, [zero, x], fastmath=("reassoc",))

    def shuffle(self, a: ir.Value, b: ir.Value, lanes: Sequence[int]) -> ir.Value:
        """Chosen lanes of the concatenation of a and b."""
        return self.ir.shuffle_vector(a, b, ir.Constant(ir.VectorType(I32, len(lanes)), list(lanes)))

    def _call(self, name: str, signature: ir.FunctionType, arguments: list[ir.Value], **options: Any) -> ir.Value:
        module = self.ir.module
        function = module.globals.get(name) or ir.Function(module, signature, name)
        return self.ir.call(function, arguments, **options)

    def loop(
        self,
        count: Int,
        carried: Sequence[ir.Value],
        body: Callable[[Int, list[ir.Value]], list[ir.Value]],
        start: Int = 0,
        step: Int = 1,
    ) -> list[ir.Value]:
        """``for i in range(start, count, step): carried = body(i, carried)``; the last carried values."""
        if isinstance(count, int) and isinstance(start, int) and isinstance(step, int):
            turns = len(range(start, count, step))
            if turns < 2:
                return body(start, list(carried)) if turns else list(carried)
        build = self.ir
        before, inside, after = build.block, *(build.append_basic_block(name) for name in ("loop", "done"))
        entered = build.icmp_signed("<", self.int(start), self.int(count))
        build.cbranch(entered, inside, after)
        build.position_at_end(inside)
        index = build.phi(I64)
        index.add_incoming(self.int(start), before)
        phis = [build.phi(value.type) for value in carried]
        results = body(index, list(phis))
        following = build.add(index, self.int(step), flags=("nsw",))
        last = build.block
        build.cbranch(build.icmp_signed("<", following, self.int(count)), inside, after)
        index.add_incoming(following, last)
        build.position_at_end(after)
        return [self._join(p, v, r, before, last) for p, v, r in zip(phis, carried, results)]

    def either(
        self, condition: ir.Value, then: Callable[[], list[ir.Value]], otherwise: Callable[[], list[ir.Value]]
    ) -> list[ir.Value]:
        """The values of one of two branches."""
        found = []
        with self.ir.if_else(condition) as branches:
            for branch, emit in zip(branches, (then, otherwise), strict=True):
                with branch:
                    found.append((emit(), self.ir.block))
        (first, here), (second, there) = found
        phis = [self.ir.phi(value.type) for value in first]
        for phi, x, y in zip(phis, first, second, strict=True):
            phi.add_incoming(x, here)
            phi.add_incoming(y, there)
        return phis

    def _join(self, phi: Any, value: ir.Value, result: ir.Value, before: ir.Block, last: ir.Block) -> ir.Value:
        """Close a carried value's cycle, and choose between the loop's result and no turn at all."""
        phi.add_incoming(value, before)
        phi.add_incoming(result, last)
        out = self.ir.phi(value.type)
        out.add_incoming(value, before)
        out.add_incoming(result, last)
        return out


BY_HAND: weakref.WeakSet[ir.Function] = weakref.WeakSet()
"""Functions that are written in vectors, their loops as they are to be: few of LLVM's passes find anything to do."""


def function_of(
    v: Vectors, name: str, arguments: Sequence[ir.Type], emit: Callable[[Vectors, Sequence[ir.Value]], None]
) -> ir.Function:
    """A function of the program that ``emit`` writes when there is none of that name; it returns nothing."""
    module, name = v.ir.module, f"graphc_{name}_{v.suffix}"
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    BY_HAND.add(function)
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    emit(Vectors(builder, v.kind), function.args)
    builder.ret_void()
    return function
