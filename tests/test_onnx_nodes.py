"""Operators beside ONNX's own tests of backends: cases of single nodes, whose values NumPy computes in its package.

No program is compiled: the interpreter evaluates the equations that programs are made of.
"""

from __future__ import annotations

from functools import cache

import pytest

from graphc.errors import GraphcError
from tests.onnx_nodes.case import Case, all_cases, assert_near, values
from tests.onnx_nodes.table import OPERATORS, PAGE, REASON, page

cases = cache(all_cases)


def run(case: Case) -> None:
    training = bool(case.option("training_mode", 0))
    assert_near(case, values(case, OPERATORS[case.operator](case), training))


@pytest.mark.parametrize("operator", sorted(OPERATORS))
def test_an_operator_has_the_values_of_onnx(operator: str):
    """Mutation-checked: a mask of a window that forgets the dilation, a mean that counts what ceil_mode reaches beyond
    the padding, a label that is ignored in the sum but not in the count, the first of several values put at a place."""
    own = [case for case in cases() if case.operator == operator]
    assert own, f"ONNX has no case of {operator}"
    for case in own:
        if case.name not in REASON:
            run(case)


@pytest.mark.parametrize("name", sorted(REASON))
def test_what_is_left_out_does_not_work(name: str):
    [case] = [case for case in cases() if case.name == name]
    with pytest.raises((GraphcError, ValueError, AssertionError)):
        run(case)


def test_the_page_tells_what_is_right_and_that_is_nearly_all():
    """``python -m tests.onnx_nodes`` prints it again."""
    own = [case for case in cases() if case.operator in OPERATORS]
    assert len(OPERATORS) >= 125 and len(own) >= 850 and 1 - len(REASON) / len(own) >= 0.95
    assert PAGE.read_text(encoding="utf-8") == page(cases())
