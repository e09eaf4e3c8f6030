"""Scan: a step that is done over and over."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from graphc.declare.constants import exact, is_number
from graphc.declare.expression import NodeHandle
from graphc.declare.names import node_text, shape_text
from graphc.declare.origin import fail, stamp
from graphc.declare.pointwise import where
from graphc.declare.tensor import Tensor, as_node
from graphc.declare.views import labels_leaf
from graphc.errors import DomainError, ShapeError, TypeMismatchError
from graphc.ir.affine import Extent, constant, index
from graphc.ir.build import constant_node, equation
from graphc.ir.lifting import hoisted
from graphc.ir.node import Leaf, Node, Position, Read
from graphc.ir.scalar import placeholder
from graphc.ir.scan import Carry, Scan, Unrolled, at_step, transposed, with_time
from graphc.ir.walk import inside, sources, topological, within_steps


def scan(
    step: Callable[[Any, Any], tuple[Any, Any]],
    carry: Any,
    xs: Any = None,
    length: Extent | None = None,
    axis: int | None = None,
    reverse: bool = False,
    lengths: Any = None,
    truncate: int | None = None,
) -> tuple[Any, Any]:
    """Do a step over and over: ``carry, ys[t] = step(carry, xs[t])`` for t = 0, 1, ...

    The step is declared once, whatever the number of steps, and so is its derivative: an adjoint that goes through the
    steps from the last to the first.  What does not depend on carried values is computed for all steps at once.

    Parameters
    ----------
    step : function of (carry, x)
        Gives the carried values after the step, of the same shapes, and a Tensor for every step or None.  What else it
        reads is the same in every step; random tensors too, as dropout's mask.
    carry : Tensor, number or array; or a tuple, list or dict of them
        What the first step starts from: its shapes are those of the carried values.
    xs : Tensor or array; or a tuple, list or dict of them, optional
        What is given for every step.
    length : int or str, optional
        The number of steps, or the name of the free extent that has it; needed without `xs`.
    axis : int, optional
        The axis of `xs`, and of what is given back, that the steps run over.  By default the one behind the rows: 1 of
        ("n", steps, width), and of ("n", "t", width), whose number of steps is that of the data of each call; 0 of
        (steps, width); without `xs` the first one.
    reverse : bool
        Whether to begin with the last step.
    lengths : Tensor or array, optional
        How many steps each row has, ("n",): behind them its carried values stay as they are and its ys are 0.  In
        reverse a row begins with its own last step.
    truncate : int, optional
        After how many steps derivatives end: with h' = h for the step but constant for derivatives where the number of
        steps done is a multiple of it (not 0), ``carry, ys[t] = step(carry', xs[t])``.  It is the window of truncated
        backpropagation through time; values are those without it.

    Returns
    -------
    carry
        The carried values after the last step.
    ys
        What the steps gave, with the axis of the steps; None when they gave None.

    Raises
    ------
    ShapeError
        When carried values change their shapes, the numbers of steps differ, or carried values have no rows for
        `lengths`.
    DomainError
        When `truncate` is no whole number of at least 1.
    TypeMismatchError
        When the step gives something else than two values, or one that is no Tensor; when a state would be updated in
        it, or another scan depends on it.

    Examples
    --------
    >>> import graphc as gc
    >>> X = gc.input("X", ("n", 8, 3)); W = gc.param("W", (3, 4)); U = gc.param("U", (4, 4))
    >>> def step(h, x):
    ...     h = gc.tanh(x @ W + h @ U)
    ...     return h, h
    >>> last, all_of_them = gc.scan(step, [[0.0] * 4], X)
    >>> last.shape, all_of_them.shape
    (('n', 4), ('n', 8, 4))
    """
    given, unflatten_x = _flat(xs)
    starts, unflatten = _flat(carry)
    if not starts:
        fail(TypeMismatchError, "scan: there is no carried value", "give a Tensor, or a tuple of Tensors.")
    nodes = [as_node(x, "scan") for x in given]
    at = _axis(nodes, axis)
    count = _length(nodes, at, length)
    times: dict[Node, Node] = {}
    running = None if lengths is None else _running(as_node(lengths, "scan"), count)
    if running is not None:
        times[leaf := _leaf(running, "running", running.shape[1:])] = running
        step = _held(step, Tensor(leaf))
    before = [_start(x) for x in starts]
    slices = [_leaf(x, "x", (*x.shape[:at], *x.shape[at + 1 :])) for x in nodes]
    names = [*carry] if isinstance(carry, dict) else "h" if len(before) == 1 else [f"h{t}" for t in range(len(before))]
    leaves = [_leaf(x, name, x.shape) for x, name in zip(before, names, strict=True)]
    nexts, ys, unflatten_y = _stepped(step, unflatten, leaves, unflatten_x, slices)
    if [n.shape for n in nexts] != [x.shape for x in before]:
        before = [_as_large(x, n) for x, n in zip(before, nexts, strict=True)]
        leaves = [_leaf(x, name, x.shape) for x, name in zip(before, names, strict=True)]
        nexts, ys, unflatten_y = _stepped(step, unflatten, leaves, unflatten_x, slices)
        _check_shapes(before, nexts)
    times |= {leaf: with_time(node, at) for leaf, node in zip(slices, nodes, strict=True)}
    _check_inside([*nexts, *ys], [*leaves, *times])
    _bound_labels(nodes, slices)
    carries = [Carry(leaf, start, after) for leaf, start, after in zip(leaves, before, nexts, strict=True)]
    made, lifting = hoisted(count, carries, times, reverse, _window(truncate))
    _check_labels(made)
    ends = [stamp(at_step(lifting.all(n), made.last)) for n in nexts]
    results = [stamp(_placed(lifting.all(y), at)) for y in ys]
    return unflatten([Tensor(n) for n in ends]), unflatten_y([Tensor(y) for y in results])


def _window(truncate: Any) -> int:
    """After how many steps derivatives end, 0 for never."""
    if truncate is None:
        return 0
    if isinstance(truncate, bool) or not isinstance(truncate, int | np.integer) or truncate < 1:
        fail(DomainError, f"scan: truncate is {truncate!r:.60}", "give a whole number of steps, or leave it out.")
    return int(truncate)


def _running(lengths: Node, count: Extent) -> Node:
    """[t < lengths[..]] as v[t, ..]."""
    number = equation((count,), 1, "sum", placeholder(0), [Position(index(0))])
    return as_node(Tensor(number)[(slice(None), *[None] * lengths.rank)] < Tensor(lengths), "scan")


def _held(step: Callable[[Any, Any], Any], running: Tensor) -> Callable[[Any, Any], Any]:
    """The step of rows that still run: carried values of the others stay, and what they give is 0."""

    def chosen(after: Any, other: Any) -> Tensor:
        node = as_node(after, "scan")
        if node.rank < running.ndim:
            message = f"scan: {node_text(node)} has no rows, but lengths has {shape_text(running.shape)}"
            fail(ShapeError, message, "give a length for every row of what the step carries and gives.")
        return where(running[(..., *[None] * (node.rank - running.ndim))], Tensor(node), other)

    def held(carry: Any, x: Any) -> Any:
        made = step(carry, x)
        if not isinstance(made, tuple) or len(made) != 2:
            return made
        before, (after, form), (ys, form_y) = _flat(carry)[0], _flat(made[0]), _flat(made[1])
        if len(after) != len(before):
            return made
        kept = [chosen(a, b) for a, b in zip(after, before, strict=True)]
        return form(kept), form_y([chosen(y, 0) for y in ys])

    return held


def _flat(tree: Any) -> tuple[list[Any], Callable[[list[Any]], Any]]:
    """The Tensors of a tuple, list or dict of them, and what puts others in their places."""
    if tree is None:
        return [], lambda _: None
    if isinstance(tree, dict):
        names = [*tree]
        return [*tree.values()], lambda found: dict(zip(names, found, strict=True))
    if isinstance(tree, tuple | list):
        kind = type(tree)
        build = getattr(kind, "_make", kind)
        return [*tree], lambda found: build(found)
    return [tree], lambda found: found[0]


def _start(value: Any) -> Node:
    """The node of what the first step starts from; an array of one number is that number."""
    if isinstance(value, NodeHandle) or is_number(value):
        return as_node(value, "scan")
    found = np.asarray(value)
    same = found.dtype.kind in "fiu" and found.size > 0 and np.all(found == found.flat[0])
    return constant_node(exact(found.flat[0].item(), "scan"), found.shape) if same else as_node(value, "scan")


def _stepped(
    step: Callable[[Any, Any], Any], unflatten: Callable, leaves: list[Leaf], unflatten_x: Callable, slices: list[Leaf]
) -> tuple[list[Node], list[Node], Callable[[list[Any]], Any]]:
    """The step done once: carried values after it, what it gives, and the form of that."""
    made = step(unflatten([Tensor(leaf) for leaf in leaves]), unflatten_x([Tensor(leaf) for leaf in slices]))
    if not isinstance(made, tuple) or len(made) != 2:
        message = f"scan: the step gives {made!r:.60}, not two values"
        fail(TypeMismatchError, message, "it returns (carry, y); y may be None.")
    nexts = [as_node(x, "scan") for x in _flat(made[0])[0]]
    if len(nexts) != len(leaves):
        message = f"scan: the step takes {len(leaves)} carried values and gives {len(nexts)}"
        fail(TypeMismatchError, message, "it gives as many as there are to begin with.")
    ys, unflatten_y = _flat(made[1])
    return nexts, [as_node(y, "scan") for y in ys], unflatten_y


def _leaf(node: Node, name: str, shape: tuple[Extent, ...]) -> Leaf:
    labels = labels_leaf(node)
    bound = None if labels is None else labels.bound
    return Leaf(node.name or name, shape, "step", "float" if labels is None else "int", bound=bound)


def _axis(nodes: list[Node], axis: int | None) -> int:
    """The axis of the steps."""
    if not nodes:
        return axis or 0
    shape = nodes[0].shape
    if axis is None:
        found = int(isinstance(shape[0], str)) if shape else 0
        if found >= len(shape):
            message = f"scan: {node_text(nodes[0])} has no axis of steps"
            fail(ShapeError, message, 'declare their number, ("n", 32, 8), or a name for it, ("n", "t", 8).')
        return found
    if not -len(shape) <= axis < len(shape):
        fail(ShapeError, f"scan: {node_text(nodes[0])} has no axis {axis}", f"its axes are 0 to {len(shape) - 1}.")
    return axis % len(shape)


def _length(nodes: list[Node], at: int, length: Extent | None) -> Extent:
    """The number of steps."""
    found = [*([length] if length is not None else []), *(x.shape[at] if at < x.rank else None for x in nodes)]
    if not found:
        fail(ShapeError, "scan: nothing tells the number of steps", "give length= or xs.")
    first = found[0]
    if first is None or any(e != first for e in found) or (first if isinstance(first, int) else 1) < 1:
        shown = ", ".join([*([f"length={length!r}"] if length is not None else []), *map(node_text, nodes)])
        hint = f"axis {at} of all of them has the number of steps, a whole number or one name."
        fail(ShapeError, f"scan: the number of steps is not the same: {shown}", hint)
    return first


def _as_large(start: Node, after: Node) -> Node:
    """The start in the shape that the step gives, where it fits."""
    shapes = zip(start.shape, after.shape[after.rank - start.rank :], strict=False)
    if start.rank > after.rank or any(a not in (1, b) for a, b in shapes):
        _check_shapes([start], [after])
    lead = after.rank - start.rank
    at = tuple(constant(0) if e == 1 else index(lead + i) for i, e in enumerate(start.shape))
    return equation(after.shape, after.rank, "sum", placeholder(0), [Read(start, at)])


def _check_shapes(before: list[Node], nexts: list[Node]) -> None:
    for start, after in zip(before, nexts, strict=True):
        if start.shape != after.shape:
            found = f"{shape_text(start.shape)} and is {shape_text(after.shape)} after a step"
            fail(ShapeError, f"scan: a carried value begins as {found}", "carried values keep their shapes.")


def check_outside(roots: Iterable[Node]) -> None:
    """Refuse what reads a value of one step without being given back by the step.

    Raises
    ------
    TypeMismatchError
        Naming the value.
    """
    wanted = set(roots)
    order = topological(wanted)
    if not within_steps(order).isdisjoint(wanted):
        found = next(n for n in order if isinstance(n, Leaf) and not wanted.isdisjoint(inside(wanted, [n]))
                     and n.kind == "step")  # fmt: skip
        message = f"{node_text(found)} has a value within the steps of gc.scan alone, and is read outside"
        fail(TypeMismatchError, message, "let the step give it back, (carry, y), and read that.")


def _check_inside(wanted: list[Node], leaves: Sequence[Node]) -> None:
    """Refuse a scan within a step that depends on the step, and a state that the step would update."""
    for node in topological(wanted):
        if isinstance(node, Leaf) and node.update is not None and inside([node.update], leaves):
            hint = "normalise before or after the scan, or by gc.nn.LayerNorm, which has no statistics to keep."
            fail(TypeMismatchError, f"scan: the step would update the state {node.name}", hint)
        if isinstance(node, Unrolled) and inside(sources(node), leaves):
            hint = "make the inner steps by a loop in Python, or scan over both axes reshaped to one."
            fail(TypeMismatchError, "scan: a scan within the step of another depends on that step", hint)


def _bound_labels(nodes: list[Node], slices: list[Leaf]) -> None:
    """Labels stay below what their slices select from."""
    for node, leaf in zip(nodes, slices, strict=True):
        labels = labels_leaf(node)
        if labels is not None and leaf.bound is not None:
            labels.bound = leaf.bound if labels.bound is None else min(labels.bound, leaf.bound)


def _check_labels(scan: Scan) -> None:
    for s in scan.slices:
        if s.leaf.dtype == "int":
            message = f"scan: labels {s.leaf.name} are read at places that carried values decide"
            fail(TypeMismatchError, message, "use one-hot values, gc.one_hot, or gather before the scan.")


def _placed(node: Node, at: int) -> Node:
    """v[.., t, ..] of v[t, ..]."""
    at = min(at, node.rank - 1) if at >= 0 else max(at + node.rank, 0)
    return transposed(node, [*range(1, at + 1), 0, *range(at + 1, node.rank)])
