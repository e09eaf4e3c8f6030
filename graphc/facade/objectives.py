"""What curvature optimizers ask of a model, each a native call: loss and gradient, Hessian times a vector, residuals
with their Jacobian."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from graphc.declare.tensor import Tensor
from graphc.derive.by_row import RowsMeetError, row_jacobians
from graphc.derive.gradient import jacobian
from graphc.derive.squares import NoSquaresError, Squares, sum_of_squares, value_of
from graphc.errors import DomainError
from graphc.facade.calculus import Function, hvp
from graphc.facade.core import Core
from graphc.facade.deriving import formula_of
from graphc.facade.evaluating import means_of
from graphc.ir.node import Equation, Leaf, Node, free_sizes
from graphc.ir.walk import topological
from graphc.lower.lengths import by_extent
from graphc.native.buffers import aligned
from graphc.optim.rules import Rule, rule
from graphc.rewrite.normal import tidy_graph
from graphc.run.data import Bound
from graphc.run.descent import Point
from graphc.run.gradients import GradientCall
from graphc.run.least_squares import Residuals
from graphc.run.training import Trainer

STILL: Rule = rule("gradient", "theta <- theta")
"""The rule that changes nothing: a training step by it computes loss, metrics and gradient."""
AT_ONCE = 2**27  # bytes of a Jacobian; of more rows it is summed up in parts
MOST_PARAMETERS = 10_000  # of a system of equations


def views(model: Core, flat: NDArray) -> list[NDArray]:
    """Every parameter in flat storage."""
    places = [model.params._places[str(leaf.name)] for leaf in model.param_leaves]
    return [flat[start : start + math.prod(shape)].reshape(shape) for shape, start in places]


def _joined(model: Core, arrays: Sequence[NDArray]) -> NDArray:
    """One float64 vector laid out like the parameters, of an array for each of them."""
    flat = np.zeros(model.params.held.size)
    for place, array in zip(views(model, flat), arrays, strict=True):
        place[...] = array
    return flat


class Gradients:
    """Loss and gradient over a batch by the training program of :data:`STILL`, by as many threads as pay."""

    def __init__(
        self, model: Core, trainer: Trainer, data: Bound, weights: NDArray | None, threads: int | None, verify: bool
    ) -> None:
        self.model, self.trainer, self.data, self.threads, self.verify = model, trainer, data, threads, verify
        self.parameters = aligned(model.params.held.size, model.dtype)
        constants, *arrays = model.program_data(data, weights)
        self._call = GradientCall(trainer, self.parameters, [constants, np.zeros(1), *arrays], data.lengths)
        self._times: Function | None = None

    def at(self, x: NDArray) -> Point:
        """Loss and gradient at x."""
        self.parameters[:] = x
        loss, *metrics = self._call(self.threads) or [math.inf] * (1 + len(self.model.metric_names))
        g = self.trainer.gradients[: self.parameters.size].astype(np.float64)
        return Point(self.parameters.copy(), loss, g, metrics)

    def hessian_times(self, x: NDArray, v: NDArray) -> NDArray:
        """The Hessian at x times v."""
        times = self._times = self._times or self.model.once(("hessian times", self.model.dtype), self._product)
        arrays = [self.data.arrays[leaf] for leaf in self.model.training_inputs]
        v = v.astype(self.model.dtype)
        return _joined(self.model, times(*views(self.model, x), *views(self.model, v), *arrays))

    def _product(self) -> Function:
        leaves, loss = self.model.param_leaves, self.model.needs_loss()
        vectors = [Tensor(Leaf(f"v_{leaf.name}", leaf.shape, "input")) for leaf in leaves]
        found = hvp(loss, [Tensor(leaf) for leaf in leaves], vectors)
        inputs = [*map(Tensor, leaves), *vectors, *map(Tensor, self.model.training_inputs)]
        m = self.model
        return Function(found, inputs, m.dtype, False, self.verify, m.subnormals, m.checks_bounds)


class SquaredResiduals:
    """Residuals with their Jacobian over a batch."""

    def __init__(self, model: Core, data: Bound, verify: bool) -> None:
        self.model, self.data, self.verify = model, data, verify
        key = "residuals", model.dtype, model.checks_bounds
        self.parts: list[_Part] = model.once(key, lambda: _parts(model, verify))
        self.parameters = model.params.flat.copy()

    def at(self, x: NDArray) -> Residuals:
        """f = Σ r², JᵀJ and Jᵀr at x."""
        model = self.model
        self.parameters[:] = x
        params, size = views(model, self.parameters), self.parameters.size
        f, a, b = 0.0, np.zeros((size, size)), np.zeros(size)
        for part in self.parts:
            for r, jacobians in part.values(params, self.data):
                j = np.zeros((r.size, size))
                for (shape, start), block in zip(_places(model), jacobians, strict=True):
                    j[:, start : start + math.prod(shape)] = block.reshape(r.size, -1)
                f += float(np.dot(r, r))
                a += j.T @ j
                b += r @ j
        if not (math.isfinite(f) and np.isfinite(a).all() and np.isfinite(b).all()):
            f = math.inf
        return Residuals(self.parameters.copy(), f, a, b, [])

    def metrics(self) -> list[float]:
        """Of the model, with the parameters that it has now."""
        if not self.model.metric_names:
            return []
        values = means_of(self.model, self.data, self.verify)
        return [values[n] for n in self.model.metric_names]


def _places(model: Core) -> list[tuple[tuple[int, ...], int]]:
    return [model.params._places[str(leaf.name)] for leaf in model.param_leaves]


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
        count = sum(math.prod(e for e in s.residual.shape if isinstance(e, int)) for s in squares)
        nodes = topological([s.residual for s in squares])
        divisible = rows is not None and not any(free_sizes(n) for n in nodes if isinstance(n, Equation))
        self.rows_at_once = max(1, AT_ONCE // (8 * count * max(1, model.params.held.size))) if divisible else 0

    def values(self, params: Sequence[NDArray], data: Bound) -> Any:
        """(r, dr/dw for every w) for each of the squares, the rows in parts."""
        sizes = by_extent(data.arrays)
        rows = sizes.get(self.row_name or "", 1)
        step = self.rows_at_once or rows
        for begin in range(0, rows, step):
            arrays = [
                data.arrays[leaf][begin : begin + step] if leaf.shape[:1] == (self.row_name,) else data.arrays[leaf]
                for leaf in self.inputs
            ]
            found = self.function(*params, *arrays)
            for t, s in enumerate(self.squares):
                scale = math.sqrt(_factor(s, sizes, data))
                r, *jacobians = found[t * self.width : (t + 1) * self.width]
                r = np.asarray(np.moveaxis(r, 0, -1) if self.row_name else r, np.float64).reshape(-1)
                yield scale * r, [scale * np.asarray(j, np.float64) for j in jacobians]


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
