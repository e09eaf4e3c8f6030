"""What the check of a training program needs and no program is needed for, done while LLVM compiles it.

The formulas are derived and evaluated, and memory is touched, by a thread of its own: the front end of the compiler
holds one core, and products and copies hold no lock. Where these are small, two threads would wait for Python's lock.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from graphc.facade.trials import TrainingTrial
from graphc.native.stack import Elsewhere, cores

LARGE = 1 << 20  # elements of the parameters from which on it pays


class Rehearsal:
    """``begin`` is called when a program has to be compiled; ``trial`` is there afterwards, behind the ``with``.

    What fails in the thread is done again, and fails again, by the check.
    """

    def __init__(self, elements: int, make: Callable[[], TrainingTrial]) -> None:
        """``elements`` are those of the parameters."""
        self._elements, self._make, self._elsewhere = elements, make, None
        self.trial: TrainingTrial | None = None

    def begin(self) -> None:
        """The trial, whose data may belong to the calling thread, and the rest by another one."""
        if cores() > 1 and self._elements >= LARGE:
            self.trial = self._make()
            self._elsewhere = Elsewhere(self.trial.rehearse)

    def __enter__(self) -> Rehearsal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._elsewhere is not None:
            self._elsewhere.wait()
