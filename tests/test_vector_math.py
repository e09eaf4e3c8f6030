"""The vector-math primitives against mpmath (float64) and float64 NumPy/SciPy (float32), special values included.

One program a precision holds all functions, so that the file compiles two programs. The bounds are in ulp of the exact
value. Seen to fail: with one coefficient of exp, erfc or sin changed in its third digit, the correction of log1p or of
sigmoid dropped, the sign of sin(-0) lost, exp's scale applied in one step, exp taken from libm, maximum without its
NaN test, bce summed in another order, and the code for rare arguments taken for every lane of a vector.
"""

from __future__ import annotations

import ast
import functools
import math
import re
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
from scipy import special

from graphc.native import build, loader, target
from graphc.native.machine_code import linked, optimize
from graphc.primitives.vector_math.functions import VECTOR_MATH

TWO = {"bce", "elu", "equal", "gaussian", "leaky_relu", "less", "less_equal", "maximum", "minimum", "power"}
TWO |= {"sigmoid_minus"}
THREE = {"where"}
NAMES = sorted(VECTOR_MATH)
PRECISIONS = {"float32": np.float32, "float64": np.float64}

Array = np.ndarray


def program_text() -> str:
    """One function with one loop per primitive, picked by its number in NAMES."""
    lines = [
        f"from graphc.primitives.vector_math.functions import {', '.join(NAMES)}",
        "def program(which, n, x, y, z, out):",
    ]
    for number, name in enumerate(NAMES):
        arguments = "x[i], y[i], z[i]" if name in THREE else "x[i], y[i]" if name in TWO else "x[i]"
        lines += [f"    if which == {number}:", "        for i in range(n):"]
        lines += [f"            out[i] = {name}({arguments})"]
    return "\n".join([*lines, "    return 0"])


def optimized(text: str, precision: str) -> tuple[Any, Any]:
    """The optimised module of a program like that one, and LLVM's machine."""
    function = build._execute(text, "vector_math", target.replace_numbers)["program"]
    words = ("int64", "int64", *(f"{precision}*",) * 4)
    own, _ = target.lower({"program": (function, words)}, trees=build.functions_of(ast.parse(text)))
    module, [machine] = linked(own), target.target_machines(1)
    optimize(module, machine)
    return module, machine


@functools.cache
def program(precision: str) -> tuple[loader.Program, str]:
    """The compiled program of one precision, compiled once, and its code in LLVM's language."""
    module, machine = optimized(program_text(), precision)
    words = ("int64", "int64", *(f"{precision}*",) * 4)
    found = loader.Program("vector_math", loader.pack([machine.emit_object(module)]), {"program": words})
    found.subnormals = True  # the functions are right there too
    return found, str(module)


def run(name: str, x: Array, y: Array | None = None, z: Array | None = None) -> Array:
    """The primitive on arrays of one precision."""
    out = np.full_like(x, -123.0)
    y = x if y is None else y
    rows = [np.ascontiguousarray(row) for row in (x, y, y if z is None else z, out)]
    program(x.dtype.name)[0].call("program", NAMES.index(name), len(x), *(row.ctypes.data for row in rows))
    return out


def log_spread(rng: np.random.Generator, low: float, high: float, n: int) -> Array:
    return np.exp(rng.uniform(math.log(low), math.log(high), n))


def closest_to_quarter_turns(dtype: type) -> Array:
    """A number of each size from 1 on that is as close to a multiple of pi/2 as the continued fraction of pi finds one.

    m 2^e/(pi/2) is near an integer where m is the denominator of a convergent to 2^e 2/pi.
    """
    info = np.finfo(dtype)
    found = []
    with mpmath.workprec(1400):
        for e in range(1 - info.nmant, info.maxexp - info.nmant - 1):
            m = largest_denominator(2 / mpmath.pi * mpmath.mpf(2) ** e, 2 ** (info.nmant + 1))
            found.append(math.ldexp(m, e))
    return np.array(found)


def largest_denominator(x: Any, limit: int) -> int:
    """That of the last convergent of x below the limit."""
    before, last = 0, 1
    while True:
        x = x - mpmath.floor(x)
        x = 1 / x
        before, last = last, int(mpmath.floor(x)) * last + before
        if last >= limit:
            return before


