"""Derivatives of tensors as tensors, and compiled functions of tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphc.declare.names import node_text, shape_text
from graphc.declare.operators import stop_gradient
from graphc.declare.origin import fail, located
from graphc.declare.scanning import check_outside
from graphc.declare.tensor import Tensor
from graphc.declare.written import names_beside, note_leaves, written_leaves
from graphc.derive import gradient as derivatives
from graphc.errors import DataError, NameClashError, ShapeError, TypeMismatchError, UnknownNameError
from graphc.facade.checking import verify_function
from graphc.facade.function_trial import FunctionTrial
from graphc.facade.functions import FunctionFacts, bound_function, call_function, obtain_function, rows_in_cache
from graphc.facade.pipeline import read_graph
from graphc.facade.programs import check_differentiable
from graphc.facade.singular import check_matrices
from graphc.facade.unrewritten import note_derivatives
from graphc.ir.letters import close_name
from graphc.ir.node import Leaf, Node
from graphc.ir.walk import equations, topological
from graphc.lower.layout import Count
from graphc.native.buffers import aligned
from graphc.native.build import Program
from graphc.rewrite.modes import in_mode
from graphc.rewrite.normal import tidy_graph
from graphc.run.data import check_labels, check_rows, convert
from graphc.run.index_limits import label_limits, rows_needed
from graphc.run.prepared import MOST, Ready, usable

__all__ = ["compile", "grad", "hessian", "hvp", "jacobian", "stop_gradient"]


@located
def grad(loss: Tensor, wrt: Tensor | Sequence[Tensor]) -> Any:
    """The gradient of a scalar with respect to tensors, as tensors that go into further expressions.

    Parameters
    ----------
    loss : Tensor
        A scalar.
    wrt : Tensor or sequence of Tensors
        Parameters, inputs or intermediate tensors that the loss is made of.

    Returns
    -------
    Tensor, or list of Tensors when ``wrt`` is a sequence
        dloss/dw with the shape of w; zeros where the loss does not depend on w.

    Raises
    ------
    ShapeError
        When the loss is not a scalar.
    NonDifferentiableError
        When operations with zero gradient lie on every way from a parameter to the loss.

    Examples
    --------
    >>> import graphc as gc
    >>> x = gc.param("x", (), 1.0)
    >>> gc.grad(x**3, x).shape
    ()
    """
    several = isinstance(wrt, list | tuple)
    targets = [tensor_of(w, "grad") for w in (wrt if several else [wrt])]
    node, moved = prepared(scalar_tensor(loss, "grad"), targets)
    found = tidied(derivatives.gradient(node, moved))
    note(found, loss, targets, derivatives.gradient)
    return [Tensor(n) for n in found] if several else Tensor(found[0])


def note(found: Sequence[Node], y: Tensor, wrt: Sequence[Tensor], derive: Callable) -> None:
    """Remember that ``derive(y, wrt)`` gives what was found, without any rewriting: programs are checked against it."""
    nodes = [y.node, *(w.node for w in wrt)]

    def make(plain: Callable[[Sequence[Node]], list[Node]]) -> list[Node]:
        node, *targets = plain(nodes)
        return derive(node, targets)

    note_derivatives(found, nodes, make)
    leaves = written_leaves(nodes)
    for node in found:
        note_leaves(node, leaves)


@located
def hessian(loss: Tensor, wrt: Tensor) -> Tensor:
    """Second derivatives of a scalar: out[p.., q..] = d2 loss / dw[p..] dw[q..], of shape w.shape + w.shape.

    Parameters
    ----------
    loss : Tensor
        A scalar.
    wrt : Tensor
        The w: a parameter, an input or an intermediate tensor.
    """
    node, [w] = prepared(scalar_tensor(loss, "hessian"), [tensor_of(wrt, "hessian")])
    twice = lambda y, w: [derivatives.jacobian(derivatives.gradient(y, w)[0], w[0])]
    found = tidied(twice(node, [w]))
    note(found, loss, [wrt], twice)
    return Tensor(found[0])


@located
def jacobian(y: Tensor, x: Tensor) -> Tensor:
    """First derivatives of a tensor: out[i.., p..] = dy[i..]/dx[p..], of shape y.shape + x.shape.

    Parameters
    ----------
    y : Tensor
        Of any shape.
    x : Tensor
        A parameter, an input or an intermediate tensor.
    """
    node, [w] = prepared(tensor_of(y, "jacobian"), [tensor_of(x, "jacobian")])
    once = lambda y, x: [derivatives.jacobian(y, x[0])]
    found = tidied(once(node, [w]))
    note(found, y, [x], once)
    return Tensor(found[0])


@located
def hvp(loss: Tensor, wrt: Tensor | Sequence[Tensor], vector: Tensor | Sequence[Tensor]) -> Any:
    """Hessian-vector product H v without the Hessian.

    Parameters
    ----------
    loss : Tensor
        A scalar.
    wrt : Tensor or sequence of Tensors
        What it is derived by, twice.
    vector : Tensor or sequence of Tensors
        The v, of the shape (or the shapes) of `wrt`.

    Returns
    -------
    Tensor, or list of Tensors when ``wrt`` is a sequence
    """
    several = isinstance(wrt, list | tuple)
    targets = [tensor_of(w, "hvp") for w in (wrt if several else [wrt])]
    vectors = [tensor_of(v, "hvp") for v in (vector if several else [vector])]
    if [t.shape for t in targets] != [v.shape for v in vectors]:
        shapes = ", ".join(shape_text(t.shape) for t in targets)
        given = ", ".join(shape_text(v.shape) for v in vectors)
        fail(ShapeError, f"hvp: the vector has shape {given}, the tensor {shapes}", "they must be equal.")
    node, moved = prepared(scalar_tensor(loss, "hvp"), targets)
    product = lambda y, w: derivatives.hessian_vector(y, w, [v.node for v in vectors])
    found = tidied(product(node, moved))
    note(found, loss, targets, product)
    return [Tensor(n) for n in found] if several else Tensor(found[0])


def tensor_of(value: Any, what: str) -> Tensor:
    """The value, refused unless it is a Tensor."""
    if not isinstance(value, Tensor):
        fail(
            TypeMismatchError,
            f"{what}: {value!r:.60} is no Tensor",
            "pass what gc.input, gc.param or an operation gave.",
        )
    return value


def scalar_tensor(value: Any, what: str) -> Tensor:
    """The value, refused unless it is a Tensor of one number."""
    tensor = tensor_of(value, what)
    if any(e != 1 for e in tensor.shape):
        shape = shape_text(tensor.shape)
        fail(ShapeError, f"{what}: {node_text(tensor.node, tensor.name)} has shape {shape}, not that of a scalar",
             "reduce it first: gc.mean(...) or gc.sum(...).")  # fmt: skip
    return tensor


def prepared(y: Tensor, wrt: Sequence[Tensor]) -> tuple[Node, list[Node]]:
    """Normal forms of y and of what it is derived by, which stays an equation of its own."""
    targets = [w.node for w in wrt]
    check_differentiable(y.node, [n for n in targets if isinstance(n, Leaf)])
    inside = [n for n in targets if n in set(topological([y.node]))]
    graph = read_graph({"y": y.node} | {f"w{t}": n for t, n in enumerate(inside)})
    return graph.roots["y"], [graph.new.get(n, n) for n in targets]


def tidied(nodes: Sequence[Node]) -> list[Node]:
    """Nodes that derivation gave, simplified."""
    return tidy_graph(nodes).roots


@located
def compile(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor] = (),
    dtype: str = "float64",
    verify: bool = True,
    subnormals: bool = False,
    check_bounds: bool = False,
) -> Function:
    """A compiled function of arrays.

    Parameters
    ----------
    outputs : Tensor or sequence of Tensors
    inputs : sequence of Tensors
        Declared inputs and parameters, in the order of the positional arguments.
    dtype : "float64" or "float32"
    verify : bool
        Whether the first call of a program that is new is checked, on a few rows, against the formulas.
    subnormals : bool
        Whether numbers below 2.2e-308 (float64) or 1.2e-38 (float32) are kept; else they count as 0.
    check_bounds : bool
        Whether every read and write of the program is checked before it is made (slow, for finding faults).

    Returns
    -------
    Function
        ``f(x, t, W0=...)``: what is not in ``inputs`` is passed by name.  It returns one array for a single output
        Tensor, else a list.  What the result turns out not to depend on may be passed or left out, and so may the
        other parameters of a model: ``f(x, **model.params)``.

    Raises
    ------
    NameClashError
        When two arguments that are passed by name have one name.
    """
    if dtype not in ("float32", "float64"):
        fail(TypeMismatchError, f"compile: dtype is {dtype!r}", 'choose "float32" or "float64".')
    single = not isinstance(outputs, list | tuple)
    roots = [tensor_of(y, "compile") for y in (outputs if isinstance(outputs, list | tuple) else [outputs])]
    given = [tensor_of(x, "compile") for x in (inputs if isinstance(inputs, list | tuple) else [inputs])]
    for x in given:
        if not isinstance(x.node, Leaf):
            fail(TypeMismatchError, f"compile: {node_text(x.node, x.name)} is no declared input or parameter",
                 "list what gc.input and gc.param gave.")  # fmt: skip
        if sum(x.node is other.node for other in given) > 1:
            fail(NameClashError, f"compile: {node_text(x.node)} is listed twice in inputs", "list it once.")
    return Function(roots, given, dtype, single, verify, subnormals, check_bounds)


def _by_name(leaves: Sequence[Leaf]) -> dict[str, Leaf]:
    """The arguments that are passed by name."""
    found: dict[str, Leaf] = {}
    for leaf in leaves:
        if found.setdefault(str(leaf.name), leaf) is not leaf:
            both = f"{node_text(found[str(leaf.name)])} and {node_text(leaf)}"
            fail(NameClashError, f"compile: two arguments are named {leaf.name}: {both}",
                 "list one of them in inputs: it is then passed by position.")  # fmt: skip
    return found


class _Ready:
    """A prepared call with the arguments matched as they were in the call before."""

    def __init__(
        self,
        ready: Ready,
        positional: Sequence[Leaf],
        leaves: Sequence[Leaf],
        names: frozenset[str],
        order: Sequence[int],
    ) -> None:
        self._ready, self._count, self._names, self._order = ready, len(positional), names, order
        self._by_name = [str(leaf.name) for leaf in leaves[len(positional) :]]

    def __call__(self, args: Sequence[Any], named: Mapping[str, Any]) -> list[NDArray] | None:
        """The results, or None when the arguments look otherwise."""
        if len(args) != self._count or named.keys() != self._names:
            return None
        given = [*args, *[named[name] for name in self._by_name]]
        found = self._ready([given[t] for t in self._order]) if self._ready.takes(given) else None
        return found and found[0]


class Function:
    """A compiled function of arrays; made by :func:`compile`."""

    def __init__(
        self,
        outputs: Sequence[Tensor],
        inputs: Sequence[Tensor],
        dtype: str,
        single: bool,
        verify: bool = True,
        subnormals: bool = False,
        check_bounds: bool = False,
    ) -> None:
        self.dtype, self._single = dtype, single
        self._positional, self._unverified = [x.node for x in inputs if isinstance(x.node, Leaf)], verify
        check_outside(y.node for y in outputs)
        self._outputs = in_mode([y.node for y in outputs], training=False, keep=self._positional)
        self._written = written_leaves([*self._outputs, *self._positional])
        self._checks_bounds = bool(check_bounds)
        self._compiled = obtain_function(self._outputs, self._positional, dtype, self._written, self._checks_bounds)
        self._subnormals = bool(subnormals)
        if subnormals:
            self._compiled.program.subnormals = True
        self._arguments = self._compiled.facts.arguments
        self._limits, self._needed = label_limits(self._outputs), rows_needed(self._outputs)
        self._named = _by_name(self._arguments[len(self._positional) :])
        self._ready: _Ready | None = None
        self._matrices = any(n.dense for n in equations(self._outputs))

    def __reduce__(self) -> tuple[Any, ...]:
        outputs, inputs = map(Tensor, self._outputs), map(Tensor, self._positional)
        options = self.dtype, self._single, self._unverified, self._subnormals, self._checks_bounds
        return Function, ([*outputs], [*inputs], *options)

    def __copy__(self) -> Function:
        return self

    def __deepcopy__(self, memo: Any) -> Function:
        return self

    @property
    def source(self) -> str:
        """The text that was compiled."""
        return self._compiled.lower().text.shown

    @located
    def __call__(self, *args: Any, **named: Any) -> Any:
        """Evaluate for arrays, numbers for shape (); NaN and infinity pass, as in NumPy.

        Raises
        ------
        DataError
            When an argument is missing, superfluous or does not fit its declaration.
        DomainError
            When a result is NaN because a matrix is singular or not positive definite.
        CompilerError
            In the first call, when the program computes something else than its formulas.
        """
        found = None if self._matrices else self._ready and self._ready(args, named)
        if found is not None:
            return found[0] if self._single else found
        values = self._match(args, named)
        given = {leaf: convert(leaf, value, self.dtype) for leaf, value in values.items()}
        sizes = self._sizes(given)
        check_rows(self._needed, sizes)
        for leaf, array in given.items():
            if leaf in self._limits:
                check_labels(leaf, array, self._limits[leaf], sizes)
        self._verify(given)
        arrays = [given[leaf] for leaf in self._arguments]
        program, facts = self._compiled.program, self._compiled.facts
        shaped = call_function(program, facts, self._compiled.constants, arrays, sizes)
        if self._matrices:
            check_matrices(shaped, self._outputs, given, sizes, self.dtype)
        self._ready = self._prepared(named, values, given, sizes)
        return shaped[0] if self._single else shaped

    def _verify(self, given: Mapping[Leaf, NDArray]) -> None:
        if self._unverified:
            compiled, outputs = self._compiled, self._outputs
            verify_function(compiled.key, lambda: FunctionTrial(compiled, outputs, given, self.dtype, self._try))
            self._unverified = False

    @property
    def rows_at_once(self) -> int:
        """How many rows a call takes best; 0 where they are not independent."""
        return rows_in_cache(self._compiled.facts, np.dtype(self.dtype).itemsize)

    def shapes(self, arrays: Sequence[NDArray]) -> list[tuple[int, ...]]:
        """Those of the results for converted arrays, in the order of the positional arguments."""
        return self._compiled.facts.shapes(self._sizes(dict(zip(self._positional, arrays, strict=True))))

    def bound(
        self, arrays: Sequence[NDArray], outputs: Sequence[NDArray], memory: NDArray | None = None
    ) -> tuple[Program, list[NDArray], NDArray]:
        """The program, its arguments (converted arrays, memory of the results) and the control words among them."""
        given = dict(zip(self._positional, arrays, strict=True))
        self._verify(given)
        ordered = [given[leaf] for leaf in self._arguments]
        return bound_function(self._compiled, ordered, self._sizes(given), outputs, memory)

    def _prepared(
        self, named: Mapping[str, Any], values: Mapping[Leaf, Any], given: Mapping[Leaf, NDArray], sizes: dict[str, int]
    ) -> _Ready | None:
        """The next call with arguments that look like these, where that saves something."""
        facts, program = self._compiled.facts, self._compiled.program
        arena, results = facts.arena.at(sizes), [Count.of(extents).at(sizes) for extents in facts.outputs]
        arrays = list(given.values())
        small = (arena + sum(results)) * np.dtype(self.dtype).itemsize <= MOST
        if not small or self._checks_bounds or not usable(list(values.values()), arrays):
            return None
        checks = {
            t: partial(check_labels, leaf, extents=self._limits[leaf], sizes=sizes)
            for t, leaf in enumerate(given)
            if leaf in self._limits
        }
        shapes = facts.shapes(sizes)
        control = np.array([sizes[s] for s in facts.sizes] or [0], dtype=np.int64)
        head = [aligned(arena, self.dtype), self._compiled.constants, control]
        ready = Ready(program, "call", head, [], arrays, checks, shapes, self.dtype)
        leaves = list(given)
        return _Ready(ready, self._positional, leaves, frozenset(named), [leaves.index(x) for x in self._arguments])

    def _try(
        self, program: Program, facts: FunctionFacts, feed: Mapping[Leaf, NDArray]
    ) -> tuple[list[NDArray], NDArray]:
        """The outputs of a program for a few rows, and the working memory, which held NaN before."""
        arrays = [np.asarray(feed[leaf], order="C") for leaf in facts.arguments]
        sizes = self._sizes(feed)
        arena = aligned(facts.arena.at(sizes), self.dtype)
        arena[:] = np.nan
        return call_function(program, facts, self._compiled.constants, arrays, sizes, arena), arena

    def _match(self, args: Sequence[Any], named: dict[str, Any]) -> dict[Leaf, Any]:
        if len(args) != len(self._positional):
            wanted = ", ".join(str(leaf.name) for leaf in self._positional) or "none"
            raise DataError(
                f"the function takes {len(self._positional)} arrays ({wanted}) but {len(args)} were given\n"
                f"  hint: pass the others by name"
            )
        others = {name: value for name, value in named.items() if name not in self._named}
        unneeded = self._unneeded(others) if others else {}
        missing = [name for name in self._named if name not in named]
        if missing:
            raise DataError(f"the function needs {', '.join(missing)} too\n  hint: pass {missing[0]}=array")
        needed = {leaf: named[name] for name, leaf in self._named.items()}
        return dict(zip(self._positional, args, strict=True)) | needed | unneeded

    def _unneeded(self, named: dict[str, Any]) -> dict[Leaf, Any]:
        """What was passed although the result does not depend on it: its own leaves; those of a model are left out."""
        positional = {str(leaf.name) for leaf in self._positional}
        own = {str(x.name): x for x in self._written if x not in self._arguments and str(x.name) not in positional}
        beside = names_beside(self._written) - positional
        for name in named:
            if name in positional:
                raise UnknownNameError(f"{name} is passed by position already\n  hint: leave out {name}=")
            if name not in own and name not in beside:
                known = close_name(name, {**self._named, **own})
                raise UnknownNameError(f"the function has no argument {name!r}\n  hint: {known}")
        return {own[name]: value for name, value in named.items() if name in own}

    def _sizes(self, arrays: Mapping[Leaf, NDArray]) -> dict[str, int]:
        sizes: dict[str, int] = {}
        for leaf, array in arrays.items():
            for extent, found in zip(leaf.shape, array.shape, strict=True):
                if isinstance(extent, str) and sizes.setdefault(extent, found) != found:
                    raise DataError(
                        f"the extent {extent!r} is {sizes[extent]} in one array but {found} in {leaf.name}\n"
                        f"  hint: pass arrays with the same number of rows"
                    )
        return sizes
