"""A program in units that LLVM compiles by themselves: its entries with what stands in them, and what they call.

A unit is a product, a transpose or a loop nest: a function of pointers and numbers, named by what it does. It is
compiled once, beside others (:mod:`graphc.native.machine_code`), and kept under its own text, so that a model that
differs in one layer finds the others.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from llvmlite import ir

from graphc.primitives.matmul.vector_ir import BY_HAND
from graphc.primitives.vector_math.vector_abi import keeper

FEW = 24  # instructions of a function that does little more than to call another: it stays beside its callers
BY_HAND_MARK = "; written in vectors"
"""The first line of a unit whose functions are all written by hand."""

_NAME, _METADATA = re.compile(r'@"([^"]+)"'), re.compile(r"!\d+")


def units_of(module: ir.Module, stem: str) -> Iterator[tuple[str, str]]:
    """The text of a module's entries without its units, under an empty symbol, then that of each unit under its own,
    which begins with ``stem``; the longest functions come first.

    Whoever calls a unit declares it; other functions and constants that it reads stand beside it.
    """
    units = {name for name, value in module.globals.items() if name.startswith(stem) and _is_unit(value)}
    for name in units:
        module.globals[name].linkage = ""
    whole = _Whole(module, units)
    yield "", whole.text([f.name for f in module.functions if f.name not in units and _is_entry(f)])
    for name in sorted(units, key=lambda n: (-_length(module.globals[n]), n)):
        yield name, whole.text([name])


def forget(module: ir.Module) -> None:
    """Take a module apart whose text is written: its parts know one another both ways, and the collector would take
    four times as long to find that nobody else knows them."""
    for block in (b for f in module.functions for b in f.blocks):
        for instruction in block.instructions:
            instruction.parent = None
            if isinstance(instruction, ir.PhiInstr):
                instruction.incomings.clear()
        block.instructions.clear()
        block.terminator = None


class _Whole:
    def __init__(self, module: ir.Module, units: Collection[str]) -> None:
        self.globals, self._texts = module.globals, dict[str, str]()
        self.declared = {name: _declaration(module.globals[name]) for name in units}
        self.head = [f'target triple = "{module.triple}"', f'target datalayout = "{module.data_layout}"']
        self.head += [kind.get_declaration() for kind in module.get_identified_types().values()]
        self.metadata = {text.split(" ", 1)[0]: text for text in map(str, module.metadata)}

    def text_of(self, name: str) -> str:
        """What is written of a function or a constant, once: the first units are compiled while others are written."""
        if name not in self._texts:
            self._texts[name] = str(self.globals[name])
        return self._texts[name]

    def text(self, names: Collection[str]) -> str:
        """A module of some functions, and of what they read."""
        found, waiting = dict.fromkeys(names, ""), [*names]
        for name in waiting:  # it grows
            is_declared = name in self.declared and name not in names
            found[name] = self.declared[name] if is_declared else self.text_of(name)
            read = dict.fromkeys([*_NAME.findall(found[name]), keeper(name)])
            new = [n for n in read if n in self.globals and n not in found]
            found.update(dict.fromkeys(new, ""))
            waiting += new
        text = "\n".join(found.values())
        head = [BY_HAND_MARK, *self.head] if all(map(self._is_by_hand, found)) else self.head
        return "\n".join([*head, text, *self._metadata_of(text), ""])

    def _is_by_hand(self, name: str) -> bool:
        value = self.globals[name]
        return value in BY_HAND or not isinstance(value, ir.Function) or value.is_declaration

    def _metadata_of(self, text: str) -> list[str]:
        waiting = [*dict.fromkeys(_METADATA.findall(text))]
        for name in waiting:
            waiting += [n for n in dict.fromkeys(_METADATA.findall(self.metadata[name])) if n not in waiting]
        return [self.metadata[name] for name in waiting]


def _is_entry(function: ir.Function) -> bool:
    return not function.is_declaration and function.linkage != "internal"


def _is_unit(value: object) -> bool:
    """A function that stands by itself, and is worth it."""
    if not isinstance(value, ir.Function) or value.is_declaration or "noinline" not in value.attributes:
        return False
    return _length(value) > FEW


def _length(function: ir.Function) -> int:
    return sum(len(block.instructions) for block in function.blocks)


def _declaration(function: ir.Function) -> str:
    kinds = ", ".join(map(str, function.function_type.args))
    return f'declare {function.function_type.return_type} @"{function.name}"({kinds}) nounwind'