def samples(name: str, dtype: type, n: int) -> tuple[Array, Array]:
    """First and second arguments: the ranges where the function works hard, and numbers of every size."""
    rng = np.random.default_rng(20261)
    info = np.finfo(dtype)
    top, bottom = math.log(float(info.max)), math.log(float(info.smallest_subnormal))
    tiny = log_spread(rng, float(info.smallest_subnormal) * 4, 1e-3, n)
    wide = log_spread(rng, float(info.smallest_subnormal) * 4, float(info.max) / 2, n)
    multiples = rng.integers(1, 60000, n) * (math.pi / 2)
    turns = [multiples, rng.uniform(-1e5, 1e5, n), rng.uniform(-10, 10, n), -tiny, wide]
    turns += [closest_to_quarter_turns(dtype)]
    logistic = [rng.uniform(bottom, -bottom, n), rng.uniform(-20, 20, n), rng.uniform(-2, 2, n), -tiny]
    curved = [rng.uniform(-9, 9, n), rng.uniform(-1.5, 1.5, n), rng.uniform(-1, 1, n), -tiny]
    table = {
        "exp": [rng.uniform(bottom, top, n), rng.uniform(-1, 1, n), -tiny],
        "expm1": [rng.uniform(-45, top, n), rng.uniform(-1, 1, n), -tiny],
        "elu": [rng.uniform(-45, 5, n), rng.uniform(-1, 1, n), -tiny],
        "log": [wide, rng.uniform(0.5, 2, n), 1 + tiny],
        "xlogx": [wide, rng.uniform(0.5, 2, n), 1 + tiny],
        "log1p": [wide, -tiny, rng.uniform(-1, 3, n), rng.uniform(-0.45, 0.45, n)],
        "sqrt": [wide],
        "power": [wide, rng.uniform(0.5, 2, n), rng.uniform(0.97, 1.04, n)],
        "asin": [rng.uniform(-1, 1, n), -tiny],
        "acos": [rng.uniform(-1, 1, n), 1 - tiny],
        "atan": [rng.uniform(-5, 5, n), -wide],
        "sinh": [rng.uniform(-top, top, n), rng.uniform(-3, 3, n), -tiny],
        "cosh": [rng.uniform(-top, top, n), rng.uniform(-3, 3, n)],
        **dict.fromkeys(("sin", "cos", "tan"), turns),
        **dict.fromkeys(("tanh", "tanh_slope", "erf", "logcosh"), curved),
        **dict.fromkeys(("sigmoid", "softplus", "bce", "sigmoid_minus", "sigmoid_slope"), logistic),
    }
    normal = [rng.uniform(-reach, reach, n) for reach in (1.1 * math.sqrt(-bottom), 4, 1)] + [-tiny, wide]
    table |= dict.fromkeys(("gaussian", "erfc", "ndtr"), normal)
    x = np.concatenate(table[name]).astype(dtype)
    y = rng.integers(0, 2, len(x)).astype(float) if name != "elu" else rng.uniform(0.1, 2, len(x))
    if name == "gaussian":
        y = rng.choice([1.0, 2.0, -1.0, -2.0], len(x))
    if name == "power":
        y = rng.uniform(bottom + 2, top, len(x)) / np.log(np.where(x == 1, dtype(2), x))
        y = np.clip(y, -1e6, 1e6)
    return x, y.astype(dtype)


def np_tail(x: Array) -> Array:
    return np.exp(-abs(x)) / (1 + np.exp(-abs(x)))


def np_log_cosh(x: Array) -> Array:
    return np.log1p(2 * np.sinh(x / 2) ** 2)


