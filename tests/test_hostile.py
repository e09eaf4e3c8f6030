"""Text and files that were made to hang, to crash or to deceive: a clear error, in bounded time and memory."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np

import graphc as gc
from tests import nets
from tests.covering.plain import Plain, in_python
from tests.hostile_formulas import FORMULAS


def test_hostile_formulas_are_refused_or_read_with_little_memory_and_time():
    """In a process of its own, since what may hang, or ask for all memory, must not take the tests with it.

    Mutation-checked: without the bound of numbers the towers do not end; without the check of names x² is a name.
    """
    command = [sys.executable, "-m", "tests.hostile_formulas"]
    result = subprocess.run(command, cwd=nets.ROOT, capture_output=True, text=True, check=True, timeout=60)
    found = json.loads(result.stdout)
    assert found.keys() == FORMULAS.keys()
    for name, (_, expected) in FORMULAS.items():
        said = found[name]
        assert (said is None) if expected is None else (said or "").startswith(expected), f"{name}: {said}"
        assert said is None or len(said) < 4500, name


def test_a_number_beyond_the_range_of_a_program_is_infinite_in_it():
    """It was printed as a name that no program knows: an internal defect."""
    X, far = gc.input("X", ("n",)), gc.function("far", "max(-1e350, min(x, 1e350))")
    with in_python(Plain()):
        [found] = gc.compile([far(X)], [X])(np.array([-1e308, 2.0]))
    np.testing.assert_array_equal(found, [-1e308, 2.0])
