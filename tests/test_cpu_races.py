"""Laws of CPU training programs: no races for any number of threads, the same bits, the interpreter's numbers.

The programs run in Python under observation (:mod:`tests.cpu_races`).  The tests at the end plant faults in the text.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator

import numpy as np
import pytest

import graphc as gc
from graphc.run.history import Run
from tests import nets
from tests.cpu_races import Machine, watching
from tests.graphs import Graph, Plan, build, covering_plans, draw_data, feed_of, reference

TEAMS = (1, 2, 3, 5)
ROWS, ETA = 11, 0.05
DIVIDED = {"lower.phases.SMALL": 0, "lower.plan.SMALL": 0, "emit.loops.ROWS_AT_ONCE": 2}
PACKED = DIVIDED | {f"lower.cost.{name}": 0 for name in "TILE_LIMIT DEEP FEW_ROWS FEW_COLUMNS LONG FAR".split()}
LIMITS = {"usual": {}, "divided": DIVIDED, "packed": PACKED}


@pytest.fixture(params=LIMITS)
def limits(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Thresholds as they are, and so small that all that can be divided among threads, or packed, is."""
    for name, value in LIMITS[request.param].items():
        monkeypatch.setattr(f"graphc.{name}", value)
    return request.param


def trained(declare: Callable[[], gc.Model], data: object, team: int, **options: object) -> tuple[gc.Model, Run]:
    """A model after a watched run without races."""
    model = declare()
    with watching(Machine(seed=team)) as machine:
        run = model.fit(data, threads=team, **options)
    assert machine.found == [] and machine.texts and run.threads == team
    return model, run


def same_bits(declare: Callable[[], gc.Model], data: object, **options: object) -> tuple[gc.Model, Run]:
    """The model and the run of one thread, which those of all teams equal bit for bit."""
    found = [trained(declare, data, team, **options) for team in TEAMS]
    first, run = found[0]
    for model, other in found:
        assert model.params.flat.tobytes() == first.params.flat.tobytes()
        assert model.state.totals.values.tobytes() == first.state.totals.values.tobytes()
        assert other.history == run.history and other.stopped == run.stopped
    return first, run


def model_of(graph: Graph) -> gc.Model:
    model = gc.Model(output=graph.head, loss=graph.loss, dtype="float64")
    for p, value in zip(graph.params, graph.values):
        model.params[p.name] = value
    return model


def by_the_interpreter(graph: Graph, arrays: object, batches: Iterator[np.ndarray]) -> tuple[list, list]:
    """Parameters after gradient descent over the batches, and the loss of each."""
    wanted, values, losses = [graph.loss, *gc.grad(graph.loss, graph.params)], list(graph.values), []
    for rows in batches:
        part = type(arrays)(**{name: x[rows] for name, x in vars(arrays).items()})
        feed = feed_of(graph, part) | dict(zip(graph.params, values))
        loss, *gradients = reference(wanted, feed)
        losses.append(float(loss))
        values = [v - ETA * g for v, g in zip(values, gradients)]
    return values, losses


