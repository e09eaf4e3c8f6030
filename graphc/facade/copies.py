"""The copies of a sweep as they begin: weights, places in the data, data of their own, rows to validate on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphc.emit.update import hyper_values
from graphc.facade.batches import Batches
from graphc.facade.core import Core
from graphc.facade.fitting import MOST_STEPS
from graphc.facade.options import Options
from graphc.facade.settings import Setting, completed
from graphc.facade.splitting import Split, split
from graphc.facade.state import Parameters
from graphc.ir.node import Leaf
from graphc.lower.lengths import has_rows
from graphc.lower.training import layout_parameters
from graphc.optim import Rule
from graphc.records import record
from graphc.run.data import Bound
from graphc.run.sampler import Sampler
from graphc.run.sources import Order, block_of
from graphc.run.sweep import Own, Start
from graphc.run.training import Settings

PROBED = 64  # rows on which the loss before training is measured, at least


@record
class Divided:
    """The data of every copy: rows to train on and rows that are held out, by seed; values of swept inputs, and which
    of these the validation data do not give."""

    splits: dict[int, Split]
    own: Mapping[Leaf, Mapping[float, NDArray]]
    left_out: Sequence[Leaf] = ()

    def arrays_of(self, seed: int, values: tuple[float, ...]) -> dict[Leaf, Any]:
        """The data that one copy trains on."""
        mine = {leaf: read[values[t]] for t, (leaf, read) in enumerate(self.own.items())}
        return {**self.splits[seed][0].arrays, **mine}

    def held_out(self, setting: Setting) -> Bound | None:
        """The rows that one copy is validated on."""
        _, _, rows = self.splits[setting.seed]
        mine = dict(zip(self.own, setting.inputs, strict=True))
        own = {leaf: self.own[leaf][mine[leaf]] for leaf in self.left_out}
        return rows and replace(rows, arrays={**rows.arrays, **own})


def divided(
    model: Core,
    data: Bound,
    weights: NDArray | None,
    wanted: Any,
    settings: Sequence[Setting],
    own: Mapping[Leaf, Mapping[float, NDArray]],
) -> Divided:
    """The data with ``validation``: a fraction is held out for every seed, as its fit alone would, other rows are for
    all copies; each has its own value of the swept inputs that these do not give."""
    seeds = dict.fromkeys(s.seed for s in settings)
    if isinstance(wanted, Real):
        return Divided({seed: split(model, data, weights, wanted, seed) for seed in seeds}, own, [*own])
    first = {leaf: next(iter(read)) for leaf, read in own.items()}
    wanted, left_out = _validation(model.training_inputs, wanted, first)
    return Divided(dict.fromkeys(seeds, split(model, data, weights, wanted, 0)), own, left_out)


def _validation(inputs: Sequence[Leaf], wanted: Any, own: Mapping[Leaf, float]) -> tuple[Any, list[Leaf]]:
    """Validation data by name, where swept inputs were left out; their weights are one array more."""
    if wanted is None or not own:
        return wanted, []
    if isinstance(wanted, Mapping):
        [filled], left_out = completed(inputs, (wanted,), own)
        return filled, left_out
    given = list(wanted) if isinstance(wanted, tuple | list) else [wanted]
    names = [str(leaf.name) for leaf in inputs if leaf not in own]
    if not 0 <= len(given) - len(names) <= 1:
        return wanted, []
    by_name = dict(zip([*names, "sample_weight"], given, strict=False))
    return {**by_name, **{str(leaf.name): value for leaf, value in own.items()}}, [*own]


class Begun:
    """The copies of a sweep before their first step.

    After the copies proper come probes: copies that make one step each, from the initial weights of a seed with the
    inputs of a copy, on its first batches; they tell the loss before training.
    """

    def __init__(
        self, model: Core, options: Options, batches: Batches, settings: list[Setting], parts: Divided
    ) -> None:
        self.model, self.options, self.settings, self.parts, self.batches = model, options, settings, parts, batches
        per_epoch = batches.per_epoch
        self.steps = options.steps or (options.epochs * per_epoch if options.epochs else MOST_STEPS)
        self.groups = list(dict.fromkeys((s.seed, s.inputs) for s in settings))
        self.probes = min(per_epoch, -(-PROBED // _rows_a_step(batches)))

    def starts(self) -> list[Start]:
        """The copies proper, then the probes."""
        o = self.options
        weights = {seed: self._weights(seed) for seed in self.parts.splits}
        settings = Settings(o.shuffle, o.record == "step", o.tolerance)
        starts = [
            Start(weights[s.seed], _hyper(s.rule), self._sampler(s.seed), self.steps, settings) for s in self.settings
        ]
        probe, hyper = Settings(o.shuffle, record_steps=True), starts[0].hyper
        return starts + [
            Start(weights[seed], hyper, self._sampler(seed, k), 1, probe)
            for seed, _ in self.groups
            for k in range(self.probes)
        ]

    def program_data(self) -> list[Any]:
        """Constants, then what every copy and every probe reads of each input, in the order of the program."""
        readers = [(s.seed, s.inputs) for s in self.settings] + [g for g in self.groups for _ in range(self.probes)]
        each = [self.parts.arrays_of(*reader) for reader in readers]
        arrays = {leaf: shared([given[leaf] for given in each]) for leaf in each[0]}
        weights = shared([self.parts.splits[seed][1] for seed, _ in readers])
        return self.model.program_data(Bound(arrays, 1, []), weights)

    def block(self) -> Any:
        """What gathers the next rows of a copy, in the order of its steps, for data that are not all in memory."""
        leaves, extent, orders = self.model.reads[0], str(self.model.weight_leaf.shape[0]), dict[int, Order]()

        def gather(data: Sequence[Any], copy: int, at: Sampler, count: int) -> list[Any]:
            order = orders.setdefault(at.seed, Order()).of(at) if self.options.shuffle else None
            mine = [
                x.arrays[copy] if isinstance(x, Own) and has_rows(leaf) else x
                for leaf, x in zip(leaves, data, strict=True)
            ]
            return block_of(leaves, mine, extent, at, count, order)

        return gather

    def _weights(self, seed: int) -> NDArray:
        fresh = Parameters(layout_parameters(self.model.kept_leaves), self.model.dtype)
        fresh.initialize(seed, everything=True)
        return fresh.flat

    def _sampler(self, seed: int, batches: int = 0) -> Sampler:
        b = self.batches
        return Sampler(seed, 0, batches * b.size, b.rows, b.size, b.extents)


def shared(arrays: Sequence[Any]) -> Any:
    """One array, where all copies read the same."""
    return arrays[0] if all(a is arrays[0] for a in arrays) else Own(arrays)


def _rows_a_step(batches: Batches) -> int:
    """The rows that a step takes, along the shortest of several extents."""
    return min((batch for _, batch in batches.extents), default=batches.size)


def _hyper(rule: Rule) -> NDArray:
    return np.array([*hyper_values(rule).values, 0.0])