WIDE: dict[str, Callable[..., Array]] = {
    **{name: getattr(np, name) for name in ("exp", "expm1", "log", "log1p", "tanh", "sin", "cos", "tan", "sqrt")},
    **{"sinh": np.sinh, "cosh": np.cosh, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan},
    "erf": special.erf,
    "xlogx": lambda x: x * np.log(x),
    "power": np.power,
    "elu": lambda x, a: np.where(x > 0, x, a * np.expm1(x)),
    "sigmoid": lambda x: np.where(x > 0, 1 / (1 + np.exp(-abs(x))), np_tail(x)),
    "softplus": lambda x: np.maximum(x, 0) + np.log1p(np.exp(-abs(x))),
    "bce": lambda z, t: np.where(z > 0, (1 - t) * z, -t * z) + np.log1p(np.exp(-abs(z))),
    "sigmoid_minus": lambda z, t: np.where(z > 0, (1 - t) - np_tail(z), np_tail(z) - t),
    "sigmoid_slope": lambda x: np_tail(x) / (1 + np.exp(-abs(x))),
    "tanh_slope": lambda x: 1 / np.cosh(x) ** 2,
    "logcosh": np_log_cosh,
    "gaussian": lambda x, c: np.exp(-x * x / c),
    "erfc": special.erfc,
    "ndtr": special.ndtr,
}


def mp_softplus(x: Any) -> Any:
    return mpmath.log1p(mpmath.exp(x))


def mp_sigmoid(x: Any) -> Any:
    return 1 / (1 + mpmath.exp(-x))


EXACT: dict[str, Callable[..., Any]] = {
    **{name: getattr(mpmath, name) for name in ("exp", "expm1", "log", "log1p", "tanh", "sin", "cos", "tan", "sqrt")},
    **{name: getattr(mpmath, name) for name in ("sinh", "cosh", "asin", "acos", "atan", "erf", "power")},
    "xlogx": lambda x: x * mpmath.log(x),
    "elu": lambda x, a: x if x > 0 else a * mpmath.expm1(x),
    "sigmoid": mp_sigmoid,
    "softplus": mp_softplus,
    "bce": lambda z, t: mp_softplus(-z) if t else mp_softplus(z),
    "sigmoid_minus": lambda z, t: -mp_sigmoid(-z) if t else mp_sigmoid(z),
    "sigmoid_slope": lambda x: mp_sigmoid(x) * mp_sigmoid(-x),
    "tanh_slope": lambda x: mpmath.sech(x) ** 2,
    "logcosh": lambda x: mpmath.log1p(2 * mpmath.sinh(x / 2) ** 2),
    "gaussian": lambda x, c: mpmath.exp(-x * x / c),
    "erfc": lambda x: mpmath.erfc(min(x, 1000)),
    "ndtr": lambda x: mpmath.erfc(min(-x / mpmath.sqrt(2), 1000)) / 2,
}

# ulp, (float32, float64): the largest error seen on 1e5 to 1e7 arguments, rounded up.
BOUNDS = {
    **{"exp": (0.95, 0.95), "expm1": (1.3, 1.3), "tanh": (1.6, 1.4), "sigmoid": (1.5, 1.5), "softplus": (1.8, 1.8)},
    **{"log": (0.9, 0.9), "log1p": (1.5, 1.5), "erf": (1.15, 1.4), "sin": (1.7, 1.7), "cos": (1.7, 1.7)},
    **{"sqrt": (0.501, 0.501), "bce": (1.8, 1.8), "sigmoid_minus": (1.6, 1.6), "logcosh": (1.7, 1.7)},
    **{"sigmoid_slope": (2.9, 2.9), "tanh_slope": (3.0, 3.0), "xlogx": (1.7, 1.7), "elu": (2.5, 2.5)},
    **{"power": (1.8, 1.3), "tan": (3.2, 2.6), "sinh": (1.7, 1.7), "cosh": (1.6, 1.6)},
    **{"asin": (1.9, 2.1), "acos": (1.4, 1.4), "atan": (1.9, 1.9)},
    **{"gaussian": (0.95, 0.95), "erfc": (4.9, 3.6), "ndtr": (4.9, 3.6)},
}


def ulp_errors(got: Array, exact: Array) -> Array:
    """|got - exact| in units of the last place of the exact value, rounded to got's precision."""
    with np.errstate(over="ignore"):
        rounded = exact.astype(got.dtype)
    spacing = np.spacing(np.abs(rounded)).astype(exact.dtype)
    with np.errstate(invalid="ignore"):
        errors = np.abs(got.astype(exact.dtype) - exact) / spacing
    return np.where(got == rounded, np.minimum(np.nan_to_num(errors), 0.5), np.where(np.isnan(errors), np.inf, errors))


