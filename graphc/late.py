"""Modules that are imported when something of them is asked for: what a run does not use costs it nothing.

Written beside the import that type checkers and the contracts between stages see::

    if TYPE_CHECKING:
        from graphc.facade import reporting
    else:
        reporting = late("graphc.facade.reporting")
"""

from __future__ import annotations

import importlib
from typing import Any


class _Late:
    """It keeps nothing of the module: what is replaced there is replaced here."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self._name), name)


def late(name: str) -> Any:
    """What stands for a module until something of it is asked for."""
    return _Late(name)
