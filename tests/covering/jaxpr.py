"""What JAX derived, evaluated with NumPy in float64: compiling a graph that runs once takes XLA twenty times as long.

JAX traces and differentiates; the primitives it arrives at are those of the table, all others JAX runs itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special


def _dot(a: Any, b: Any, p: dict[str, Any]) -> Any:
    (ca, cb), (ba, bb) = p["dimension_numbers"]
    left, right = list(range(a.ndim)), list(range(a.ndim, a.ndim + b.ndim))
    for x, y in [*zip(ca, cb), *zip(ba, bb)]:
        right[y] = left[x]
    rows = [t for n, t in enumerate(left) if n not in (*ca, *ba)]
    columns = [t for n, t in enumerate(right) if n not in (*cb, *bb)]
    return np.einsum(a, left, b, right, [*(left[t] for t in ba), *rows, *columns])


def _broadcast(x: Any, p: dict[str, Any]) -> Any:
    shape = [1] * len(p["shape"])
    for old, new in enumerate(p["broadcast_dimensions"]):
        shape[new] = x.shape[old]
    return np.broadcast_to(x.reshape(shape), p["shape"])


def _pad(x: Any, value: Any, p: dict[str, Any]) -> Any:
    """Zeros between the elements and around them; a negative width takes elements away."""
    config = p["padding_config"]
    inner = [(n - 1) * gap + n if n else 0 for n, (_, _, gap) in zip(x.shape, config)]
    around = [(max(low, 0), max(high, 0)) for low, high, _ in config]
    out = np.full([n + low + high for n, (low, high) in zip(inner, around)], value, dtype=x.dtype)
    out[tuple(slice(low, low + n, gap + 1) for n, (low, _), (*_, gap) in zip(inner, around, config))] = x
    return out[tuple(slice(max(-low, 0), n - max(-high, 0)) for n, (low, high, _) in zip(out.shape, config))]


def _slice(x: Any, p: dict[str, Any]) -> Any:
    steps = p["strides"] or [1] * x.ndim
    return x[tuple(slice(*part) for part in zip(p["start_indices"], p["limit_indices"], steps))]


def _iota(p: dict[str, Any]) -> Any:
    shape = [-1 if t == p["dimension"] else 1 for t in range(len(p["shape"]))]
    return np.broadcast_to(np.arange(p["shape"][p["dimension"]], dtype=p["dtype"]).reshape(shape), p["shape"])


def _reducer(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, p: f(x, axis=tuple(p["axes"]))


def _plain(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args: f(*args[:-1])


TABLE: dict[str, Callable[..., Any]] = {
    "dot_general": _dot, "broadcast_in_dim": _broadcast, "pad": _pad, "slice": _slice, "iota": _iota,
    "reduce_sum": _reducer(np.sum), "reduce_max": _reducer(np.max), "reduce_min": _reducer(np.min),
    "reduce_prod": _reducer(np.prod), "reduce_and": _reducer(np.all), "reduce_or": _reducer(np.any),
    "reshape": lambda x, p: x.transpose(p["dimensions"] or range(x.ndim)).reshape(p["new_sizes"]),
    "squeeze": lambda x, p: np.squeeze(x, tuple(p["dimensions"])),
    "expand_dims": lambda x, p: np.expand_dims(x, tuple(p["dimensions"])),
    "transpose": lambda x, p: x.transpose(p["permutation"]), "rev": lambda x, p: np.flip(x, tuple(p["dimensions"])),
    "concatenate": lambda *a: np.concatenate(a[:-1], a[-1]["dimension"]),
    "select_n": lambda c, *a: np.where(c, a[1], a[0]),
    "convert_element_type": lambda x, p: x.astype(p["new_dtype"]), "integer_pow": lambda x, p: x ** p["y"],
    "square": _plain(np.square), "logistic": _plain(special.expit), "erf": _plain(special.erf),
    "stop_gradient": _plain(np.asarray), "copy": _plain(np.asarray), "copy_p": _plain(np.asarray),
    "rsqrt": lambda x, p: 1 / np.sqrt(x), "neg": _plain(np.negative), "add_any": _plain(np.add),
    "max": _plain(np.maximum), "min": _plain(np.minimum), "is_finite": _plain(np.isfinite),
} | {name: _plain(getattr(np, numpy)) for name, numpy in (
    pair.split(":") for pair in "add:add sub:subtract mul:multiply div:divide exp:exp log:log log1p:log1p expm1:expm1 "
    "tanh:tanh sin:sin cos:cos sqrt:sqrt abs:abs sign:sign pow:power eq:equal ne:not_equal lt:less le:less_equal "
    "gt:greater ge:greater_equal and:logical_and or:logical_or not:logical_not floor:floor".split())}  # fmt: skip
INSIDE = ("jaxpr", "call_jaxpr", "fun_jaxpr")


def evaluate(jaxpr: Any, consts: Sequence[Any], args: Sequence[Any]) -> list[np.ndarray]:
    """The outputs of a jaxpr."""
    values: dict[Any, Any] = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args]))

    def read(v: Any) -> Any:
        return np.asarray(v.val) if hasattr(v, "val") else values[v]

    for eqn in jaxpr.eqns:
        given = [np.asarray(read(v)) for v in eqn.invars]
        for v, found in zip(eqn.outvars, _outputs(eqn, given)):
            values[v] = found
    return [np.asarray(read(v)) for v in jaxpr.outvars]


def _outputs(eqn: Any, given: Sequence[np.ndarray]) -> Sequence[Any]:
    inner = next((eqn.params[name] for name in INSIDE if name in eqn.params), None)
    if inner is not None:
        closed = hasattr(inner, "jaxpr")
        return evaluate(inner.jaxpr if closed else inner, inner.consts if closed else (), given)
    rule = TABLE.get(eqn.primitive.name)
    if rule is not None:
        return [np.asarray(rule(*given, eqn.params))]
    found = eqn.primitive.bind(*map(jnp.asarray, given), **eqn.params)
    return found if eqn.primitive.multiple_results else [found]


def in_numpy(f: Callable[[list[Any]], Any]) -> Callable[[list[Any]], list[np.ndarray]]:
    """f of a list of arrays, which returns a list of arrays: traced by JAX in float64 once, evaluated by NumPy."""
    traced: list[Any] = []

    def run(values: list[Any]) -> list[np.ndarray]:
        with jax.enable_x64(True), np.errstate(all="ignore"):
            if not traced:
                traced.append(jax.make_jaxpr(f)([jnp.asarray(v, dtype=jnp.float64) for v in values]))
            return evaluate(traced[0].jaxpr, traced[0].consts, [np.asarray(v, dtype=np.float64) for v in values])

    return run