def arguments_of(name: str, x: Array, y: Array) -> tuple[Array, ...]:
    return (x, y) if name in TWO else (x,)


@pytest.mark.parametrize("name", sorted(BOUNDS))
def test_float32_values_stay_within_their_bound_of_the_float64_oracle(name: str) -> None:
    x, y = samples(name, np.float32, 50000)
    with np.errstate(all="ignore"):
        exact = WIDE[name](*(a.astype(np.float64) for a in arguments_of(name, x, y)))
    errors = ulp_errors(run(name, x, y), exact)
    assert errors.max() <= BOUNDS[name][0], (name, x[errors.argmax()], y[errors.argmax()])


def exact_longdouble(name: str, x: Array, y: Array) -> Array:
    """mpmath's values with the 64-bit mantissa of long double (or the float64 one, where long double is no wider)."""
    with mpmath.workprec(160):
        values = [EXACT[name](*map(mpmath.mpf, row)) for row in zip(*(a.tolist() for a in arguments_of(name, x, y)))]
        high = np.array([float(v) for v in values])
        low = np.array([float(v - h) if math.isfinite(h) else 0.0 for v, h in zip(values, high.tolist())])
    return high.astype(np.longdouble) + low


@pytest.mark.parametrize("name", sorted(BOUNDS))
def test_float64_values_stay_within_their_bound_of_mpmath(name: str) -> None:
    x, y = samples(name, np.float64, 1000)
    errors = ulp_errors(run(name, x, y), exact_longdouble(name, x, y))
    assert errors.max() <= BOUNDS[name][1], (name, x[errors.argmax()], y[errors.argmax()])


# SciPy's erf has no long double, and x^2 too few digits in it; where it is no wider than float64 (ARM, Windows), mpmath
# alone is the oracle.
OTHERS = {"erf", "erfc", "gaussian", "ndtr"}
IN_LONG_DOUBLE = sorted(set(BOUNDS) - OTHERS) if np.finfo(np.longdouble).nmant >= 63 else []


@pytest.mark.parametrize("name", IN_LONG_DOUBLE)
def test_float64_values_stay_within_their_bound_of_long_double_on_1e5_samples(name: str) -> None:
    x, y = samples(name, np.float64, 40000)
    with np.errstate(all="ignore"):
        exact = WIDE[name](*(a.astype(np.longdouble) for a in arguments_of(name, x, y)))
    errors = ulp_errors(run(name, x, y), exact)
    assert errors.max() <= BOUNDS[name][1], (name, x[errors.argmax()], y[errors.argmax()])


@pytest.mark.parametrize("precision", PRECISIONS)
def test_cross_entropy_of_a_confident_right_answer_keeps_its_relative_accuracy(precision: str) -> None:
    dtype = PRECISIONS[precision]
    z = np.linspace(15, 80, 64).astype(dtype)
    one = np.ones_like(z)
    tail = np.exp(-z.astype(np.float64))
    small = 8 * np.finfo(dtype).eps
    np.testing.assert_allclose(run("bce", z, one), np.log1p(tail), rtol=small)
    np.testing.assert_allclose(run("bce", -z, 0 * one), np.log1p(tail), rtol=small)
    np.testing.assert_allclose(run("sigmoid_minus", z, one), -tail / (1 + tail), rtol=small)
    np.testing.assert_allclose(run("bce", z[:1], one[:1]), [3.059023205e-7], rtol=2e-7)


