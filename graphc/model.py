"""The facade: declare a model, read its formulas, train it, use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from graphc.declare.names import check_name, node_text
from graphc.declare.origin import fail, located
from graphc.declare.tensor import Tensor
from graphc.errors import TypeMismatchError
from graphc.facade import attach, checkpoint, devices, fitting, inspecting, preparing, summary, sweeping  # noqa: F401  attach adds methods
from graphc.facade.arguments import Outputs, check_names, named_tensors, scalar
from graphc.facade.calculus import compile, grad, hessian, hvp, jacobian
from graphc.facade.checking import verify_evaluation
from graphc.facade.pipeline import Differentiated, Graph, differentiate, read_graph
from graphc.facade.programs import Compiled, check_differentiable
from graphc.facade.state import Parameters, State
from graphc.ir.affine import Extent
from graphc.ir.node import Leaf, Node
from graphc.ir.walk import leaves as leaves_of
from graphc.lower.training import batch_extent, layout_parameters
from graphc.optim import Rule
from graphc.rewrite.weights import weight_rows
from graphc.run.data import Bound, Seen, bind, label_limits
from graphc.run.history import Run
from graphc.run.memory import aligned
from graphc.run.training import Evaluator, Trainer
from graphc.show.derivation import Derivation
from graphc.show.explain import Page

__all__ = ["Model", "compile", "derive", "grad", "hessian", "hvp", "jacobian"]


class Model:
    """A network with its loss: what ``fit``, ``predict`` and ``derive`` work on.

    Parameters
    ----------
    output : Tensor or dict of Tensors, optional
        What ``predict`` gives.
    loss : Tensor, optional
        A scalar; what ``fit`` makes small.
    metrics : dict of scalar Tensors, optional
        Reported beside the loss.
    dtype : "float32" or "float64"
    name : str
        Shown in generated programs and errors.

    Raises
    ------
    ShapeError
        When the loss or a metric is no scalar.
    NameClashError
        When two inputs or parameters have one name.
    NonDifferentiableError
        When an operation with zero gradient lies between the loss and a parameter.

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
        metrics: Mapping[str, Tensor] | None = None,
        dtype: str = "float32",
        name: str = "model",
    ) -> None:
        if output is None and loss is None:
            fail(TypeMismatchError, "Model: neither output nor loss is given", "pass output=Y, loss=J or both.")
        if dtype not in ("float32", "float64"):
            fail(TypeMismatchError, f"Model: dtype is {dtype!r}", 'choose "float32" or "float64".')
        self.name, self.dtype = check_name(name, "a model"), dtype
        self._single = not isinstance(output, Mapping)
        self._outputs = named_tensors(output)
        self._loss = None if loss is None else scalar("the loss", loss)
        self._metrics = {str(n): scalar(f"the metric {n}", m) for n, m in (metrics or {}).items()}
        check_names(self._metrics, self.raw_roots.values())
        used = leaves_of(self.raw_roots.values())
        self.param_leaves = [leaf for leaf in used if leaf.kind == "param"]
        if self._loss is not None:
            check_differentiable(self._loss.node, self.param_leaves)
        self.params = Parameters(layout_parameters(self.param_leaves), dtype)
        self.state = State(self.params.flat.size, dtype)
        self.weight_leaf = Leaf("sample_weight", (self._batch_name(used),), "input")
        self.shuffled = True
        self.last_run: Run | None = None
        self.last_sweep: sweeping.Sweep | None = None
        self.last_compiled: Compiled | None = None
        self.reads: tuple[Sequence[Leaf], NDArray] = (), np.empty(0)  # of the training program: inputs, constants
        self.noticed: Sequence[Leaf] = ()  # inputs whose values that are not finite end a run of the training program
        self.seen = Seen()
        self._cache: dict[Any, Any] = {}

    # ------------------------------------------------------------------ what it is made of
    @property
    def raw_roots(self) -> dict[str, Node]:
        """What was declared, one node an operation: outputs as ``output:name``, loss, metrics."""
        roots = {f"output:{n}": t.node for n, t in self._outputs.items()}
        if self._loss is not None:
            roots["loss"] = self._loss.node
        return roots | {n: t.node for n, t in self._metrics.items()}

    def _batch_name(self, used: Sequence[Leaf]) -> str:
        return batch_extent([leaf for leaf in used if leaf.kind == "input"]) or "n"

    @property
    def metric_names(self) -> list[str]:
        """Names of the metrics."""
        return list(self._metrics)

    @property
    def loss_name(self) -> str:
        """What formulas call the loss: its own name, else J."""
        return "J" if self._loss is None else self._loss.name or "J"

    @property
    def inputs(self) -> list[Leaf]:
        """The inputs that the outputs read, in order of declaration."""
        roots = [t.node for t in self._outputs.values()]
        return self.once("inputs", lambda: [leaf for leaf in leaves_of(roots) if leaf.kind == "input"])

    @property
    def training_inputs(self) -> list[Leaf]:
        """The inputs that loss and metrics read, in order of declaration."""
        roots = [t.node for t in (self._needs_loss(), *self._metrics.values())]
        return self.once("training inputs", lambda: [leaf for leaf in leaves_of(roots) if leaf.kind == "input"])

    @property
    def label_limits(self) -> dict[Leaf, set[Extent]]:
        """For integer inputs used as an index: the extents they select from."""
        return self.once("limits", lambda: label_limits(self.raw_roots.values()))

    def _needs_loss(self) -> Tensor:
        if self._loss is None:
            fail(TypeMismatchError, f"{self.name} has no loss", "declare it: gc.Model(output=Y, loss=J).")
        return self._loss

    def once(self, key: Any, make: Any) -> Any:
        """What ``make()`` gave for this key the first time."""
        if key not in self._cache:
            self._cache[key] = make()
        return self._cache[key]

    # ------------------------------------------------------------------ graphs and programs
    @property
    def graph(self) -> Graph:
        """Outputs, loss and metrics in normal form."""
        return self.once("graph", lambda: read_graph(self.raw_roots))

    def differentiated(self, weighted: bool = False) -> Differentiated:
        """Loss and metrics with the gradient of every parameter."""

        def make() -> Differentiated:
            roots = {n: r for n, r in self.graph.roots.items() if not n.startswith("output:")}
            if weighted:
                roots = {n: weight_rows(r, self.weight_leaf) for n, r in roots.items()}
            return differentiate(
                Graph(roots, self.graph.new, self.graph.applied), "loss", self.param_leaves, deltas=True
            )

        return self.once(("gradient", weighted), make)

    def compiled_training(self, rule: Rule, capacity: int, weighted: bool = False) -> Compiled:
        """The training program for an update rule and a batch size."""
        key = ("train", preparing.rule_key(rule), capacity, weighted, self.dtype)
        return self.once(key, lambda: preparing.training(self, rule, capacity, weighted))

    def trainer(self, rule: Rule, capacity: int, weighted: bool) -> Trainer:
        """The training program with its buffers."""
        compiled = self.last_compiled = self.compiled_training(rule, capacity, weighted)
        self.reads, self.noticed = (compiled.facts.inputs, compiled.constants), compiled.facts.noticed
        return self.once(("trainer", id(compiled)), lambda: preparing.trainer(self, compiled, capacity))

    def captions(self) -> dict[Node, str]:
        """The formulas beside the loops of generated programs."""
        return self.once("captions", lambda: inspecting.captions(self))

    # ------------------------------------------------------------------ training
    @located
    def fit(self, *data: Any, optimizer: Any = "adam", dtype: str | None = None, **options: Any) -> Run:
        """Train; later calls continue where this one ends.

        Parameters
        ----------
        *data : arrays in the order of declaration, or one dict by name
        optimizer : Rule or str
            ``gc.SGD(0.1)``, ``gc.Adam(1e-3)``, ``"adam"``, or your own :func:`graphc.rule`.
        epochs, steps : int, optional
            How long; by default one epoch.
        tol : float, optional
            Stop when the largest gradient of an epoch, in absolute value, is at most this.
        batch_size : int or None
            Rows a step (32 by default); None takes all rows in every step.
        seed : int, optional
            Initialises unset parameters and the order of the rows (0 for the first fit); given again, it restarts the
            order.
        validation : tuple of arrays, dict or float, optional
            Data evaluated after every epoch, or the fraction of rows, chosen by the seed, that is kept out for it.
        callbacks : sequence, optional
            ``gc.EarlyStopping``, ``gc.Checkpoint``, or functions of the run that return True to stop it.
        shuffle : bool
            New order of the rows every epoch (True), or the given order.
        sample_weight : array of shape (rows,), optional
            A weight of 2 counts as that row twice.
        record : "epoch" or "step"
            Whether ``run.history["loss"]`` has an entry an epoch or a step.
        progress : bool
            Draw a progress line.
        target : "cpu", "cuda" or "auto"
            Where it runs; "auto" takes a GPU when one is there.
        precision : "float32", "tf32" or "bf16"
            How a GPU rounds the factors of large matrix products.
        threads : int, optional
            How many threads share a step; left out, it is chosen by short trials. It changes no bit of the result.
        verify : bool
            Check a program that is new, before anything is trained, on a few rows against the formulas.
        dtype : "float32" or "float64", optional
            Change the precision of the model first.

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
            When the compiled program computes something else than the formulas: a defect of graphc; nothing was done.
        KeyboardInterrupt
            Passed on after Ctrl-C; the parameters of the last whole step are kept.
        """
        self._needs_loss()
        checked = fitting.read_options(optimizer, options)
        if dtype is not None and dtype != self.dtype:
            self._cast(dtype)
        self.shuffled = checked.shuffle
        return fitting.fit(self, data, checked)

    @located
    def sweep(self, *data: Any, optimizer: Any = "adam", seeds: Any = 1, **options: Any) -> sweeping.Sweep:
        """Train copies, one for every value of array hyper-parameters and every seed, in one native call.

        Each copy gets the very bits of ``initialize(seed).fit(..., seed=seed)`` alone. The model itself stays as it is.

        Parameters
        ----------
        *data, **options
            As for :meth:`fit`: ``epochs, steps, tol, batch_size, shuffle, sample_weight, record, progress, threads``.
        optimizer : Rule or str
            Hyper-parameters may be 1-D arrays, ``gc.SGD(np.geomspace(1e-3, 10, 16))``; of several, every combination.
        seeds : int or sequence of int
            ``4`` means the seeds 0 to 3, for initial weights and orders of the rows.

        Returns
        -------
        Sweep
            Print it; ``sweep.best`` is a model. Copies that diverge keep their last good parameters. Errors are as for
            :meth:`fit`, without DivergenceError; after Ctrl-C, ``last_sweep`` holds what was reached.
        """
        self._needs_loss()
        return sweeping.sweep(self, data, sweeping.read_seeds(seeds), sweeping.read_sweep_options(optimizer, options))

    def _cast(self, dtype: str) -> None:
        if dtype not in ("float32", "float64"):
            fail(TypeMismatchError, f"fit: dtype is {dtype!r}", 'choose "float32" or "float64".')
        self.dtype = dtype
        self.params.cast(dtype)
        self.state.cast(dtype)

    @located
    def initialize(self, seed: int = 0) -> Self:
        """Draw all parameters anew and forget the optimizer state and the position in the data."""
        self.params.initialize(seed, everything=True)
        self.state = State(self.params.flat.size, self.dtype)
        self.state.sampler.restart(seed)
        return self

    def program_data(self, data: Bound, weights: NDArray | None) -> list[Any]:
        """Constants, then arrays in the order of the training program's inputs."""
        order, constants = self.reads
        given = {**data.arrays, **({self.weight_leaf: weights} if weights is not None else {})}
        return [constants, *(given[leaf] for leaf in order)]

    # ------------------------------------------------------------------ using it
    @located
    def predict(self, *data: Any, target: str = "cpu", verify: bool = True) -> Any:
        """The output for any number of rows: an array, or a dict when the model has several outputs.

        On a GPU (``target``), data that lie there give results that stay there. A program that is new is checked first,
        as by :meth:`fit` (``verify``).
        """
        place = devices.place_of(target)
        bound = bind(self.inputs, data, self.dtype, self.label_limits, "predict", place and place.machine)
        names = list(self._outputs)
        found = self._evaluate(tuple(f"output:{n}" for n in names), (), bound, place, verify)[0]
        return found[0] if self._single else dict(zip(names, found, strict=True))

    @located
    def evaluate(self, *data: Any, target: str = "cpu", verify: bool = True) -> dict[str, float]:
        """Loss and metrics over the whole set, exactly; ``verify`` as for :meth:`fit`."""
        inputs, place = self.training_inputs, devices.place_of(target)
        given, machine = fitting.filled(inputs, data), place and place.machine
        bound = bind(inputs, given, self.dtype, self.label_limits, "evaluate", machine)
        return self.evaluate_bound(bound, place, verify)

    def evaluate_bound(self, data: Bound, place: Any = None, verify: bool = True) -> dict[str, float]:
        """Loss and metrics over data that are already bound, on the CPU or at a place of their own."""
        names = ("loss", *self._metrics)
        values = self._evaluate((), names, data, place, verify)[1]
        return {n: float(v) for n, v in zip(names, values, strict=True)}

    def _evaluate(
        self, outputs: tuple[str, ...], scalars: tuple[str, ...], data: Bound, place: Any, verify: bool
    ) -> tuple[list[Any], NDArray]:
        self.params.initialize(0)
        if place is not None:
            return devices.evaluate(self, outputs, scalars, data, place, verify)
        compiled, evaluator = self.evaluator(outputs, scalars, data.rows)
        if verify:
            verify_evaluation(self, compiled, outputs, scalars, data)
        shapes = [self._output_shape(self.raw_roots[n], data.rows) for n in outputs]
        arrays = [aligned(int(np.prod(s, dtype=np.int64)), self.dtype) for s in shapes]
        ordered = [data.arrays[leaf] for leaf in compiled.facts.inputs]
        values = evaluator.run(self.params.flat, ordered, compiled.constants, data.rows, arrays)
        return [a[: int(np.prod(s))].reshape(s) for a, s in zip(arrays, shapes, strict=True)], values

    def evaluator(self, outputs: tuple[str, ...], scalars: tuple[str, ...], rows: int) -> tuple[Compiled, Evaluator]:
        """The program that evaluates some roots for a number of rows."""
        capacity = preparing.chunk(self, (*outputs, *scalars), rows)
        key = ("evaluate", outputs, scalars, capacity, self.dtype)
        return self.once(key, lambda: preparing.evaluation(self, outputs, scalars, capacity))

    @staticmethod
    def _output_shape(node: Node, rows: int) -> tuple[int, ...]:
        return tuple(e if isinstance(e, int) else rows for e in node.shape)

    # ------------------------------------------------------------------ inspecting
    @located
    def derive(self, *wrt: Tensor | str) -> Derivation:
        """The chain rule, line by line, for the given parameters or for all of them; print it."""
        self._needs_loss()
        return inspecting.derivation(self, wrt)

    @located
    def explain(self, stage: str = "formula", target: str = "cpu") -> Page:
        """What a stage made of the model: "formula", "gradient", "rewritten", "kernels", "plan" or "source"."""
        return inspecting.explain(self, stage, target)

    def source(self, optimizer: Any = "sgd", batch_size: int = 32, target: str = "cpu") -> str:
        """The text of the training program, as it is compiled: of the last fit, else for these arguments."""
        return inspecting.source(self, optimizer, batch_size, target)

    def formula_of(self, node: Node, weighted: bool = False) -> str:
        """The formula line of an equation of the training graph."""
        return inspecting.formula_of(self, node)

    @located
    def check(self, *data: Any, rows: int = 8) -> inspecting.GradientCheck:
        """The gradient against finite differences and the reference interpreter, in one table."""
        return inspecting.check(self, data, rows)

    # ------------------------------------------------------------------ storing
    @located
    def save(self, path: str | Path) -> None:
        """Write declaration, parameters, optimizer state and position in the data to a safetensors file, atomically."""
        checkpoint.save(self, Path(path))

    @classmethod
    @located
    def load(cls, path: str | Path) -> Model:
        """The model of a file that :meth:`save` wrote; a fit continues bit for bit."""
        return checkpoint.load(cls, Path(path))

    def __repr__(self) -> str:
        params = ", ".join(node_text(leaf) for leaf in self.param_leaves)
        return f"<Model {self.name}: {params or 'no parameters'}, {self.dtype}>"

    def __str__(self) -> str:
        return str(summary.model_page(self))

    def _repr_html_(self) -> str:
        return summary.model_page(self)._repr_html_()


def derive(loss: Tensor, *wrt: Tensor) -> Derivation:
    """The chain rule for a scalar, line by line: ``print(gc.derive(J, W0))``."""
    return Model(loss=loss).derive(*wrt)
