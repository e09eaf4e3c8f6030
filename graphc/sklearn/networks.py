"""From the arguments of an estimator to the output and the loss of a model."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc.declare import losses
from graphc.declare.layers import Dense, Layer, Network, sequential
from graphc.declare.leaves import input
from graphc.declare.operators import softmax
from graphc.declare.penalties import l2
from graphc.declare.pointwise import sigmoid
from graphc.declare.tensor import Tensor
from graphc.errors import DomainError, ShapeError, TypeMismatchError, UnknownNameError
from graphc.ir.letters import close_name
from graphc.ir.walk import leaves
from graphc.records import record
from graphc.sklearn.targets import BINARY, CLASSES, LABELS, NUMBERS

__all__ = ["Declared", "autoencoder", "network_for"]

Declared = tuple[Tensor, Tensor]


@record(frozen=True)
class Shape:
    """The arguments that say what the network is."""

    hidden: Any
    activation: Any
    network: Any
    loss: Any
    alpha: float

    def layers(self) -> list[Any]:
        """The hidden layers: those of ``network=[..]``, else of sizes and an activation."""
        if isinstance(self.network, list | tuple):
            return list(self.network)
        return [Dense(units, self.activation) for units in widths(self.hidden)]


def widths(hidden: Any) -> list[int]:
    """The sizes of the hidden layers; a number is one layer.

    Raises
    ------
    DomainError
        For anything but whole numbers of at least 1.
    """
    given = [hidden] if isinstance(hidden, int | np.integer) else hidden
    whole = lambda n: isinstance(n, int | np.integer) and not isinstance(n, bool) and n >= 1
    if isinstance(given, str) or not isinstance(given, Sequence) or not all(map(whole, given)):
        raise DomainError(f"hidden is {hidden!r:.60}\n  hint: give the sizes of the hidden layers, such as (100,)")
    return [int(n) for n in given]


def network_for(shape: Shape, features: int, kind: str, outputs: int) -> Declared:
    """Output and loss of a network of X[n, features] whose targets T are of that kind."""
    x, t = input("X", ("n", features)), target_of(kind, outputs)
    if callable(shape.network) and not isinstance(shape.network, Layer):
        made = called(shape.network, x, T=t, outputs=outputs)
    else:
        made = sequential(x, *shape.layers(), Dense(outputs))
    if isinstance(made, tuple):
        return _penalised(*_pair(made), shape.alpha)
    z = made.output if isinstance(made, Network) else made
    if not isinstance(z, Tensor) or z.shape != ("n", outputs):
        found = f"has shape {z.shape}" if isinstance(z, Tensor) else f"is {z!r:.60}"
        hint = f'give a Tensor of shape ("n", {outputs}), which the loss is made of, or a pair (output, loss)'
        raise ShapeError(f"network: what the function gives {found}\n  hint: {hint}")
    return _penalised(_predicted(kind, z), _loss(kind, z, t, shape.loss), shape.alpha)


def target_of(kind: str, outputs: int) -> Tensor:
    """The input T: numbers of classes, or a column an output."""
    return input("T", ("n",), dtype="int64") if kind == CLASSES else input("T", ("n", outputs))


def called(function: Callable[..., Any], x: Tensor, **offered: Any) -> Any:
    """``function(X)``, with T and outputs where it has parameters of these names."""
    wanted = inspect.signature(function).parameters
    return function(x, **{name: value for name, value in offered.items() if name in wanted})


def _pair(made: tuple[Any, ...]) -> Declared:
    if len(made) != 2 or not all(isinstance(part, Tensor) for part in made):
        raise TypeMismatchError(f"network: the function gives {made!r:.60}\n  hint: give a pair (output, loss)")
    output, loss = made
    return (output.output if isinstance(output, Network) else output), loss


def _predicted(kind: str, z: Tensor) -> Tensor:
    return {CLASSES: softmax, BINARY: sigmoid, LABELS: sigmoid, NUMBERS: lambda y: y}[kind](z)


def _loss(kind: str, z: Tensor, t: Tensor, loss: Any) -> Tensor:
    """Of what comes before the last activation."""
    if kind == CLASSES:
        return losses.cross_entropy(z, t)
    if kind in (BINARY, LABELS):
        return losses.bce_with_logits(z, t)
    return loss_named(loss)(z, t)


def loss_named(loss: Any) -> Callable[[Any, Any], Any]:
    """A function of (prediction, target): itself, or that of :mod:`graphc.losses` with this name."""
    if callable(loss):
        return loss
    if loss not in losses.__all__:
        raise UnknownNameError(f"no loss is named {loss!r}\n  hint: {close_name(str(loss), losses.__all__)}")
    return getattr(losses, loss)


def _penalised(output: Tensor, loss: Tensor, alpha: float) -> Declared:
    """loss + alpha/2 * sum W**2 over the weights, which have two axes or more; biases are left alone.

    The factor is an input, so that another one is no other program; where it is 0, there is none.
    """
    found = leaves([loss.node, output.node])
    weights = [Tensor(leaf) for leaf in leaves([loss.node]) if leaf.kind == "param" and len(leaf.shape) > 1]
    if not alpha or not weights:
        return output, loss
    return output, loss + l2(weights, input(_free_name({str(leaf.name) for leaf in found}), ()) / 2)


def _free_name(taken: set[str]) -> str:
    """alpha, or alpha1, .. beside parameters of that name."""
    return next(name for name in ("alpha", *(f"alpha{t}" for t in range(1, len(taken) + 2))) if name not in taken)


def penalty_of(loss: Tensor) -> str | None:
    """The name of the factor of the penalty in a loss, its one input without axes; None where there is none."""
    own = (str(leaf.name) for leaf in leaves([loss.node]) if leaf.kind == "input" and leaf.shape == ())
    return next(own, None)


def autoencoder(shape: Shape, features: int, components: int) -> tuple[Tensor, Tensor, Tensor | None]:
    """Code, loss, and what the decoder makes of an input C[n, components]; None for a function that declares all."""
    x = input("X", ("n", features))
    if callable(shape.network) and not isinstance(shape.network, Layer):
        made = called(shape.network, x, outputs=components)
        if not isinstance(made, tuple):
            raise TypeMismatchError("network: the function gives no loss\n  hint: give a pair (code, loss)")
        return (*_penalised(*_pair(made), shape.alpha), None)
    code = sequential(x, *shape.layers(), Dense(components))
    decoder = sequential(code, *_mirrored(shape), Dense(features))
    loss = loss_named(shape.loss)(decoder.output, x)
    return (*_penalised(code.output, loss, shape.alpha), decoder(input("C", ("n", components))))


def _mirrored(shape: Shape) -> list[Any]:
    """The hidden layers in reverse order, with parameters of their own."""
    return shape.layers()[::-1]
