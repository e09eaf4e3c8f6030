"""What a model is made of: its declaration, the graphs made of it, its parameters and its state.

The files of this folder work on it; :class:`graphc.Model`, which has the public methods, holds one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphc.declare.names import check_name
from graphc.declare.origin import fail
from graphc.declare.scanning import check_outside
from graphc.declare.tensor import Tensor
from graphc.declare.written import note_model
from graphc.errors import DomainError, TypeMismatchError
from graphc.facade.arguments import Form, Outputs, check_names, form_of, name_apart, named_tensors, scalar
from graphc.facade.measured import Given, Metrics
from graphc.facade.pipeline import Differentiated, Graph, differentiate, read_graph
from graphc.facade.programs import Compiled, check_differentiable
from graphc.facade.state import Parameters, State
from graphc.ir.affine import Extent
from graphc.ir.node import Leaf, Node
from graphc.ir.walk import equations
from graphc.ir.walk import leaves as leaves_of
from graphc.lower.lengths import Lengths, row_extents
from graphc.lower.training import layout_parameters
from graphc.optim.curvature import Curvature
from graphc.rewrite.modes import has_modes, in_mode, random_leaves, with_updates
from graphc.rewrite.weights import check_states, weight_rows
from graphc.run.callback import Callback
from graphc.run.data import Bound, Seen, check_rows
from graphc.run.frames import Columns
from graphc.run.history import Run
from graphc.run.index_limits import label_limits, rows_needed
from graphc.run.turns import Turns


class Core:
    """A network with its loss, as declared, compiled and trained; the arguments are those of :class:`graphc.Model`."""

    def __init__(
        self,
        output: Outputs,
        loss: Tensor | None,
        metrics: Given | Metrics,
        dtype: str,
        name: str,
        subnormals: bool = False,
    ) -> None:
        if output is None and loss is None:
            fail(TypeMismatchError, "Model: neither output nor loss is given", "pass output=Y, loss=J or both.")
        if dtype not in ("float32", "float64"):
            fail(TypeMismatchError, f"Model: dtype is {dtype!r}", 'choose "float32" or "float64".')
        self.name, self.dtype = check_name(name, "a model"), dtype
        self.subnormals, self.checks_bounds = bool(subnormals), False
        self._form: Form = form_of(output)
        self._outputs = named_tensors(output)
        self._loss = None if loss is None else scalar("the loss", loss)
        self.metrics = metrics if isinstance(metrics, Metrics) else Metrics(metrics)
        self._metrics = self.metrics.scalars
        self._cache: dict[Any, Any] = {}
        self.updates = with_updates([t.node for t in self._declared.values()])
        check_outside(self.raw_roots.values())
        name_apart(self.raw_roots.values())
        check_names(self.metrics.measures, self.raw_roots.values())
        used = leaves_of(self.raw_roots.values())
        self.param_leaves = [leaf for leaf in used if leaf.kind == "param"]
        self.kept_leaves = [*self.param_leaves, *self.updates]  # what lies behind the pointer to the parameters
        trained = self.training_roots.get("loss")
        self.notes = check_differentiable(trained, self.param_leaves) if trained is not None else []
        note_model(used)
        self._params = Parameters(layout_parameters(self.kept_leaves), dtype)
        self.state = State(self.params.held.size, dtype)
        row_extents(leaf for leaf in used if leaf.kind == "input")
        self.weight_leaf = Leaf("sample_weight", (self._batch_name(used),), "input")
        self.shuffled = True
        self.last_run: Run | None = None
        self.last_sweep: Any = None
        self.running: tuple[Run, Sequence[Callback]] | None = None  # while a fit goes on, for checkpoints
        self.last_compiled: Compiled | None = None
        self.last_curvature: Curvature | None = None
        self.reads: tuple[Sequence[Leaf], NDArray] = (), np.empty(0)  # of the training program: inputs, constants
        self.nan_propagating: Sequence[Leaf] = ()  # inputs in which a value that is not finite ends a training run
        self.seen = Seen()
        self.columns = Columns()  # of frames it was trained with
        self.turns = Turns()  # of the threads that use the model
        self.ready: dict[str, Any] = {}  # calls made ready for arrays that look like the last

    # ------------------------------------------------------------------ what it is made of
    @property
    def params(self) -> Parameters:
        """The parameters by name, read-only; ``model.params["W"] = array`` sets one, ``model.params = {...}`` all."""
        return self._params

    @params.setter
    def params(self, values: Mapping[str, Any]) -> None:
        self._params.assign(values)

    @property
    def _declared(self) -> dict[str, Tensor]:
        """Outputs as ``output:name``, columns of metrics likewise, loss, metrics."""
        loss = {} if self._loss is None else {"loss": self._loss}
        return {f"output:{n}": t for n, t in self._outputs.items()} | self.metrics.columns | loss | self._metrics

    @property
    def raw_roots(self) -> dict[str, Node]:
        """What was declared, one node an operation: outputs as ``output:name``, loss, metrics, updates of states as
        ``state:name``."""
        return {n: t.node for n, t in self._declared.items()} | self._named_updates()

    def _named_updates(self) -> dict[str, Node]:
        return {f"state:{leaf.name}": update for leaf, update in self.updates.items()}

    @property
    def has_modes(self) -> bool:
        """Whether training means something else than evaluation."""
        return self.once("modes", lambda: has_modes(self.raw_roots.values()))

    @property
    def training_roots(self) -> dict[str, Node]:
        """What was declared, as it is in training."""
        return self.once("in training", lambda: self._roots_in(self.raw_roots, training=True))

    @property
    def evaluation_roots(self) -> dict[str, Node]:
        """Outputs, loss and metrics as they are outside of training."""
        roots = {n: t.node for n, t in self._declared.items()}
        return self.once("in evaluation", lambda: self._roots_in(roots, training=False))

    def _roots_in(self, roots: Mapping[str, Node], training: bool) -> dict[str, Node]:
        return dict(zip(roots, in_mode([*roots.values()], training), strict=True))

    @property
    def random_numbers(self) -> dict[Leaf, int]:
        """The random tensors of a step, each with its number, which decides what is drawn."""
        roots = [root for n, root in self.raw_roots.items() if not n.startswith("output:")]
        return self.once("random", lambda: {leaf: t for t, leaf in enumerate(random_leaves(roots))})

    def _batch_name(self, used: Sequence[Leaf]) -> str:
        """The free extent of the training data, or else of the outputs; the first of several."""
        inputs = [*(self.training_inputs if self._loss is not None else []), *used]
        return next(iter(row_extents(leaf for leaf in inputs if leaf.kind == "input")), "n")

    @property
    def row_extents(self) -> tuple[str, ...]:
        """The free extents of the training data."""
        return self.once("row extents", lambda: row_extents(self.training_inputs if self._loss is not None else ()))

    def room(self, rows: int) -> Lengths:
        """So many rows, of each extent where there are several."""
        return rows if len(self.row_extents) < 2 else tuple((e, rows) for e in self.row_extents)

    @property
    def metric_names(self) -> list[str]:
        """Names of the roots that programs compute for the metrics: means over rows."""
        return list(self._metrics)

    @property
    def state_roots(self) -> list[str]:
        """Names of the updates among the roots."""
        return [*self._named_updates()]

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
        roots = [self.needs_loss().node, *self.metrics.nodes, *self.updates.values()]
        return self.once("training inputs", lambda: [leaf for leaf in leaves_of(roots) if leaf.kind == "input"])

    @property
    def all_inputs(self) -> list[Leaf]:
        """The inputs of outputs, loss and metrics."""
        return list(dict.fromkeys([*self.inputs, *(self.training_inputs if self._loss is not None else [])]))

    @property
    def label_limits(self) -> dict[Leaf, set[Extent]]:
        """For integer inputs used as an index: the extents they select from."""
        return self.once("limits", lambda: label_limits(self.raw_roots.values()))

    def check_rows(self, rows: Lengths, what: str = "the data have") -> None:
        """Refuse fewer rows than the largest fixed row that is read, as of ``x[5]``."""
        sizes = dict.fromkeys(self.rows_needed, rows) if isinstance(rows, int) else dict(rows)
        check_rows(self.rows_needed, sizes, what)

    @property
    def rows_needed(self) -> dict[str, int]:
        """How many rows fixed places of the data need, by free extent."""
        return self.once("rows needed", lambda: rows_needed(self.raw_roots.values()))

    @property
    def matrices(self) -> bool:
        """Whether it takes functions of whole matrices: those may be singular."""
        return self.once("matrices", lambda: any(n.dense for n in equations(self.raw_roots.values())))

    def needs_loss(self) -> Tensor:
        """The loss, an error when there is none."""
        if self._loss is None:
            fail(TypeMismatchError, f"{self.name} has no loss", "declare it: gc.Model(output=Y, loss=J).")
        return self._loss

    def checking(self, bounds: bool, target: str) -> AbstractContextManager[None]:
        """Meanwhile programs check their reads and writes, where ``bounds`` says so.

        Raises
        ------
        DomainError
            For a GPU, whose programs cannot.
        """
        if bounds and target != "cpu":
            fail(DomainError, f"check_bounds is for target='cpu', not {target!r}", "leave out target.")
        return self._checking(bool(bounds))

    @contextmanager
    def _checking(self, bounds: bool) -> Iterator[None]:
        before, self.checks_bounds = self.checks_bounds, bounds
        try:
            yield
        finally:
            self.checks_bounds = before

    def once(self, key: Any, make: Any) -> Any:
        """What ``make()`` gave for this key the first time."""
        if key not in self._cache:
            self._cache[key] = make()
        return self._cache[key]

    # ------------------------------------------------------------------ graphs
    @property
    def graph(self) -> Graph:
        """Outputs, loss and metrics in normal form, as they are outside of training."""
        return self.once("graph", lambda: read_graph(self.evaluation_roots))

    @property
    def training_graph(self) -> Graph:
        """Outputs, loss, metrics and updates of states in normal form, as they are in training."""
        make = lambda: read_graph(self.training_roots)
        return self.once("training graph", make) if self.has_modes or self.updates else self.graph

    def differentiated(self, weighted: bool = False) -> Differentiated:
        """Loss and metrics with the gradient of every parameter."""

        def make() -> Differentiated:
            graph = self.training_graph
            roots = {n: r for n, r in graph.roots.items() if not n.startswith("output:")}
            if weighted:
                roots = {n: weight_rows(r, self.weight_leaf) for n, r in roots.items()}
                check_states({n: r for n, r in roots.items() if n in self.state_roots}, self.weight_leaf)
            found = differentiate(Graph(roots, graph.new, graph.applied), "loss", self.param_leaves, deltas=True)
            found.random = self.random_numbers
            return found

        return self.once(("gradient", weighted), make)

    def program_data(self, data: Bound, weights: NDArray | None) -> list[Any]:
        """Constants, then arrays in the order of the training program's inputs."""
        order, constants = self.reads
        given = {**data.arrays, **({self.weight_leaf: weights} if weights is not None else {})}
        return [constants, *(given[leaf] for leaf in order)]

    def cast(self, dtype: str) -> None:
        """Change the precision."""
        if dtype not in ("float32", "float64"):
            fail(TypeMismatchError, f"fit: dtype is {dtype!r}", 'choose "float32" or "float64".')
        self.dtype = dtype
        self.params.cast(dtype)
        self.state.cast(dtype)
