"""Networks with a structure of their own: graphs, sets, bases, convex functions."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

import graphc as gc
from tests.gallery.entry import Room, labels, like

ROOM = Room("Graphs, sets, shapes")
model, twin = ROOM.model, ROOM.twin
EDGES = np.array([[0, 1, 2, 3, 4, 0, 2], [1, 2, 0, 4, 3, 3, 3]])  # from, to
PAIRS = np.argwhere(1 - np.eye(5)).T  # every node with every other
LINKS = (np.zeros((5, 5)) + sum(np.eye(5)[[a]].T @ np.eye(5)[[b]] for a, b in EDGES.T) > 0) * 1.0


@model(
    "Graph convolution", "Kipf, Welling 2017", "A node is the mean of its neighbours, weighted by degrees.",
    A=like(np.maximum(LINKS, LINKS.T)), L=labels(2),
)  # fmt: skip
def graph_convolution():
    A, X, L = gc.input("A", (5, 5)), gc.input("X", (5, 3)), gc.input("L", (5,), dtype="int64")
    W, V = gc.param("W", (3, 4)), gc.param("V", (4, 2))
    i, j = gc.indices("i j")
    B = gc.define("B", [i, j], A[i, j] + gc.equal(i, j))
    d = gc.sum(B, axis=1) ** -0.5
    P = d[:, None] * B * d
    J = gc.losses.cross_entropy(P @ gc.relu(P @ X @ W) @ V, L)
    return J


@twin(graph_convolution)
def _(A, X, L, W, V):
    B = A + jnp.eye(5)
    half = jnp.diag(1 / jnp.sqrt(B.sum(1)))
    P = half @ B @ half
    logits = P @ (jax.nn.relu(P @ (X @ W)) @ V)
    return -jnp.mean(jax.nn.log_softmax(logits)[jnp.arange(5), L])


@model(
    "Message passing", "Gilmer et al. 2017", "Edges carry messages; a node sums those that reach it.",
    start=like(EDGES[0]), end=like(EDGES[1]),
)  # fmt: skip
def message_passing():
    start, end = gc.input("start", (7,), dtype="int64"), gc.input("end", (7,), dtype="int64")
    X, E, T = gc.input("X", (5, 3)), gc.input("E", (7, 2)), gc.input("T", (5,))
    A, B, U, v = gc.param("A", (3, 4)), gc.param("B", (2, 4)), gc.param("U", (4, 3)), gc.param("v", (3,))
    H = X
    for _ in range(2):
        message = gc.tanh(H[start] @ A + E @ B)
        H = H + gc.segment_sum(message, end, 5) @ U
    J = gc.mean((H @ v - T) ** 2)
    return J


@twin(message_passing)
def _(start, end, X, E, T, A, B, U, v):
    def step(H, _):
        message = jnp.tanh(jnp.take(H, start, axis=0) @ A + E @ B)
        return H.at[end].add(message @ U), None

    H, _ = jax.lax.scan(step, X, length=2)
    return jnp.mean((H @ v - T) ** 2)


@model(
    "Graph attention", "Veličković et al. 2018", "Edges are weighted by what stands at both ends.",
    start=like(PAIRS[0]), end=like(PAIRS[1]), p=like([2.0, 1.0]),
)  # fmt: skip
def graph_attention():
    start, end = gc.input("start", (20,), dtype="int64"), gc.input("end", (20,), dtype="int64")
    X, T = gc.input("X", (5, 3)), gc.input("T", (5, 2))
    W, p, q = gc.param("W", (3, 2)), gc.param("p", (2,)), gc.param("q", (2,))
    H = X @ W
    weight = gc.exp(gc.leaky_relu((H @ p)[start] + (H @ q)[end], 0.2))
    total = gc.segment_sum(weight, end, 5)
    Y = gc.segment_sum((weight / total[end])[:, None] * H[start], end, 5)
    J = gc.mean((Y - T) ** 2)
    return J


@twin(graph_attention)
def _(start, end, X, T, W, p, q):
    H = X @ W
    score = jax.nn.leaky_relu(jnp.einsum("ek,k", H[start], p) + jnp.einsum("ek,k", H[end], q), 0.2)
    table = jnp.zeros((5, 5)).at[end, start].set(jnp.exp(score))
    return jnp.mean((table / table.sum(1, keepdims=True) @ H - T) ** 2)


@model("Deep sets", "Zaheer et al. 2017", "A function of a set: a sum over its elements.")
def deep_sets():
    X, T = gc.input("X", ("n", 5, 2)), gc.input("T", ("n",))
    W, b, V, v = gc.param("W", (2, 4)), gc.param("b", (4,)), gc.param("V", (4, 3)), gc.param("v", (3,))
    J = gc.mean((gc.tanh(gc.sum(gc.tanh(X @ W + b), axis=1) @ V) @ v - T) ** 2)
    return J


@twin(deep_sets)
def _(X, T, W, b, V, v):
    element = jax.vmap(lambda x: jnp.tanh(x @ W + b))
    answer = jax.vmap(lambda xs: jnp.tanh(element(xs).sum(0) @ V) @ v)(X)
    return jnp.mean((answer - T) ** 2)


@model("Radial basis network", "Broomhead, Lowe 1988", "Bumps at centres that move.")
def radial_basis_network():
    X, T = gc.input("X", ("n", 2)), gc.input("T", ("n",))
    C, s, w = gc.param("C", (4, 2)), gc.param("s", (4,)), gc.param("w", (4,))
    i, c, k = gc.indices("i c k")
    far = gc.define("far", [i, c], gc.sum((X[i, k] - C[c, k]) ** 2, over=k))
    J = gc.mean((gc.exp(-far * gc.exp(s)) @ w - T) ** 2)
    return J


@twin(radial_basis_network)
def _(X, T, C, s, w):
    bump = jax.vmap(lambda x: jnp.exp(-jnp.exp(s) * jnp.linalg.norm(x - C, axis=1) ** 2))
    return jnp.mean((bump(X) @ w - T) ** 2)


@model("Kolmogorov-Arnold network", "Liu et al. 2024", "Every edge is a function of its own, a sum of bumps.")
def kolmogorov_arnold_network():
    X, T = gc.input("X", ("n", 3)), gc.input("T", ("n",))
    A, C = gc.param("A", (3, 4, 5)), gc.param("C", (4, 1, 5))
    r, p, q, g = gc.indices("r p q g", g=5)
    H = gc.define("H", [r, q], gc.sum(A[p, q, g] * gc.exp(-((X[r, p] - g + 2) ** 2)), over=(p, g)))
    Y = gc.define("Y", [r], gc.sum(C[q, 0, g] * gc.exp(-((H[r, q] - g + 2) ** 2)), over=(q, g)))
    J = gc.mean((Y - T) ** 2)
    return J


@twin(kolmogorov_arnold_network)
def _(X, T, A, C):
    grid = jnp.linspace(-2, 2, 5)

    def layer(x, weights):
        return jnp.tensordot(jnp.exp(-((x[:, None] - grid) ** 2)), weights, axes=((0, 1), (0, 2)))

    return jnp.mean((jax.vmap(lambda x: layer(layer(x, A), C)[0])(X) - T) ** 2)


@model("Input convex network", "Amos et al. 2017", "Weights that cannot be negative keep the answer convex.")
def input_convex_network():
    X, T = gc.input("X", ("n", 3)), gc.input("T", ("n",))
    A, a = gc.param("A", (3, 4)), gc.param("a", (4,))
    U, B = gc.param("U", (4, 4)), gc.param("B", (3, 4))
    u, b = gc.param("u", (4,)), gc.param("b", (3,))
    Z = gc.softplus(X @ A + a)
    Z = gc.softplus(Z @ gc.exp(U) + X @ B)
    J = gc.mean((Z @ gc.exp(u) + X @ b - T) ** 2)
    return J


@twin(input_convex_network)
def _(X, T, A, a, U, B, u, b):
    def f(x):
        z = jnp.logaddexp(0, A.T @ x + a)
        z = jnp.logaddexp(0, jnp.exp(U).T @ z + B.T @ x)
        return jnp.exp(u) @ z + b @ x

    return jnp.mean((jax.vmap(f)(X) - T) ** 2)


@model("Maxout", "Goodfellow et al. 2013", "A unit is the largest of three lines.")
def maxout():
    X, T = gc.input("X", ("n", 3)), gc.input("T", ("n",))
    W, b, v = gc.param("W", (4, 3, 3)), gc.param("b", (4, 3)), gc.param("v", (4,))
    r, u, k, p = gc.indices("r u k p")
    Z = gc.define("Z", [r, u, p], gc.sum(X[r, k] * W[u, p, k], over=k) + b[u, p])
    J = gc.mean((gc.max(Z, axis=2) @ v - T) ** 2)
    return J


@twin(maxout)
def _(X, T, W, b, v):
    lines = jnp.einsum("nk,upk->nup", X, W) + b
    return jnp.mean((lines.max(-1) @ v - T) ** 2)


@model("Convolutional network", "LeCun et al. 1989", "One small window everywhere, then the largest of each four.")
def convolutional_network():
    X, T = gc.input("X", ("n", 6, 6)), gc.input("T", ("n",))
    K, b, w = gc.param("K", (2, 3, 3)), gc.param("b", (2,)), gc.param("w", (2, 2, 2))
    r, c, i, j, p, q = gc.indices("r c i j p q")
    u, v = gc.indices("u v", u=2, v=2)
    C = gc.define("C", [r, c, i, j], gc.relu(gc.sum(X[r, i + p, j + q] * K[c, p, q], over=(p, q)) + b[c]))
    M = gc.define("M", [r, c, i, j], gc.max(C[r, c, 2 * i + u, 2 * j + v], over=(u, v)))
    J = gc.mean((gc.sum(M * w, axis=(1, 2, 3)) - T) ** 2)
    return J


@twin(convolutional_network)
def _(X, T, K, b, w):
    maps = jax.nn.relu(jax.lax.conv(X[:, None], K[:, None], (1, 1), "VALID") + b[:, None, None])
    small = jax.lax.reduce_window(maps, -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
    return jnp.mean((jnp.einsum("ncij,cij->n", small, w) - T) ** 2)


@model("Mixer", "Tolstikhin et al. 2021", "Places and channels are mixed in turn, over normalised rows.")
def mixer():
    X, T = gc.input("X", ("n", 4, 3)), gc.input("T", ("n",))
    A, B, v = gc.param("A", (4, 4)), gc.param("B", (3, 3)), gc.param("v", (3,))
    r, s, t, k = gc.indices("r s t k")
    H = X - gc.mean(X, axis=2, keepdims=True)
    H = H / gc.sqrt(gc.mean(H**2, axis=2, keepdims=True) + 1e-3)
    H = X + gc.gelu(gc.define("H", [r, s, k], gc.sum(A[s, t] * H[r, t, k], over=t)))
    H = H + gc.gelu(H @ B)
    J = gc.mean((gc.mean(H, axis=1) @ v - T) ** 2)
    return J


@twin(mixer)
def _(X, T, A, B, v):
    def one(x):
        rows = (x - x.mean(-1, keepdims=True)) * jax.lax.rsqrt(x.var(-1, keepdims=True) + 1e-3)
        h = x + jax.nn.gelu(A @ rows, approximate=False)
        h = h + jax.nn.gelu(h @ B, approximate=False)
        return h.mean(0) @ v

    return jnp.mean((jax.vmap(one)(X) - T) ** 2)
