"""Compiled code on disk: one checksummed file a module, in a folder that only its owner can write to.

Machine code found here is executed, so a folder that others can write to is not used at all. A file holds a line of
magic, the SHA-256 of its own name and the content, and the content: object code, or what is known about a declaration,
as JSON. Nothing is unpickled, and a file that is damaged, or lies under the name of another one, is made anew.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import importlib.util
import json
import os
import stat
import sys
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path

from graphc.ir.scalar import FUNCTIONS, formula_of, placeholder
from graphc.primitives import host

LIMIT = 512 * 2**20
_MAGIC = b"graphc object 3\n"
CODE, UNIT, FACTS, VERDICT = ".obj", ".unit", ".facts", ".checked"
_SWEEP_EVERY = 32


class CacheWarning(UserWarning):
    """The cache of compiled code cannot be used, or part of it was damaged. Programs run all the same."""


def default_folder() -> Path:
    """GRAPHC_CACHE, else the cache folder that this platform gives a user."""
    chosen = os.environ.get("GRAPHC_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "graphc"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "graphc" / "cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "graphc"


def key_of(source: str, entries: Mapping[str, tuple[str, ...]]) -> str:
    """Hash of everything that the machine code depends on: not of comments, which hold formulas with chosen names."""
    code = "\n".join(line for line in source.splitlines() if not line.lstrip().startswith("#"))
    facts = [code, {name: list(words) for name, words in entries.items()}, *surroundings()]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def key_of_unit(text: str) -> str:
    """The same of a unit, whose text in LLVM's language says all that it depends on besides versions and this CPU."""
    return hashlib.sha256(json.dumps([text, *_machine()]).encode()).hexdigest()


def surroundings() -> list[object]:
    """What machine code depends on besides its text: versions, this CPU, the front end and the primitives."""
    return [*_machine(), *declared_outside()]


def _machine() -> list[object]:
    return [_MAGIC.decode(), _versions(), host.described(), _primitives()]


def declared_outside() -> list[str]:
    """The formulas of scalar functions that other packages declare: a program's text holds their names only."""
    entries = [f for f in FUNCTIONS.values() if f.formula and not f.cls.__module__.startswith(("graphc.", "sympy."))]
    return [f"{f.name}: {formula_of(f, [placeholder(j) for j in range(f.arity)])}" for f in entries]


@functools.cache
def _versions() -> list[str]:
    from graphc import __version__

    return [__version__, _version("numba"), _version("llvmlite")]


def _version(package: str) -> str:
    """The text of the package's own version file, since importlib.metadata takes 15 ms to import and to answer."""
    spec = importlib.util.find_spec(package)
    file = Path(spec.origin).with_name("_version.py") if spec and spec.origin else None
    if file is not None and file.is_file():
        return file.read_text(encoding="utf-8")
    from importlib import metadata

    return metadata.version(package)


@functools.cache
def _primitives() -> str:
    """Hash of the sources that shape the code: the compiler's front end, every primitive, formulas of functions."""
    here = Path(__file__).parent
    digest = hashlib.sha256()
    for file in [
        here / "target.py",
        here / "units.py",
        here / "machine_code.py",
        here / "lowering.py",
        here / "operators.py",
        here / "numba_pipeline.py",
        here / "divided.py",
        here / "repeats.py",
        here / "trees.py",
        here / "bounds.py",
        here / "ahead.py",
        here / "touched.py",
        here / "subnormals.py",
        here / "bundles.py",
        here / "build.py",
        *sorted((here.parent / "primitives").rglob("*.py")),
        *sorted((here.parent / "ir" / "functions").glob("*.py")),
        here.parent / "ir" / "drawing.py",
    ]:
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


