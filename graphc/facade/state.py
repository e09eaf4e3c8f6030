"""What a model remembers: parameters, optimizer state by rule, the position in the data, running totals."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, MutableMapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphc.declare.init import Initialiser
from graphc.declare.origin import located
from graphc.errors import CheckpointError, DataError, TypeMismatchError, UnknownNameError
from graphc.facade.read_only import hand_out
from graphc.ir.letters import close_name
from graphc.ir.node import Leaf
from graphc.lower.training import Layout
from graphc.native.buffers import aligned
from graphc.primitives import philox
from graphc.run.mirrored import Mirrored
from graphc.run.sampler import Sampler
from graphc.run.training import RuleState, Totals

WEIGHTS_STREAM = 1  # stream 0 of a seed orders the data, 1 initialises parameters, 2 splits off validation rows
SPLIT_STREAM = 2
_SOURCES = {"normal": philox.normal, "uniform": philox.uniform, "truncated": philox.truncated}


class Parameters(MutableMapping[str, NDArray]):
    """The parameters and states of a model by name: reading gives a read-only copy, assigning copies in."""

    def __init__(self, layout: Layout, dtype: str) -> None:
        self._layout, self._dtype = layout, dtype
        self._leaves = {str(leaf.name): leaf for leaf in layout.offsets}
        self._unset = set(self._leaves)
        shapes = {name: tuple(int(e) for e in leaf.shape) for name, leaf in self._leaves.items()}
        self._places = {name: (shapes[name], layout.offsets[leaf]) for name, leaf in self._leaves.items()}
        self.held = Mirrored(aligned(layout.total, dtype))
        self.trainer: Any = None  # the last that trained them on a GPU

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "trainer": None}

    @property
    def flat(self) -> NDArray:
        """All of them, one after the other, as programs see them; brought from a GPU where the last fit left them."""
        return self.held.values

    @property
    def trained(self) -> list[str]:
        """Names of the parameters, without the states."""
        return [name for name, leaf in self._leaves.items() if leaf.kind == "param"]

    def start(self, name: str) -> int:
        """Where a parameter begins in the flat storage, in elements."""
        return self._layout.offsets[self._leaves[name]]

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a parameter."""
        return self._places[name][0]

    def place(self, name: str) -> tuple[tuple[int, ...], int]:
        """Shape of a parameter, and where it begins in the flat storage."""
        if name not in self._leaves:
            raise UnknownNameError(f"no parameter is named {name!r}\n  hint: {close_name(str(name), self._leaves)}")
        return self._places[name]

    def _view(self, name: str) -> NDArray:
        shape, start = self.place(name)
        return self.flat[start : start + math.prod(shape)].reshape(shape)

    @located
    def __getitem__(self, name: str) -> NDArray:
        if name in self._unset:
            self.initialize(0)
        return hand_out(name, self._view(name))

    @located
    def __setitem__(self, name: str, value: Any) -> None:
        self._set({name: self._checked(name, value)})

    @located
    def assign(self, values: Any) -> None:
        """Set all parameters, or none when a name or a value does not fit.

        Raises
        ------
        DataError, UnknownNameError, TypeMismatchError
            For a parameter that is missing, of another shape or not finite, a name of no parameter, no mapping.
        """
        checked = {name: self._checked(name, value) for name, value in _mapping(values).items()}
        missing = [name for name in self._leaves if name not in checked]
        if missing:
            hint = "model.params.update(...) sets some of the parameters"
            raise DataError(f"model.params: values for {', '.join(missing)} are missing\n  hint: {hint}")
        self._set(checked)

    @located
    def update(self, other: Any = MappingProxyType({}), /, **named: Any) -> None:
        """Set some parameters, or none when a name or a value does not fit."""
        self._set({name: self._checked(name, value) for name, value in {**_mapping(other), **named}.items()})

    def _checked(self, name: str, value: Any) -> NDArray:
        shape, _ = self.place(name)
        array = _array(name, value)
        if array.shape != shape:
            raise DataError(f"{name} has shape {shape} but the array has {array.shape}\n  hint: reshape the array")
        if array.dtype.kind not in "fiub" or not np.isfinite(array).all():
            raise DataError(f"{name}: the array holds NaN, infinity or no numbers\n  hint: assign finite numbers")
        return array

    def _set(self, arrays: Mapping[str, NDArray]) -> None:
        if len(arrays) == len(self._leaves):
            self.held.overwritten()
        for name, array in arrays.items():
            self._view(name)[...] = array
            self._unset.discard(name)

    @located
    def __delitem__(self, name: str) -> None:
        raise DataError(f"{name} cannot be deleted: the model is made of it\n  hint: declare another model")

    def __iter__(self) -> Iterator[str]:
        return iter(self._leaves)

    def __len__(self) -> int:
        return len(self._leaves)

    def initialize(self, seed: int, everything: bool = False) -> None:
        """Draw the parameters that have no value yet, or all of them, from their initialisers."""
        if everything:
            self.held.overwritten()
        for name in list(self._leaves) if everything else sorted(self._unset):
            self._view(name)[...] = self._draw(self._leaves[name], seed)
        self._unset.clear()

    def _draw(self, leaf: Leaf, seed: int) -> NDArray:
        init = leaf.value
        assert isinstance(init, Initialiser)

        def draw(kind: str, shape: tuple[int, ...]) -> NDArray:
            return _SOURCES[kind](seed, WEIGHTS_STREAM, str(leaf.name), shape)

        return np.asarray(init.sample(draw, tuple(int(e) for e in leaf.shape)))

    def name_at(self, place: int) -> str:
        """The parameter at a place of the flat storage, with its index: ``W0[0, 1]``."""
        starts = {self._layout.offsets[leaf]: name for name, leaf in self._leaves.items()}
        start = max(offset for offset in starts if offset <= place)
        name = starts[start]
        index = np.unravel_index(place - start, self.shape(name))
        return f"{name}[{', '.join(str(int(i)) for i in index)}]" if index else name

    def holds(self, name: str, place: int) -> bool:
        """Whether a place of the flat storage belongs to a parameter."""
        shape, start = self._places[name]
        return start <= place < start + math.prod(shape)

    def snapshot(self) -> NDArray:
        """A copy of all of them, for :meth:`restore`."""
        return self.flat.copy()

    def kept(self, into: Any = None) -> Any:
        """A copy of all of them for :meth:`restore`, on the GPU where they are there; in the memory of an older one."""
        return self.held.copied(into)

    def restore(self, snapshot: Any) -> None:
        """Put a copy of all of them back."""
        if isinstance(snapshot, np.ndarray):
            self.held.overwritten()[:] = snapshot
        else:
            self.held.lies(snapshot)
        self._unset.clear()

    def adopt(self, flat: NDArray) -> None:
        """Be what lies in this memory, of a size and alignment that programs take."""
        self.held.values = flat
        self._unset.clear()

    def cast(self, dtype: str) -> None:
        """Change the precision."""
        flat = aligned(self.held.size, dtype)
        flat[:] = self.flat
        self.held.values, self._dtype = flat, dtype

    def __repr__(self) -> str:
        shapes = ", ".join(f"{n}{tuple(leaf.shape)}" for n, leaf in self._leaves.items())
        return f"<parameters {shapes}>"


