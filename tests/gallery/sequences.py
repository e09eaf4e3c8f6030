"""Sequences: chains, recurrent networks, attention."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import sympy

import graphc as gc
from tests.gallery.entry import Room, labels, like

ROOM = Room("Sequences")
model, twin = ROOM.model, ROOM.twin
MOVES = np.eye(5) + np.eye(5, k=1)  # stay, go on,
MOVES[1, 3] = 1  # or leave out the blank between 1 and 2


@model(
    "Linear-chain conditional random field", "Lafferty et al. 2001",
    "Tags of a sentence, each leaning on the one before.", y=labels(3),
)  # fmt: skip
def conditional_random_field():
    X, y = gc.input("X", (4, 5)), gc.input("y", (4,), dtype="int64")
    W, A = gc.param("W", (5, 3)), gc.param("A", (3, 3))
    t, i, j = gc.indices("t i j")
    E = X @ W
    a = E[0]
    for s in range(1, 4):
        a = gc.define(f"a{s}", [j], gc.logsumexp(a[i] + A[i, j], over=i) + E[s, j])
    s = gc.indices("s", s=3)
    score = gc.sum(E[t, y[t]], over=t) + gc.sum(A[y[s], y[s + 1]], over=s)
    J = gc.logsumexp(a) - score
    return J


@twin(conditional_random_field)
def _(X, y, W, A):
    E = X @ W
    paths = jnp.array(list(np.ndindex(3, 3, 3, 3)))  # every tagging, one by one

    def score(tags):
        return E[jnp.arange(4), tags].sum() + A[tags[:-1], tags[1:]].sum()

    return jax.nn.logsumexp(jax.vmap(score)(paths)) - score(y)


@model("Hidden Markov model", "Rabiner 1989", "The forward algorithm over states that nobody sees.", x=labels(5))
def hidden_markov_model():
    x = gc.input("x", ("n", 4), dtype="int64")
    p, A, B = gc.param("p", (3,)), gc.param("A", (3, 3)), gc.param("B", (3, 5))
    r, i, j = gc.indices("r i j")
    start, move, emit = gc.softmax(p), gc.softmax(A), gc.softmax(B)
    f = gc.define("f0", [r, j], start[j] * emit[j, x[r, 0]])
    for t in range(1, 4):
        f = gc.define(f"f{t}", [r, j], gc.sum(f[r, i] * move[i, j], over=i) * emit[j, x[r, t]])
    J = -gc.mean(gc.log(gc.sum(f, axis=1)))
    return J


@twin(hidden_markov_model)
def _(x, p, A, B):
    move, emit = jax.nn.log_softmax(A), jax.nn.log_softmax(B)

    def likelihood(symbols):
        def step(a, symbol):
            return jax.nn.logsumexp(a[:, None] + move, axis=0) + emit[:, symbol], None

        return jax.nn.logsumexp(jax.lax.scan(step, jax.nn.log_softmax(p) + emit[:, symbols[0]], symbols[1:])[0])

    return -jax.vmap(likelihood)(x).mean()


@model(
    "Connectionist temporal classification", "Graves et al. 2006", "All ways to spell the word 1 2, with blanks (0).",
    spelled=like([0, 1, 0, 2, 0]), move=like(MOVES),
)  # fmt: skip
def temporal_classification():
    X, W = gc.input("X", (4, 3)), gc.param("W", (3, 3))
    spelled, move = gc.input("spelled", (5,), dtype="int64"), gc.input("move", (5, 5))
    P = gc.softmax(X @ W)[:, spelled]
    a = P[0] * move[0]
    for t in range(1, 4):
        a = (a @ move) * P[t]
    J = -gc.log(a[3] + a[4])
    return J


@twin(temporal_classification)
def _(X, W, spelled, move):
    logp = jax.nn.log_softmax(X @ W)
    spellings = []
    for path in np.ndindex(3, 3, 3, 3):
        merged = [c for t, c in enumerate(path) if t == 0 or c != path[t - 1]]
        if [c for c in merged if c] == [1, 2]:
            spellings.append(path)
    return -jax.nn.logsumexp(logp[jnp.arange(4), jnp.array(spellings)].sum(axis=1))


@model("Long short-term memory", "Hochreiter, Schmidhuber 1997", "A cell that keeps what its gates let in.")
def long_short_term_memory():
    X, T = gc.input("X", ("n", 3, 2)), gc.input("T", ("n",))
    W, U, b, v = gc.param("W", (2, 12)), gc.param("U", (3, 12)), gc.param("b", (12,)), gc.param("v", (3,))
    h = c = 0 * X[:, 0] @ W[:, :3]
    for t in range(3):
        Z = X[:, t] @ W + h @ U + b
        i, f, o = (gc.sigmoid(Z[:, 3 * k : 3 * k + 3]) for k in range(3))
        c = f * c + i * gc.tanh(Z[:, 9:])
        h = o * gc.tanh(c)
    J = gc.mean((h @ v - T) ** 2)
    return J


@twin(long_short_term_memory)
def _(X, T, W, U, b, v):
    def step(state, x):
        h, c = state
        i, f, o, g = jnp.split(x @ W + h @ U + b, 4)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

    def answer(x):
        (h, _), _ = jax.lax.scan(step, (jnp.zeros(3), jnp.zeros(3)), x)
        return h @ v

    return jnp.mean((jax.vmap(answer)(X) - T) ** 2)


@model("Gated recurrent unit", "Cho et al. 2014", "Two gates: how much to forget, how much to renew.")
def gated_recurrent_unit():
    X, T = gc.input("X", ("n", 3, 2)), gc.input("T", ("n",))
    W, U, b = gc.param("W", (2, 8)), gc.param("U", (4, 8)), gc.param("b", (8,))
    R, S, v = gc.param("R", (2, 4)), gc.param("S", (4, 4)), gc.param("v", (4,))
    h = gc.tanh(X[:, 0] @ R)
    for t in range(1, 3):
        G = gc.sigmoid(X[:, t] @ W + h @ U + b)
        z, r = G[:, :4], G[:, 4:]
        h = (1 - z) * h + z * gc.tanh(X[:, t] @ R + (r * h) @ S)
    J = gc.mean((h @ v - T) ** 2)
    return J


@twin(gated_recurrent_unit)
def _(X, T, W, U, b, R, S, v):
    def step(h, x):
        z, r = jnp.split(jax.nn.sigmoid(x @ W + h @ U + b), 2, axis=-1)
        return h + z * (jnp.tanh(x @ R + (r * h) @ S) - h), None

    h, _ = jax.lax.scan(step, jnp.tanh(X[:, 0] @ R), jnp.swapaxes(X, 0, 1)[1:])
    return jnp.mean(jnp.square(h @ v - T))


@model("Attention", "Vaswani et al. 2017", "Each word asks those before it, and adds what they answer.")
def attention():
    X, T = gc.input("X", ("n", 4, 3)), gc.input("T", ("n", 4, 3))
    Q, K, V, O = (gc.param(name, (3, 3)) for name in "QKVO")
    r, s, t = gc.indices("r s t")
    S = (X @ Q) @ gc.transpose(X @ K, (0, 2, 1)) / sympy.sqrt(3)
    S = gc.define("S", [r, s, t], gc.where(t <= s, S[r, s, t], -1e9))
    Y = X + gc.softmax(S) @ (X @ V) @ O
    J = gc.mean((Y - T) ** 2)
    return J


@twin(attention)
def _(X, T, Q, K, V, O):
    def one(x):
        rows = []
        for s in range(4):
            weights = jax.nn.softmax((x[: s + 1] @ K) @ (x[s] @ Q) / jnp.sqrt(3))
            rows.append(x[s] + (weights @ (x[: s + 1] @ V)) @ O)
        return jnp.stack(rows)

    return jnp.mean((jax.vmap(one)(X) - T) ** 2)


@model("Linear attention", "Katharopoulos et al. 2020", "Attention with a kernel: sums that grow along the words.")
def linear_attention():
    X, T = gc.input("X", ("n", 4, 3)), gc.input("T", ("n", 4, 2))
    Q, K, V = gc.param("Q", (3, 3)), gc.param("K", (3, 3)), gc.param("V", (3, 2))
    r, s, t, d, e = gc.indices("r s t d e")
    q, k, v = gc.elu(X @ Q) + 1, gc.elu(X @ K) + 1, X @ V
    A = gc.define("A", [r, s, t], gc.where(t <= s, gc.sum(q[r, s, d] * k[r, t, d], over=d), 0))
    Y = (A @ v) / gc.sum(A, axis=2, keepdims=True)
    J = gc.mean((Y - T) ** 2)
    return J


@twin(linear_attention)
def _(X, T, Q, K, V):
    def one(x):
        q, k, v = jax.nn.elu(x @ Q) + 1, jax.nn.elu(x @ K) + 1, x @ V
        memory = jnp.cumsum(k[:, :, None] * v[:, None, :], axis=0)
        norm = jnp.cumsum(k, axis=0)
        return jnp.einsum("td,tde->te", q, memory) / jnp.sum(q * norm, -1, keepdims=True)

    return jnp.mean((jax.vmap(one)(X) - T) ** 2)


@model("Gated linear unit", "Dauphin et al. 2017", "Convolutions over words, half of them gates.")
def gated_linear_unit():
    X, T = gc.input("X", ("n", 5, 2)), gc.input("T", ("n", 3, 3))
    A, B = gc.param("A", (3, 2, 3)), gc.param("B", (3, 2, 3))
    r, t, w, k, o = gc.indices("r t w k o")
    P = gc.define("P", [r, t, o], gc.sum(X[r, t + w, k] * A[w, k, o], over=(w, k)))
    G = gc.define("G", [r, t, o], gc.sum(X[r, t + w, k] * B[w, k, o], over=(w, k)))
    J = gc.mean((P * gc.sigmoid(G) - T) ** 2)
    return J


@twin(gated_linear_unit)
def _(X, T, A, B):
    def convolve(kernel):
        return jax.lax.conv_general_dilated(X, kernel, (1,), "VALID", dimension_numbers=("NWC", "WIO", "NWC"))

    return jnp.mean((jax.nn.glu(jnp.concatenate([convolve(A), convolve(B)], -1)) - T) ** 2)


@model("Highway network", "Srivastava et al. 2015", "A gate chooses between a layer and none.")
def highway_network():
    X, T = gc.input("X", ("n", 4)), gc.input("T", ("n", 4))
    H = X
    for t in range(2):
        W, V, c = gc.param(f"W{t}", (4, 4)), gc.param(f"V{t}", (4, 4)), gc.param(f"c{t}", (4,))
        gate = gc.sigmoid(H @ V + c)
        H = gate * gc.relu(H @ W) + (1 - gate) * H
    J = gc.mean((H - T) ** 2)
    return J


@twin(highway_network)
def _(X, T, W0, V0, c0, W1, V1, c1):
    def layer(h, weights):
        W, V, c = weights
        gate = jax.nn.sigmoid(h @ V + c)
        return h + gate * (jax.nn.relu(h @ W) - h), None

    stacked = jax.tree.map(lambda *x: jnp.stack(x), (W0, V0, c0), (W1, V1, c1))
    return jnp.mean((jax.lax.scan(layer, X, stacked)[0] - T) ** 2)


@model("Neural language model", "Bengio et al. 2003", "Three words tell the next.", x=labels(6), y=labels(6))
def neural_language_model():
    x, y = gc.input("x", ("n", 3), dtype="int64"), gc.input("y", ("n",), dtype="int64")
    C, H, U = gc.param("C", (6, 2)), gc.param("H", (6, 5)), gc.param("U", (5, 6))
    Z = gc.tanh(gc.reshape(C[x], ("n", 6)) @ H) @ U
    J = gc.losses.cross_entropy(Z, y)
    return J


@twin(neural_language_model)
def _(x, y, C, H, U):
    def surprise(words, word):
        features = jnp.concatenate([C[w] for w in words])
        return -jax.nn.log_softmax(jnp.tanh(features @ H) @ U)[word]

    return jnp.mean(jax.vmap(surprise)(x, y))
