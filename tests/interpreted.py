"""Models trained and evaluated by NumPy: what ``fit`` and ``predict`` do, without compiling a program for every shape.

A fit takes the same rows, batches, weights and rule as the compiled program and gives its results but for rounding
(test_sklearn.py compares them).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from graphc.emit import control
from graphc.emit.reference import evaluate as interpret
from graphc.facade import evaluating, fitting, validating
from graphc.facade.chance import drawn
from graphc.facade.core import Core
from graphc.ir.node import Leaf
from graphc.optim import AnyRule, Rule, reference_step
from graphc.primitives import philox
from graphc.run.data import Bound
from graphc.run.sampler import Sampler
from graphc.run.training import Call, Moving, Settings


class InterpretedTrainer:
    """In place of a :class:`graphc.run.training.Trainer`, for whole epochs of update rules of single elements."""

    notes: Sequence[str] = ()
    choice = ""

    def __init__(self, core: Core, rule: AnyRule, weighted: bool) -> None:
        self.core, self.rule, self.weighted = core, rule, weighted
        self.leaves = [*core.training_inputs, *([core.weight_leaf] if weighted else [])]
        core.reads = self.leaves, np.empty(0)

    def hold(self, inputs: Sequence[NDArray]) -> None:
        """NumPy reads them where they are."""

    def run(self, moving: Moving, inputs: Sequence[NDArray], call: Call, settings: Settings, *_: Any) -> None:
        """Train until ``call.steps`` are done, or a loss is not finite."""
        whole = (getattr(a, "block", a) for a in inputs[2:])  # a block that is all of an epoch, in its order
        data, sampler, means = dict(zip(self.leaves, whole, strict=True)), moving.sampler, []
        while call.done < call.steps and call.status == control.FINISHED:
            order = np.arange(sampler.rows)
            if settings.shuffle:
                order = philox.permutation(sampler.rows, sampler.seed, sampler.epoch)
            parts = [order[first : first + sampler.batch] for first in range(0, sampler.rows, sampler.batch)]
            steps = [
                self._step(moving, {leaf: a[rows] for leaf, a in data.items()} | self._drawn(sampler, t, len(rows)))
                for t, rows in enumerate(parts)
            ]
            means.append(np.average([values for values, _ in steps], axis=0, weights=[weight for _, weight in steps]))
            call.done += len(steps)
            call.status = control.FINISHED if np.isfinite(means[-1]).all() else control.NONFINITE
            sampler.epoch += 1
        call.epochs = np.array(means)

    def _drawn(self, sampler: Sampler, step: int, rows: int) -> dict[Leaf, NDArray]:
        """What a step of the epoch draws."""
        return drawn(self.core, replace(sampler, position=step * sampler.batch), rows, self.core.dtype)

    def _step(self, moving: Moving, rows: Mapping[Leaf, NDArray]) -> tuple[list[float], float]:
        """Loss and metrics of a batch before the update, and what it counts."""
        graph, leaves = self.core.differentiated(self.weighted), self.core.param_leaves
        names, flat = ["loss", *self.core.metric_names], moving.parameters
        roots = [*(graph.roots[name] for name in names), *(graph.gradients[leaf] for leaf in leaves)]
        found = interpret(roots, {**rows, **parameters(self.core)}, dtype=self.core.dtype)
        values, slopes = [float(v) for v in found[: len(names)]], found[len(names) :]
        moving.rule.step += 1
        for rule, own in self._parts():
            g, states = np.zeros_like(flat), moving.rule.values[: len(rule.states) * flat.size].reshape(-1, flat.size)
            for leaf, slope in zip(leaves, slopes, strict=True):
                if leaf in own:
                    self._at(leaf, g)[...] = slope
            before = dict(zip(rule.states, states.copy(), strict=True))
            new, after = reference_step(rule, flat.copy(), g, before, moving.rule.step)
            for leaf in own:
                for old, row in zip([flat, *states], [new, *(after[n] for n in rule.states)], strict=True):
                    self._at(leaf, old)[...] = self._at(leaf, row)
        weight = rows[self.core.weight_leaf].sum() if self.weighted else len(rows[self.leaves[0]])
        return values, float(weight)

    def _parts(self) -> list[tuple[Rule, list[Leaf]]]:
        """The rules, each with its parameters."""
        leaves = self.core.param_leaves
        if isinstance(self.rule, Rule):
            return [(self.rule, leaves)]
        return [(rule, [x for x in leaves if x.name in names]) for names, rule in self.rule if rule is not None]

    def _at(self, leaf: Leaf, flat: NDArray) -> NDArray:
        start = self.core.params.start(str(leaf.name))
        shape = [int(e) for e in leaf.shape]
        return flat[start : start + int(np.prod(shape))].reshape(shape)


def parameters(core: Core) -> dict[Leaf, NDArray]:
    return {leaf: core.params[str(leaf.name)] for leaf in core.param_leaves}


def evaluated(
    core: Core, outputs: Sequence[str], scalars: Sequence[str], data: Bound, *_: Any
) -> tuple[list[NDArray], NDArray]:
    """In place of :func:`graphc.facade.evaluating.evaluate`."""
    feed = {**{leaf: a[:] for leaf, a in data.arrays.items()}, **parameters(core)}
    found = interpret([core.graph.roots[name] for name in (*outputs, *scalars)], feed, dtype=core.dtype)
    return found[: len(outputs)], np.array(found[len(outputs) :])


@contextmanager
def interpreted() -> Iterator[None]:
    """Within it, nothing is compiled."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "trainer_for", lambda *a, **_: InterpretedTrainer(a[0], a[2], weighted=a[4]))
        patch.setattr(fitting, "verify_training", lambda *_: [])
        patch.setattr(validating, "evaluator", lambda *_: None)
        patch.setattr(fitting, "Trainer", InterpretedTrainer)
        patch.setattr(evaluating, "evaluate", evaluated)
        patch.setattr(evaluating, "_prepared", lambda *_: None)
        yield
