"""How the threads of one run wait for one another."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from graphc.primitives import types
from graphc.primitives.code import declared
from graphc.primitives.intrinsics import Intrinsic
from graphc.primitives.memory import as_index
from graphc.primitives.types import is_pointer

I32, I64 = ir.IntType(32), ir.IntType(64)
PATIENCE = 1 << 18  # looks at the counter (some 400 microseconds) before a waiting thread offers its core to others


@Intrinsic
def meet(counter: Any, index: Any, goal: Any) -> Any:
    """Add 1 to counter[index] and wait until it reaches ``goal``; every thread calls it with the same goal.

    The counter only grows, so a thread that runs ahead cannot be mistaken for one of the next meeting.  Waiting
    threads spin, and now and then yield their core: a busy machine slows the run down but does not stall it.
    """
    if not is_pointer(counter) or counter.dtype is not types.int64:
        return None

    def emit(builder: ir.IRBuilder, signature: types.Signature, args: Sequence[ir.Value]) -> None:
        place = builder.gep(args[0], [as_index(builder, signature, 1, args)])
        goal_ = as_index(builder, signature, 2, args)
        builder.atomic_rmw("add", place, I64(1), "seq_cst")
        _wait(builder, place, goal_)

    return types.void(counter, index, goal), emit


def _wait(builder: ir.IRBuilder, place: ir.Value, goal: ir.Value) -> None:
    before = builder.block
    look, wait, done = (builder.append_basic_block(f"meet.{name}") for name in ("look", "wait", "done"))
    builder.branch(look)
    builder.position_at_end(look)
    turns = builder.phi(I64)
    turns.add_incoming(I64(1), before)
    seen = builder.load_atomic(place, "seq_cst", 8)
    builder.cbranch(builder.icmp_signed(">=", seen, goal), done, wait)
    builder.position_at_end(wait)
    _rest(builder, turns)
    turns.add_incoming(builder.add(turns, I64(1)), builder.block)
    builder.branch(look)
    builder.position_at_end(done)


def _rest(builder: ir.IRBuilder, turns: ir.Value) -> None:
    """A pause for the core's other thread; after many turns, for other processes."""
    if sys.platform == "win32":
        return
    tired = builder.icmp_unsigned("==", builder.urem(turns, I64(PATIENCE)), I64(0))
    with builder.if_then(tired, likely=False):
        kind = ir.FunctionType(I32, [])
        builder.call(declared(builder.module, kind, "sched_yield"), [])
