"""Whether a step left of every parameter, and of every state of a rule, what the rule makes of the gradient."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from graphc.facade.agreement import Difference, Feed, Precision
from graphc.ir.node import Leaf
from graphc.optim import Rule
from graphc.optim.rules import reference_step
from graphc.records import record
from graphc.run.training import Moving

MOST, LEAST = 1 << 15, 512  # elements whose update is looked at, of all parameters and of each
SAMPLE, RUN = 4096, 16  # of each where these are few; so many that lie together


@record(eq=False)
class _Update:
    """Parameters with the places of each that are looked at; one parameter after another, their elements and gradients
    there, what the rule makes of them, and whether that is finite."""

    leaves: Sequence[Leaf]
    samples: Sequence[NDArray]
    theta: NDArray
    slopes: NDArray
    exact: NDArray
    states: dict[str, NDArray]
    finite: bool

    def place(self, at: int) -> tuple[Leaf, int]:
        """The parameter of an element, and its place there."""
        for leaf, some in zip(self.leaves, self.samples, strict=True):
            if at < some.size:
                return leaf, int(some[at])
            at -= some.size
        raise IndexError(at)


@record(eq=False)
class Updated:
    """What a step left.

    Attributes
    ----------
    after : Moving
        Parameters and states of the rule.
    places : dict of Leaf to slice
        Where each parameter lies.
    bad : bool
        Whether the step met a number that is not finite, and ended there.
    precision : Precision
        That of the program.
    result : int
        The place that a difference tells.
    """

    after: Moving
    places: Mapping[Leaf, slice]
    bad: bool
    precision: Precision
    result: int

    def wrong(
        self, feed: Feed, rule: Rule, gradients: Mapping[Leaf, NDArray], rounding: Mapping[Leaf, float]
    ) -> tuple[str, Difference] | None:
        """The first element of a parameter or a state that is not what the rule makes of the gradients of its
        parameters, and how it is called; ``rounding`` is what that may change of the gradient of each."""
        norm, total = _norm([*gradients.values()]) if rule.needs_norm else 0.0, self.after.parameters.size
        for update in self._updates(feed, rule, gradients, norm):
            if self.bad and not update.finite:
                return None
            changes = [("theta", self.after.parameters, update.theta, update.exact)]
            changes += [(n, self.after.rule.values[t * total :], 0 * update.theta, update.states[n])
                        for t, n in enumerate(rule.states)]  # fmt: skip
            for name, flat, before, wanted in changes:
                left = [flat[self.places[leaf]][some] for leaf, some in zip(update.leaves, update.samples, strict=True)]
                found = np.concatenate(left)
                at = self._apart(found, before, wanted, update, rounding)
                if at is not None:
                    leaf, place = update.place(at)
                    where = tuple(int(i) for i in np.unravel_index(place, feed[leaf].shape))
                    difference = Difference(self.result, where, float(found[at]), float(wanted[at]))
                    return f"{name} of the rule {rule.name}, for {leaf.name},", difference
        return None

    def _updates(
        self, feed: Feed, rule: Rule, gradients: Mapping[Leaf, NDArray], norm: float
    ) -> Iterator[_Update]:
        """What the rule makes of the parameters; of large ones at some places, where no element asks for the others."""
        kept = [leaf for leaf, gradient in gradients.items() if gradient.size]
        if rule.reduces or any(leaf.constraint is not None for leaf in kept):
            for leaf in kept:
                yield self._whole_update(rule, leaf, feed[leaf], gradients[leaf], norm)
        elif kept:
            most = min(max(MOST // len(kept), LEAST), SAMPLE)
            samples = [sample_of(gradients[leaf].size, most) for leaf in kept]
            theta = _elements([feed[leaf] for leaf in kept], samples)
            slopes = _elements([gradients[leaf] for leaf in kept], samples)
            exact, states = reference_step(rule, theta, slopes, norm=norm)
            yield _Update(kept, samples, theta, slopes, exact, states, self._is_finite(rule, theta, slopes, norm))

    def _whole_update(self, rule: Rule, leaf: Leaf, value: NDArray, gradient: NDArray, norm: float) -> _Update:
        theta, g = (np.asarray(x, np.float64).reshape(value.shape) for x in (value, gradient))
        exact, states = reference_step(rule, theta, g, norm=norm)
        exact = exact if leaf.constraint is None else leaf.constraint.apply(exact)
        flat = {n: np.broadcast_to(x, theta.shape).ravel() for n, x in states.items()}
        places, finite = [np.arange(theta.size)], self._is_finite(rule, theta, g, norm)
        return _Update([leaf], places, theta.ravel(), g.ravel(), exact.ravel(), flat, finite)

    def _is_finite(self, rule: Rule, theta: NDArray, slopes: NDArray, norm: float) -> bool:
        """Whether the updates are finite in the precision of the program: asked where the step was not."""
        if not self.bad:
            return True
        with np.errstate(all="ignore"):
            rounded = [x.astype(self.precision.dtype) for x in (theta, slopes)]
            new, states = reference_step(rule, rounded[0], rounded[1], norm=norm)
        return all(bool(np.isfinite(x).all()) for x in (slopes, new, *states.values()))

    def _apart(
        self, found: NDArray, before: NDArray, exact: NDArray, update: _Update, rounding: Mapping[Leaf, float]
    ) -> int | None:
        """The place of an element that is not as exact as the rounding of the new value lets it be; where the gradient
        is little more than rounding, rules that divide by its size say nothing."""
        sizes = [some.size for some in update.samples]
        starts = np.cumsum([0, *sizes[:-1]])
        largest = lambda x: np.repeat(np.maximum.reduceat(x, starts), sizes)  # of each parameter
        change, slope = np.abs(exact - before), np.abs(update.slopes)
        blur = np.repeat([rounding[leaf] for leaf in update.leaves], sizes)
        allowed = 8 * self.precision.eps * np.abs(exact) + 10 * self.precision.close * largest(change)
        allowed += self.precision.least
        told = np.isfinite(exact) & (slope >= np.maximum(self.precision.close * largest(slope), 1e3 * blur))
        gap = np.where(told, np.abs(found - exact), 0.0)
        wrong = np.flatnonzero(~(gap <= allowed))
        if not wrong.size:
            return None
        first = int(np.searchsorted(starts, wrong[0], "right")) - 1  # the parameter
        own = slice(starts[first], starts[first] + sizes[first])
        return int(starts[first] + np.argmax(np.nan_to_num(gap[own], nan=np.inf)))


def sample_of(size: int, most: int) -> NDArray:
    """Places of some elements: all of a small array, else its ends and short runs that lie evenly between."""
    if size <= most:
        return np.arange(size)
    ends = most // 8
    starts = np.linspace(ends, size - ends - RUN, (most - 2 * ends) // RUN).astype(np.int64)
    between = (starts[:, None] + np.arange(RUN)).ravel()
    return np.concatenate([np.arange(ends), between, np.arange(size - ends, size)])


def _elements(arrays: Sequence[NDArray], samples: Sequence[NDArray]) -> NDArray:
    """Some elements of each, one array after another."""
    chosen = [x.ravel()[some] for x, some in zip(arrays, samples, strict=True)]
    return np.concatenate(chosen, dtype=np.float64)


def _norm(arrays: Sequence[NDArray]) -> float:
    return float(np.sqrt(sum(np.sum(np.square(x, dtype=np.float64)) for x in arrays)))
