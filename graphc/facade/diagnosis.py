"""After a step whose loss or gradient was not finite: which formula line gave the first bad value?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from graphc.emit.reference import evaluate_all
from graphc.errors import DivergenceError, DomainError
from graphc.facade.chance import drawn
from graphc.facade.core import Core
from graphc.facade.deriving import formula_of
from graphc.facade.failure_causes import SMALLER, advice
from graphc.facade.singular import singular_matrix
from graphc.ir.node import Equation, Leaf
from graphc.ir.walk import topological
from graphc.lower.lengths import by_extent, has_rows, lengths_of
from graphc.optim import AnyRule, Curvature
from graphc.primitives import philox
from graphc.run.data import Bound
from graphc.run.training import RuleState

HINT = f"  hint: {SMALLER}"


def explain_divergence(
    model: Core, data: Bound, weights: NDArray | None, rule: AnyRule | Curvature, whole: bool = False
) -> NoReturn:
    """Evaluate the failed step, on the ``whole`` data or on the rows that come next, with the interpreter and name what
    went wrong.

    Raises
    ------
    DivergenceError
        With the step, the formula line, the first bad value and the names of what it was computed from.
    DomainError
        When a matrix was singular or not positive definite: with its place in the stack.
    """
    head = _head(model.state.rules[rule.text])
    rows = {e: np.arange(n) for e, n in by_extent(data.arrays).items()} if whole else _next_rows(model, data)
    feed = _feed(model, data, weights, rows)
    graph = model.differentiated(weights is not None)
    roots = [graph.loss, *graph.gradients.values()]
    values = evaluate_all(roots, feed, dtype=np.dtype(model.dtype))
    told = singular_matrix(roots, values, rows)
    if told:
        raise DomainError(f"{head}\n  {told}")
    found = next((n for n in topological(roots) if isinstance(n, Equation) and _is_bad(values[n])), None)
    if found is None:  # float32 sums may overflow in another order than the interpreter's
        raise DivergenceError(f"{head}\n{HINT}")
    bad = values[found]
    at = tuple(int(i) for i in np.argwhere(~np.isfinite(bad))[0]) if bad.ndim else ()
    line = formula_of(model, found)
    where = f"\n  at {found.origin}" if found.origin else ""
    hint = advice(found, values, model.dtype, model.state.rules[rule.text].step)
    raise DivergenceError(f"{head}\n  {line}\n  is {bad[at]} at {list(at)}{where}\n  hint: {hint}")


def explain_overflow(model: Core, rule: AnyRule, place: int, value: float) -> NoReturn:
    """Name the line of the update rule whose result was not finite although the gradient was.

    Raises
    ------
    DivergenceError
        With the step, the line of the rule, the bad value and its place.
    """
    turn, at = divmod(place, model.params.held.size)
    name = model.params.name_at(at).partition("[")[0]
    own = rule.of(name) if name in model.params.trained else rule
    target = ("theta", *own.states)[turn] if own else "theta"
    state = next((leaf for leaf in model.updates if not turn and model.params.holds(str(leaf.name), at)), None)
    if state is not None:
        found = f"the update of the state {state.name}\n  is {value} for {model.params.name_at(at)}"
        raise DivergenceError(f"{_head(model.state.rules[rule.text])}\n  {found}\n{HINT}")
    line = next(line for line in reversed((own or rule).text.splitlines()) if line.split("<-")[0].strip() == target)
    text = " ".join(line.split())
    raise DivergenceError(
        f"{_head(model.state.rules[rule.text])}\n  {text}\n  is {value} for {model.params.name_at(at)}\n{HINT}"
    )


def _head(state: RuleState) -> str:
    return f"step {state.step + 1} gave NaN or infinity; the parameters of step {state.step} are kept"


def _is_bad(value: Any) -> bool:
    return not np.isfinite(value).all()


def _next_rows(model: Core, data: Bound) -> dict[str, NDArray]:
    """The rows of the data in the batch that failed, by extent."""
    sampler, sizes = model.state.sampler, by_extent(data.arrays)
    if sampler.extents:
        return {e: _ordered(n, model.shuffled, sampler.keys_of(t), *sampler.next_rows(t))
                for t, (e, n) in enumerate(sizes.items())}  # fmt: skip
    stop = min(sampler.position + sampler.batch, data.rows)
    return {e: _ordered(n, model.shuffled, sampler.keys, sampler.epoch, sampler.position, stop)
            for e, n in sizes.items()}  # fmt: skip


def _ordered(
    rows: int, shuffled: bool, keys: tuple[int, int], epoch: int, first: int, last: int
) -> NDArray:
    """The rows at some places of a pass."""
    place = np.arange(first, last)
    return philox.permuted(rows, place, *keys, epoch) if shuffled and last - first < rows else place


def _feed(
    model: Core, data: Bound, weights: NDArray | None, rows: Mapping[str, NDArray]
) -> dict[Leaf, NDArray]:
    """The parameters and the rows of the batch that failed."""
    feed: dict[Leaf, NDArray] = {}
    for leaf, array in data.arrays.items():
        feed[leaf] = array[rows[str(leaf.shape[0])]] if has_rows(leaf) else array
    if weights is not None:
        feed[model.weight_leaf] = weights[rows[str(model.weight_leaf.shape[0])]]
    feed |= drawn(model, model.state.sampler, lengths_of(feed), model.dtype)
    for leaf in model.kept_leaves:
        feed[leaf] = model.params[str(leaf.name)]
    return feed
