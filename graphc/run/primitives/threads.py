"""How the threads of one run wait for one another."""

from __future__ import annotations

import platform
import sys
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.extending import intrinsic

from graphc.run.primitives.memory import as_index, is_pointer

I32, I64 = ir.IntType(32), ir.IntType(64)
PATIENCE = 1 << 18  # looks at the counter (some 400 microseconds) before a waiting thread leaves its core to others
_FUTEX = {"x86_64": 202, "aarch64": 98}.get(platform.machine(), 0) if sys.platform == "linux" else 0
_WAIT, _WAKE, _EVERYBODY = 128, 129, 2**31 - 1  # FUTEX_WAIT and FUTEX_WAKE of one process (man 2 futex)


@intrinsic(prefer_literal=True)
def meet(typingctx: Any, counter: Any, index: Any, goal: Any) -> Any:
    """Add 1 to counter[index] and wait until it reaches ``goal``; every thread calls it with the same goal.

    The counter only grows, so a thread that runs ahead cannot be mistaken for one of the next meeting.  Waiting
    threads spin for a while and then sleep, so that on a busy machine they neither take a core from one that works nor
    lose their turn: a thread that wakes goes before one that has run for long.  counter[index + 1] counts the sleepers.
    """
    if not is_pointer(counter) or counter.dtype is not types.int64:
        return None

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        place = builder.gep(args[0], [as_index(context, builder, signature, 1, args)])
        sleepers = builder.gep(place, [I64(1)])
        goal_ = as_index(context, builder, signature, 2, args)
        before = builder.atomic_rmw("add", place, I64(1), "seq_cst")
        last = builder.icmp_signed("==", builder.add(before, I64(1)), goal_)
        with builder.if_then(last):
            _wake(builder, place, sleepers)
        _wait(builder, place, sleepers, goal_)
        return context.get_dummy_value()

    return types.void(counter, index, goal), emit


def _wake(builder: ir.IRBuilder, place: ir.Value, sleepers: ir.Value) -> None:
    """Called after the last one came: whoever counts himself a sleeper later sees that and does not sleep."""
    if not _FUTEX:
        return
    asleep = builder.icmp_signed(">", builder.load_atomic(sleepers, "seq_cst", 8), I64(0))
    with builder.if_then(asleep, likely=False):
        _futex(builder, place, _WAKE, I64(_EVERYBODY))


def _wait(builder: ir.IRBuilder, place: ir.Value, sleepers: ir.Value, goal: ir.Value) -> None:
    before = builder.block
    look, wait, done = (builder.append_basic_block(f"meet.{name}") for name in ("look", "wait", "done"))
    builder.branch(look)
    builder.position_at_end(look)
    turns = builder.phi(I64)
    turns.add_incoming(I64(1), before)
    seen = builder.load_atomic(place, "seq_cst", 8)
    builder.cbranch(builder.icmp_signed(">=", seen, goal), done, wait)
    builder.position_at_end(wait)
    tired = builder.icmp_unsigned("==", builder.urem(turns, I64(PATIENCE)), I64(0))
    with builder.if_then(tired, likely=False):
        _rest(builder, place, sleepers, seen)
    turns.add_incoming(builder.add(turns, I64(1)), builder.block)
    builder.branch(look)
    builder.position_at_end(done)


def _rest(builder: ir.IRBuilder, place: ir.Value, sleepers: ir.Value, seen: ir.Value) -> None:
    """Sleep until the last one wakes everybody, unless somebody has come since; where there is no futex, yield."""
    if _FUTEX:
        builder.atomic_rmw("add", sleepers, I64(1), "seq_cst")
        _futex(builder, place, _WAIT, seen)
        builder.atomic_rmw("sub", sleepers, I64(1), "seq_cst")
    elif sys.platform != "win32":
        kind = ir.FunctionType(I32, [])
        builder.call(cgutils.get_or_insert_function(builder.module, kind, "sched_yield"), [])


def _futex(builder: ir.IRBuilder, place: ir.Value, operation: int, value: ir.Value) -> None:
    """The system call on the low half of a word; both machines that have it store that half first."""
    kind = ir.FunctionType(I64, [I64, ir.PointerType(), I64, I64, I64])
    syscall = cgutils.get_or_insert_function(builder.module, kind, "syscall")
    builder.call(syscall, [I64(_FUTEX), place, I64(operation), value, I64(0)])