@pytest.mark.parametrize("plan", [p for seed in (0, 3) for p in covering_plans(seed)], ids=str)
def test_steps_of_any_team_are_the_interpreter_s_bit_for_bit_the_same_and_without_races(limits: str, plan: Plan):
    """Two epochs, each with a short last batch; more threads than a batch has rows."""
    graph, arrays = build(plan), draw_data(ROWS, plan.seed)
    size, shuffle = (4, True) if plan.seed % 2 else (7, False)
    steps = 2 * -(-ROWS // size)
    data = {str(leaf.name): getattr(arrays, str(leaf.name)) for leaf in model_of(graph).training_inputs}
    options = {"optimizer": gc.SGD(ETA), "steps": steps, "batch_size": size, "shuffle": shuffle, "record": "step"}
    model, run = same_bits(lambda: model_of(graph), data, seed=1, **options)
    values, losses = by_the_interpreter(graph, arrays, nets.batches(ROWS, size, steps, 1, shuffle))
    np.testing.assert_allclose(run.history["loss"], losses, rtol=1e-10)
    for p, value in zip(graph.params, values):
        np.testing.assert_allclose(model.params[p.name], value, rtol=1e-10, atol=1e-10)


def test_every_part_of_a_run_is_without_races(limits: str):
    """A metric, the norm of the gradient, a schedule, weights of rows."""
    x, t = nets.data(23)
    options = {"optimizer": nets.MOMENTUM, "batch_size": 5, "sample_weight": np.linspace(0.1, 2, 23), "seed": 5}
    model, run = same_bits(nets.network, {"X": x, "T": t}, steps=13, **options)
    start = nets.flat(nets.network().initialize(5))
    order = nets.batches(23, 5, 13, 5)
    theta, _ = nets.train(start, nets.MOMENTUM, x, t, order, options["sample_weight"])
    np.testing.assert_allclose(nets.flat(model), theta, rtol=1e-10, atol=1e-12)
    assert run.steps == 13 and list(run.history) == ["loss", "mae"]


def test_a_tolerance_ends_the_run_of_every_team_after_the_same_epoch(limits: str):
    x, t = nets.data(11)
    options = {"optimizer": gc.SGD(0.2), "batch_size": 4, "epochs": 60, "seed": 2}
    _, run = same_bits(nets.network, {"X": x, "T": t}, tol=0.6, **options)
    assert run.stopped == "converged" and 1 < run.epochs < 60


def sums_only() -> gc.Model:
    """The batch is read through a sum alone: no kernel stands in phase 0."""
    return gc.Model(loss=(gc.mean(gc.input("x", ("n",))) * gc.param("theta", (), 1.0) - 1) ** 2, dtype="float64")


def nothing_computed() -> gc.Model:
    """Loss, metrics and weights are parameters or data as they lie."""
    theta, x = gc.param("theta", (), 0.5), gc.input("x", ("n",))
    return gc.Model(loss=theta, metrics={"itself": theta, "mean": gc.mean(x)}, dtype="float64")


def embedded() -> gc.Model:
    """A table read by label, and again transposed as the classifier: shared, gathered from and scattered to."""
    words, targets = (gc.input(name, ("n",), dtype="int64") for name in ("words", "x"))
    E, W = gc.param("E", (7, 3), gc.normal(0.5)), gc.param("W", (3, 3), gc.normal(0.5))
    z = gc.tanh(E[words] @ W) @ E.T
    return gc.Model(loss=gc.losses.cross_entropy(z, targets), dtype="float64",
                    metrics={"accuracy": gc.metrics.accuracy(z, targets)})  # fmt: skip


def equal_gradients() -> gc.Model:
    """Two parameters with one gradient, and one whose gradient is another parameter."""
    a, b, c = (gc.param(name, (5,), gc.normal(1.0)) for name in "abc")
    x = gc.input("x", ("n",))
    return gc.Model(loss=gc.sum((a + b) * c) + gc.mean(x) * gc.sum(a**2), dtype="float64")


def wide_and_deep() -> gc.Model:
    """Products divided by rows and by columns, several blocks of rows, a loss that all share."""
    x = gc.input("x", ("n",))
    h = x[:, None] * gc.param("u", (1, 5), gc.normal(1.0))
    for t, (m, n) in enumerate([(5, 9), (9, 4)]):
        h = gc.tanh(h @ gc.param(f"W{t}", (m, n), gc.normal(0.5)) + gc.param(f"b{t}", (n,), 0.1))
    return gc.Model(loss=gc.mean((h - 0.5) ** 2), dtype="float64")


DATA = {"x": np.random.default_rng(4).integers(0, 7, 17), "words": np.random.default_rng(5).integers(0, 7, 17)}
MODELS = (sums_only, nothing_computed, embedded, equal_gradients, wide_and_deep, nets.parabola)


def data_of(model: gc.Model) -> dict[str, np.ndarray]:
    return {str(leaf.name): DATA[str(leaf.name)] for leaf in model.training_inputs}


@pytest.mark.parametrize("declare", MODELS)
def test_models_that_make_a_special_program_are_without_races(limits: str, declare: Callable[[], gc.Model]):
    same_bits(declare, data_of(declare()), optimizer=gc.Adam(0.01), steps=7, batch_size=7, seed=3)


def test_a_loss_that_is_a_parameter_has_the_value_before_the_update():
    """Mutation-checked: when the parameter is read where it lies, the loss is that after the update."""
    options = {"optimizer": gc.SGD(0.1), "steps": 3, "batch_size": 7, "record": "step"}
    _, run = same_bits(nothing_computed, data_of(nothing_computed()), **options)
    np.testing.assert_allclose(run.history["loss"], [0.5, 0.4, 0.3])


# ---------------------------------------------------------------- planted faults

MEETING = """        if team > 1:
            tick = tick + team
            meet(C, 24, tick)
"""


def races(declare: Callable[[], gc.Model], change: Callable[[str], str], shuffle: bool = True) -> list[str]:
    """What is found in a program whose text was changed."""
    model, machine = declare(), Machine(change)
    with watching(machine):
        model.fit(data_of(model), optimizer=gc.SGD(0.01), steps=4, batch_size=7, threads=3, shuffle=shuffle)
    assert machine.texts != {model.source(batch_size=7)}, "nothing was changed"
    return machine.found


def without_meeting(number: int) -> Callable[[str], str]:
    def change(text: str) -> str:
        parts = text.split(MEETING)
        return MEETING.join(parts[:number] + [parts[number] + parts[number + 1]] + parts[number + 2 :])

    return change


FAULTY = (sums_only, embedded, wide_and_deep)


@pytest.mark.parametrize("declare", FAULTY)
def test_every_meeting_that_is_left_out_is_found(declare: Callable[[], gc.Model]):
    """Before the first kernels, between phases, before the update, before the next batch: none is there for nothing."""
    meetings = declare().source(batch_size=7).count(MEETING)
    assert meetings >= 3
    for number in range(meetings):
        assert races(declare, without_meeting(number)) != []


def test_a_race_is_reported_with_its_element_threads_and_lines():
    gathered, read = r"line \d+, A\[x_ \+ i\] = x_data\[row\]", r"line \d+, s = radd\(s, c0\*A\[x_ \+ i\]\)"
    for race in races(sums_only, without_meeting(0)):
        assert re.fullmatch(rf"A\[\d+\]: thread [12] writes \({gathered}\) what thread 0 reads \({read}\)", race)


LOOP = re.compile(r"range\((lo|first_row), (hi|last_row)\)")


def too_far(number: int) -> Callable[[str], str]:
    count = itertools.count()
    return lambda text: LOOP.sub(
        lambda m: f"range({m[1]}, min({m[2]} + 1, n))" if next(count) == number else m[0], text
    )


@pytest.mark.parametrize("declare", FAULTY)
def test_a_loop_that_goes_one_row_too_far_is_found(declare: Callable[[], gc.Model]):
    """The next thread's first row is computed twice: the numbers stay right.  Loop 1 gathers in the given order."""
    loops = len(LOOP.findall(declare().source(batch_size=7)))
    assert loops >= 3
    for number in range(loops):
        assert races(declare, too_far(number), shuffle=number != 1) != []


def test_books_that_are_written_before_the_loss_is_there_are_found():
    def early(text: str) -> str:
        before, books, after = text.partition("        if me == 0:\n            weight")
        written, rest = after.split(MEETING, 1)
        loss = "        if me == 1 % team:"
        return before.replace(loss, books + written + loss) + MEETING + rest

    assert any("weight*float(A[J])" in race for race in races(embedded, early))
