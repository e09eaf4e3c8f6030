"""Native work that takes long: in a thread of its own, while the calling thread draws progress and hears Ctrl-C."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

SHORT = 0.05  # seconds: work expected to be shorter is not worth a thread (start and join cost 90 microseconds)
POLL = 0.05  # seconds between two looks at the progress word


def carry_out(
    work: Callable[[], None], seconds: float, wants_end: Callable[[], bool], stop: Callable[[], None]
) -> None:
    """Do ``work``, expected to take ``seconds``; whenever ``wants_end`` returns True, ``stop`` is called.

    Work that is short, or asked for by another thread than the main one, is done at once by the calling thread.
    """
    if seconds < SHORT or threading.current_thread() is not threading.main_thread():
        work()
        return
    worker = _Worker(work)
    try:
        worker.start()
        while not worker.wait(POLL):
            if wants_end():
                stop()
    except BaseException:  # of the watcher or a signal handler: let the last step finish, then pass it on
        stop()
        worker.wait_to_the_end()
        raise
    worker.check()


class _Worker(threading.Thread):
    """The native work in a thread of its own."""

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__(name="graphc", daemon=True)
        self.work = work
        self.ended = threading.Event()
        self.error: RuntimeError | None = None
        self.entry = threading.Lock()
        self.entered = self.cancelled = False

    def run(self) -> None:
        with self.entry:
            if self.cancelled:
                return
            self.entered = True
        try:
            self.work()
        except RuntimeError as error:
            self.error = error
        finally:
            self.ended.set()

    def wait(self, seconds: float) -> bool:
        """True when the work has ended."""
        return self.ended.wait(seconds)

    def wait_to_the_end(self) -> None:
        """However often Ctrl-C is pressed: the work writes to memory that its caller owns."""
        with self.entry:
            self.cancelled = True
        while self.entered and not self.ended.is_set():
            with contextlib.suppress(KeyboardInterrupt):
                self.ended.wait()

    def check(self) -> None:
        """Raise in the calling thread what was raised in this one."""
        if self.error is not None:
            raise self.error
