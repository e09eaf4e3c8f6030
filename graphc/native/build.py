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

Compiling = Callable[[], Callable[[], None]] | None
"""What is called before a text is compiled; it returns what is to be done while LLVM works."""

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
    compiling: Compiling = None,
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
        Called before the text is compiled, if it is; what it returns is done while LLVM works.

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
    meanwhile = compiling() if compiling else None
    store = cache.open_store(folder)
    with _compiling:
        image = stack.with_room(lambda: compile_image(source, words, name=name, store=store, meanwhile=meanwhile))
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


def compile_image(
    source: str,
    entries: Entries,
    *,
    name: str,
    store: cache.Store | None = None,
    meanwhile: Callable[[], None] | None = None,
) -> bytes:
    """Machine code of a program, for :func:`graphc.native.loader.load`; units in ``store`` are not compiled again. LLVM
    begins with the first units that are written; ``meanwhile`` is done when all are.

    Raises
    ------
    CompileError
        When the text does not compile: a defect of graphc.
    """
    with importing():
        from graphc.native import machine_code, target
        from graphc.native.operators import Unfit

    tree = ast.parse(source)
    functions = _execute(source, name, target.replace_numbers, tree)
    shared = target.replace_shared(functions, entries)
    wanted = {entry: (functions[entry], tuple(words)) for entry, words in entries.items()}
    try:
        with machine_code.Works(target.target_machines(min(stack.cores(), machine_code.MOST))) as works:
            units = _Units(store, works.add)
            target.lower(wanted, shared, functions_of(tree), units.take)
            if meanwhile is not None:
                meanwhile()
            images = units.images(works.images())
    except (Unfit, RuntimeError) as error:  # RuntimeError: LLVM's parser or verifier
        reason = str(error).strip().splitlines()
        detail = next((line for line in reason if line and not line.startswith("Failed in")), "no reason given")
        raise CompileError(
            f"internal defect: the generated program {name!r} does not compile: {detail}; "
            f"please report it with the generated text"
        ) from None
    image = pack(images)
    unknown = {s for s in undefined_symbols(image) if s.startswith("graphc")} - {*blas_library.SYMBOLS}
    if unknown:
        detail = f"the generated program {name!r} calls {min(unknown)}, which nothing defines"
        raise CompileError(f"internal defect: {detail}; please report it with the generated text")
    return image


unit_statistics = {"compiled": 0, "loaded_from_cache": 0}
"""The same of the units of modules that were compiled."""


class _Units:
    """What a program is made of, in the order in which it is written: the cache has the machine code of some units, the
    others are compiled."""

    def __init__(self, store: cache.Store | None, compiled: Callable[[tuple[str, ...]], None]) -> None:
        self._store, self._compile = store, compiled
        self._images: dict[str, bytes] = {}
        self._keys: dict[str, str] = {}

    def take(self, symbol: str, texts: tuple[str, ...]) -> None:
        """A unit, or what belongs to this program alone, which has no symbol and is never kept."""
        if symbol and self._store:
            self._keys[symbol] = cache.key_of_unit(*texts)
            self._images[symbol] = self._store.get(self._keys[symbol], cache.UNIT) or b""
        self._images.setdefault(symbol, b"")
        if symbol:
            unit_statistics["loaded_from_cache" if self._images[symbol] else "compiled"] += 1
        if not self._images[symbol]:
            self._compile(texts)

    def images(self, made: Sequence[bytes]) -> list[bytes]:
        """All object files, what belongs to this program alone first; ``made`` are those that were missing, which the
        cache gets."""
        missing = [symbol for symbol, image in self._images.items() if not image]
        for symbol, image in zip(missing, made, strict=True):
            self._images[symbol] = image
            if symbol in self._keys and self._store:
                self._store.put(self._keys[symbol], image, cache.UNIT)
        return [self._images.pop(""), *self._images.values()]


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
