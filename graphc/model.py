"""The facade: declare a model, read its formulas, train it, use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from graphc.declare.origin import advised, fail, located
from graphc.declare.tensor import Tensor
from graphc.errors import TypeMismatchError
from graphc.facade import attach, devices, repeating  # noqa: F401  methods of other objects
from graphc.facade.arguments import DType, Outputs, Precision, Record, Target, data_by_name, in_form, not_swept
from graphc.facade.core import Core
from graphc.facade.deriving import derive
from graphc.facade.fitting import filled
from graphc.facade.options import BatchSize, Options
from graphc.facade.state import Parameters, State
from graphc.ir.node import Leaf
from graphc.late import late
from graphc.optim import Optimizer, Rule
from graphc.readable import Readable
from graphc.run.history import Run
from graphc.run.turns import in_turn, training

if TYPE_CHECKING:
    from graphc.facade import averaging, checkpoint, evaluating, settings, sweeping
    from graphc.run import encoding
    from graphc.run.encoding import Encoders
else:
    averaging, checkpoint, evaluating, settings, sweeping = (
        late(f"graphc.facade.{name}") for name in ("averaging", "checkpoint", "evaluating", "settings", "sweeping")
    )
    encoding = late("graphc.run.encoding")

__all__ = ["Model", "averaged", "derive"]


class Model(Readable):
    """A network with its loss: what ``fit``, ``predict`` and ``derive`` work on.

    Parameters
    ----------
    output : Tensor, list or dict of Tensors, optional
        What ``predict`` gives, in the same form.
    loss : Tensor, optional
        A scalar; what ``fit`` makes small.
    metrics : dict or list of scalar Tensors, optional
        Reported beside the loss; those of a list under the names of :mod:`graphc.metrics`.
    dtype : "float32" or "float64"
    name : str
        Shown in generated programs and errors.
    subnormals : bool
        Whether programs on the CPU keep numbers below 1.2e-38 (float32) or 2.2e-308 (float64), which make many
        processors slow; else they count as 0.

    Raises
    ------
    ShapeError
        When the loss or a metric is no scalar.
    NameClashError
        When two inputs or parameters have one name.
    NonDifferentiableError
        When operations with zero gradient lie on every way from a parameter to the loss; where they lie on some, a
        note says so: in the page "gradient" of :meth:`explain` and the notes of a run.

    Examples
    --------
    >>> import graphc as gc
    >>> X = gc.input("X", ("n", 2)); T = gc.input("T", ("n", 1)); W = gc.param("W", (2, 1), gc.normal(1.0))
    >>> model = gc.Model(output=X @ W, loss=gc.mean((X @ W - T)**2))
    """

    @located
    def __init__(
        self,
        output: Outputs = None,
        loss: Tensor | None = None,
        metrics: Mapping[str, Tensor] | Sequence[Tensor] | None = None,
        dtype: DType = "float32",
        name: str = "model",
        subnormals: bool = False,
    ) -> None:
        self._core = Core(output, loss, metrics, dtype, name, subnormals)

    @classmethod
    def _of(cls, core: Core) -> Self:
        """The model that holds what was declared before."""
        model = cls.__new__(cls)
        model._core = core
        return model

    # ------------------------------------------------------------------ what it is
    @property
    def dtype(self) -> str:
        """The precision of its parameters and programs: "float32" or "float64"."""
        return self._core.dtype

    @property
    def notes(self) -> list[str]:
        """What was noticed in the declaration, such as operations with zero gradient on some way to the loss."""
        return self._core.notes

    @property
    def inputs(self) -> list[Leaf]:
        """The inputs that the outputs read, in order of declaration."""
        return self._core.inputs

    @property
    def outputs(self) -> dict[str, Tensor]:
        """What ``predict`` gives, by name; one alone is "output", those of a list their own names or output0, .."""
        return dict(self._core._outputs)

    @property
    def params(self) -> Parameters:
        """The parameters and states by name; ``model.params["W"] = array`` sets one, ``model.params = {...}`` all."""
        return self._core.params

    @params.setter
    def params(self, values: Mapping[str, Any]) -> None:
        self._core.params.assign(values)

    @property
    def encoders(self) -> Encoders:
        """What makes numbers of words for an input, by its name: ``model.encoders["X"] = gc.Encoder().fit(frame)``."""
        return encoding.Encoders([str(leaf.name) for leaf in self._core.all_inputs], self._core.columns.encoders)

    @property
    def state(self) -> State:
        """What training carries along: the states of the optimizers, the position in the data, running totals."""
        return self._core.state

    @property
    def last_run(self) -> Run | None:
        """What the last fit gave, also when it was interrupted."""
        return self._core.last_run

    @property
    def last_sweep(self) -> sweeping.Sweep | None:
        """What the last sweep gave, also when it was interrupted."""
        return self._core.last_sweep

    # ------------------------------------------------------------------ training
    @advised(data_by_name)
    @training
    def fit(
        self,
        *data: Any,
        optimizer: Optimizer | Sequence[Optimizer] = "adam",
        epochs: int | Sequence[int] | None = None,
        steps: int | Sequence[int] | None = None,
        tol: float | None = None,
        batch_size: BatchSize | Sequence[BatchSize] = "auto",
        seed: int | None = None,
        validation: Any = None,
        callbacks: Sequence[Any] = (),
        shuffle: bool = True,
        sample_weight: Any = None,
        record: Record = "epoch",
        progress: bool = False,
        target: Target = "cpu",
        precision: Precision = "float32",
        threads: int | None = None,
        verify: bool = True,
        check_bounds: bool = False,
        dtype: DType | None = None,
        resume: bool | str | Path = False,
    ) -> Run:
        """Train; later calls continue where this one ends.

        Parameters
        ----------
        *data : arrays in the order of declaration, or one dict by name
        optimizer : Rule, Curvature, str, dict or list of them
            ``gc.SGD(0.1)``, ``gc.Adam(1e-3)``, ``"adam"``, or your own :func:`graphc.rule`; with curvature
            ``gc.LBFGS()``, ``gc.LevenbergMarquardt()``, ``gc.NewtonCG()``, ``gc.ConjugateGradient()``. A dict gives
            each parameter its own rule by name, ``{"W*": gc.AdamW(1e-3), "E": None, "*": gc.Adam(1e-3)}``: the first
            that matches; None leaves parameters as they are. A list is carried out one after the other, in one run:
            ``optimizer=[gc.Adam(1e-3), gc.LBFGS()], steps=[2000, 500]``.
        epochs, steps : int or list of int, optional
            How long; by default one epoch. With several optimizers a number for each; batch sizes may be a list, too.
        tol : float, optional
            Stop when the largest gradient of an epoch, in absolute value, is at most this.
        batch_size : int, dict, None or "auto"
            Rows a step; None takes all rows in every step; "auto" 32 for update rules, all for those with curvature.
            Where inputs begin with different free extents, each goes through its rows in an order of its own, and an
            epoch is one pass of the extent that takes the most steps; a dict gives each its batch size, by the name
            of the extent or of an input: ``{"n": 256, "B": 64}``, all rows for those that it does not name.
        seed : int, optional
            Initialises unset parameters, the order of the rows and random tensors (0 for the first fit); given again,
            it restarts the order and what is drawn.
        validation : tuple of arrays, dict or float, optional
            Data evaluated after every epoch, in a tuple also their weights at its end, in a dict as "sample_weight"; or
            the fraction of rows, chosen by the seed, that is kept out for it, with the weights they have.
        callbacks : sequence, optional
            ``gc.EarlyStopping``, ``gc.Checkpoint`` and the others of ``gc.callbacks``, or functions of the run that
            return True to stop it.
        shuffle : bool
            New order of the rows every epoch (True), or the given order.
        sample_weight : array of shape (rows,), optional
            A weight of 2 counts as that row twice.
        record : "epoch" or "step"
            Whether ``run.history["loss"]`` has an entry an epoch or a step.
        progress : bool
            Draw a progress line.
        target : "cpu", "cuda" or "auto"
            Where it runs; "auto" takes a GPU that is there when a step is expected to be faster on it.
        precision : "float32", "tf32" or "bf16"
            How a GPU rounds the factors of large matrix products.
        threads : int, optional
            How many threads share a step; left out, it is chosen by short trials. It changes no bit of the result.
        verify : bool
            Check a program that is new, before anything is trained, on a few rows against the formulas.
        check_bounds : bool
            Check every read and write of compiled code before it is made, on the CPU: slow, for finding faults.
        dtype : "float32" or "float64", optional
            Change the precision of the model first.
        resume : bool, str or Path
            Take up the run that the last good checkpoint tells of, bit for bit: of the :class:`graphc.Checkpoint` among
            the callbacks (True; without a file the run begins at its start), or a file, a folder, a path with
            ``{epoch}``. ``epochs`` or ``steps`` then count from the start of that run.

        Returns
        -------
        Run

        Raises
        ------
        DataError, DomainError, UnknownNameError
            For data or options that do not fit, before anything is compiled.
        DivergenceError
            When a step gives NaN or infinity; the parameters of the last good step are kept.
        CompilerError
            When the compiled program computes something else than the formulas, a defect of graphc; nothing was done.
            Or when, with ``check_bounds``, it would have left an array; the last whole epoch of those that end in
            Python is kept.
        CheckpointError
            When ``resume`` names no good checkpoint of a run of this model.
        KeyboardInterrupt
            Passed on after Ctrl-C; the parameters of the last whole step are kept.
        """
        core = self._core
        core.needs_loss()
        given = {
            "optimizer": optimizer, "steps": steps, "epochs": epochs, "batch_size": batch_size, "tol": tol,
            "seed": seed, "validation": validation, "callbacks": callbacks, "shuffle": shuffle,
            "sample_weight": sample_weight, "record": record, "progress": progress, "target": target,
            "precision": precision, "threads": threads, "verify": verify, "resume": resume,
        }  # fmt: skip
        with core.checking(check_bounds, target):
            return repeating.fit(core, data, given, dtype, self)

    @advised(not_swept)
    @training
    def sweep(
        self,
        *data: Any,
        optimizer: str | Rule = "adam",
        seeds: int | Sequence[int] = 1,
        paired: bool = False,
        epochs: int | None = None,
        steps: int | None = None,
        tol: float | None = None,
        batch_size: BatchSize = "auto",
        validation: Any = None,
        callbacks: Sequence[Any] = (),
        shuffle: bool = True,
        sample_weight: Any = None,
        record: Record = "epoch",
        progress: bool = False,
        target: Target = "cpu",
        precision: Precision = "float32",
        threads: int | None = None,
        verify: bool = True,
        check_bounds: bool = False,
    ) -> sweeping.Sweep:
        """Train copies, one for every value of array hyper-parameters and inputs and every seed, in one native call.

        Each copy gets the very bits of ``initialize(seed).fit(..., seed=seed)`` alone. The model itself stays as it is.

        Parameters
        ----------
        *data : arrays in the order of declaration, or one dict by name
            An input of shape (), such as the factor of a penalty, may have several values, a list or a 1-D array:
            ``model.sweep({"X": x, "T": t, "lam": [0, 0.01, 0.1]})``.
        optimizer : Rule or str
            Hyper-parameters may be 1-D arrays, ``gc.SGD(np.geomspace(1e-3, 10, 16))``; of several, every combination.
        seeds : int or sequence of int
            ``4`` means the seeds 0 to 3, for initial weights and orders of the rows.
        paired : bool
            Instead of every combination, value t of every array with seed t, as for values drawn at random; what has
            one value goes with all.
        epochs, steps, tol, batch_size
            As for :meth:`fit`.
        validation : tuple of arrays, dict or float, optional
            As for :meth:`fit`, for every copy, and what ``sweep.best`` is chosen by. Inputs with several values may be
            left out.
        callbacks : sequence of EarlyStopping
            Every copy stops on its own, with its own best parameters.
        shuffle, sample_weight, record, progress, target, precision, threads, verify, check_bounds
            As for :meth:`fit`.

        Returns
        -------
        Sweep
            Print it; ``sweep.best`` is a model. Copies that diverge keep their last good parameters. Errors are as for
            :meth:`fit`, without DivergenceError; after Ctrl-C, ``last_sweep`` holds what was reached.
        """
        self._core.needs_loss()
        checked = Options(
            optimizer, epochs=epochs, steps=steps, tol=tol, batch_size=batch_size, shuffle=shuffle,
            sample_weight=sample_weight, record=record, progress=progress, target=target, precision=precision,
            threads=threads, verify=verify, validation=validation, callbacks=callbacks,
        ).checked("sweep")  # fmt: skip
        with self._core.checking(check_bounds, target):
            return sweeping.sweep(self._core, data, settings.read_seeds(seeds), checked, self._of, bool(paired))

    @located
    @in_turn
    def initialize(self, seed: int = 0) -> Self:
        """Draw all parameters anew and forget the optimizer state and the position in the data.

        Parameters
        ----------
        seed : int
            Of the random numbers.
        """
        self.params.initialize(seed, everything=True)
        self._core.state = State(self.params.held.size, self.dtype)
        self.state.sampler.restart(seed)
        return self

    # ------------------------------------------------------------------ using it
    @advised(data_by_name)
    @in_turn
    def predict(self, *data: Any, target: Target = "cpu", verify: bool = True, check_bounds: bool = False) -> Any:
        """The outputs for any number of rows, as they were declared: an array, a list or a dict of arrays.

        Parameters
        ----------
        *data : arrays in the order of declaration, or one dict by name
            Of the inputs that the outputs read.
        target : "cpu", "cuda" or "auto"
            On a GPU, data that lie there give results that stay there.
        verify : bool
            Check a program that is new first, as :meth:`fit` does.
        check_bounds : bool
            Check every read and write, as :meth:`fit` does.
        """
        core = self._core
        with core.checking(check_bounds, target):
            found = evaluating.outputs_of(core, data, devices.place_of(target, core), verify)
        return in_form(core._form, core._outputs, found)

    @advised(data_by_name)
    @in_turn
    def evaluate(
        self,
        *data: Any,
        sample_weight: Any = None,
        target: Target = "cpu",
        verify: bool = True,
        check_bounds: bool = False,
    ) -> dict[str, Any]:
        """Loss and metrics over the whole set, exactly: numbers, and an array for a confusion matrix.

        Parameters
        ----------
        *data : arrays in the order of declaration, or one dict by name
            Of the inputs that loss and metrics read.
        sample_weight : array of shape (rows,), optional
            A weight of 2 counts as that row twice; not in measures of columns (AUC, confusion matrix, R2).
        target, verify, check_bounds
            As for :meth:`predict`.
        """
        core = self._core
        given = filled(core.training_inputs, data)
        with core.checking(check_bounds, target):
            place = devices.place_of(target, core)
            if sample_weight is not None:
                return evaluating.weighted_losses(core, given, sample_weight, place, verify)
            return evaluating.losses_of(core, given, place, verify)

    # ------------------------------------------------------------------ inspecting

    # ------------------------------------------------------------------ storing
    @located
    @in_turn
    def save(self, path: str | Path) -> None:
        """Write declaration, parameters, optimizer state and position in the data to a safetensors file, atomically.

        Parameters
        ----------
        path : str or Path
        """
        checkpoint.save(self._core, Path(path))

    @classmethod
    @located
    def load(cls, path: str | Path) -> Self:
        """The model of a file that :meth:`save` wrote; a fit continues bit for bit.

        Parameters
        ----------
        path : str or Path

        Raises
        ------
        CheckpointError
            When the file is missing, damaged or no model of graphc.
        """
        return cls._of(checkpoint.load(Path(path)))

    @in_turn
    def __copy__(self) -> Self:
        return self._of(copy(self._core))


@located
def averaged(model: Model) -> Model:
    """A copy of a model with the running means of its parameters, which ``gc.Adam(1e-3).averaged(0.999)`` keeps.

    Parameters of which no mean is kept are as they are. The copy predicts, is evaluated and saved like any model.

    Parameters
    ----------
    model : Model

    Returns
    -------
    Model

    Raises
    ------
    DomainError
        When no fit has kept a mean.
    TypeMismatchError
        When it is no model.
    """
    if not isinstance(model, Model):
        fail(TypeMismatchError, f"averaged: {model!r:.60} is no Model", "gc.averaged(model), after a fit.")
    return model._of(averaging.averaged(model._core))
