"""Graphs from a covering array, each through a program of graphc in plain Python, beside JAX and the interpreter.

``make fuzz`` draws many more.  Planted once in the emitter and found: see the tests at the end.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.covering.array import DIMENSIONS
from tests.covering.build import Description, build, theirs
from tests.covering.compare import check
from tests.covering.plain import Plain
from tests.covering.search import drawn, graphs_of, kept
from tests.covering.shrink import shrink
from tests.covering.text import text_of

COUNT, PARTS = 300, 20


def failures(graphs: list[Description], machine: Plain | None = None) -> list[str]:
    """What fails, as a person would write it, with its error."""
    found = [(d, check(d, machine)) for d in graphs]
    return [f"{failure.kind}: {failure.text}\n{text_of(d)}" for d, failure in found if failure is not None]


def test_three_hundred_graphs_hold_every_pair_and_most_triples_of_what_there_is_to_cover():
    graphs, covered = drawn(0, COUNT)
    assert covered.missing() == [] and covered.share(2) == 1.0
    assert covered.share(3) > 0.5
    assert len(graphs) == COUNT and np.mean([len(d["steps"]) for d in graphs]) > 12
    names = "produced read reader rows dtype mode threads order limits"
    assert list(DIMENSIONS) == names.split()


@pytest.mark.parametrize("part", range(PARTS))
def test_programs_of_covering_graphs_compute_what_jax_and_the_interpreter_do(part: int):
    """Loss, outputs, gradients, parameters after a step; functions, training with teams, evaluation, sweeps."""
    assert failures(graphs_of(0, COUNT)[part::PARTS]) == []


CASES = kept()


@pytest.mark.parametrize("case", CASES, ids=[f"{t} {case['found']:.60}" for t, case in enumerate(CASES)])
def test_what_failed_once_is_right(case: dict):
    assert failures([case["graph"]]) == []


# ---------------------------------------------------------------- the instruments themselves


def test_numbers_of_jax_are_those_of_xla_when_numpy_evaluates_what_jax_derived():
    """Mutation-checked: a reshape that forgets the order of the axes is caught."""
    for d in graphs_of(0, COUNT)[:4]:
        graph = build(d)
        ours = theirs(graph)(graph.leaves.values).everything()
        with jax.enable_x64(True):
            xla = theirs(graph, jitted)(graph.leaves.values).everything()
        for name, x in xla.items():
            np.testing.assert_allclose(ours[name], x, rtol=1e-9, atol=1e-9, err_msg=text_of(d))


def jitted(f: Callable) -> Callable:
    return lambda values: [np.asarray(x) for x in jax.jit(f)([jnp.asarray(v) for v in values])]


def replaced(before: str, after: str) -> Callable[[str], str]:
    return lambda text: re.sub(before, after, text)


FAULTS = {
    "a stride": replaced(r"\bi\*(\d+) \+ j\b", r"i*\1 + j*2"),
    "an offset": replaced(r"(y\d_out|A)\[(\w+) \+ i\] = ", r"\1[\2 + i - 1] = "),
    "a sum that begins anew": replaced(r"s = radd\(s, ", r"s = radd(f(0.0), "),
    "a mask": replaced(r"if (-?\w+) \+ (\w+) >= 0", r"if \1 + \2 >= 1"),
    "a maximum that forgets": replaced(r"s = rmax\(s, ", r"s = rmax(-INF, "),
    "a factor of a product": replaced(r"(gemm\(\w+, \w+, )(\d+), 1,", r"\g<1>1, \2,"),
    "a bias": replaced(r", 2\)$|, 2\)\n", ", 0)\n"),
    "a logarithm of the sum": replaced(r" = log\(s\)", " = f(0.0)"),
    "the number of a draw": replaced(r"(random_\w+\(.*epoch, )\d+\)", r"\g<1>7)"),
    "rows of another kind": replaced(r"( n = C\[)1\]", r"\g<1>0]"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_planted_in_the_text_is_found(name: str):
    """In one of the first hundred graphs, which is right without it."""
    wrong = (d for d in graphs_of(0, COUNT)[:100] if check(d, Plain(FAULTS[name])) is not None)
    assert any(check(d) is None for d in wrong)


def test_a_graph_that_fails_is_shrunk_to_what_makes_it_fail():
    """A sum that never adds: two steps are left, a leaf and something that is summed."""
    broken = next(d for d in graphs_of(0, COUNT) if fails(d) and check(d) is None)
    small = shrink(broken, fails)
    assert fails(small) and len(small["steps"]) <= 2 < len(broken["steps"])
    assert small["mode"] == "function" and small["order"] == "first"


def fails(description: Description) -> bool:
    failure = check(description, Plain(FAULTS["a sum that begins anew"]))
    return failure is not None and failure.kind == "wrong"
