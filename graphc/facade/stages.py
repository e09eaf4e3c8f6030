"""``fit`` with several optimizers, one after the other: one run, whose parts are the fits of each.

The steps of a run are counted through all parts, so a run that is taken up again knows from their number alone which
parts are done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

from graphc.errors import DomainError, TypeMismatchError
from graphc.facade import curvature, fitting
from graphc.facade.batches import batches_of, with_batch_sizes
from graphc.facade.core import Core
from graphc.facade.options import Options
from graphc.facade.resuming import OVER, Part, TakenUp, take_up
from graphc.facade.splitting import split
from graphc.optim import Curvature
from graphc.run.data import bind
from graphc.run.history import Run
from graphc.run.loaders import gathered

LISTS = "optimizer=[gc.Adam(1e-3), gc.LBFGS()], steps=[2000, 500]"
ENDS = (*OVER, "converged")  # after which no other optimizer goes on


def stages_of(optimizer: Any, steps: Any, epochs: Any, batch_size: Any, **options: Any) -> list[Options]:
    """The options of every part, checked: of one where one optimizer is given.

    Raises
    ------
    DomainError, TypeMismatchError
        When not each optimizer has its number of steps or epochs, or where an option does not fit.
    """
    if not isinstance(optimizer, list | tuple):
        return [Options(optimizer, steps=steps, epochs=epochs, batch_size=batch_size, **options).checked("fit")]
    count = len(optimizer)
    if not count:
        raise DomainError(f"fit: optimizer is an empty list\n  hint: {LISTS}")
    if steps is None and epochs is None:
        raise DomainError(f"fit: {count} optimizers are given, but neither steps nor epochs of each\n  hint: {LISTS}")
    sizes = batch_size if isinstance(batch_size, list | tuple) else [batch_size] * count
    each = [_for_each(name, x, count) for name, x in (("steps", steps), ("epochs", epochs), ("batch_size", sizes))]
    return [
        Options(o, steps=s, epochs=e, batch_size=b, **options).checked("fit")
        for o, s, e, b in zip(optimizer, *each, strict=True)
    ]


def _for_each(name: str, given: Any, count: int) -> list[Any]:
    """An option of every part."""
    if given is None:
        return [None] * count
    if not isinstance(given, list | tuple) or (name != "batch_size" and None in given):
        raise TypeMismatchError(f"fit: {count} optimizers are given, but {name} is {given!r}\n  hint: {LISTS}")
    if len(given) != count:
        raise DomainError(f"fit: {count} optimizers are given, but {name} has {len(given)}: {given!r}\n  hint: {LISTS}")
    return list(given)


def fit(model: Core, args: Sequence[Any], stages: Sequence[Options], public: Any) -> Run:
    """Train ``model`` by one optimizer after the other and return what happened; callbacks get ``public``."""
    if len(stages) == 1:
        return _fit_of(stages[0]).fit(model, args, stages[0], public)
    stages = [_for_model(model, stage) for stage in stages]
    run = model.last_run = Run(record=stages[0].record)
    taken_up = take_up(model, stages[0], run)
    args = gathered(args, "fit", run.notes)
    ends = [*accumulate(_steps_of(model, args, stages))]
    begun = False
    try:
        for stage, before, end in zip(stages, [0, *ends], ends, strict=False):
            if run.steps >= end and stage is not stages[-1]:
                continue
            begins, begun = not begun, True
            part = Part(run, _taken_up(taken_up, stage, begins, run.steps > before), before, begins, ends=False)
            run.stopped = run.stopped if taken_up.over else "finished"
            _fit_of(stage).fit(model, args, stage, public, part)
            if run.stopped in ENDS:
                break
    finally:
        for c in stages[0].callbacks if begun else ():
            c.end(run, public)
    return run


def _fit_of(stage: Options) -> Any:
    return curvature if isinstance(stage.optimizer, Curvature) else fitting


def _for_model(model: Core, stage: Options) -> Options:
    """A part that fits the model, before anything is trained."""
    if isinstance(stage.optimizer, Curvature):
        curvature.check(model, stage.optimizer)
    return with_batch_sizes(stage.for_parameters(model.params.trained), model.training_inputs)


def _taken_up(found: TakenUp, stage: Options, begins: bool, within: bool) -> TakenUp:
    """What a part begins with: the first that is carried out with what callbacks remember, and with hyper-parameters
    that they had set where the run was left ``within`` it; the seed orders the rows once."""
    if not begins:
        return TakenUp(replace(stage, seed=None))
    own = replace(stage, seed=found.options.seed)
    about = dict(found.about) if within else {n: x for n, x in found.about.items() if n != "hyper"}
    return TakenUp(own, found.notes, about, found.tensors)


def _steps_of(model: Core, args: Sequence[Any], stages: Sequence[Options]) -> list[int]:
    """How many steps each part takes."""
    if stages[0].steps is not None:
        return [int(stage.steps or 0) for stage in stages]
    inputs, seed = model.training_inputs, model.state.sampler.seed
    as_rows = len(model.row_extents) < 2
    given = fitting.filled(inputs, args)
    data = bind(inputs, given, model.dtype, model.label_limits, "fit", columns=model.columns, by_rows=as_rows)
    data = split(model, data, None, stages[0].validation, seed)[0]
    return [int(stage.epochs or 0) * batches_of(stage, data).per_epoch for stage in stages]
