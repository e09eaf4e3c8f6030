"""What happens at the ends of epochs, in machine code: many epochs are one native call.

The program of :mod:`graphc.emit.epochs` trains and evaluates in turn. Callbacks that watch a quantity are rows of
numbers to it; the epoch in which one of them acts ends in Python, as does every one that another callback asks for.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import field

import numpy as np
from numpy.typing import NDArray

from graphc.emit import epochs as words
from graphc.native import cache
from graphc.native.buffers import address, aligned
from graphc.native.build import Program, build, find
from graphc.native.bundles import bundle
from graphc.records import record
from graphc.run.callback import Callback, Watching
from graphc.run.history import Run
from graphc.run.keeping import Checkpoint, Trajectory
from graphc.run.logs import CSVLogger, JSONLogger, TensorBoard
from graphc.run.steering import EarlyStopping, ReduceLROnPlateau
from graphc.run.thread_team import one_thread_of_blas

WORTH = 2000  # epochs for which the program is compiled, 0.1 to 0.5 s, where the cache does not have it
_LOSSES = 11  # where a bundle has the losses of steps: behind the address, the eleventh argument of training

Watcher = EarlyStopping | ReduceLROnPlateau
_WATCHERS, _KEEPERS = (EarlyStopping, ReduceLROnPlateau), (Checkpoint, Trajectory)
_LOGS = (CSVLogger, JSONLogger, TensorBoard)


@functools.cache
def _made() -> Program:
    text = words.epochs_program()
    program = build(text.text, {text.entry: text.signature}, name=text.name)
    program.subnormals = True  # means are divided as NumPy divides them; the programs that are called flush
    return program


def program_for(epochs: int) -> Program | None:
    """The program, where so many epochs are worth having it."""
    text = words.epochs_program()
    entries = {text.entry: text.signature}
    known = _made.cache_info().currsize or epochs >= WORTH or find(cache.key_of(text.text, entries), entries, name="")
    return _made() if known else None


def period(callback: Callback) -> int | None:
    """Of how many epochs one ends with the callback in Python; None for one that watches, where only epochs in which it
    acts do, and for a log, which takes note of epochs later."""
    if isinstance(callback, _WATCHERS) and _is_own(callback, _WATCHERS):
        return None if type(callback).watched is Watching.watched else 1
    if isinstance(callback, _KEEPERS) and _is_own(callback, _KEEPERS):
        return callback.every
    return None if is_log(callback) else 1


def is_log(callback: Callback) -> bool:
    """Whether a callback does nothing but write down what the run tells of an epoch."""
    return isinstance(callback, _LOGS) and _is_own(callback, _LOGS)


def _is_own(callback: Callback, kinds: tuple[type[Callback], ...]) -> bool:
    """Whether the end of an epoch is what it is to one of these kinds."""
    return any(type(callback).epoch_end is kind.epoch_end for kind in kinds)


@record
class Validation:
    """The evaluation program and its arguments; ``arrays`` are those that belong to it, ``totals`` what it adds up,
    ``names`` the quantities."""

    program: Program
    arguments: Sequence[int]
    totals: NDArray
    names: Sequence[str]
    arrays: Sequence[NDArray] = ()


@record
class EpochEnds:
    """The ends of the epochs of one native call after another.

    Attributes
    ----------
    steps, seconds : int, float
        Of the next call: how many, and what they are expected to take.
    values : array
        What validation gave, a row an epoch.
    in_python : bool
        Whether callbacks are still to be called for the last epoch.
    quiet, first : int
        Epochs that need no callback but logs any more, and the steps up to the end of the first.
    """

    program: Program
    parameters: NDArray
    per_epoch: int
    batch: int
    names: Sequence[str]
    validation: Validation | None
    watchers: Sequence[Watcher]
    steps: int = 0
    seconds: float = 0.0
    values: NDArray = field(default_factory=lambda: np.empty((0, 0)))
    in_python: bool = False
    quiet: int = 0
    first: int = 0

    def __post_init__(self) -> None:
        self.d = aligned(words.D_SIZE, np.int64)
        self.watched = np.zeros((max(len(self.watchers), 1), words.W_SIZE))
        self.flat = self.parameters.view(np.int64)
        self.copies = aligned(len(self.watchers) * len(self.flat), np.int64)

    @property
    def done(self) -> int:
        """Steps of the epochs of this call that have ended."""
        return int(self.d[words.DONE])

    def prepare(self, run: Run, epochs: int, call_at: int) -> None:
        """For a call that ends at most so many epochs, of which the one numbered ``call_at`` (0: none) ends in
        Python."""
        d, v = self.d, self.validation
        scalars = len(v.names) if v else 0
        d[:] = 0
        d[[words.LEFT, words.PER_EPOCH, words.BATCH]] = self.steps, self.per_epoch, self.batch
        d[[words.WIDTH, words.LOSSES, words.WATCHERS]] = len(self.names), _LOSSES, len(self.watchers)
        d[[words.VALIDATES, words.SCALARS, words.FLAT]] = v is not None, scalars, len(self.flat)
        d[words.CALLS_AT] = call_at
        self.rows = np.empty((epochs, scalars))
        for t, watcher in enumerate(self.watchers):
            self._tell(t, watcher, run)

    def _tell(self, t: int, watcher: Watcher, run: Run) -> None:
        w, keeps = self.watched[t], isinstance(watcher, EarlyStopping) and watcher.restore_best
        w[words.QUANTITY] = self.place(watcher.watched(run)[0])
        w[[words.SIGN, words.MIN_DELTA, words.PATIENCE]] = watcher.sign, watcher.min_delta, watcher.patience
        w[[words.BEST, words.WAIT, words.EPOCH]] = watcher.best, watcher.wait, 0
        w[words.COPY] = t * len(self.flat) if keeps else -1
        if isinstance(watcher, ReduceLROnPlateau):
            w[words.COOLING] = watcher.cooling
            w[words.RESTS] = not run.hyper["eta"] > watcher.min_lr

    def place(self, name: str) -> int:
        """Where a quantity of the history lies: from 0 on those of training, from -1 down those of validation."""
        held_out = [f"val_{n}" for n in self.validation.names] if self.validation else []
        return -1 - held_out.index(name) if name in held_out else self.names.index(name)

    def call(self, program: Program, arguments: Sequence[int], c: NDArray) -> None:
        """The native call: ``program`` trains, by one thread, with these arguments; ``c`` are its control words."""
        v = self.validation
        evaluation = bundle(v.program, "evaluate", v.arguments) if v else np.zeros(1, np.int64)
        training, totals = bundle(program, "train", [*arguments, 0, 1]), v.totals if v else np.empty(0)
        history = arguments[9]
        arrays = [address(a) for a in (self.rows, self.d, self.watched, self.flat, self.copies)]
        with one_thread_of_blas(program), one_thread_of_blas(v.program if v else program):
            self.program.call(
                "epochs", address(training), address(evaluation), address(c), address(totals), history, *arrays
            )

    def finish(self) -> None:
        """After a call: what came out of it."""
        self.values = self.rows[: int(self.d[words.VALIDATED])]
        self.in_python, self.quiet = bool(self.d[words.CALLS]), int(self.d[words.QUIET])

    def tell_callbacks(self, run: Run, before: int) -> None:
        """What those that watch have seen, in the order of epochs; there were so many ``before`` the call."""
        found = [(int(w[words.EPOCH]), t) for t, w in enumerate(self.watched[: len(self.watchers)])]
        for epoch, t in sorted(found):
            watcher, w = self.watchers[t], self.watched[t]
            watcher.best, watcher.wait = float(w[words.BEST]), int(w[words.WAIT])
            if isinstance(watcher, ReduceLROnPlateau):
                watcher.cooling = int(w[words.COOLING])
            elif epoch:
                name = watcher.watched(run)[0]
                run.best = {"epoch": before + epoch, name: watcher.sign * watcher.best}
                watcher.parameters = self._copy(t) if watcher.restore_best else None

    def _copy(self, t: int) -> NDArray:
        size = len(self.flat)
        return self.copies[t * size : (t + 1) * size].view(self.parameters.dtype).copy()
