"""Schedules beside torch and optax, from the formula, from the text of a program and from machine code.

Their values stand in goldens/schedules.json, with the script that wrote them.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import graphc as gc
from graphc.cuda import selection
from graphc.errors import DomainError
from graphc.optim import Schedule
from tests.covering.plain import Plain, in_python
from tests.cuda_races import Watched

GOLDEN = json.loads((Path(__file__).parent / "goldens" / "schedules.json").read_text())
S = gc.schedules
SCHEDULES = {
    "polynomial": S.polynomial(0.1, 40, power=1.7),
    "linear": S.linear(0.1, 40, 0.02),
    "linear up": S.linear(0.02, 40, 0.1),
    "step_decay": S.step_decay(0.1, 0.5, 7),
    "exponential": S.exponential(0.1, 0.9),
    "cosine": S.cosine(0.1, 60, 0.01),
    "cosine_restarts": S.cosine_restarts(0.1, 13, eta_min=0.01),
    "cosine_restarts longer": S.cosine_restarts(0.1, 7, 2, 0.01),
    "one_cycle": S.one_cycle(0.1, 61),
    "cyclic": S.cyclic(0.01, 0.1, 5, 9),
    "cyclic lower": S.cyclic(0.01, 0.1, 4, shrink=0.5),
    "piecewise": S.piecewise([0.1, 0.01, 0.001], [10, 25]),
    "sequence": S.sequence([S.linear(0.01, 10, 0.1), S.cosine(0.1, 50, 0.01)], [10]),
    "polynomial optax": S.polynomial(0.1, 40, 0.02, 1.7),
    "sequence optax": S.sequence([S.linear(0.01, 10, 0.1), S.cosine(0.1, 50)], [10]),
}
STEPS = 60


def slope() -> gc.Model:
    """J = theta: with SGD a step is the value of the schedule."""
    return gc.Model(loss=gc.sum(gc.param("theta", (1,), 0.0)), dtype="float64")



def walked(schedule: Schedule, **options: object) -> list[float]:
    """Where theta stood before each of sixty steps, and the last."""
    model = slope()
    run = model.fit({}, optimizer=gc.SGD(schedule), steps=STEPS, record="step", **options)
    return [*run.history["loss"], float(model.params["theta"][0])]


@pytest.mark.parametrize("name", SCHEDULES)
def test_sixty_steps_are_those_of_torch_or_optax(name: str):
    """Mutation-checked: k for k - 1, a cycle or a boundary one step late are seen."""
    found = [SCHEDULES[name].at(k) for k in range(1, STEPS + 1)]
    np.testing.assert_allclose(found, GOLDEN[name], rtol=1e-12, atol=1e-15)


def test_every_schedule_has_a_golden_or_a_closed_form():
    closed = {"Schedule", "schedule", "constant", "warmup", "inverse_sqrt"}
    assert {name.partition(" ")[0] for name in SCHEDULES} | closed == set(S.__all__)
    assert SCHEDULES.keys() == GOLDEN.keys()
    values = [S.inverse_sqrt(512**-0.5 * 16**-0.5, 16).at(k) for k in range(1, 100)]
    np.testing.assert_allclose(values, [512**-0.5 * min(k**-0.5, k * 16**-1.5) for k in range(1, 100)], rtol=1e-14)


def test_long_restarts_begin_on_time():
    """A rounded logarithm would begin the cosine of 3**11 steps one step late, or early."""
    restarts, begin = S.cosine_restarts(0.1, 5, 3), 1
    for n in range(12):
        assert restarts.at(begin) == pytest.approx(0.1) and restarts.at(begin + 5 * 3**n - 1) < 0.05
        begin += 5 * 3**n


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_text_of_a_program_has_them_too(name: str):
    with in_python(Plain()):
        found = walked(SCHEDULES[name], verify=False)
    np.testing.assert_allclose(found, -np.cumsum([0.0, *GOLDEN[name]]), rtol=1e-12)


def test_machine_code_and_the_gpu_have_all_in_one():
    every = S.sequence(list(SCHEDULES.values())[:12], range(5, 60, 5))
    wanted = -np.cumsum([0.0, *(every.at(k) for k in range(1, STEPS + 1))])
    np.testing.assert_allclose(walked(every), wanted, rtol=1e-12)
    with selection.use(Watched(threads=2, blocks=1, memory=1 << 36), "A"):
        np.testing.assert_allclose(walked(every, target="cuda", verify=False), wanted, rtol=1e-12)


def test_a_sequence_may_stand_in_a_sequence():
    inner = [S.sequence([0.1, 0.2], [3]), S.piecewise([0.3, 0.4], [2])]
    found = S.sequence(inner, [5])
    assert [found.at(k) for k in range(1, 9)] == [0.1, 0.1, 0.1, 0.2, 0.2, 0.3, 0.3, 0.4]
    assert found == S.sequence(inner, [5]) != S.sequence(inner, [6])


WRONG = {
    "'eta_end' of a schedule is -1, below 0": lambda: S.linear(1, 10, -1),
    "'power' of a schedule is 0. Give a positive number.": lambda: S.polynomial(1, 10, power=0),
    "'factor' of a schedule is 0.5. Give a number of at least 1.": lambda: S.cosine_restarts(1, 10, 0.5),
    "one_cycle: 0.3 of 3 steps leave none for one of the two ways. Give more steps.": lambda: S.one_cycle(1, 3),
    "A sequence of 2 schedules has 1 ends, not 2.": lambda: S.sequence([0.1, 0.2], [3, 4]),
    "The steps 5, 3 of a sequence do not ascend. Sort them.": lambda: S.piecewise([3, 2, 1], [5, 3]),
    "'down' of a schedule is 0. Give a positive number.": lambda: S.cyclic(0, 1, 5, 0),
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_constants_are_refused(message: str):
    with pytest.raises(DomainError) as caught:
        WRONG[message]()
    assert message in str(caught.value)