def _mapping(values: Any) -> dict[str, Any]:
    try:
        return dict(values)
    except (TypeError, ValueError):
        found = f"model.params cannot be {type(values).__name__} {values!r:.60}"
        raise TypeMismatchError(f"{found}\n  hint: assign a dict of arrays by name") from None


def _array(name: str, value: Any) -> NDArray:
    try:
        return np.asarray(value)
    except (ValueError, TypeError) as error:
        raise DataError(f"{name}: a {type(value).__name__} is no array: {error}\n  hint: assign an array") from None


class State:
    """Everything that training changes, apart from the parameters."""

    def __init__(self, total: int, dtype: str) -> None:
        self.total, self.dtype = total, dtype
        self.rules: dict[str, RuleState] = {}
        self.sampler = Sampler()
        self.totals = Totals()

    def rule(self, text: str, n_states: int) -> RuleState:
        """The state of an update rule; another rule text starts at 0. The last in ``rules`` is that of the last fit."""
        known, size = self.rules.pop(text, None), max(n_states * self.total, 1)
        if known is None:
            known = RuleState(aligned(size, self.dtype))
        elif known.size != size:  # of a file: a program writes to all of it
            found = f"the file has {known.size} numbers of the optimizer's state, not {size}"
            raise CheckpointError(f"{found}\n  hint: use an older checkpoint")
        self.rules[text] = known
        return known

    def averages(self) -> dict[str, NDArray]:
        """The running means of parameters, flat, of the last fit that kept some."""
        kept = next((s for s in reversed(self.rules.values()) if s.averages and s.step), None)
        return {} if kept is None else {n: kept.values[t * self.total :] for n, t in kept.averages.items()}

    def cast(self, dtype: str) -> None:
        """Change the precision."""
        self.dtype = dtype
        for state in self.rules.values():
            values = aligned(len(state.values), dtype)
            values[:] = state.values
            state.values = values


def named_arrays(parameters: Parameters) -> Mapping[str, NDArray]:
    """Views of all parameters, for checkpoints."""
    return {name: parameters._view(name) for name in parameters}
