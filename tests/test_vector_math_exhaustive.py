"""Every float32 number through the functions of one variable, against NumPy and SciPy in float64 (``make fuzz``).

An odd or even function is asked at the positive half only: its code works on |x| and copies the sign, or changes signs
exactly; the signs themselves are a test of ``test_vector_math``.
"""

from __future__ import annotations

import numba
import numpy as np
import pytest

from tests.test_vector_math import WIDE, run

CHUNK = 1 << 16
INFINITY, ONE = 0x7F800000, 0x3F800000
SIGN = 0x80000000
POSITIVE, FINITE = (0, INFINITY), (0, INFINITY - 1)
WHOLE = (*POSITIVE, SIGN, SIGN + INFINITY)
# The bits of the asked numbers, and the bound in ulp: the largest error found, rounded up.
CASES: dict[str, tuple[tuple[int, ...], float]] = {
    **{"exp": (WHOLE, 0.9), "expm1": (WHOLE, 1.2), "sigmoid": (WHOLE, 1.5), "softplus": (WHOLE, 1.8)},
    **{"log": (POSITIVE, 0.95), "log1p": ((*POSITIVE, SIGN, SIGN + ONE), 1.5), "sqrt": (POSITIVE, 0.501)},
    **{"tanh": (POSITIVE, 1.6), "sinh": (POSITIVE, 2.0), "cosh": (POSITIVE, 1.5), "erf": (POSITIVE, 1.2)},
    **{"asin": ((0, ONE), 2.0), "acos": ((0, ONE, SIGN, SIGN + ONE), 1.5), "atan": (POSITIVE, 2.0)},
    **{"sin": (FINITE, 1.7), "cos": (FINITE, 1.7), "tan": (FINITE, 3.2)},
    **{"erfc": (WHOLE, 4.9), "ndtr": (WHOLE, 4.9)},
}


@numba.njit(error_model="numpy")
def worst(got, exact, rounded, above):
    """The largest error in ulp and where it is; a limit missed, or a NaN, is infinitely wrong."""
    largest, place = 0.0, 0
    for i in range(len(got)):
        error = abs(np.float64(got[i]) - exact[i]) / (np.float64(above[i]) - np.float64(abs(rounded[i])))
        if got[i] != rounded[i] and not error <= largest:
            largest, place = (error if error < np.inf else np.inf), i
    return largest, place


def compared(got: np.ndarray, exact: np.ndarray) -> tuple[float, int]:
    """``worst`` with the exact values rounded to float32, and the next number above their size."""
    rounded = exact.astype(np.float32)
    return worst(got, exact, rounded, (abs(rounded).view(np.int32) + 1).view(np.float32))


def largest_error(name: str, ends: tuple[int, ...], step: int = 1) -> tuple[float, float]:
    """The largest error in ulp over every ``step``-th number between the pairs of ends, and its argument."""
    found = (0.0, 0.0)
    for first, last in zip(ends[::2], ends[1::2]):
        for start in range(first, last + 1, CHUNK * step):
            bits = np.arange(start, min(start + CHUNK * step, last + 1), step, dtype=np.uint32)
            x = bits.view(np.float32)
            with np.errstate(all="ignore"):
                error, place = compared(run(name, x), WIDE[name](x.astype(np.float64)))
            found = max(found, (error, float(x[place])))
    return found


@pytest.mark.fuzz
@pytest.mark.parametrize("name", CASES)
def test_no_float32_number_exceeds_the_bound(name: str) -> None:
    ends, bound = CASES[name]
    error, argument = largest_error(name, ends)
    print(f"{name}: {error:.3f} ulp at {argument!r}")
    assert error <= bound


def test_every_4099th_float32_number_keeps_the_bound() -> None:
    errors = {name: largest_error(name, ends, step=4099) for name, (ends, _) in CASES.items()}
    assert not {name: found for name, found in errors.items() if found[0] > CASES[name][1]}
