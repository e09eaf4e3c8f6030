"""Five gradients as text, by several tools, and whether they are right; prints the tables of explanation/comparison.md.

It needs ``jax``, ``sympy`` and ``tensorgrad`` (which brings torch) beside graphc, in an environment of its own::

    python -m venv compare && compare/bin/pip install . jax tensorgrad && compare/bin/python docs/comparison.py
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

import jax
import jax.numpy as jnp
import numpy as np
import sympy as sp
import tensorgrad as tg
import tensorgrad.functions as F
from tensorgrad.extras.to_index import to_index

import graphc as gc

jax.config.update("jax_enable_x64", True)
SIZES = {"n": 4, "d": 2, "e": 2, "h": 3, "o": 3}  # for the check, and for SymPy's scalars
TOOLS = ("graphc", "tensorgrad", "SymPy, matrices", "SymPy, scalars", "JAX, jaxpr")
LEFT = {  # what a person would have removed: deltas, derivatives that were not carried out
    "graphc": r"\[\w = \w\]|where\(",
    "tensorgrad": r"δ|delta|Delta|Derivative|D_",
    "SymPy, matrices": r"KroneckerDelta|Derivative|Identity|Subs\(",
    "SymPy, scalars": r"KroneckerDelta|Derivative",
    "JAX, jaxpr": r"\beye\b|\biota\b",
}


@dataclass
class Net:
    """A loss of arrays, declared for every tool; the gradient is with respect to W."""

    title: str
    leaves: dict[str, str]  # name -> letters of its axes
    arrays: Callable  # of the library and arrays; an array may hold SymPy's scalars
    graph: Callable  # of graphc's Tensors
    network: Callable  # of tensorgrad's Variables
    matrices: Callable | None  # of SymPy's MatrixSymbols


def softmax(z, xp):
    e = xp.exp(z)
    return e / e.sum(axis=-1, keepdims=True)


def square(m):
    return sp.Trace(m.T * m)


def each(m, f):
    z = sp.Dummy("z")
    return m.applyfunc(sp.Lambda(z, f(z)))


ONES = sp.OneMatrix(SIZES["o"], SIZES["n"])  # the trace of ONES*m is the sum of all elements of m


def attention(X, W, T):
    scores = X @ W @ X.rename(n="m", d="e")
    return F.frobenius2(F.softmax(scores, dim="m") @ X.rename(n="m") - T)


NETS = [
    Net(
        "linear, squared error", {"X": "nd", "W": "do", "T": "no"},
        lambda xp, X, W, T: ((X @ W - T) ** 2).sum(),
        lambda X, W, T: gc.sum((X @ W - T) ** 2),
        lambda X, W, T: F.frobenius2(X @ W - T),
        lambda X, W, T: square(X * W - T),
    ),
    Net(
        "tanh layer, squared error", {"X": "nd", "W": "dh", "V": "ho", "T": "no"},
        lambda xp, X, W, V, T: ((xp.tanh(X @ W) @ V - T) ** 2).sum(),
        lambda X, W, V, T: gc.sum((gc.tanh(X @ W) @ V - T) ** 2),
        lambda X, W, V, T: F.frobenius2(F.tanh(X @ W) @ V - T),
        lambda X, W, V, T: square(each(X * W, sp.tanh) * V - T),
    ),
    Net(
        "logistic, cross-entropy", {"X": "nd", "W": "do", "T": "no"},
        lambda xp, X, W, T: (xp.log(1 + xp.exp(X @ W)) - T * (X @ W)).sum(),
        lambda X, W, T: gc.sum(gc.log(1 + gc.exp(X @ W)) - T * (X @ W)),
        lambda X, W, T: F.sum(F.log(1 + F.exp(X @ W)) - T * (X @ W)),
        # one trace: of a difference of two traces SymPy says that the derivative is 0
        lambda X, W, T: sp.Trace(ONES * each(X * W, lambda z: sp.log(1 + sp.exp(z))) - T.T * X * W),
    ),
    Net(
        "softmax, cross-entropy", {"X": "nd", "W": "do", "T": "no"},
        lambda xp, X, W, T: -(T * xp.log(softmax(X @ W, xp))).sum(),
        lambda X, W, T: -gc.sum(T * gc.log(gc.softmax(X @ W))),
        lambda X, W, T: F.sum(F.cross_entropy(X @ W, T, dim="o")),
        None,
    ),
    Net(
        "attention, squared error", {"X": "nd", "W": "de", "T": "nd"},
        lambda xp, X, W, T: ((softmax(X @ W @ X.T, xp) @ X - T) ** 2).sum(),
        lambda X, W, T: gc.sum((gc.softmax(X @ W @ X.T) @ X - T) ** 2),
        attention,
        None,
    ),
]  # fmt: skip


class Scalars:
    """NumPy's functions for arrays of SymPy's scalars."""

    exp, log, tanh = (np.vectorize(f, otypes=[object]) for f in (sp.exp, sp.log, sp.tanh))


def numbers(net: Net) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=[SIZES[c] for c in axes]) for name, axes in net.leaves.items()}


def differences(net: Net, values: dict[str, np.ndarray]) -> np.ndarray:
    """What is right: central differences in float64, which no tool had a hand in."""
    slope, h = np.empty_like(values["W"]), 1e-5
    for at in np.ndindex(slope.shape):
        moved = [values | {"W": values["W"].copy()} for _ in range(2)]
        moved[0]["W"][at] += h
        moved[1]["W"][at] -= h
        slope[at] = (net.arrays(np, **moved[0]) - net.arrays(np, **moved[1])) / (2 * h)
    return slope


def by_graphc(net: Net, values: dict[str, np.ndarray]) -> tuple[str, np.ndarray]:
    declared = {
        name: (gc.param if name in "VW" else gc.input)(name, [c if c == "n" else SIZES[c] for c in axes])
        for name, axes in net.leaves.items()
    }
    J = net.graph(**declared)
    f = gc.compile(gc.grad(J, declared["W"]), [*declared.values()], dtype="float64")
    text = gc.derive(J, declared["W"]).index()
    return re.sub(r" +comparison\.py:\d+(?= |$)", "", str(text), flags=re.MULTILINE), f(*values.values())


def by_tensorgrad(net: Net, values: dict[str, np.ndarray]) -> tuple[str, np.ndarray]:
    letters = {c: sp.Symbol("d" if c == "e" else c) for c in "ndhoe"}
    variables = {n: tg.Variable(n, **{c: letters[c] for c in axes}) for n, axes in net.leaves.items()}
    g = tg.Derivative(net.network(**variables), variables["W"]).full_simplify()
    found, edges = network_value(g, {n: (v, [*net.leaves[n]]) for n, v in values.items()})
    return to_index(g), found.transpose([edges.index(c) for c in net.leaves["W"]])


def network_value(node: tg.Tensor, values: dict[str, tuple]) -> tuple[np.ndarray, list[str]]:
    """The elements of a tensor of tensorgrad 0.3, and the names of its axes.

    Its own ``evaluate`` wants the named tensors that torch 2.14 has no more.
    """
    below = lambda part: network_value(part, values)
    match node:
        case tg.Variable():
            return values[node.name]
        case tg.tensor.Rename():
            array, edges = below(node.tensor)
            return array, [node.mapping.get(e, e) for e in edges]
        case tg.Delta():
            size, edges = SIZES[str(node._size)], [*node.edges]
            places = np.indices([size] * len(edges))
            return (np.array(float(size)) if not edges else (places == places[:1]).all(axis=0).astype(float)), edges
        case tg.Sum():
            edges = [*node.edges]
            terms = [(w, *below(term)) for w, term in zip(node.weights, node.terms, strict=True)]
            return sum(float(w) * a.transpose([e.index(c) for c in edges]) for w, a, e in terms), edges
        case tg.Product():
            parts, out = [below(factor) for factor in node.factors], [*node.edges]
            number = {e: k for k, e in enumerate({e for _, edges in parts for e in edges})}
            flat = [x for a, edges in parts for x in (a, [number[e] for e in edges])]
            return np.einsum(*flat, [number[e] for e in out], optimize=True), out
        case tg.Function():
            (inner,) = node.inputs
            array, edges = below(inner)
            name, _, power = node.signature.name.partition("(k=")
            return (array ** float(power[:-1]) if name == "pow" else getattr(np, name)(array)), edges
    raise TypeError(type(node).__name__)


def by_matrices(net: Net, values: dict[str, np.ndarray]) -> tuple[str, np.ndarray]:
    symbols = {n: sp.MatrixSymbol(n, *(SIZES[c] for c in axes)) for n, axes in net.leaves.items()}
    g = net.matrices(**symbols).diff(symbols["W"]).doit()
    given = {symbols[n]: sp.ImmutableMatrix(v) for n, v in values.items()}
    return str(g), np.array(g.subs(given).doit().as_explicit()).astype(float)


def by_scalars(net: Net, values: dict[str, np.ndarray]) -> tuple[str, np.ndarray]:
    arrays = {n: np.array(sp.Matrix(*v.shape, lambda i, j: sp.Symbol(f"{n}{i}{j}"))) for n, v in values.items()}  # noqa: B023
    J = net.arrays(Scalars, **arrays)
    slopes = [sp.diff(J, w) for w in arrays["W"].ravel()]
    given = {s: v for n, a in arrays.items() for s, v in zip(a.ravel(), values[n].ravel(), strict=True)}
    found = np.array([s.evalf(subs=given) for s in slopes], float)
    return "\n".join(map(str, slopes)), found.reshape(values["W"].shape)


def by_jax(net: Net, values: dict[str, np.ndarray]) -> tuple[str, np.ndarray]:
    at = [*values].index("W")
    slope = jax.grad(lambda *a: net.arrays(jnp, *a), argnums=at)
    given = [jnp.asarray(v) for v in values.values()]
    return str(jax.make_jaxpr(slope)(*given)), np.asarray(slope(*given))


def row(net: Net, tool: str, by: Callable) -> str:
    values = numbers(net)
    if tool == "SymPy, matrices" and net.matrices is None:
        return f"| {net.title} | {tool} | | | | has no word for it |"
    try:
        text, found = by(net, values)
    except Exception as error:  # noqa: BLE001  whatever it is, the table says it
        print(f"{net.title}, {tool}: {error}\n")
        return f"| {net.title} | {tool} | | | | {type(error).__name__} |"
    exact = differences(net, values)
    right = found.shape == exact.shape and np.allclose(found, exact, rtol=1e-5, atol=1e-7)
    size = f"{len(text.splitlines())} | {len(text)} | {len(re.findall(LEFT[tool], text))}"
    if net is NETS[1] and tool != "SymPy, scalars":
        print(f"{tool}:\n{text}\n")
    return f"| {net.title} | {tool} | {size} | {'right' if right else 'wrong'} |"


def main() -> None:
    ways = dict(zip(TOOLS, (by_graphc, by_tensorgrad, by_matrices, by_scalars, by_jax), strict=True))
    rows = [row(net, tool, by) for net in NETS for tool, by in ways.items()]
    print("Versions:", ", ".join(f"{name} {version(name)}" for name in ("jax", "sympy", "tensorgrad")))
    print("| network | tool | lines | characters | left over | numbers |", "|---|---|---|---|---|---|", *rows, sep="\n")


if __name__ == "__main__":
    main()
