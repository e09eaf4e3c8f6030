"""What curvature optimizers ask of a model, each a native call: loss and gradient, Hessian times a vector, residuals
with their Jacobian."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from graphc.declare.tensor import Tensor
from graphc.derive.by_row import RowsMeetError, row_jacobians
from graphc.derive.gradient import jacobian
from graphc.derive.squares import NoSquaresError, Squares, sum_of_squares, value_of
from graphc.emit import control
from graphc.errors import DomainError
from graphc.facade.calculus import Function, hvp
from graphc.facade.checking import verify_evaluation
from graphc.facade.core import Core
from graphc.facade.deriving import formula_of
from graphc.facade.preparing import evaluator
from graphc.ir.node import Equation, Leaf, Node, free_sizes
from graphc.ir.walk import topological
from graphc.lower.layout import ALIGN
from graphc.lower.lengths import Lengths, by_extent
from graphc.native.buffers import aligned
from graphc.optim.curvature import Curvature
from graphc.optim.rules import Rule, rule
from graphc.rewrite.normal import tidy_graph
from graphc.run import bounds
from graphc.run.data import Bound
from graphc.run.descent import Batch, Called, Products
from graphc.run.least_squares import Asked, Block, LeastSquares
from graphc.run.training import words_of

STILL: Rule = rule("gradient", "theta <- theta")
"""The rule that changes nothing: a training step by it computes loss, metrics and gradient."""
AT_ONCE = 2**27  # bytes of a Jacobian; of more rows it is summed up in parts
MOST_PARAMETERS = 10_000  # of a system of equations


def views(model: Core, flat: NDArray) -> list[NDArray]:
    """Every parameter in flat storage."""
    places = [model.params._places[str(leaf.name)] for leaf in model.param_leaves]
    return [flat[start : start + math.prod(shape)].reshape(shape) for shape, start in places]


def hessian_times(model: Core, verify: bool) -> Function:
    """The Hessian of the loss times a vector: of parameters, vectors, and data."""
    key = "hessian times", model.dtype, model.checks_bounds, verify
    return model.once(key, lambda: _hessian_times(model, verify))


def _hessian_times(model: Core, verify: bool) -> Function:
    leaves, loss = model.param_leaves, model.needs_loss()
    vectors = [Tensor(Leaf(f"v_{leaf.name}", leaf.shape, "input")) for leaf in leaves]
    found = hvp(loss, [Tensor(leaf) for leaf in leaves], vectors)
    inputs = [*map(Tensor, leaves), *vectors, *map(Tensor, model.training_inputs)]
    return Function(found, inputs, model.dtype, False, verify, model.subnormals, model.checks_bounds)


def products(model: Core, data: Bound, verify: bool) -> Products:
    """What multiplies by the Hessian over a batch."""
    function = hessian_times(model, verify)
    arrays = [data.arrays[leaf] for leaf in model.training_inputs]

    def at(parameters: NDArray, vector: NDArray) -> Called:
        size = len(vector) // 2
        v, product = views(model, vector[:size]), views(model, vector[size:])
        vector[:size] = 1.0  # what the program is checked with
        return Called(*function.bound([*views(model, parameters), *v, *arrays], product))

    return at


def _places(model: Core) -> list[tuple[int, int]]:
    """Where every array of parameters lies, and its length."""
    found = [model.params._places[str(leaf.name)] for leaf in model.param_leaves]
    return [(start, math.prod(shape)) for shape, start in found]


def least_squares(
    model: Core, how: Curvature, batches: Sequence[Batch], capacity: Lengths, verify: bool
) -> LeastSquares:
    """The method with the programs of residuals and derivatives, and of metrics."""
    parts = residuals(model, verify)
    means = [_Means(model, batch.taken[0], verify) for batch in batches] if model.metric_names else []
    asked = means[0] if means else None
    c, more = (asked.words, asked.room) if asked else (np.zeros(control.C_SIZE, np.int64), 0)
    kind, many = np.dtype(model.dtype), len(model.metric_names)
    evaluated = Asked(kind, model.params.held.size, many, capacity, 0.0, c.copy(), more)
    room = _Room(model, batches, parts)
    found = LeastSquares(how, batches, evaluated, _places(model), room.again)
    found.point[:] = model.params.flat  # where the programs are checked
    given = aligned(room.size, model.dtype)
    blocks = [room.blocks(found.point, given, batch.taken[0]) for batch in batches]
    found.ask(given, blocks, [of_batch.called(found.point, evaluated.control, found.totals) for of_batch in means])
    return found


def residuals(model: Core, verify: bool) -> list[_Part]:
    """The programs of residuals and derivatives."""
    return model.once(("residuals", model.dtype, model.checks_bounds, verify), lambda: _parts(model, verify))


class _Means:
    """The program that evaluates loss and metrics over a batch."""

    def __init__(self, model: Core, data: Bound, verify: bool) -> None:
        names = ("loss", *model.metric_names)
        compiled, program = evaluator(model, (), names, data.lengths)
        if verify:
            verify_evaluation(model, compiled, (), names, data)
        self.program, self.constants = program, compiled.constants
        self.arrays = [data.arrays[leaf] for leaf in compiled.facts.inputs]
        self.room = bounds.room(program.program)
        self.words = words_of(data.lengths, self.room)

    def called(self, point: NDArray, c: NDArray, totals: NDArray) -> Called:
        """The call at a point."""
        head, _ = self.program.head(point, self.constants, 1)
        arguments = [*head[:4], c, totals, *self.arrays]
        bounds.tell(self.program.program, self.words, arguments)
        return Called(self.program.program, arguments, self.words)


class _Room:
    """The memory of what the programs of residuals give: of all rows, or where that is too much of some at a time."""

    def __init__(self, model: Core, batches: Sequence[Batch], parts: Sequence[_Part]) -> None:
        self.model, self.parts = model, parts
        params = views(model, model.params.flat)
        sizes = [
            [sum(map(padded, part.shapes([*params, *arrays]))) for part, arrays in self._pieces(batch.taken[0])]
            for batch in batches
        ]
        most, itemsize = max(map(sum, sizes)), np.dtype(model.dtype).itemsize
        self.again = most * itemsize > AT_ONCE
        self.size = max(max(of_batch) for of_batch in sizes) if self.again else most

    def _pieces(self, data: Bound) -> Iterator[tuple[_Part, list[NDArray]]]:
        for part in self.parts:
            for arrays in part.pieces(data):
                yield part, arrays

    def blocks(self, point: NDArray, given: NDArray, data: Bound) -> list[Block]:
        """Those of a batch."""
        found: list[Block] = []
        at, params = 0, views(self.model, point)
        memory: dict[int, NDArray] = {}
        for part, arrays in self._pieces(data):
            shapes, places = part.shapes([*params, *arrays]), []
            for shape in shapes:
                places.append(at)
                at += padded(shape)
            outputs = [given[p : p + math.prod(s)].reshape(s) for p, s in zip(places, shapes, strict=True)]
            call = Called(*part.function.bound([*params, *arrays], outputs, memory.get(id(part))))
            memory.setdefault(id(part), call.arguments[0])
            found += part.blocks(shapes, places, call, data)
            at = 0 if self.again else at
        return found


def padded(shape: Sequence[int]) -> int:
    """The elements of an array and of the gap behind it, so that the next one begins a cache line."""
    return -(-math.prod(shape) // ALIGN) * ALIGN


class _Part:
    """Squares that one program gives: those by the rows of a free extent, or those that are not (None)."""

    def __init__(self, model: Core, squares: Sequence[Squares], rows: str | None, verify: bool) -> None:
        self.squares, self.row_name, self.inputs = squares, rows, model.training_inputs
        leaves = model.param_leaves
        roots: list[Node] = []
        for s in squares:
            roots.append(s.residual)
            if rows is not None:
                roots += row_jacobians(s.residual, leaves, rows)
            else:
                roots += [jacobian(s.residual, w) for w in leaves]
        self.width = 1 + len(leaves)
        outputs = [Tensor(n) for n in tidy_graph(roots).roots]
        inputs = [*map(Tensor, leaves), *map(Tensor, self.inputs)]
        self.function = Function(outputs, inputs, model.dtype, False, verify, model.subnormals, model.checks_bounds)
        nodes = topological([s.residual for s in squares])
        divisible = rows is not None and not any(free_sizes(n) for n in nodes if isinstance(n, Equation))
        self.rows_at_once = self.function.rows_at_once if divisible else 0

    def pieces(self, data: Bound) -> Iterator[list[NDArray]]:
        """The data of every call, some rows each."""
        rows = by_extent(data.arrays).get(self.row_name or "", 1)
        step = self.rows_at_once or rows
        for begin in range(0, rows, step):
            yield [
                data.arrays[leaf][begin : begin + step] if leaf.shape[:1] == (self.row_name,) else data.arrays[leaf]
                for leaf in self.inputs
            ]

    def shapes(self, arrays: Sequence[NDArray]) -> list[tuple[int, ...]]:
        """Of r and dr/dw for every w, of each of the squares."""
        return self.function.shapes(arrays)

    def blocks(
        self, shapes: Sequence[tuple[int, ...]], places: Sequence[int], call: Called, data: Bound
    ) -> Iterator[Block]:
        """The blocks of a call, one for each of the squares."""
        sizes = by_extent(data.arrays)
        for t, s in enumerate(self.squares):
            at = t * self.width
            inside = math.prod(shapes[at][1:]) if self.row_name else 1
            jacobian, factor = places[at + 1 : at + self.width], math.sqrt(_factor(s, sizes, data))
            yield Block(math.prod(shapes[at]), inside, places[at], jacobian, factor, None if t else call)


def _factor(squares: Squares, sizes: Mapping[str, int], data: Bound) -> float:
    """What stands before the squares, refused where an input makes it negative."""
    inputs = {str(leaf.name): float(array) for leaf, array in data.arrays.items() if leaf.shape == ()}
    value = value_of(squares.weight, sizes, inputs)
    if value >= 0:
        return value
    names = sorted(s.name for s in squares.weight.free_symbols if getattr(s, "name", "") in inputs)
    told = ", ".join(f"{name} = {inputs[name]:.6g}" for name in names)
    message = f"fit: LevenbergMarquardt takes a sum of squares, but {told} makes the factor of one negative"
    raise DomainError(f"{message}\n  hint: give numbers of at least 0, or take gc.LBFGS()")


def _parts(model: Core, verify: bool) -> list[_Part]:
    """The squares that the loss is made of, those whose rows are apart first."""
    try:
        found = sum_of_squares(model.graph.roots["loss"])
    except NoSquaresError as error:
        _refuse(model, error.node)
    if model.params.held.size > MOST_PARAMETERS:
        raise DomainError(
            f"fit: LevenbergMarquardt solves a system of {model.params.held.size} equations in every step\n"
            f"  hint: gc.LBFGS() has no such system"
        )
    apart = [s for s in found if s.rows in model.row_extents and _rows_apart(s, model.param_leaves)]
    by_row = [(e, [s for s in apart if s.rows == e]) for e in model.row_extents]
    others = [s for s in found if s not in apart]
    return [_Part(model, s, rows, verify) for rows, s in [*by_row, (None, others)] if s]


def _rows_apart(s: Squares, leaves: Sequence[Leaf]) -> bool:
    try:
        row_jacobians(s.residual, leaves, str(s.rows))
    except RowsMeetError:
        return False
    return True


def _refuse(model: Core, node: Node) -> NoReturn:
    raise DomainError(
        f"fit: LevenbergMarquardt takes a mean or sum of squares, but the loss has\n  {formula_of(model, node)}\n"
        f"  hint: gc.losses.mse(Y, T) is one; for other losses take gc.LBFGS()"
    )


def check_constraints(model: Core, name: str) -> None:
    """Refuse parameters that are kept to something: a step along a line does not stay within it."""
    bound: Mapping[str, Any] = {str(w.name): w.constraint for w in model.param_leaves if w.constraint is not None}
    if bound:
        raise DomainError(
            f"fit: {name} cannot keep {', '.join(bound)} to a constraint\n"
            f"  hint: take an update rule such as gc.Adam(1e-3), or write the parameter as a formula: gc.exp(w) > 0"
        )
