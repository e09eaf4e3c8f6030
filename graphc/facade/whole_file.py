"""Files that appear whole or not at all, and whose unfinished parts a later one removes.

An unfinished file is locked by its process; the lock ends with the process, however that ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import time
from pathlib import Path

UNFINISHED = ".unfinished"
SETTLED = 60.0  # seconds


def write_whole(path: Path, content: bytes) -> None:
    """Write a file under another name, then let it take the place of ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_unfinished(path.parent)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}{UNFINISHED}")
    try:
        with temporary.open("xb") as file:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(file, fcntl.LOCK_EX)
            file.write(content)
            file.flush()
            os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def remove_unfinished(folder: Path) -> None:
    """Remove what processes that have ended left behind; what cannot be locked or removed stays."""
    for left in folder.glob(f".*{UNFINISHED}"):
        with contextlib.suppress(OSError), left.open("rb") as file:
            about = os.fstat(file.fileno())
            if about.st_size or time.time() - about.st_mtime > SETTLED:  # an empty one may not be locked yet
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                left.unlink(missing_ok=True)
