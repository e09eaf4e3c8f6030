"""Layers of sequences: recurrent networks, each a scan over the steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field, replace
from typing import Any, ClassVar

import numpy as np

from graphc.declare.activations import activation
from graphc.declare.init import ones, zeros
from graphc.declare.layers import Layer, check_count, next_number
from graphc.declare.leaves import param
from graphc.declare.names import node_text
from graphc.declare.origin import fail
from graphc.declare.pointwise import sigmoid, tanh
from graphc.declare.rearrange import concatenate
from graphc.declare.scanning import scan
from graphc.declare.tensor import Tensor
from graphc.errors import ShapeError, TypeMismatchError
from graphc.records import record


@record(frozen=True, eq=False)
class Recurrent(Layer):
    """What recurrent layers share: parameters W (inputs, units), U (units, units), b (units,) for every gate."""

    units: int
    return_sequences: bool = field(default=False, kw_only=True)
    reverse: bool = field(default=False, kw_only=True)
    lengths: Any = field(default=None, kw_only=True)
    truncate: int | None = field(default=None, kw_only=True)
    init: Any = field(default=None, kw_only=True)
    recurrent_init: Any = field(default="orthogonal", kw_only=True)

    gates: ClassVar[str] = ""
    states: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_count(f"nn.{type(self).__name__}", "units", self.units)

    def declare(self, x: Tensor, beside: Sequence[Any] = ()) -> list[Any]:
        """New parameters for the last axis of x: W, U, b of one gate after the other; numbered behind x and others
        beside it."""
        if not isinstance(x, Tensor) or x.ndim not in (2, 3) or not _is_sequence(x.shape):
            found = node_text(x.node) if isinstance(x, Tensor) else repr(x)
            hint = 'sequences are Tensors of shape ("n", steps, width), ("n", "t", width) or (steps, width).'
            fail(ShapeError, f"nn.{type(self).__name__}: {found} is no sequence", hint)
        names = [f"{letter}{gate}" for gate in self.gates or [""] for letter in "WUb"]
        number = next_number([x.node, *(w.node for w in beside)], *names)
        shapes = {"W": (x.shape[-1], int(self.units)), "U": (int(self.units),) * 2, "b": (int(self.units),)}
        starts = {"W": self.init, "U": self.recurrent_init, "b": zeros()}
        return [param(f"{n}{number}", shapes[n[0]], self.start(n, starts[n[0]])) for n in names]

    def start(self, name: str, init: Any) -> Any:
        """The initialiser of a parameter."""
        return init

    def step(self, state: Any, x: Tensor, params: Sequence[Any]) -> Any:
        """The state after a step; the first of several is what the layer gives."""
        raise NotImplementedError

    def apply(self, x: Tensor, params: Sequence[Any]) -> Tensor:
        """The layer with given parameters."""
        zero = np.zeros((1, int(self.units)) if x.ndim == 3 else int(self.units))
        begin = (zero,) * self.states if self.states > 1 else zero

        def step(state: Any, now: Tensor) -> tuple[Any, Tensor]:
            after = self.step(state, now, params)
            return after, after[0] if self.states > 1 else after

        own = {"reverse": self.reverse, "lengths": self.lengths, "truncate": self.truncate}
        last, every = scan(step, begin, x, axis=x.ndim - 2, **own)
        return every if self.return_sequences else (last[0] if self.states > 1 else last)


@record(frozen=True, eq=False)
class RNN(Recurrent):
    """h[t] = activation(x[t] W + h[t-1] U + b), the simple recurrent network (Elman 1990).

    Applied to a Tensor of shape ("n", steps, width) it declares ``W0``, ``U0`` and ``b0``, or the next numbers that the
    tensor does not use yet.  The state begins as 0.

    Parameters
    ----------
    units : int
        How many values the state has.
    activation : str or function
        A name of :mod:`graphc.activations`, or a function of a Tensor.
    return_sequences : bool
        Whether to give the state after every step, ("n", steps, units), not that after the last, ("n", units).
    reverse : bool
        Whether to begin with the last step.
    lengths : Tensor, optional
        How many steps each row has, an input ("n",) of whole numbers: what comes behind them changes nothing.
    truncate : int, optional
        After how many steps derivatives end, as of :func:`graphc.scan`.
    init : number, array, initialiser or its name, optional
        Where W starts; glorot by default.
    recurrent_init : number, array, initialiser or its name, optional
        Where U starts.

    Raises
    ------
    ShapeError
        When `units` is no whole number of at least 1, or the Tensor is no sequence.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.nn.sequential((32, 8), gc.nn.RNN(16), gc.nn.Dense(1)).shape
    ('n', 1)
    """

    activation: str | Callable[[Any], Any] = "tanh"

    def __post_init__(self) -> None:
        super().__post_init__()
        activation(self.activation)

    def step(self, state: Any, x: Tensor, params: Sequence[Any]) -> Any:
        W, U, b = params
        return activation(self.activation)(x @ W + state @ U + b)


@record(frozen=True, eq=False)
class LSTM(Recurrent):
    """Long short-term memory (Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000).

    With z_g = x[t] Wg + h[t-1] Ug + bg for the gates g = i, f, c, o::

        c[t] = σ(z_f) c[t-1] + σ(z_i) tanh(z_c),    h[t] = σ(z_o) tanh(c[t])

    Applied to a Tensor of shape ("n", steps, width) it declares ``Wi0, Ui0, bi0, Wf0, .., bo0``, or the next numbers
    that the tensor does not use yet.  The gates are those of Keras and PyTorch, in their order: Keras' kernel is
    ``[Wi Wf Wc Wo]`` side by side, PyTorch's ``weight_ih`` its transpose, and b the sum of PyTorch's two biases.  bf
    starts at 1, the others at 0; the state begins as 0.

    Parameters
    ----------
    units : int
        How many values h and c have.
    return_sequences : bool
        Whether to give h after every step, ("n", steps, units), not that after the last, ("n", units).
    reverse : bool
        Whether to begin with the last step.
    lengths : Tensor, optional
        How many steps each row has, an input ("n",) of whole numbers: what comes behind them changes nothing.
    truncate : int, optional
        After how many steps derivatives end, as of :func:`graphc.scan`.
    init : number, array, initialiser or its name, optional
        Where the W start; glorot by default.
    recurrent_init : number, array, initialiser or its name, optional
        Where the U start.

    Raises
    ------
    ShapeError
        When `units` is no whole number of at least 1, or the Tensor is no sequence.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.nn.sequential((32, 8), gc.nn.LSTM(16, return_sequences=True)).shape
    ('n', 32, 16)
    """

    gates: ClassVar[str] = "ifco"
    states: ClassVar[int] = 2

    def start(self, name: str, init: Any) -> Any:
        return ones() if name == "bf" else init

    def step(self, state: Any, x: Tensor, params: Sequence[Any]) -> Any:
        h, c = state
        i, f, g, o = _gates(x, h, params)
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        return sigmoid(o) * tanh(c), c


@record(frozen=True, eq=False)
class GRU(Recurrent):
    """Gated recurrent unit (Cho et al. 2014).

    With z_g = x[t] Wg + bg for the gates g = z, r, h::

        z = σ(z_z + h[t-1] Uz),  r = σ(z_r + h[t-1] Ur)
        h[t] = z h[t-1] + (1 - z) tanh(z_h + r (h[t-1] Uh + ch))

    as PyTorch and Keras have it; with ``reset_after=False`` the paper's tanh(z_h + (r h[t-1]) Uh), and there is no ch.
    Applied to a Tensor of shape ("n", steps, width) it declares ``Wz0, Uz0, bz0, Wr0, .., bh0, ch0``, or the next
    numbers that the tensor does not use yet.  Keras' kernel is ``[Wz Wr Wh]`` side by side; PyTorch has r before z.
    bz and br are the sums of their two biases, ch is their second bias of h.  The state begins as 0.

    Parameters
    ----------
    units : int
        How many values the state has.
    return_sequences : bool
        Whether to give the state after every step, ("n", steps, units), not that after the last, ("n", units).
    reverse : bool
        Whether to begin with the last step.
    lengths : Tensor, optional
        How many steps each row has, an input ("n",) of whole numbers: what comes behind them changes nothing.
    truncate : int, optional
        After how many steps derivatives end, as of :func:`graphc.scan`.
    init : number, array, initialiser or its name, optional
        Where the W start; glorot by default.
    recurrent_init : number, array, initialiser or its name, optional
        Where the U start.
    reset_after : bool
        Whether the reset gate stands after the product with U, not before it.

    Raises
    ------
    ShapeError
        When `units` is no whole number of at least 1, or the Tensor is no sequence.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.nn.sequential((32, 8), gc.nn.GRU(16)).shape
    ('n', 16)
    """

    reset_after: bool = field(default=True, kw_only=True)

    gates: ClassVar[str] = "zrh"

    def declare(self, x: Tensor, beside: Sequence[Any] = ()) -> list[Any]:
        """New parameters for the last axis of x: W, U, b of one gate after the other, then c of h."""
        found = super().declare(x, beside)
        if not self.reset_after:
            return found
        number = str(found[0].name)[2:]
        return [*found, param(f"ch{number}", (int(self.units),), zeros())]

    def step(self, state: Any, x: Tensor, params: Sequence[Any]) -> Any:
        Wz, Uz, bz, Wr, Ur, br, Wh, Uh, bh, *ch = params
        z = sigmoid(x @ Wz + state @ Uz + bz)
        r = sigmoid(x @ Wr + state @ Ur + br)
        before = r * (state @ Uh + ch[0]) if self.reset_after else (r * state) @ Uh
        return z * state + (1 - z) * tanh(x @ Wh + bh + before)


@record(frozen=True, eq=False)
class Bidirectional(Layer):
    """A recurrent layer, and beside it another that begins with the last step (Schuster and Paliwal 1997).

    Gives both, the features of the first before those of the second.  The second has parameters of its own, with the
    next numbers; where rows have lengths it begins at the end of each row.

    Parameters
    ----------
    layer : RNN, LSTM or GRU

    Raises
    ------
    TypeMismatchError
        When `layer` is no recurrent layer.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.nn.sequential((32, 8), gc.nn.Bidirectional(gc.nn.LSTM(16, return_sequences=True))).shape
    ('n', 32, 32)
    """

    layer: Recurrent

    def __post_init__(self) -> None:
        if not isinstance(self.layer, Recurrent):
            message = f"nn.Bidirectional: {self.layer!r:.60} is no recurrent layer"
            fail(TypeMismatchError, message, "give it gc.nn.RNN(..), gc.nn.LSTM(..) or gc.nn.GRU(..).")

    def declare(self, x: Tensor) -> list[Any]:
        """New parameters of both."""
        first = self.layer.declare(x)
        return [first, self.layer.declare(x, first)]

    def apply(self, x: Tensor, params: Sequence[Any]) -> Tensor:
        """The layer with given parameters."""
        other = replace(self.layer, reverse=not self.layer.reverse)
        return concatenate([self.layer.apply(x, params[0]), other.apply(x, params[1])], axis=-1)


def _is_sequence(shape: Sequence[Any]) -> bool:
    """Whether the width is known, and the number of steps known or that of the data behind their rows."""
    return isinstance(shape[-1], int) and (isinstance(shape[-2], int) or len(shape) == 3)


def _gates(x: Tensor, h: Tensor, params: Sequence[Any]) -> list[Tensor]:
    return [x @ W + h @ U + b for W, U, b in zip(params[::3], params[1::3], params[2::3], strict=True)]