class Store:
    """A folder of compiled modules, limited in size; the least recently used go first."""

    def __init__(self, folder: Path, limit: int = LIMIT) -> None:
        self.folder = folder
        self.limit = limit

    def get(self, key: str, kind: str = CODE) -> bytes | None:
        """What is kept under a key, or None. A damaged file is removed, with a warning."""
        file = self.folder / (key + kind)
        try:
            content = _content(file)
        except FileNotFoundError:
            return None
        except OSError as error:
            _warn(f"cannot read {file.name} in the code cache {self.folder}: {error.strerror}; compiling anew")
            return None
        image = _unwrap(file.name, content)
        with contextlib.suppress(OSError):
            file.unlink() if image is None else os.utime(file)
        if image is None:
            _warn(f"{file.name} in the code cache {self.folder} is damaged; compiling anew")
        return image

    def put(self, key: str, image: bytes, kind: str = CODE) -> None:
        """Keep object code or facts: written beside, then moved into place, so that readers see all or nothing."""
        try:
            self._write(self.folder / (key + kind), _wrap(key + kind, image))
        except OSError as error:
            _warn(f"cannot write to the code cache {self.folder}: {error.strerror}; this program is not kept")
            return
        if int(key[:8], 16) % _SWEEP_EVERY == 0:
            self.sweep()

    def _write(self, file: Path, content: bytes) -> None:
        handle, name = tempfile.mkstemp(dir=self.folder, prefix=".new-")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
            os.replace(name, file)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise

    def sweep(self) -> None:
        """Remove the least recently used files until the folder fits the limit."""
        found = self._files()
        total = sum(size for _, size, _ in found)
        for _, size, file in sorted(found):
            if total <= self.limit:
                return
            with contextlib.suppress(OSError):
                file.unlink()
            total -= size

    def _files(self) -> list[tuple[float, int, Path]]:
        """When each was used, its size, and where it is."""
        found = []
        patterns = ("*" + CODE, "*" + UNIT, "*" + FACTS, "*" + VERDICT, ".new-*")
        for file in (f for pattern in patterns for f in self.folder.glob(pattern)):
            with contextlib.suppress(OSError):
                status = file.stat()
                found.append((status.st_mtime, status.st_size, file))
        return found

    @property
    def size(self) -> int:
        """Bytes of all that is kept."""
        return sum(size for _, size, _ in self._files())

    @property
    def programs(self) -> int:
        """How many compiled programs there are."""
        return sum(file.suffix == CODE for _, _, file in self._files())


def _content(file: Path) -> bytes:
    """The bytes of a regular file: a pipe would be waited for, a device may have no end."""
    handle = os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(handle, "rb") as stream:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "it is no file")
        return stream.read()


def _wrap(name: str, image: bytes) -> bytes:
    return _MAGIC + _digest(name, image) + image


def _digest(name: str, image: bytes) -> bytes:
    digest = hashlib.sha256(name.encode() + b"\0")
    digest.update(image)
    return digest.digest()


def _unwrap(name: str, content: bytes) -> bytes | None:
    """What the content of a file of that name holds, or None when a byte of it is wrong."""
    start = len(_MAGIC) + 32
    image = content[start:]
    whole = content[: len(_MAGIC)] == _MAGIC and _digest(name, image) == content[len(_MAGIC) : start]
    return image if whole else None


def open_store(folder: str | Path | None = None, limit: int = LIMIT) -> Store | None:
    """The cache in ``folder``, or None, with one warning a folder, when it cannot be trusted or used."""
    path = default_folder() if folder is None else Path(folder)
    reason = _why_unusable(path)
    if reason is None:
        return Store(path, limit)
    if path not in _warned:
        _warned.add(path)
        _warn(f"the code cache {path} is not used: {reason}; programs are compiled in every process")
    return None


_warned: set[Path] = set()


def _why_unusable(path: Path) -> str | None:
    """Make the folder if need be; why it cannot hold code that will be executed, or None."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.stat()
    except OSError as error:
        return error.strerror or "it cannot be made"
    if hasattr(os, "getuid") and status.st_uid != os.getuid():
        return "it belongs to another user"
    if sys.platform != "win32" and stat.S_IMODE(status.st_mode) & 0o022:
        return "others can write to it"
    if not os.access(path, os.W_OK | os.X_OK):
        return "it is read-only"
    return None


def _warn(text: str) -> None:
    warnings.warn(text, CacheWarning, stacklevel=4)
