"""Files that appear whole or not at all, and whose unfinished parts a later one removes.

An unfinished file is locked by its process; the lock ends with the process, however that ends.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # Windows: nothing is locked, and what killed processes left stays
    fcntl = None

UNFINISHED = ".unfinished"
SETTLED = 60.0  # seconds


def write_whole(path: Path, content: bytes) -> None:
    """Write a file under another name, then let it take the place of ``path``.

    Raises
    ------
    OSError
        Naming ``path``, when the disk is full, the folder is gone or may not be written to; what stood there stays.
    """
    try:
        _write_whole(path, content)
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise


def _write_whole(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_unfinished(path.parent)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}{UNFINISHED}")
    try:
        with temporary.open("xb") as file:
            with contextlib.suppress(OSError):  # a file system without locks
                _lock(file)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # or a power cut leaves the new name without the content
            if fcntl is not None:  # under the lock, so that nobody takes the file for left behind
                os.replace(temporary, path)
        if fcntl is None:
            os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def remove_unfinished(folder: Path) -> None:
    """Remove what processes that have ended left behind; what cannot be locked or removed stays."""
    for left in folder.glob(f".*{UNFINISHED}") if fcntl is not None else ():
        with contextlib.suppress(OSError), left.open("rb") as file:
            about = os.fstat(file.fileno())
            if about.st_size or time.time() - about.st_mtime > SETTLED:  # an empty one may not be locked yet
                _lock(file, wait=False)
                left.unlink(missing_ok=True)


def _lock(file: IO[bytes], wait: bool = True) -> None:
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
