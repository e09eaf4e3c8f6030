"""Ctrl-C while native code runs: noted at once, raised when the books of the run are in order."""

from __future__ import annotations

import _signal  # pyright: ignore[reportMissingImports]  signal's own functions make enums, which takes 8 microseconds
import signal
import threading
from types import FrameType, TracebackType
from typing import Self

_INTERRUPT = int(signal.SIGINT)


class DeferredInterrupt:
    """``with DeferredInterrupt() as ctrl_c``: Ctrl-C sets ``ctrl_c.seen``; KeyboardInterrupt is raised at the end.

    Python raises KeyboardInterrupt between any two instructions, so also after a native call has changed the
    parameters and before its steps are counted. In threads other than the main one, and where the program has a
    handler of its own, nothing changes.
    """

    seen = False

    def __enter__(self) -> Self:
        in_main = threading.current_thread() is threading.main_thread()
        self.active = in_main and _signal.getsignal(_INTERRUPT) is _signal.default_int_handler
        if self.active:
            _signal.signal(_INTERRUPT, self._note)
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.seen = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.active:
            _signal.signal(_INTERRUPT, _signal.default_int_handler)
        if self.seen and kind is None:
            raise KeyboardInterrupt