INF, NAN = math.inf, math.nan
SPECIAL: dict[str, list[tuple[float, float]]] = {
    "exp": [(INF, INF), (-INF, 0.0), (-0.0, 1.0), (1e4, INF), (-1e4, 0.0)],
    "expm1": [(INF, INF), (-INF, -1.0), (-0.0, -0.0), (0.0, 0.0), (1e4, INF)],
    "log": [(INF, INF), (0.0, -INF), (-0.0, -INF), (-1.0, NAN), (-INF, NAN), (1.0, 0.0)],
    "log1p": [(INF, INF), (-1.0, -INF), (-2.0, NAN), (-INF, NAN), (-0.0, -0.0), (0.0, 0.0)],
    "tanh": [(INF, 1.0), (-INF, -1.0), (-0.0, -0.0), (0.0, 0.0), (30.0, 1.0)],
    "sigmoid": [(INF, 1.0), (-INF, 0.0), (0.0, 0.5), (-0.0, 0.5)],
    "softplus": [(INF, INF), (-INF, 0.0), (2000.0, 2000.0)],
    "sin": [(INF, NAN), (-INF, NAN), (-0.0, -0.0), (0.0, 0.0)],
    "cos": [(INF, NAN), (-INF, NAN), (-0.0, 1.0)],
    "tan": [(INF, NAN), (-0.0, -0.0), (0.0, 0.0)],
    "erf": [(INF, 1.0), (-INF, -1.0), (-0.0, -0.0), (0.0, 0.0), (30.0, 1.0)],
    "erfc": [(INF, 0.0), (-INF, 2.0), (0.0, 1.0), (-0.0, 1.0), (1e30, 0.0)],
    "ndtr": [(INF, 1.0), (-INF, 0.0), (0.0, 0.5), (-0.0, 0.5), (-1e30, 0.0)],
    "sqrt": [(INF, INF), (-0.0, -0.0), (-1.0, NAN)],
    "relu": [(INF, INF), (-INF, 0.0), (-0.0, 0.0), (2.5, 2.5), (-3.0, 0.0)],
    "step": [(INF, 1.0), (-INF, 0.0), (0.0, 0.0), (-0.0, 0.0), (1e-30, 1.0)],
    "absolute": [(-INF, INF), (-0.0, 0.0), (-2.5, 2.5)],
    "sign": [(INF, 1.0), (-INF, -1.0), (0.0, 0.0), (-0.0, 0.0), (-1e-30, -1.0)],
    "round_": [(0.5, 0.0), (1.5, 2.0), (2.5, 2.0), (-0.5, -0.0), (-1.5, -2.0), (INF, INF)],
    "floor_": [(-0.5, -1.0), (1.9, 1.0), (-0.0, -0.0), (-INF, -INF)],
    "logcosh": [(INF, INF), (-INF, INF), (0.0, 0.0)],
    "xlogx": [(INF, INF), (0.0, 0.0), (-0.0, 0.0), (-1.0, NAN), (1.0, 0.0)],
    "sigmoid_slope": [(INF, 0.0), (-INF, 0.0), (0.0, 0.25)],
    "tanh_slope": [(INF, 0.0), (-INF, 0.0), (0.0, 1.0)],
    "sinh": [(INF, INF), (-INF, -INF), (-0.0, -0.0), (1e4, INF)],
    "cosh": [(INF, INF), (-INF, INF), (-0.0, 1.0), (1e4, INF)],
    "asin": [(2.0, NAN), (-0.0, -0.0), (1.0, math.pi / 2)],
    "acos": [(-2.0, NAN), (1.0, 0.0), (-1.0, math.pi), (-0.0, math.pi / 2)],
    "atan": [(INF, math.pi / 2), (-INF, -math.pi / 2), (-0.0, -0.0)],
}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", sorted(SPECIAL))
def test_special_arguments_of_one_variable_give_the_limit_the_sign_and_nan(name: str, precision: str) -> None:
    dtype = PRECISIONS[precision]
    x, expected = np.array([*SPECIAL[name], (NAN, NAN)], dtype).T.copy()
    got = run(name, x)
    np.testing.assert_array_equal(got, expected)
    numbers = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(got[numbers]), np.signbit(expected[numbers]))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_power_has_the_special_values_of_c(precision: str) -> None:
    edges = np.array([NAN, -INF, -2.5, -2, -1, -0.5, -0.0, 0.0, 0.5, 1, 2, 3, 2.5, INF], PRECISIONS[precision])
    x, y = (a.ravel().copy() for a in np.meshgrid(edges, edges))
    with np.errstate(all="ignore"):
        expected = np.power(x, y)
    got = run("power", x, y)
    np.testing.assert_allclose(got, expected, rtol=3e-7)
    numbers = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(got[numbers]), np.signbit(expected[numbers]))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_comparisons_and_extrema_agree_with_numpy_also_on_nan_and_infinity(precision: str) -> None:
    edges = np.array([NAN, -INF, -2, -0.5, -0.0, 0.0, 0.5, 1, INF], PRECISIONS[precision])
    x, y = (a.ravel().copy() for a in np.meshgrid(edges, edges))
    for name in ("maximum", "minimum", "equal", "less", "less_equal"):
        np.testing.assert_array_equal(run(name, x, y), getattr(np, name)(x, y).astype(x.dtype), err_msg=name)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_branch_not_taken_never_leaks(precision: str) -> None:
    dtype = PRECISIONS[precision]
    c = np.array([1, 0, 2, -0.0, NAN], dtype)
    a, b = np.array([5, NAN, 6, INF, 7], dtype), np.array([NAN, 8, INF, 9, NAN], dtype)
    np.testing.assert_array_equal(run("where", c, a, b), [5, 8, 6, 9, 7])


