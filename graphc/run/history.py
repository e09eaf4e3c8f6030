"""What a training run tells afterwards."""

from __future__ import annotations

from dataclasses import field
from typing import Any

from numpy.typing import NDArray

from graphc.errors import UnknownNameError
from graphc.ir.letters import close_name
from graphc.records import record
from graphc.run.steered import RunningHyper


class History(dict[str, list[float]]):
    """Lists of numbers by name: one entry an epoch, or one a step for the loss with ``record="step"``."""

    def __missing__(self, name: str) -> list[float]:
        raise UnknownNameError(f"the history has no entry {name!r}\n  hint: {close_name(str(name), self)}")


@record
class Trace:
    """Parameters on the way of a run: ``points[i]``, all in one array, after ``steps[i]`` steps.

    ``model`` and ``data`` are those of the fit, for pictures; they are not pickled.
    """

    steps: list[int] = field(default_factory=list)
    points: list[NDArray] = field(default_factory=list)
    model: Any = field(default=None, repr=False, compare=False)
    data: tuple[Any, ...] | None = field(default=None, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "model": None, "data": None}

    def add(self, step: int, point: NDArray) -> None:
        """The next point."""
        self.steps.append(step)
        self.points.append(point)


@record
class Run:
    """The result of ``fit``.

    Attributes
    ----------
    history : dict of str to list of float
        ``"loss"``, the metrics, and ``"val_..."`` of both: means over each epoch, weighted by the rows (of several free
        extents: of its steps), of the values before each update.
    steps, seconds, compile_seconds : int, float, float
        Steps done, time in training, time spent deriving and compiling (0 for a program made before).
    threads : int
        Threads that computed.
    stopped : str
        Why the run ended: "finished", "converged", "early stopping", "callback", "interrupted", "diverged";
        with curvature also "no progress": no lower loss was found, as at the limit of the precision.
    best : dict
        Epoch and value of the best epoch, when EarlyStopping watched.
    notes : list of str
        What was done to the data, such as a cast to float32; which operations let no gradient through.
    seed, epochs : int
        The seed of the order of the rows; epochs done, where one that the run ends within counts too.
    latest : dict of str to float
        The means over the last epoch, under the names of the history.
    record : "epoch" or "step"
        What an entry of ``history["loss"]`` stands for.
    target : "cpu" or "cuda"
        Where it ran.
    choice : str
        On a GPU: the tier, and the µs a step that it and the others were expected to take.
    trajectory : Trace, optional
        Parameters on the way, when ``gc.Trajectory`` kept them.
    hyper : mapping of str to float
        The hyper-parameters of the optimizer now, ``run.hyper["eta"]``; a callback may set them for the steps to come.
    resumed : int
        Steps that an earlier run had done which this one took up: ``steps`` and ``epochs`` count those too, times and
        history do not.
    """

    history: History = field(default_factory=History)
    steps: int = 0
    seconds: float = 0.0
    compile_seconds: float = 0.0
    threads: int = 1
    stopped: str = "finished"
    best: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    seed: int = 0
    epochs: int = 0
    latest: dict[str, float] = field(default_factory=dict)
    record: str = "epoch"
    target: str = "cpu"
    choice: str = ""
    trajectory: Trace | None = None
    hyper: RunningHyper = field(default_factory=RunningHyper, repr=False, compare=False)
    resumed: int = 0

    def note(self, notes: list[str]) -> None:
        """Add what is not yet told."""
        self.notes += [note for note in notes if note not in self.notes]

    @property
    def microseconds_per_step(self) -> float:
        """Average time of a step in microseconds."""
        return 1e6 * self.seconds / max(self.steps - self.resumed, 1)

    def unit(self, name: str) -> str:
        """What an entry of the history of a quantity stands for: "epoch" or "step"."""
        return self.record if name == "loss" else "epoch"

    def __repr__(self) -> str:
        return f"<Run: {self}>"

    def __str__(self) -> str:
        last = ", ".join(f"{name} {value:.6g}" for name, value in self.latest.items())
        return (
            f"{self.steps} steps in {self.seconds:.3g} s ({self.microseconds_per_step:.3g} us a step), "
            f"{self.stopped}; {last}"
        )
