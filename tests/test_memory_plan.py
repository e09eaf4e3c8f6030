"""The memory plan of training steps: what lives at the same time never shares memory, and memory is shared."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import graphc as gc
from graphc.facade.pipeline import differentiate, read_graph
from graphc.ir.node import Leaf
from graphc.lower.layout import ALIGN, Buffer, Live, overlaps, plan_memory
from graphc.lower.plan import PlanOptions
from graphc.lower.training import StepPlan, plan_step
from tests.benchmarks import graphc_peer
from tests.benchmarks.workloads import WORKLOADS
from tests.graphs import build, plans


def training_plan(loss: gc.Tensor, params: list[gc.Tensor], capacity: int) -> StepPlan:
    """The plan of one step: the loss and the gradient of every parameter, for batches of up to ``capacity`` rows."""
    leaves = [p.node for p in params if isinstance(p.node, Leaf)]
    graph = differentiate(read_graph({"loss": loss.node}), "loss", leaves)
    names = {leaf: f"d{leaf.name}" for leaf in leaves}
    roots = {"loss": graph.loss} | {names[w]: graph.gradients[w] for w in leaves}
    return plan_step(roots, leaves, capacity, PlanOptions(), names)


def capacity_of(step: StepPlan) -> dict[str, int]:
    return {step.batch: step.capacity} if step.batch else {}


def total(requests: list[Live], capacity: dict[str, int]) -> int:
    """The arena if nothing were shared, every buffer on a cache line."""
    return sum(-(-max(r.buffer.size.at(capacity), 1) // ALIGN) * ALIGN for r in requests)


def peak(requests: list[Live], capacity: dict[str, int]) -> int:
    """What lives at the fullest moment: no plan needs less."""
    sizes = [(r.start, r.end, r.buffer.size.at(capacity)) for r in requests]
    return max(sum(size for a, b, size in sizes if a <= t <= b) for t, _, _ in sizes)


@settings(max_examples=40)
@given(plans(), st.sampled_from([1, 4, 33, 256]))
def test_no_two_live_buffers_of_a_training_step_overlap(plan, rows):
    """Mutation-checked: a first fit that forgets the last buffer it passed is caught."""
    graph = build(plan)
    step = training_plan(graph.loss, graph.params, rows)
    capacity, requests = capacity_of(step), step.plan.requests
    assert overlaps(requests, capacity) == []
    arena = step.plan.arena.at(capacity)
    assert peak(requests, capacity) <= arena <= total(requests, capacity)
    assert all(r.buffer.offset.at(capacity) + r.buffer.size.at(capacity) <= arena for r in requests)
    assert all(r.buffer.offset.at(capacity) % ALIGN == 0 for r in requests)


@settings(max_examples=40)
@given(plans(), st.data())
def test_a_buffer_moved_onto_another_that_lives_is_caught(plan, data):
    """The check above can fail: one offset is set to that of a buffer alive at the same time."""
    graph = build(plan)
    step = training_plan(graph.loss, graph.params, 8)
    pairs = [
        (a, b)
        for a in step.plan.requests
        for b in step.plan.requests
        if a is not b and a.start <= b.end and b.start <= a.end
    ]
    assume(pairs)
    a, b = data.draw(st.sampled_from(pairs))
    a.buffer.offset = b.buffer.offset
    assert {a.buffer.name, b.buffer.name} in [set(pair) for pair in overlaps(step.plan.requests, capacity_of(step))]


def deep_plan(layers: int) -> StepPlan:
    X, T = gc.input("X", ("n", 64)), gc.input("T", ("n", 64))
    weights = [gc.param(f"W{t}", (64, 64), 0.0) for t in range(layers)]
    h = X
    for w in weights:
        h = gc.tanh(h @ w)
    return training_plan(gc.losses.mse(h, T), weights, 128)


def test_a_layer_costs_one_activation_one_adjoint_and_one_transposed_matrix():
    """tanh is computed where its argument lies, and so is the adjoint of the argument where that of tanh lies."""
    arenas = []
    for layers in (2, 8):
        step = deep_plan(layers)
        capacity = capacity_of(step)
        arenas.append(step.plan.arena.at(capacity))
        assert arenas[-1] <= 1.1 * peak(step.plan.requests, capacity)
    assert (arenas[1] - arenas[0]) / 6 <= 2 * 128 * 64 + 64 * 64


lives = st.tuples(st.integers(1, 300), st.integers(0, 12), st.integers(0, 5))


@settings(max_examples=200)
@given(st.lists(lives, min_size=1, max_size=25))
def test_any_set_of_lifetimes_is_placed_without_overlap(spans):
    requests = [Live(Buffer(f"b{t}", "A", (size,)), a, a + length) for t, (size, a, length) in enumerate(spans)]
    arena = plan_memory(requests, {}).at({})
    assert overlaps(requests, {}) == []
    assert peak(requests, {}) <= arena <= total(requests, {})
    owner = np.zeros((arena, 20), dtype=int)  # brute force: each element has one owner at every moment
    for r in requests:
        offset = r.buffer.offset.at({})
        owner[offset : offset + r.buffer.size.at({}), r.start : r.end + 1] += 1
    assert owner.max() == 1


def test_a_capacity_that_is_not_known_shares_nothing():
    requests = [Live(Buffer("a", "A", ("n", 3)), 0, 0), Live(Buffer("b", "A", (5,)), 1, 1)]
    arena = plan_memory(requests, {})
    for n in (1, 7, 1000):
        requests = [Live(r.buffer, 0, 1) for r in requests]
        assert overlaps(requests, {"n": n}) == [] and arena.at({"n": n}) >= 3 * n + 5


@pytest.mark.parametrize("name, blocks", [("W7", True), ("W14", True), ("W2", False), ("W1", False)])
def test_a_step_of_many_small_values_goes_block_by_block(name: str, blocks: bool):
    """Derivatives in the loss of 256 rows do, though less than 4 MB of values live at a time; few layers of 64 rows do
    not. Mutation-checked: with the values of one time alone the first two are as the others."""
    w = WORKLOADS[name]
    text = graphc_peer.declared(w).source(optimizer=graphc_peer.optimizer(w), batch_size=w.batch)
    assert ("for part_number in range" in str(text)) == blocks