@pytest.mark.parametrize("precision", PRECISIONS)
def test_leaky_relu_and_elu_bend_at_zero_with_the_given_slope(precision: str) -> None:
    dtype = PRECISIONS[precision]
    x, slope = np.array([-2, -0.0, 0.0, 3, INF, NAN], dtype), np.full(6, 0.25, dtype)
    np.testing.assert_array_equal(run("leaky_relu", x, slope), [-0.5, 0, 0, 3, INF, NAN])
    np.testing.assert_allclose(run("elu", x, slope), [0.25 * math.expm1(-2), 0, 0, 3, INF, NAN], rtol=3e-7)


# What LLVM turns into single instructions on every host with fused multiply-add.
INSTRUCTIONS = {"fma", "fabs", "copysign", "sqrt", "rint", "floor", "maxnum", "minnum", "maximumnum", "minimumnum"}
# The cold calls for rare arguments, and the look-up of AVX-512.
SELDOM_OR_TABLE = r"graphc_late_\w+_cold|x86"


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_loop_is_vectorised_and_nothing_calls_libm(precision: str) -> None:
    text = program(precision)[1]
    units = re.findall(r"^vector\.body\d*:", text, re.MULTILINE)
    called = set(re.findall(r"call [^@\n]*(?:float|double)>? @(?:llvm\.)?(\w+)", text))
    assert len(units) >= len(NAMES), (len(units), len(NAMES))
    assert not {name for name in called - INSTRUCTIONS if not re.fullmatch(SELDOM_OR_TABLE, name)}


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_normal_distribution_and_its_density_share_their_exponential(precision: str) -> None:
    """As gelu and its slope do. Seen to fail where ndtr takes the square in another way."""
    loop = """
from numpy import PRECISION as f
from graphc.primitives.vector_math.functions import gaussian, ndtr
def program(which, n, x, y, z, out):
    for i in range(n):
        a = x[i]
        out[i] = {}
    return 0
"""

    def count(e: str) -> int:
        text = loop.replace("PRECISION", precision).format(e)
        return len(re.findall(r"call [^@\n]*> @llvm\.fma", str(optimized(text, precision)[0])))

    alone, both = count("ndtr(a)"), count("ndtr(a) - gaussian(a, f(2.0))")
    assert 10 < alone <= both <= alone + 1


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", sorted(BOUNDS))
def test_a_result_does_not_depend_on_the_numbers_beside_it(name: str, precision: str) -> None:
    dtype = PRECISIONS[precision]
    x, y = (row[:: len(row) // 131].copy() for row in samples(name, dtype, 400))
    x[::7], y[::11] = [*([NAN, -1.0, 0.0, INF] * 9)][: len(x[::7])], dtype(-3.0)
    alone = np.concatenate([run(name, x[i : i + 1], y[i : i + 1]) for i in range(len(x))])
    bits = [np.where(np.isnan(v), dtype(NAN), v).view(f"u{x.itemsize}") for v in (run(name, x, y), alone)]
    np.testing.assert_array_equal(*bits)  # NaN has a sign on some processors, by the instruction that makes it
