"""Verdicts on programs that are new: the trial of each kind, carried out once and remembered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from numpy.typing import NDArray

from graphc.facade.core import Core
from graphc.facade.lookup import declared
from graphc.facade.preparing import rule_key
from graphc.facade.programs import Compiled
from graphc.facade.state import Parameters
from graphc.facade.trial import Trial
from graphc.facade.trials import DeviceEvaluationTrial, DeviceTrial, EvaluationTrial, TrainingTrial
from graphc.facade.verifying import is_verified, verify_program
from graphc.optim import AnyRule
from graphc.run.data import Bound
from graphc.run.training import Trainer

if TYPE_CHECKING:
    from graphc.cuda.training import CudaTrainer


def verify_training(
    model: Core,
    trainer: Trainer | CudaTrainer,
    rule: AnyRule,
    data: Bound,
    weighted: bool,
    precision: str,
    params: Parameters | None = None,
    rehearsed: TrainingTrial | None = None,
) -> list[str]:
    """Check a training program that has not been checked before, with the parameters of the model or given ones, or by
    a trial that was made while it was compiled; returns notes for the run.

    Raises
    ------
    CompilerError
        When it computes something else than its formulas.
    """
    if isinstance(trainer, Trainer):
        assert model.last_compiled is not None
        key = model.last_compiled.key
        make = lambda: rehearsed or TrainingTrial(model, trainer.capacity, rule, data, weighted, params)
        return _verdict(model, key, lambda: make().of(trainer))
    key = model.once(("key of", id(trainer)), lambda: _device_key(model, trainer, rule, weighted, precision))
    return _verdict(model, key, lambda: DeviceTrial(model, trainer, rule, data, weighted, params, precision))


def _device_key(model: Core, trainer: CudaTrainer, rule: AnyRule, weighted: bool, precision: str) -> str:
    leaves = [*model.param_leaves, *([model.weight_leaf] if weighted else [])]
    text, device = trainer.plan.program.text, trainer.machine.device
    return declared(model.raw_roots, leaves, rule_key(rule), text, precision, device.name, str(device.capability)).key


def _verdict(model: Core, key: str, trial: Callable[[], Trial]) -> list[str]:
    def ask() -> list[str]:
        note = "" if is_verified(key) else verify_program(trial(), key)
        return [f"{model.name}: {note}"] if note else []

    return model.once(("verified", key), ask)


def verify_evaluation(
    model: Core, compiled: Compiled, outputs: Sequence[str], scalars: Sequence[str], data: Bound
) -> None:
    """Check an evaluation program that has not been checked before.

    Raises
    ------
    CompilerError
        When it computes something else than its formulas.
    """
    _verdict(model, compiled.key, lambda: EvaluationTrial(model, compiled, outputs, scalars, data))


def verify_device_evaluation(
    model: Core,
    key: str,
    outputs: Sequence[str],
    scalars: Sequence[str],
    data: Bound,
    call: Callable[[NDArray, Bound], list[NDArray]],
) -> None:
    """The same on a GPU, where ``call`` gives outputs and scalars for parameters and data."""
    _verdict(model, key, lambda: DeviceEvaluationTrial(model, outputs, scalars, data, call))


def verify_function(key: str, trial: Callable[[], Trial]) -> None:
    """Check the program of a function that has not been checked before, on the first of its arguments.

    Raises
    ------
    CompilerError
        When it computes something else than its formulas.
    """
    if not is_verified(key):
        verify_program(trial(), key)
