"""A fit that repeats the one before, with the same options and arrays that look the same: what it found out holds.

A step at a time (``model.fit(x, t, optimizer=rule, steps=1)`` in a loop) is trained by many calls, each of which would
check the same options, bind data of the same shapes and look up the same program.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphc.facade import stages
from graphc.facade.core import Core
from graphc.facade.fitting import Prepared, check_schedules, prepare, start
from graphc.facade.options import Options
from graphc.facade.resuming import Part, TakenUp, whole_run
from graphc.optim import Curvature, Rule
from graphc.optim.schedules import Schedule
from graphc.run.data import LARGE, Bound
from graphc.run.history import Run
from graphc.run.prepared import Looks, checks_of, usable
from graphc.run.training import Trainer

PLAIN = (int, float, str, bool, type(None))


def fit(model: Core, args: Sequence[Any], given: Mapping[str, Any], dtype: str | None, public: Any) -> Run:
    """Train with the options that were ``given``, by name, and return what happened; callbacks get ``public``."""
    again: Again | None = model.ready.get("fit")
    if again is not None and again.takes(model, args, given, dtype):
        return again(model, args, public)
    model.ready["fit"] = None
    checked = stages.stages_of(**given)
    if dtype is not None and dtype != model.dtype:
        model.cast(dtype)
    if len(checked) > 1 or isinstance(checked[0].optimizer, Curvature):
        return stages.fit(model, args, checked, public)
    part = whole_run(model, checked[0])
    found = prepare(model, args, part)
    run = start(model, found, part, args, public)
    if _may_be_repeated(found, args) and all(map(_stays, given.values())):
        model.ready["fit"] = Again(model, args, given, dtype, found, checked[0])
    return run


def _may_be_repeated(found: Prepared, args: Sequence[Any]) -> bool:
    """Whether options and looks of arrays alone decide what the next fit finds out, and looking through arrays takes no
    time that is worth saving."""
    options, arrays = found.options, [*found.data.arrays.values()]
    plain = not (options.by_epoch or options.resume or found.weights is not None or found.data.unseen)
    on_cpu = isinstance(found.trainer, Trainer) and isinstance(options.optimizer, Rule)
    return plain and on_cpu and usable(args, arrays) and all(a.nbytes < LARGE for a in arrays)


def _stays(option: Any) -> bool:
    """Whether an option is of a kind that nobody changes in its place."""
    return type(option) in PLAIN or isinstance(option, Rule) or (type(option) is tuple and not option)


def _same(one: Any, other: Any) -> bool:
    """Whether two options are the same; True is another one than 1."""
    return one is other or (type(one) is type(other) and type(one) in (*PLAIN, Rule) and one == other)


class Again:
    """The next fit with the options and arrays of the one before; arrays are not kept."""

    def __init__(
        self,
        model: Core,
        args: Sequence[Any],
        given: Mapping[str, Any],
        dtype: str | None,
        found: Prepared,
        options: Options,
    ) -> None:
        self._given, self._options, self._found = (*given.values(), dtype), options, found
        self._scheduled = any(isinstance(h, Schedule) for h in found.options.rule.hyper.values())
        self._notes, self._checks_bounds = [*found.notes], model.checks_bounds
        self._inputs, self._flat = model.training_inputs, model.params.flat
        self._known = model.reads, model.nan_propagating, model.last_compiled
        self._rows, found.data = found.data.rows, Bound({}, 0, [])
        self._looks = Looks(args, checks_of(self._inputs, model.label_limits))

    def takes(self, model: Core, args: Sequence[Any], given: Mapping[str, Any], dtype: str | None) -> bool:
        """Whether a fit repeats this one."""
        return (
            model.params.flat is self._flat
            and model.checks_bounds is self._checks_bounds
            and all(map(_same, (*given.values(), dtype), self._given))
            and self._looks.take(args)
        )

    def __call__(self, model: Core, args: Sequence[Any], public: Any) -> Run:
        found, options, state = self._found, self._found.options, model.state
        run = model.last_run = Run(record=options.record, notes=[*self._notes])
        rule = state.rules.get(options.rule.text) if self._scheduled else None
        if rule is not None:
            check_schedules(options, rule.step, found.batches.per_epoch)
        model.shuffled = options.shuffle
        model.reads, model.nan_propagating, model.last_compiled = self._known
        found.data = Bound(dict(zip(self._inputs, args, strict=True)), self._rows, [])
        try:
            return start(model, found, Part(run, TakenUp(self._options)), args, public)
        finally:
            found.data = Bound({}, 0, [])
