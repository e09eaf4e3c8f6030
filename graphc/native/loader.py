"""Object files in memory: load, find the entries, call them.

Needs llvmlite only: a program found in the cache runs without Numba being imported.
"""

from __future__ import annotations

import ctypes
import hashlib
import struct
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any
from weakref import WeakValueDictionary

import llvmlite.binding as llvm

from graphc.native import stack

SYMBOL_PREFIX, FLUSHING, BUNDLED = "graphc_", "graphc_flushing_", "graphc_bundled_"
_SCALARS = {
    "int32": ctypes.c_int32,
    "int64": ctypes.c_int64,
    "uint32": ctypes.c_uint32,
    "uint64": ctypes.c_uint64,
    "float32": ctypes.c_float,
    "float64": ctypes.c_double,
}
_RESULT = ctypes.POINTER(ctypes.c_int64)


def argument_ctype(word: str) -> type:
    """The ctypes type of an argument word: an address for ``"float32*"``, a number for ``"float32"``."""
    if word.rstrip("*") not in _SCALARS or word.count("*") > 1:
        raise ValueError(f"unknown argument type {word!r}")
    return ctypes.c_void_p if word.endswith("*") else _SCALARS[word]


def _machine() -> llvm.TargetMachine:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine(jit=True)


def assemble(text: str) -> bytes:
    """The image of a module in LLVM's textual form."""
    machine = _machine()
    return pack([machine.emit_object(llvm.parse_assembly(text))])


def pack(parts: Sequence[bytes]) -> bytes:
    """An image of several object files: their number, their lengths, one after another."""
    return struct.pack(f"<{len(parts) + 1}Q", len(parts), *map(len, parts)) + b"".join(parts)


def unpack(image: bytes) -> list[bytes]:
    """The object files of an image."""
    (count,) = struct.unpack_from("<Q", image)
    ends = list(accumulate(struct.unpack_from(f"<{count}Q", image, 8), initial=8 * (count + 1)))
    return [image[start:stop] for start, stop in pairwise(ends)]


_engines: WeakValueDictionary[bytes, llvm.ExecutionEngine] = WeakValueDictionary()


def load(image: bytes) -> llvm.ExecutionEngine:
    """Put the object files of an image into executable memory, which lives as long as the returned engine; what is
    there already is there once."""
    key = hashlib.sha256(image).digest()
    engine = _engines.get(key)
    if engine is None:
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine())
        for part in unpack(image):
            engine.add_object_file(llvm.ObjectFileRef.from_data(part))
        engine.finalize_object()
        _engines[key] = engine
    return engine


def bundled_name(prefix: str, entry: str) -> str:
    """The symbol of the twin that takes the arguments of ``prefix + entry`` from a bundle."""
    return BUNDLED + prefix.removeprefix(SYMBOL_PREFIX) + entry


class Program:
    """Compiled entries of one module.

    Calls release the GIL. Pointer arguments are integer addresses; the caller keeps their memory alive.

    Attributes
    ----------
    subnormals : bool
        Whether numbers too small for the full precision stay what they are; else calls flush them to zero.
    told : function, optional
        Where the program checks its reads and writes: what gives its text, for its errors.
    arguments : dict of str to int
        How many every entry takes.
    """

    def __init__(self, name: str, image: bytes, entries: Mapping[str, tuple[str, ...]]) -> None:
        self.name, self.subnormals = name, False
        self.told: Callable[[], Any] | None = None
        self.arguments = {entry: len(kinds) for entry, kinds in entries.items()}
        self.uses_blas = b"graphc_blas_" in image
        self._engine = load(image)
        places = {(entry, kept): SYMBOL_PREFIX if kept else FLUSHING for entry in entries for kept in (False, True)}
        self._address = {key: self._engine.get_function_address(prefix + key[0]) for key, prefix in places.items()}
        self._call = {key: self._bind(key, entries[key[0]]) for key in places}

    def _bind(self, key: tuple[str, bool], words: tuple[str, ...]) -> ctypes._CFuncPtr:
        # Numba's calling convention for numbers and pointers is C: status f(result*, exception**, arguments...).
        prototype = ctypes.CFUNCTYPE(ctypes.c_int32, _RESULT, ctypes.c_void_p, *map(argument_ctype, words))
        return prototype(self._address[key])

    def address(self, entry: str) -> int:
        """Where the machine code of an entry starts."""
        return self._address[entry, self.subnormals]

    def bundled(self, entry: str) -> int:
        """Where that of its twin starts, which takes its arguments from a bundle."""
        return self._engine.get_function_address(bundled_name(SYMBOL_PREFIX if self.subnormals else FLUSHING, entry))

    def call(self, entry: str, *arguments: float) -> int:
        """Run an entry and return its int64 result."""
        statistics["native_calls"] += 1
        result, exception = ctypes.c_int64(), ctypes.c_void_p()
        native, head = self._call[entry, self.subnormals], (ctypes.byref(result), ctypes.addressof(exception))
        if stack.is_roomy():
            status = native(*head, *arguments)
        else:
            status = stack.with_room(lambda: native(*head, *arguments))
        if status:
            raise RuntimeError(f"{self.name}.{entry} returned status {status}")
        return result.value


statistics = {"compiled": 0, "loaded_from_cache": 0, "native_calls": 0}
"""How often a module was compiled or found in the cache, and how often native code was called, in this process."""


def undefined_symbols(image: bytes) -> frozenset[str]:
    """Names that the object files of an image expect somebody else to define (ELF64; System V ABI, chapter 4: symbol
    table)."""
    tables = [_symbols(part) for part in unpack(image)]
    defined = {name for table in tables for name, section in table if section}
    return frozenset(name for table in tables for name, section in table if not section and name not in defined)


def _symbols(part: bytes) -> list[tuple[str, int]]:
    """Every symbol of an object file with its section, 0 for one that is not there."""
    if part[:6] != b"\x7fELF\x02\x01":
        raise ValueError("not a little-endian ELF64 object file")
    (offset,) = struct.unpack_from("<Q", part, 40)
    size, count = struct.unpack_from("<HH", part, 58)
    sections = [struct.unpack_from("<IIQQQQIIQQ", part, offset + k * size) for k in range(count)]
    found: list[tuple[str, int]] = []
    for start, length, link in [section[4:7] for section in sections if section[1] == 2]:
        strings = part[sections[link][4] :]
        entries = struct.iter_unpack("<IBBHQQ", part[start : start + length])
        found += [(strings[k : strings.index(b"\0", k)].decode(), section) for k, _, _, section, _, _ in entries if k]
    return found
