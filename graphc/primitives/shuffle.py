"""The order of an epoch inside compiled code: the twin of :func:`graphc.primitives.philox.permuted`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from graphc.primitives import types
from graphc.primitives.intrinsics import Intrinsic
from graphc.primitives.memory import as_index
from graphc.primitives.philox import GOLDEN, MIX_1, MIX_2, ROUNDS, SMALL_BITS, SMALL_ROUNDS

I1, I64 = ir.IntType(1), ir.IntType(64)


@Intrinsic
def permuted(n: Any, index: Any, key0: Any, key1: Any, epoch: Any) -> Any:
    """Where the bijection of {0, ..., n - 1} chosen by (key0, key1, epoch) sends ``index``, an int64.

    What depends on n, keys and epoch alone leaves the loop around it.
    """
    if not all(isinstance(kind, types.Integer) for kind in (n, index, key0, key1, epoch)):
        return None

    def emit(builder: ir.IRBuilder, signature: types.Signature, args: Sequence[ir.Value]) -> ir.Value:
        number = [as_index(builder, signature, position, args) for position in range(5)]
        return _walk(builder, number[0], number[1], _network(builder, *number))

    return types.int64(n, index, key0, key1, epoch), emit


def _walk(b: ir.IRBuilder, n: ir.Value, index: ir.Value, network: Any) -> ir.Value:
    """Apply the network until the result is below n."""
    before, again, done = b.block, b.append_basic_block("walk"), b.append_basic_block("walked")
    b.branch(again)
    b.position_at_end(again)
    x = b.phi(I64)
    result = network(x)
    x.add_incoming(index, before)
    x.add_incoming(result, b.block)
    b.cbranch(b.icmp_unsigned("<", result, n), done, again)
    b.position_at_end(done)
    return result


def _network(b: ir.IRBuilder, n: ir.Value, _index: ir.Value, key0: ir.Value, key1: ir.Value, epoch: ir.Value) -> Any:
    """The parts that are the same for every index, and a function that emits the rounds."""
    leading = b.module.declare_intrinsic("llvm.ctlz", [I64], ir.FunctionType(I64, [I64, I1]))
    # The or with 2 makes the domain at least two bits wide: no half is empty.
    bits = b.sub(I64(64), b.call(leading, [b.or_(b.sub(n, I64(1)), I64(2)), I1(0)]))
    low_bits = b.lshr(bits, I64(1))
    low_shift = b.sub(I64(64), low_bits)
    high_shift = b.sub(I64(64), b.sub(bits, low_bits))
    low_mask = b.sub(b.shl(I64(1), low_bits), I64(1))
    keys = _round_keys(b, key0, key1, epoch)

    def rounds(numbers: range, high: ir.Value, low: ir.Value) -> tuple[ir.Value, ir.Value]:
        for r in numbers[::2]:
            high = b.xor(high, _hashed(b, low, *keys[r], high_shift))
            low = b.xor(low, _hashed(b, high, *keys[r + 1], low_shift))
        return high, low

    def network(x: ir.Value) -> ir.Value:
        high, low = rounds(range(ROUNDS), b.lshr(x, low_bits), b.and_(x, low_mask))
        small = b.icmp_unsigned("<=", bits, I64(SMALL_BITS))
        before, extra, after = b.block, b.append_basic_block("small"), b.append_basic_block("mixed")
        b.cbranch(small, extra, after)
        b.position_at_end(extra)
        further = rounds(range(ROUNDS, SMALL_ROUNDS), high, low)
        b.branch(after)
        b.position_at_end(after)
        high, low = (_either(b, pair, (before, extra)) for pair in zip((high, low), further))
        return b.or_(b.shl(high, low_bits), low)

    return network


def _either(b: ir.IRBuilder, values: tuple[ir.Value, ir.Value], blocks: tuple[ir.Block, ir.Block]) -> ir.Value:
    """The value that belongs to the block control came from."""
    phi = b.phi(I64)
    for value, block in zip(values, blocks):
        phi.add_incoming(value, block)
    return phi


def _finalised(b: ir.IRBuilder, z: ir.Value) -> ir.Value:
    """The finaliser of SplitMix64."""
    z = b.mul(b.xor(z, b.lshr(z, I64(30))), I64(MIX_1))
    z = b.mul(b.xor(z, b.lshr(z, I64(27))), I64(MIX_2))
    return b.xor(z, b.lshr(z, I64(31)))


def _round_keys(b: ir.IRBuilder, key0: ir.Value, key1: ir.Value, epoch: ir.Value) -> list[tuple[ir.Value, ir.Value]]:
    """Summand and odd multiplier of each round."""
    key = b.or_(b.shl(key1, I64(32)), key0)
    state = _finalised(b, b.add(key, b.mul(b.add(epoch, I64(1)), I64(GOLDEN))))
    words = [_finalised(b, b.add(state, I64((r + 1) * GOLDEN % 2**64))) for r in range(SMALL_ROUNDS)]
    swapped = [b.or_(b.shl(word, I64(32)), b.lshr(word, I64(32))) for word in words]
    return [(word, b.or_(other, I64(1))) for word, other in zip(words, swapped)]


def _hashed(b: ir.IRBuilder, x: ir.Value, summand: ir.Value, factor: ir.Value, shift: ir.Value) -> ir.Value:
    """The top bits of summand + x*factor."""
    return b.lshr(b.add(summand, b.mul(x, factor)), shift)
