"""How one native program calls another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from graphc.primitives import types
from graphc.primitives.intrinsics import Intrinsic
from graphc.primitives.types import is_pointer

I32, I64 = ir.IntType(32), ir.IntType(64)


@Intrinsic
def invoke(bundle: Any) -> Any:
    """Call the function at the address bundle[0] with the address of bundle[1]; returns its status."""
    if not is_pointer(bundle) or bundle.dtype is not types.int64:
        return None

    def emit(builder: ir.IRBuilder, signature: types.Signature, args: Sequence[ir.Value]) -> ir.Value:  # noqa: ARG001
        kind = ir.FunctionType(I32, [ir.PointerType()])
        function = builder.inttoptr(builder.load(args[0]), kind.as_pointer())
        return builder.sext(builder.call(function, [builder.gep(args[0], [I64(1)])]), I64)

    return types.int64(bundle), emit
