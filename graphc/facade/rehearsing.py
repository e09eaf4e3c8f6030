"""What the check of a training program needs and no program is needed for, done while LLVM compiles it.

The formulas are derived and evaluated, and memory is touched, by the thread that has asked for the program: it has
nothing else to do, and LLVM's threads hold no lock of Python's. For large parameters another thread begins at once:
products and copies of theirs hold no lock, so that they do not keep who lowers the program waiting.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import TracebackType

from graphc.facade.trials import TrainingTrial
from graphc.native.stack import Elsewhere, cores

LARGE = 1 << 20  # elements of the parameters


class Rehearsal:
    """To be called when a program has to be compiled; ``trial`` is there afterwards. Whatever becomes of the
    compilation, nothing of it goes on behind the ``with``."""

    def __init__(self, elements: int, make: Callable[[], TrainingTrial]) -> None:
        """``elements`` are those of the parameters."""
        self._elements, self._make, self._elsewhere = elements, make, None
        self.trial: TrainingTrial | None = None

    def __call__(self) -> Callable[[], None]:
        """The trial, whose data may belong to the calling thread; returns the rest, which another may do."""
        self.trial = self._make()
        if self._elements < LARGE or cores() == 1:
            return self._rehearse
        self._elsewhere = Elsewhere(self._rehearse)
        return self._elsewhere.wait

    def __enter__(self) -> Rehearsal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._elsewhere is not None:
            self._elsewhere.wait()

    def _rehearse(self) -> None:
        assert self.trial is not None
        with contextlib.suppress(Exception):  # it is done again, and fails again, by the check
            self.trial.rehearse()
