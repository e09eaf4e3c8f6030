"""Fixed places of a free extent (``x[5]``): data that are too short are refused before anything is read."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc

X, W = gc.input("X", ("n", 2)), gc.param("W", (2,), gc.init.ones())
FIXED = {"row": (X[5], 6), "from the end": (X[-3], 3), "several": (X[[0, 4]], 5), "computed": (gc.tanh(X * W)[2], 3)}


@pytest.mark.parametrize("case", FIXED)
def test_data_shorter_than_a_row_that_is_read_are_refused(case):
    """Mutation-checked: without the check in any of the four verbs, the program is called."""
    y, least = FIXED[case]
    model = gc.Model(output=gc.sum(y * W), loss=gc.sum((y * W) ** 2))
    short, message = np.ones((least - 1, 2)), f"row {least - 1} of 'n' is read, but the data have {least - 1}"
    with pytest.raises(gc.errors.DataError, match=message):
        model.predict(short)
    with pytest.raises(gc.errors.DataError, match=message):
        model.evaluate(short)
    batch = message.replace("data have", "last batch has")
    for verb in (model.fit, model.sweep):
        with pytest.raises(gc.errors.DataError, match=batch):
            verb(short, steps=1)
    with pytest.raises(gc.errors.DataError, match=batch):
        model.fit(np.ones((2 * least + 1, 2)), steps=1, batch_size=least + 2)


def test_functions_refuse_them_too_and_take_data_that_are_long_enough(printed_programs):
    f = gc.compile([y for y, _ in FIXED.values()], inputs=[X])
    with pytest.raises(gc.errors.DataError, match="row 5 of 'n' is read, but the data have 5"):
        f(np.ones((5, 2)), W=np.ones(2))
    x = np.arange(12.0).reshape(6, 2)
    for found, wanted in zip(f(x, W=np.ones(2)), (x[5], x[-3], x[[0, 4]], np.tanh(x[2])), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-15)
    printed_programs.clear()  # their check calls them with one row, which is refused


def test_rows_that_masks_guard_need_no_length():
    i = gc.indices("i")
    J = gc.sum(gc.where(gc.equal(i, 7), X[i, 0], 0.0), over=i)
    assert gc.compile(J, inputs=[X])(np.ones((3, 2))) == 0
