"""Tensors read at other places: slices, gathers, transposition, reshaping, concatenation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
import sympy

from graphc.declare.broadcasting import broadcast_maps, broadcast_shape, extent_clash
from graphc.declare.computed_places import at_places, extent_of_places
from graphc.declare.conditions import of_node
from graphc.declare.constants import constant_leaf
from graphc.declare.names import node_text, shape_text
from graphc.declare.origin import fail, stamp
from graphc.errors import ShapeError, TypeMismatchError
from graphc.ir.affine import Affine, Extent, Gather, constant, floor_div, index, modulo, size, substitute
from graphc.ir.build import equation, is_view
from graphc.ir.node import Equation, Leaf, Mask, Node, Read
from graphc.ir.scalar import placeholder
from graphc.records import record


def view(node: Node, shape: Sequence[Extent], at: Sequence[Affine], masks: Sequence[Mask] = ()) -> Node:
    """out[i..] = node[at(i..)], 0 where a mask fails."""
    return stamp(equation(tuple(shape), len(shape), "sum", placeholder(0), [Read(node, tuple(at))], masks), [node])


# ---------------------------------------------------------------- slices and gathers


@record
class _Axis:
    """What one entry of an index does with one axis: the new extents, and where the old axis is read."""

    extents: tuple[Extent, ...]
    labels: Node | None = None
    start: Affine = constant(0)
    step: int = 0


def subscript(node: Node, key: Any) -> Node:
    """node[key] for whole numbers, slices, None, ... and one or more integer tensors (a gather).

    Raises
    ------
    ShapeError
        When there are too many entries or one is out of range.
    TypeMismatchError
        When an entry is of another kind.
    """
    entries = _expand(node, _without_masks(node, key if isinstance(key, tuple) else (key,)))
    axes, t = [], 0
    for entry in entries:
        if entry is None:
            axes.append(_Axis((1,)))
        else:
            axes.append(_axis(node, t, entry))
            t += 1
    labels = [a.labels for a in axes if a.labels is not None]
    common = broadcast_shape(labels, lambda: f"indexing {node_text(node)}") if labels else ()
    return _read_axes(node, entries, axes, common)


def _read_axes(node: Node, entries: list[Any], axes: list[_Axis], common: tuple[Extent, ...]) -> Node:
    gathered = [t for t, a in enumerate(axes) if a.labels is not None]
    apart = bool(gathered) and gathered[-1] - gathered[0] >= len(gathered)
    shape: list[Extent] = list(common) if apart else []
    place, first = 0, not apart
    at: list[Affine] = []
    computed: list[tuple[Read, Extent]] = []
    rank = len(common) + sum(len(axis.extents) for axis in axes)
    for entry, axis in zip(entries, axes):
        if axis.labels is not None and first:
            place, first = len(shape), False
            shape += common
        if axis.labels is not None:
            maps = _behind(place, broadcast_maps(axis.labels.shape, len(common)))
            at.append(place_of(axis.labels, maps, node.shape[len(at)], rank, computed))
        elif entry is not None:
            at.append(axis.start + index(len(shape)) * axis.step if axis.step else axis.start)
        shape += axis.extents
    return at_places(node, shape, at, computed) if computed else view(node, shape, at)


def _behind(place: int, maps: Sequence[Affine]) -> tuple[Affine, ...]:
    """Index maps of axes that stand behind so many others."""
    return tuple(substitute(a, lambda i: index(i + place)) for a in maps)


def place_of(
    labels: Node, at: tuple[Affine, ...], extent: Extent, rank: int, computed: list[tuple[Read, Extent]]
) -> Affine:
    """Where labels say: the map labels[at]; of computed ones, which are added to the list, an index of a sum."""
    if labels_leaf(labels) is not None:
        return gather(labels, at, extent)
    computed.append((Read(labels, at), extent))
    return index(rank + len(computed) - 1)


def _without_masks(node: Node, key: tuple[Any, ...]) -> tuple[Any, ...]:
    """The entries with the places of each array of booleans in its stead, a number for each of its axes."""
    out: list[Any] = []
    for t, entry in enumerate(key):
        mask = np.asarray(entry) if isinstance(entry, np.ndarray | list) else None
        if mask is None or mask.dtype.kind != "b" or not mask.ndim:
            out.append(entry)
            continue
        later = sum(e is not None and e is not Ellipsis for e in key[t + 1 :])
        first = node.rank - later - mask.ndim if Ellipsis in key[:t] else sum(e is not None for e in out)
        _check_mask(node, mask, first)
        out += np.nonzero(mask)
    return tuple(out)


def _check_mask(node: Node, mask: np.ndarray, first: int) -> None:
    own = node.shape[first : first + mask.ndim] if first >= 0 else ()
    free = next((e for e in own if isinstance(e, str)), None)
    if free is not None:
        message = f"indexing {node_text(node)}: an array of booleans for the free extent {free}"
        fail(ShapeError, message, "choose with gc.where(mask, x, 0), whose shape is known.")
    if own != mask.shape:
        message = f"indexing {node_text(node)}: an array of booleans has shape {shape_text(mask.shape)}"
        fail(ShapeError, message, f"it stands for axes of shape {shape_text(own)}.")
    if not mask.any():
        hint = "a tensor has at least one element along every axis."
        fail(ShapeError, f"indexing {node_text(node)}: an array of booleans chooses nothing", hint)


def _expand(node: Node, key: tuple[Any, ...]) -> list[Any]:
    """The entries with ... spelled out, one for every axis."""
    dots = [t for t, e in enumerate(key) if e is Ellipsis]
    used = sum(e is not None and e is not Ellipsis for e in key)
    if used > node.rank or len(dots) > 1:
        message = f"{node_text(node)} has {node.rank} axes but is indexed with {used} entries"
        fail(ShapeError, message, "give at most one entry an axis, and one ... .")
    fill = [slice(None)] * (node.rank - used)
    t = dots[0] if dots else len(key)
    return [*key[:t], *fill, *key[t + 1 :]]


def _check_whole(node: Node, entry: Any) -> None:
    """Refuse booleans and fractions, which would silently stand for the places 0 and 1."""
    kind = np.asarray(entry).dtype.kind
    if kind in "iu" or kind not in "bf":  # what is no number at all is refused where it becomes a constant
        return
    message = f"indexing {node_text(node)}: the index holds values of type {np.asarray(entry).dtype}, not whole numbers"
    fail(TypeMismatchError, message, "choose with gc.where(mask, x, 0)." if kind == "b" else "give integers.")


def _axis(node: Node, t: int, entry: Any) -> _Axis:
    if isinstance(entry, slice):
        return _slice(node, t, entry)
    if isinstance(entry, Integral) and not isinstance(entry, bool):
        return _Axis((), None, _whole(node, t, int(entry)))
    return _Axis((), labels_of(node, t, entry))


def labels_of(node: Node, t: int, entry: Any) -> Node:
    """The integer data, or computed places, that an index of axis t is; constant ones are counted from the start.

    Raises
    ------
    ShapeError
        When a constant one is out of range.
    TypeMismatchError
        When it is no integer data.
    """
    if not isinstance(entry, Node):
        _check_whole(node, entry)
        entry = _from_the_start(node, t, entry)
    labels = entry if isinstance(entry, Node) else constant_leaf(entry, f"an index of {node_text(node)}", labels=True)
    _check_labels(labels, node.shape[t], node, t)
    return labels


def _from_the_start(node: Node, t: int, entry: Any) -> Any:
    """Places of an axis with those below 0 counted from its end."""
    places, extent = np.asarray(entry), node.shape[t]
    if places.dtype.kind not in "iu" or not (places < 0).any():
        return entry
    if isinstance(extent, str):
        message = f"an index below 0 for axis {t} of {node_text(node)}, whose extent {extent} is free"
        fail(ShapeError, message, "x[-1] reads one place from the end, x[::-1] all of them backwards.")
    return np.where(places < 0, places + extent, places)


def _whole(node: Node, t: int, i: int) -> Affine:
    extent = node.shape[t]
    if isinstance(extent, str):
        return size(extent) + i if i < 0 else constant(i)
    if not -extent <= i < extent:
        message = f"index {i} is out of range for axis {t} of {node_text(node)} with extent {extent}"
        fail(ShapeError, message, f"the indices of that axis are 0 to {extent - 1}.")
    return constant(i % extent)


def _slice(node: Node, t: int, entry: slice) -> _Axis:
    extent = node.shape[t]
    if isinstance(extent, str):
        if entry.start is None and entry.stop is None and entry.step in (None, 1, -1):
            reverse = entry.step == -1
            return _Axis((extent,), None, size(extent) - 1 if reverse else constant(0), -1 if reverse else 1)
        message = f"axis {t} of {node_text(node)} has the free extent {extent}, so a part of it has no known extent"
        fail(ShapeError, message, f"take the whole axis with : and choose elements along {extent} with gc.where.")
    if any(isinstance(v, Node) for v in (entry.start, entry.stop, entry.step)):
        fail(TypeMismatchError, f"a slice of {node_text(node)} has a Tensor as its end", "slices have constant ends.")
    start, stop, step = entry.indices(extent)
    count = len(range(start, stop, step))
    if count == 0:
        message = f"the slice {start}:{stop} of axis {t} of {node_text(node)} is empty"
        fail(ShapeError, message, f"the axis has {extent} elements.")
    return _Axis((count,), None, constant(start), step)


def _check_labels(labels: Node, extent: Extent, node: Node, t: int) -> None:
    leaf, found = labels_leaf(labels), extent_of_places(labels)
    if leaf is None and found is not None:
        check_places(found, extent, f"an index of axis {t} of {node_text(node)}")
        return
    if leaf is None and of_node(labels):
        message = f"indexing {node_text(node)}: how many elements a condition chooses is known at run time only"
        hint = "choose with gc.where(condition, x, 0), or reduce what holds: gc.sum(x, where=condition)."
        fail(ShapeError, message, hint)
    if leaf is None:
        message = f"{node_text(labels)} is used as an index of {node_text(node)} but is not integer data"
        fail(TypeMismatchError, message, 'declare it with gc.input(..., dtype="int64"), or choose with gc.where.')
    if leaf.kind == "constant" and isinstance(extent, int) and not ((leaf.value >= 0) & (leaf.value < extent)).all():
        message = f"an index is out of range for axis {t} of {node_text(node)} with extent {extent}"
        fail(ShapeError, message, f"the indices of that axis are 0 to {extent - 1}.")


def check_places(found: Extent, extent: Extent, what: str) -> None:
    """Refuse computed places of an axis that may be longer than the one that they are used for."""
    if found != extent and (isinstance(found, str) or isinstance(extent, str) or found > extent):
        fail(ShapeError, f"{what}: the places are those of {found} elements, not of {extent}", "the extents are equal.")


def labels_leaf(labels: Node) -> Leaf | None:
    """The integer leaf that labels come from, None for anything computed."""
    while isinstance(labels, Equation) and is_view(labels) and labels.reads:
        labels = labels.reads[0].node
    return labels if isinstance(labels, Leaf) and labels.dtype == "int" else None


def gather(labels: Node, at: tuple[Affine, ...], extent: Extent) -> Affine:
    """The index map labels[at]; the labels are remembered to stay below the extent they select from."""
    while isinstance(labels, Equation):
        inner = labels.reads[0]
        at = tuple(substitute(a, at.__getitem__) for a in inner.at)
        labels = inner.node
    assert isinstance(labels, Leaf)
    if isinstance(extent, int):
        labels.bound = extent if labels.bound is None else min(labels.bound, extent)
    return Affine(0, ((Gather(labels, at), 1),))


# ---------------------------------------------------------------- transposing and reshaping


def transpose(node: Node, axes: Sequence[int]) -> Node:
    """out[i..] with axis t of out being axis axes[t] of node."""
    if sorted(axes) != list(range(node.rank)):
        message = f"the axes {tuple(axes)} do not name each of the {node.rank} axes of {node_text(node)} once"
        fail(ShapeError, message, f"give an order of {tuple(range(node.rank))}.")
    at = [constant(0)] * node.rank
    for new, old in enumerate(axes):
        at[old] = index(new)
    return view(node, [node.shape[a] for a in axes], at)


def reshape(node: Node, wanted: Sequence[Any]) -> Node:
    """The elements of node in row-major order, in another shape; a free extent stays the first axis.

    Raises
    ------
    ShapeError
        When the numbers of elements differ, or a free extent is not the first axis of both shapes.
    """
    shape = _reshaped(node, wanted)
    flat = constant(0)
    for t, extent in enumerate(shape):
        flat = flat * extent + index(t) if isinstance(extent, int) else index(t)
    at: list[Affine] = []
    for extent in reversed(node.shape[1:]):
        assert isinstance(extent, int)
        at.append(modulo(flat, extent, shape))
        flat = floor_div(flat, extent, shape)
    return view(node, shape, [flat, *reversed(at)] if node.rank else [])


def _reshaped(node: Node, wanted: Sequence[Any]) -> tuple[Extent, ...]:
    target = list(wanted)
    free = [e for e in node.shape if isinstance(e, str)]
    unknown = [t for t, e in enumerate(target) if isinstance(e, Integral) and e == -1]
    if len(unknown) > 1:
        fail(ShapeError, f"reshape to {shape_text(target)}: more than one extent is -1", "give all extents but one.")
    known = _count(e for e in target if e != -1)
    have = _count(node.shape)
    if unknown:
        rest = [e for e in free if e not in target]
        if rest and have == known:
            target[unknown[0]] = rest[0]
        elif not rest and known and have % known == 0:
            target[unknown[0]] = have // known
    fits = _count(target) == have and [e for e in target if isinstance(e, str)] == free and -1 not in target
    if not fits:
        message = f"reshape: {node_text(node)} does not have the elements of shape {shape_text(wanted)}"
        hint = f"the extents of {shape_text(node.shape)} must multiply to the same number of elements."
        fail(ShapeError, message, hint)
    if any(isinstance(e, str) for e in (*node.shape[1:], *target[1:])):
        message = f"reshape: the free extent {free[0]} of {node_text(node)} must be the first axis of both shapes"
        fail(ShapeError, message, "move it there with gc.transpose first.")
    return tuple(target)


def _count(extents: Any) -> int:
    return math.prod(int(e) for e in extents if not isinstance(e, str))


# ---------------------------------------------------------------- joining


def concatenate(nodes: Sequence[Node], axis: int, what: str = "concatenate") -> Node:
    """The sum of the parts, each moved to its place and 0 elsewhere."""
    first = nodes[0]
    for node in nodes[1:]:
        _check_joint(first, node, axis, what)
    total = sum(int(n.shape[axis]) for n in nodes)
    shape = tuple(total if t == axis else e for t, e in enumerate(first.shape))
    parts, offset = [], 0
    for node in nodes:
        parts.append(_moved(node, shape, axis, offset))
        offset += int(node.shape[axis])
    if len(parts) == 1:
        return parts[0]
    body = sympy.Add(*[placeholder(j) for j in range(len(parts))])
    at = tuple(index(t) for t in range(len(shape)))
    return stamp(equation(shape, len(shape), "sum", body, [Read(p, at) for p in parts]), parts)


def _moved(node: Node, shape: tuple[Extent, ...], axis: int, offset: int) -> Node:
    at = [constant(0) if e == 1 else index(t) for t, e in enumerate(node.shape)]
    moved = index(axis) - offset
    at[axis] = moved
    if node.shape[axis] == 1:
        at[axis] = constant(0)
        return view(node, shape, at, [Mask("eq", moved)])
    return view(node, shape, at, [Mask("ge", moved), Mask("ge", constant(int(node.shape[axis]) - 1) - moved)])


def _check_joint(first: Node, node: Node, axis: int, what: str) -> None:
    if node.rank != first.rank:
        message = f"{what}: {node_text(first)} has {first.rank} axes but {node_text(node)} has {node.rank}"
        fail(ShapeError, message, "add an axis with x[:, None], or use gc.stack.")
    for t, (a, b) in enumerate(zip(first.shape, node.shape)):
        if t == axis and (isinstance(a, str) or isinstance(b, str)):
            free = a if isinstance(a, str) else b
            owner = node_text(first if isinstance(a, str) else node)
            message = f"{what}: axis {axis} of {owner} has the free extent {free}"
            fail(ShapeError, message, "tensors are joined along an axis of known extent.")
        if t != axis and a != b:
            message = f"{what}: {extent_clash(first, t, node, t)}"
            fail(ShapeError, message, f"all axes but axis {axis} must agree.")
