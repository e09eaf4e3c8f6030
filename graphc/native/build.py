"""Generated text -> running program: looked up in the cache, compiled when it is not there.

>>> program = build(source, {"step": ("float32*", "int64")}, name="xor")    # doctest: +SKIP
>>> program.call("step", address, 32)                                       # doctest: +SKIP
"""

from __future__ import annotations

import ast
import linecache
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from graphc.errors import CompileError
from graphc.native import blas_library, cache, stack
from graphc.native.buffers import trim
from graphc.native.gc_pause import importing
from graphc.native.loader import Program, pack, statistics, undefined_symbols

__all__ = ["Program", "build", "statistics", "undefined_symbols"]

Entries = Mapping[str, tuple[str, ...]]

_compiling = threading.Lock()  # typing and lowering share tables
if hasattr(os, "register_at_fork"):
    release = _compiling.release
    os.register_at_fork(before=_compiling.acquire, after_in_parent=release, after_in_child=release)


def build(
    source: str,
    entries: Entries,
    *,
    name: str,
    folder: str | Path | None = None,
    compiling: Callable[[], None] | None = None,
) -> Program:
    """Compile a generated module, or take its machine code from the cache.

    Parameters
    ----------
    source
        Text of a Python module written by the emit stage. Every name has one type in a function; functions take
        numbers and pointers and return an int64.
    entries
        Function name -> words of its argument types, such as ``"float32*"`` or ``"int64"``.
    name
        Shown in tracebacks and errors.
    folder
        Where compiled code is kept; default: the environment variable GRAPHC_CACHE, else the user's cache folder.
    compiling
        Called before the text is compiled, if it is.

    Raises
    ------
    CompileError
        When the text does not compile: a defect of graphc.
    """
    words = {entry: tuple(kinds) for entry, kinds in entries.items()}
    key = cache.key_of(source, words)
    found = find(key, words, name=name, folder=folder)
    if found is not None:
        return found
    statistics["compiled"] += 1
    if compiling is not None:
        compiling()
    store = cache.open_store(folder)
    with _compiling:
        image = stack.with_room(lambda: compile_image(source, words, name=name, store=store))
    trim()
    if store:
        store.put(key, image)
    return _load(name, image, words)


def find(key: str, entries: Entries, *, name: str, folder: str | Path | None = None) -> Program | None:
    """The program whose machine code the cache has under :func:`graphc.native.cache.key_of` its text, or None."""
    store = cache.open_store(folder)
    image = store.get(key) if store else None
    if image is None:
        return None
    statistics["loaded_from_cache"] += 1
    return _load(name, image, entries)


def _load(name: str, image: bytes, entries: Entries) -> Program:
    blas_library.provide_for(image)
    return Program(name, image, entries)


def compile_image(source: str, entries: Entries, *, name: str, store: cache.Store | None = None) -> bytes:
    """Machine code of a program, for :func:`graphc.native.loader.load`; units in ``store`` are not compiled again.

    Raises
    ------
    CompileError
        When the text does not compile: a defect of graphc.
    """
    with importing():
        from numba.core.errors import NumbaError

        from graphc.native import machine_code, target

    tree = ast.parse(source)
    functions = _execute(source, name, target.replace_numbers, tree)
    shared = target.replace_shared(functions, entries)
    wanted = {entry: (functions[entry], tuple(words)) for entry, words in entries.items()}
    try:
        own, units = target.lower(wanted, shared, functions_of(tree))
        kept = _Kept(store, units)
        machines = target.target_machines(min(1 + len(kept.missing), stack.cores()))
        made, *others = machine_code.compiled([own, *kept.missing.values()], machines)
    except (NumbaError, RuntimeError) as error:  # RuntimeError: LLVM's parser or verifier
        reason = str(error).strip().splitlines()
        detail = next((line for line in reason if line and not line.startswith("Failed in")), "no reason given")
        raise CompileError(
            f"internal defect: the generated program {name!r} does not compile: {detail}; "
            f"please report it with the generated text"
        ) from None
    kept.add(others)
    image = pack([made, *kept.images.values()])
    unknown = {s for s in undefined_symbols(image) if s.startswith("graphc")} - {*blas_library.SYMBOLS}
    if unknown:
        detail = f"the generated program {name!r} calls {min(unknown)}, which nothing defines"
        raise CompileError(f"internal defect: {detail}; please report it with the generated text")
    return image


unit_statistics = {"compiled": 0, "loaded_from_cache": 0}
"""The same of the units of modules that were compiled."""


class _Kept:
    """The machine code of a program's units: what the cache has, and what is missing."""

    def __init__(self, store: cache.Store | None, units: Mapping[str, tuple[str, ...]]) -> None:
        self._store, self.images = store, dict.fromkeys(units, b"")
        self._keys = {symbol: cache.key_of_unit(*texts) for symbol, texts in units.items()} if store else {}
        for symbol, key in self._keys.items():
            self.images[symbol] = (store and store.get(key, cache.UNIT)) or b""
        self.missing = {symbol: units[symbol] for symbol, image in self.images.items() if not image}
        unit_statistics["compiled"] += len(self.missing)
        unit_statistics["loaded_from_cache"] += len(units) - len(self.missing)

    def add(self, images: Sequence[bytes]) -> None:
        """Those that were missing, in their order."""
        for symbol, image in zip(self.missing, images, strict=True):
            self.images[symbol] = image
            if self._store:
                self._store.put(self._keys[symbol], image, cache.UNIT)


def functions_of(tree: ast.Module) -> dict[str, ast.FunctionDef]:
    """The functions of a module, as they were parsed."""
    return {s.name: s for s in tree.body if isinstance(s, ast.FunctionDef)}


def _execute(
    source: str, name: str, finish: Callable[[dict[str, Any]], None], tree: ast.Module | None = None
) -> dict[str, Any]:
    """Run the module text; its lines show in tracebacks under the name of the program."""
    filename = f"<graphc {name}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    namespace: dict[str, Any] = {"__name__": f"graphc.generated.{name}"}
    exec(compile(tree or source, filename, "exec"), namespace)  # noqa: S102  text of our own emitter, never a user's
    finish(namespace)
    return namespace
