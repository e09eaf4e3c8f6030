"""Laws of CPU training programs: no races for any number of threads, the same bits, the interpreter's numbers.

The programs run in Python under observation (:mod:`tests.cpu_races`).  The tests at the end plant faults in the text.
Mutation-checked in the emitter, too: no meeting before the first phase, none before the update; memory given away one
phase early, or written in place while others read it; 49 rows every 48; the tolerance of the other epoch; parts of a
transposed copy from the first column of its source.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
import pytest

import graphc as gc
from graphc.emit.shared import expanded
from graphc.run.history import Run
from tests import cpu_races, nets
from tests.covering.plain import LIMITS
from tests.cpu_races import Machine, watching
from tests.graphs import LOSSES, Graph, Plan, build, covering_plans, draw_data, feed_of, reference

TEAMS = (1, 2, 3, 5)
ROWS, ETA = 11, 0.05


@pytest.fixture(params=["usual", "divided", "packed"])
def limits(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Thresholds as they are, and so small that all that can be divided among threads, or packed, is."""
    for name, value in LIMITS[request.param].items():
        monkeypatch.setattr(f"graphc.{name}", value)
    return request.param


@pytest.fixture
def blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every batch whose loss is a mean over rows is computed in three parts, in blocks of two rows."""
    for name, value in LIMITS["blocks"].items():
        monkeypatch.setattr(f"graphc.{name}", value)


def same_bits(
    model: gc.Model,
    data: object,
    values: Mapping[gc.Tensor, np.ndarray] | None = None,
    seed: int = 1,
    **options: object,
) -> Run:
    """The run of one thread, whose numbers those of all teams equal bit for bit; the model is then that of the last."""
    found, runs = set(), []
    for team in TEAMS:
        model.initialize(seed)
        for p, value in (values or {}).items():
            model.params[p.name] = value
        with watching(Machine(seed=team)) as machine:
            runs.append(model.fit(data, threads=team, seed=seed, **options))
        assert machine.found == [] and machine.texts and runs[-1].threads == team
        found.add((model.params.flat.tobytes(), model.state.totals.values.tobytes()))
        assert runs[-1].history == runs[0].history and runs[-1].stopped == runs[0].stopped
    assert len(found) == 1
    return runs[0]


def model_of(graph: Graph) -> gc.Model:
    return gc.Model(output=graph.head, loss=graph.loss, dtype="float64")


def data_for(model: gc.Model, arrays: object) -> dict[str, np.ndarray]:
    return {str(leaf.name): getattr(arrays, str(leaf.name)) for leaf in model._core.training_inputs}


def assert_as_interpreted(graph: Graph, arrays: object, batches: Iterable[np.ndarray], **options: object) -> None:
    """Gradient descent over the batches by any team and by the interpreter: parameters, and the loss of every step."""
    model, options = model_of(graph), {"optimizer": gc.SGD(ETA), "record": "step", **options}
    run = same_bits(model, data_for(model, arrays), values=dict(zip(graph.params, graph.values)), **options)
    wanted, values = [graph.loss, *gc.grad(graph.loss, graph.params)], list(graph.values)
    for found, rows in zip(run.history["loss"], batches, strict=True):
        part = type(arrays)(**{name: x[rows] for name, x in vars(arrays).items()})
        loss, *gradients = reference(wanted, feed_of(graph, part) | dict(zip(graph.params, values)))
        np.testing.assert_allclose(found, loss, rtol=1e-10)
        values = [v - ETA * g for v, g in zip(values, gradients)]
    for p, value in zip(graph.params, values):
        np.testing.assert_allclose(model.params[p.name], value, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("plan", [p for seed in (0, 3) for p in covering_plans(seed)], ids=str)
def test_steps_of_any_team_are_the_interpreter_s_bit_for_bit_the_same_and_without_races(limits: str, plan: Plan):
    """Two epochs, each with a short last batch; more threads than a batch has rows."""
    graph, arrays = build(plan), draw_data(ROWS, plan.seed)
    size, shuffle = (4, True) if plan.seed % 2 else (7, False)
    steps = 2 * -(-ROWS // size)
    batches = nets.batches(ROWS, size, steps, 1, shuffle)
    assert_as_interpreted(graph, arrays, batches, steps=steps, batch_size=size, shuffle=shuffle)


@pytest.mark.parametrize("plan", covering_plans(0)[::2], ids=str)
def test_steps_in_blocks_of_rows_are_the_interpreter_s_bit_for_bit_the_same_and_without_races(blocks: None, plan: Plan):
    """A batch of nine rows, in order and not, and a last one of two: several parts, and parts of several blocks.

    Mutation-checked: a block that counts as the whole batch, parts that are not emptied, sums of another thread's.
    """
    graph, arrays = build(plan), draw_data(ROWS, plan.seed)
    for shuffle in (True, False):
        batches = nets.batches(ROWS, 9, 4, 1, shuffle)
        assert_as_interpreted(graph, arrays, batches, steps=4, batch_size=9, shuffle=shuffle)


def test_a_run_in_blocks_of_rows_is_without_races(blocks: None, monkeypatch: pytest.MonkeyPatch):
    """A metric, the norm of the gradient, a schedule; a batch of all rows takes them in the order of the data."""
    monkeypatch.setitem(cpu_races.NAMES, "permuted", None)
    x, t = nets.data(23)
    options = {"optimizer": nets.MOMENTUM, "batch_size": None, "seed": 5}
    run = same_bits(model := nets.network(), {"X": x, "T": t}, steps=5, **options)
    start = nets.flat(nets.network().initialize(5))
    theta, _ = nets.train(start, nets.MOMENTUM, x, t, [np.arange(23)] * 5, None)
    np.testing.assert_allclose(nets.flat(model), theta, rtol=1e-10, atol=1e-12)
    assert run.steps == 5 and list(run.history) == ["loss", "mae"]


@pytest.mark.parametrize("loss", [loss for loss in LOSSES if loss != "norm"])
def test_a_row_of_weight_2_counts_twice(limits: str, loss: str):
    """Mutation-checked: a sum over classes that accumulates in memory, divided by classes as if they were the rows."""
    graph, arrays = build(Plan(("gate", "tanh"), loss, 4)), draw_data(ROWS, 4)
    weights = np.arange(ROWS) % 3
    batches = [np.repeat(rows, weights[rows]) for rows in nets.batches(ROWS, 4, 6, 1)]
    assert_as_interpreted(graph, arrays, batches, steps=6, batch_size=4, sample_weight=weights)


def test_every_part_of_a_run_is_without_races(limits: str):
    """A metric, the norm of the gradient, a schedule, weights of rows."""
    x, t = nets.data(23)
    options = {"optimizer": nets.MOMENTUM, "batch_size": 5, "sample_weight": np.linspace(0.1, 2, 23), "seed": 5}
    run = same_bits(model := nets.network(), {"X": x, "T": t}, steps=13, **options)
    start = nets.flat(nets.network().initialize(5))
    order = nets.batches(23, 5, 13, 5)
    theta, _ = nets.train(start, nets.MOMENTUM, x, t, order, options["sample_weight"])
    np.testing.assert_allclose(nets.flat(model), theta, rtol=1e-10, atol=1e-12)
    assert run.steps == 13 and list(run.history) == ["loss", "mae"]


def test_a_tolerance_ends_the_run_of_every_team_after_the_same_epoch(limits: str):
    x, t = nets.data(11)
    options = {"optimizer": gc.SGD(0.2), "batch_size": 4, "epochs": 60, "seed": 2}
    run = same_bits(nets.network(), {"X": x, "T": t}, tol=0.6, **options)
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
    return {str(leaf.name): DATA[str(leaf.name)] for leaf in model._core.training_inputs}


@pytest.mark.parametrize("declare", MODELS)
def test_models_that_make_a_special_program_are_without_races(limits: str, declare: Callable[[], gc.Model]):
    same_bits(model := declare(), data_of(model), optimizer=gc.Adam(0.01), steps=7, batch_size=7, seed=3)


def test_a_loss_that_is_a_parameter_has_the_value_before_the_update():
    """Mutation-checked: when the parameter is read where it lies, the loss is that after the update."""
    options = {"optimizer": gc.SGD(0.1), "steps": 3, "batch_size": 7, "record": "step"}
    run = same_bits(model := nothing_computed(), data_of(model), **options)
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
    assert machine.texts != {expanded(model.source(batch_size=7))}, "nothing was changed"
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
