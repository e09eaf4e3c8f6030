"""Layers of words and rows: embeddings, attention, and what adds a layer to its input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphc.declare.activations import activation
from graphc.declare.attention import attention
from graphc.declare.einsum import einsum
from graphc.declare.embedding import embedding
from graphc.declare.init import zeros
from graphc.declare.layers import Dense, Layer, Step, add_layer, apply_all, check_count, next_number
from graphc.declare.layers_of_norms import LayerNorm, known_extents
from graphc.declare.leaves import param
from graphc.declare.names import node_text, shape_text
from graphc.declare.origin import fail
from graphc.declare.reductions import sum
from graphc.declare.tensor import Tensor
from graphc.errors import ShapeError, TypeMismatchError
from graphc.records import record


@record(frozen=True, eq=False)
class Embedding(Layer):
    """y[.., j] = E[x[..], j]: a row of a table for every whole number; see :func:`graphc.embedding`.

    It declares the table ``E0``, or the next number that the tensor does not use yet.

    Parameters
    ----------
    count : int
        How many rows the table has; the data are below.
    width : int
        How long each row is.
    init : number, array, initialiser or its name, optional
        Where the table starts; glorot by default.

    Raises
    ------
    ShapeError
        When a number is none of at least 1.
    TypeMismatchError
        When the Tensor is no integer data.

    Examples
    --------
    >>> import graphc as gc
    >>> words = gc.input("words", ("n", 32), dtype="int64")
    >>> gc.nn.sequential(words, gc.nn.Embedding(1000, 64)).shape
    ('n', 32, 64)
    """

    count: int
    width: int
    init: Any = None

    def __post_init__(self) -> None:
        check_count("nn.Embedding", "rows", self.count)
        check_count("nn.Embedding", "columns", self.width)

    def declare(self, x: Tensor) -> list[Any]:
        """A new table."""
        return [param(f"E{next_number([x.node], 'E')}", (int(self.count), int(self.width)), self.init)]

    def apply(self, x: Tensor, params: Sequence[Any]) -> Tensor:
        """The layer with a given table."""
        return embedding(x, params[0])


@record(frozen=True, eq=False)
class MultiHeadAttention(Layer):
    """y = sum over heads h of attention(x WQ[h] + BQ[h], x WK[h] + BK[h], x WV[h] + BV[h]) WO[h] + BO.

    It declares ``WQ0`` and so on, or the next numbers that the tensor does not use yet.  Called as a function it takes
    another Tensor for keys and values, and a mask: ``layer(x, context, mask=mask)``.

    Parameters
    ----------
    heads : int
        How many attentions go side by side.
    width : int, optional
        Of the queries, keys and values of a head; that of x divided by the number of heads when it is None.
    causal : bool
        Whether place t sees the places up to t alone.
    bias : bool
        Whether to add the B, which start at 0.
    init : number, array, initialiser or its name, optional
        Where the W start; glorot by default.

    Raises
    ------
    ShapeError
        When a number is none of at least 1, or the layer does not fit the Tensor it is applied to.

    References
    ----------
    Vaswani et al., "Attention is all you need", 2017.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.nn.sequential((32, 64), gc.nn.MultiHeadAttention(4, causal=True)).shape
    ('n', 32, 64)
    """

    heads: int
    width: int | None = None
    causal: bool = False
    bias: bool = True
    init: Any = None

    def __post_init__(self) -> None:
        check_count("nn.MultiHeadAttention", "heads", self.heads)
        if self.width is not None:
            check_count("nn.MultiHeadAttention", "columns of a head", self.width)

    def __call__(self, x: Tensor, context: Tensor | None = None, mask: Any = None) -> Tensor:
        """The layer with new parameters.

        Parameters
        ----------
        x : Tensor
            Of shape (n, places, width).
        context : Tensor, optional
            Where keys and values come from, of shape (n, other places, width); x itself when it is None.
        mask : Tensor or array, optional
            Of shape (n, other places): which of them are seen, those where it is not 0.  With three axes it is
            (n, places, other places).
        """
        return self.apply(x, self.declare(x, context), context, mask)

    def declare(self, x: Tensor, context: Tensor | None = None) -> list[Any]:
        """New parameters for the last axis of x, and of the context."""
        source = x if context is None else context
        for y in (x, source):
            if y.ndim < 3 or isinstance(y.shape[-1], str):
                message = f"nn.MultiHeadAttention: {node_text(y.node)} has no places with vectors of known extent"
                fail(ShapeError, message, 'give (n, places, width), such as gc.input("X", ("n", 32, 64)).')
        e, c, h = int(x.shape[-1]), int(source.shape[-1]), int(self.heads)
        if self.width is None and e % h:
            message = f"nn.MultiHeadAttention: the last axis of {node_text(x.node)} is not divided by {h} heads"
            fail(ShapeError, message, "give the width of a head, width=16, or another number of heads.")
        d = int(self.width or e // h)
        number = next_number([x.node, source.node], "WQ")
        shapes = {"WQ": (e, h, d), "WK": (c, h, d), "WV": (c, h, d), "WO": (h, d, e)}
        made: list[Any] = [param(f"{name}{number}", shape, self.init) for name, shape in shapes.items()]
        if self.bias:
            made += [param(f"B{name}{number}", (h, d), zeros()) for name in "QKV"]
            made.append(param(f"BO{number}", (e,), zeros()))
        return made

    def apply(self, x: Tensor, params: Sequence[Any], context: Tensor | None = None, mask: Any = None) -> Tensor:
        """The layer with given parameters."""
        source = x if context is None else context
        parts = [einsum("...te,ehd->...htd", y, w) for y, w in zip((x, source, source), params[:3])]
        if self.bias:
            parts = [z + b[:, None, :] for z, b in zip(parts, params[4:7])]
        y = einsum("...htd,hde->...te", attention(*parts, mask=_for_heads(mask), causal=self.causal), params[3])
        return y + params[7] if self.bias else y


def _for_heads(mask: Any) -> Any:
    """A mask (n, keys) or (n, queries, keys) as one for (n, heads, queries, keys)."""
    if mask is None:
        return None
    if getattr(mask, "ndim", 0) not in (2, 3):
        shape = shape_text(mask.shape) if hasattr(mask, "shape") else repr(mask)
        fail(ShapeError, f"nn.MultiHeadAttention: the mask has shape {shape}", "give (n, keys) or (n, queries, keys).")
    return mask[:, None, None, :] if mask.ndim == 2 else mask[:, None]


@record(frozen=True, eq=False)
class TransformerBlock(Layer):
    """x + attention(norm(x)), then the same with two dense layers, by turns of each place (Vaswani et al. 2017).

    With ``norm_first=False`` it is norm(x + attention(x)), as in the first paper.  Called as a function it takes a
    mask: ``layer(x, mask=mask)``.

    Parameters
    ----------
    heads : int
        Of the attention; they divide the last extent of x.
    hidden : int
        The width between the two dense layers.
    activation : str or function
        Between them.
    causal : bool
        Whether place t sees the places up to t alone.
    norm_first : bool
        Whether what goes in is normalised, or what comes out.
    eps : number
        Of the layer norms.

    Raises
    ------
    ShapeError
        When a number is none of at least 1, or the layer does not fit the Tensor it is applied to.
    UnknownNameError
        When no activation has that name.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.nn.sequential((32, 64), gc.nn.TransformerBlock(4, 256)).shape
    ('n', 32, 64)
    """

    heads: int
    hidden: int
    activation: str | Callable[[Any], Any] = "gelu"
    causal: bool = False
    norm_first: bool = True
    eps: float = 1e-5

    def __post_init__(self) -> None:
        check_count("nn.TransformerBlock", "heads", self.heads)
        check_count("nn.TransformerBlock", "hidden units", self.hidden)
        activation(self.activation)

    def __call__(self, x: Tensor, mask: Any = None) -> Tensor:
        """The layer with new parameters; a mask (n, places) says which places are seen."""
        return self._of(x, _declared([]), mask)

    def _parts(self, x: Tensor) -> tuple[LayerNorm, MultiHeadAttention, Dense, Dense]:
        width = known_extents("nn.TransformerBlock", x, [x.ndim - 1])[0] if x.ndim else 1
        attention_ = MultiHeadAttention(self.heads, causal=self.causal)
        return LayerNorm(eps=self.eps), attention_, Dense(self.hidden, self.activation), Dense(width)

    def declare(self, x: Tensor) -> list[Any]:
        """New parameters of two norms, of the attention and of two dense layers."""
        given: list[Any] = []
        self._of(x, _declared(given), None)
        return given

    def apply(self, x: Tensor, params: Sequence[Any], mask: Any = None) -> Tensor:
        """The layer with given parameters."""
        given = iter(params)
        return self._of(x, lambda layer, z, **options: layer.apply(z, next(given), **options), mask)

    def _of(self, x: Tensor, use: Callable[..., Tensor], mask: Any) -> Tensor:
        """The layers of the block, one after another as ``use`` applies them."""
        norm, heads, up, down = self._parts(x)
        if self.norm_first:
            y = x + use(heads, use(norm, x), mask=mask)
            return y + use(down, use(up, use(norm, y)))
        y = use(norm, x + use(heads, x, mask=mask))
        return use(norm, y + use(down, use(up, y)))


def _declared(given: list[Any]) -> Callable[..., Tensor]:
    """What applies a layer with new parameters, which go into the list."""

    def use(layer: Any, z: Tensor, **options: Any) -> Tensor:
        given.append(layer.declare(z))
        return layer.apply(z, given[-1], **options)

    return use


class Residual(Layer):
    """x + f(x), f being layers one after another (He et al. 2016).

    Parameters
    ----------
    *layers : layer, function of a Tensor, or name of an activation
    shortcut : layer or function of a Tensor, optional
        What x goes through before it is added, where f changes its shape.

    Raises
    ------
    ShapeError
        When the layers change the shape of x.
    TypeMismatchError
        When there is no layer, or one is none.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.nn.sequential(64, gc.nn.Residual(gc.nn.Dense(64, "relu"), gc.nn.Dense(64))).shape
    ('n', 64)
    """

    def __init__(self, *layers: Step | str, shortcut: Step | None = None) -> None:
        if not layers:
            fail(TypeMismatchError, "nn.Residual: there are no layers", "give at least one.")
        self.layers, self.shortcut = layers, shortcut

    def declare(self, x: Tensor) -> list[Any]:
        """New parameters of every layer, those of the shortcut last."""
        y, given = x, []
        for layer in self.layers:
            _, params, y = add_layer("nn.Residual", layer, y)
            given.append(params)
        taken = x + sum(y)  # the names of these parameters are not those of the shortcut
        _, params, z = add_layer("nn.Residual", self.shortcut or "linear", taken)
        if y.shape != z.shape:
            message = f"nn.Residual: the layers make {shape_text(y.shape)} of {shape_text(z.shape)}"
            hint = "both are added: keep the shape, or give shortcut= a layer such as gc.nn.Dense(32)."
            fail(ShapeError, message, hint)
        return [*given, params]

    def apply(self, x: Tensor, params: Sequence[Any]) -> Tensor:
        """The layer with given parameters."""
        steps = [f if isinstance(f, Layer) else activation(f) for f in self.layers]
        around = self.shortcut if self.shortcut is not None else activation("linear")
        return apply_all(x, zip([around], params[-1:])) + apply_all(x, zip(steps, params))
