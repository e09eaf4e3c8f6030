"""Hidden causes: factors, mixtures, embeddings, energies."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import sympy

import graphc as gc
from tests.gallery.entry import Room, binary, like, positive, unit

ROOM = Room("Factors, mixtures, embeddings")
model, twin = ROOM.model, ROOM.twin
NEAR = np.array([[0, 3, 1, 1], [3, 0, 1, 2], [1, 1, 0, 4], [1, 2, 4, 0]]) / 24  # affinities of four points


@model("Factorisation machine", "Rendle 2010", "All pairs of features interact, at the cost of none.")
def factorisation_machine():
    X, T = gc.input("X", ("n", 5)), gc.input("T", ("n",))
    b, w, V = gc.param("b", ()), gc.param("w", (5,)), gc.param("V", (5, 3))
    pairs = gc.sum((X @ V) ** 2 - X**2 @ V**2, axis=1) / 2
    J = gc.mean((b + X @ w + pairs - T) ** 2)
    return J


@twin(factorisation_machine)
def _(X, T, b, w, V):
    def score(x):
        pull = jnp.triu(jnp.outer(x, x) * (V @ V.T), k=1)
        return b + x @ w + pull.sum()

    return jnp.mean((jax.vmap(score)(X) - T) ** 2)


@model("Non-negative matrix factorisation", "Lee, Seung 1999", "Parts that only add up.", V=positive)
def nonnegative_factors():
    V = gc.input("V", (5, 4))
    A, B = gc.param("A", (5, 2)), gc.param("B", (2, 4))
    R = gc.softplus(A) @ gc.softplus(B)
    J = gc.sum(V * gc.log(V / R) - V + R)
    return J


@twin(nonnegative_factors)
def _(V, A, B):
    R = jnp.einsum("ik,kj", jnp.logaddexp(A, 0), jnp.logaddexp(B, 0))
    return jnp.sum(jax.scipy.special.kl_div(V, R))


@model("Probabilistic matrix factorisation", "Salakhutdinov, Mnih 2007", "Ratings from tastes.", r=unit)
def probabilistic_factors():
    user, item = gc.input("user", ("n",), dtype="int64"), gc.input("item", ("n",), dtype="int64")
    r = gc.input("r", ("n",))
    U, V = gc.param("U", (4, 3)), gc.param("V", (5, 3))
    J = gc.mean((r - gc.sigmoid(gc.sum(U[user] * V[item], axis=1))) ** 2) + 0.01 * (gc.sum(U**2) + gc.sum(V**2))
    return J


@twin(probabilistic_factors)
def _(user, item, r, U, V):
    guess = jax.vmap(lambda u, v: jax.nn.sigmoid(U[u] @ V[v]))(user, item)
    return jnp.mean((r - guess) ** 2) + 0.01 * (jnp.vdot(U, U) + jnp.vdot(V, V))


@model("Matrix completion", "Srebro et al. 2004", "Entries that nobody saw; few factors, small ones.", M=binary)
def matrix_completion():
    Y, M = gc.input("Y", (5, 4)), gc.input("M", (5, 4))
    A, B = gc.param("A", (5, 2)), gc.param("B", (4, 2))
    J = gc.sum(M * (A @ B.T - Y) ** 2) / gc.sum(M) + 0.05 * (gc.sum(A**2) + gc.sum(B**2))
    return J


@twin(matrix_completion)
def _(Y, M, A, B):
    rest = jnp.where(M == 1, Y - jnp.inner(A, B), 0)
    return jnp.sum(rest**2) / jnp.count_nonzero(M) + 0.05 * (jnp.trace(A.T @ A) + jnp.trace(B.T @ B))


@model("word2vec", "Mikolov et al. 2013", "Skip-gram: a word tells its neighbours from words drawn at random.")
def word2vec():
    word, near = gc.input("word", ("n",), dtype="int64"), gc.input("near", ("n",), dtype="int64")
    drawn = gc.input("drawn", ("n", 3), dtype="int64")
    U, V = gc.param("U", (7, 4)), gc.param("V", (7, 4))
    i, s, k = gc.indices("i s k")
    S = gc.define("S", [i], gc.sum(U[word[i], k] * V[near[i], k], over=k))
    R = gc.define("R", [i, s], gc.sum(U[word[i], k] * V[drawn[i, s], k], over=k))
    J = -gc.mean(gc.log(gc.sigmoid(S))) - gc.mean(gc.sum(gc.log(gc.sigmoid(-R)), axis=1))
    return J


@twin(word2vec)
def _(word, near, drawn, U, V):
    def pair(u, v, others):
        return jax.nn.softplus(-U[u] @ V[v]) + jax.nn.softplus(V[others] @ U[u]).sum()

    return jax.vmap(pair)(word, near, drawn).mean()


@model("GloVe", "Pennington et al. 2014", "Logarithms of counts as products of words.", C=positive)
def glove():
    C = gc.input("C", (5, 5))
    U, V, b, c = gc.param("U", (5, 3)), gc.param("V", (5, 3)), gc.param("b", (5,)), gc.param("c", (5,))
    i, j = gc.indices("i j")
    S = U @ V.T
    J = gc.sum(gc.minimum(C[i, j], 1) ** 0.75 * (S[i, j] + b[i] + c[j] - gc.log(C[i, j])) ** 2, over=(i, j))
    return J


@twin(glove)
def _(C, U, V, b, c):
    rest = U @ V.T + b[:, None] + c[None, :] - jnp.log(C)
    return jnp.sum(jnp.clip(C, None, 1) ** 0.75 * jnp.square(rest))


@model("Sparse autoencoder", "Ng 2011", "Each hidden unit is to be active one time in twenty.")
def sparse_autoencoder():
    X = gc.input("X", ("n", 4))
    W, b, V, c = gc.param("W", (4, 6)), gc.param("b", (6,)), gc.param("V", (6, 4)), gc.param("c", (4,))
    H = gc.sigmoid(X @ W + b)
    p, q = 0.05, gc.mean(H, axis=0)
    J = gc.mean((H @ V + c - X) ** 2) - gc.sum(p * gc.log(q / p) + (1 - p) * gc.log((1 - q) / (1 - p)))
    return J


@twin(sparse_autoencoder)
def _(X, W, b, V, c):
    H = jax.nn.sigmoid(X @ W + b)
    active = H.mean(0)
    kl = jax.scipy.special.rel_entr(0.05, active) + jax.scipy.special.rel_entr(0.95, 1 - active)
    return jnp.mean((X - H @ V - c) ** 2) + kl.sum()


@model("t-SNE", "van der Maaten, Hinton 2008", "A map on which neighbours stay neighbours.", P=like(NEAR))
def tsne():
    P, Y = gc.input("P", (4, 4)), gc.param("Y", (4, 2))
    i, j, k = gc.indices("i j k")
    near = 1 / (1 + gc.sum((Y[i, k] - Y[j, k]) ** 2, over=k))
    Q = gc.define("Q", [i, j], gc.where(gc.equal(i, j), 0, near))
    Q = Q / gc.sum(Q)
    J = gc.sum(gc.where(P > 0, P * gc.log(P / Q), 0))
    return J


@twin(tsne)
def _(P, Y):
    first, second = jnp.triu_indices(4, k=1)
    weight = 1 / (1 + jnp.sum((Y[first] - Y[second]) ** 2, axis=1))
    p, q = P[first, second], weight / (2 * weight.sum())
    return 2 * jnp.sum(p * (jnp.log(p) - jnp.log(q)))


@model("Restricted Boltzmann machine", "Hinton 2002", "Data get a lower free energy than dreams.", X=binary, D=binary)
def boltzmann_machine():
    X, D = gc.input("X", ("n", 5)), gc.input("D", ("n", 5))
    W, a, b = gc.param("W", (5, 3)), gc.param("a", (5,)), gc.param("b", (3,))
    energy = lambda v: -(v @ a) - gc.sum(gc.log(1 + gc.exp(v @ W + b)), axis=1)
    J = gc.mean(energy(X) - energy(D))
    return J


@twin(boltzmann_machine)
def _(X, D, W, a, b):
    def energy(v):
        return -jnp.dot(v, a) - jnp.logaddexp(0, v @ W + b).sum()

    return jnp.mean(jax.vmap(energy)(X)) - jnp.mean(jax.vmap(energy)(D))


@model("Gaussian mixture", "Dempster et al. 1977", "Clouds of points; which one a point is from is not known.")
def gaussian_mixture():
    X = gc.input("X", ("n", 2))
    a, M, s = gc.param("a", (3,)), gc.param("M", (3, 2)), gc.param("s", (3, 2))
    i, c, k = gc.indices("i c k")
    inner = gc.sum((X[i, k] - M[c, k]) ** 2 * gc.exp(-2 * s[c, k]) / 2 + s[c, k], over=k)
    J = -gc.mean(gc.logsumexp(a[c] - inner, over=c), over=i) + gc.logsumexp(a)
    return J


@twin(gaussian_mixture)
def _(X, a, M, s):
    logpdf = jax.scipy.stats.norm.logpdf(X[:, None, :], M, jnp.exp(s)).sum(-1) + jnp.log(2 * jnp.pi)
    return -jax.nn.logsumexp(logpdf + jax.nn.log_softmax(a), axis=1).mean()


@model("Mixture density network", "Bishop 1994", "A network gives a mixture, for answers that are not unique.")
def mixture_density_network():
    X, T = gc.input("X", ("n", 2)), gc.input("T", ("n", 1))
    V, b = gc.param("V", (2, 5)), gc.param("b", (5,))
    A, M, S = gc.param("A", (5, 3)), gc.param("M", (5, 3)), gc.param("S", (5, 3))
    H = gc.tanh(X @ V + b)
    share, mean, spread = gc.softmax(H @ A), H @ M, gc.exp(H @ S)
    density = gc.exp(-(((T - mean) / spread) ** 2) / 2) / (spread * sympy.sqrt(2 * sympy.pi))
    J = -gc.mean(gc.log(gc.sum(share * density, axis=1)))
    return J


@twin(mixture_density_network)
def _(X, T, V, b, A, M, S):
    H = jnp.tanh(X @ V + b)
    parts = jax.nn.log_softmax(H @ A) + jax.scipy.stats.norm.logpdf(T, H @ M, jnp.exp(H @ S))
    return -jnp.mean(jax.nn.logsumexp(parts, axis=1))


@model("Mixture of experts", "Jacobs et al. 1991", "A gate shares each row among networks.")
def mixture_of_experts():
    X, T = gc.input("X", ("n", 3)), gc.input("T", ("n", 2))
    G, W, B = gc.param("G", (3, 4)), gc.param("W", (4, 3, 2)), gc.param("B", (4, 2))
    i, e, k, o, f = gc.indices("i e k o f")
    gate = gc.softmax(X @ G)
    expert = gc.define("expert", [i, e, o], gc.tanh(gc.sum(X[i, k] * W[e, k, o], over=k) + B[e, o]))
    far = gc.sum((T[i, o] - expert[i, e, o]) ** 2, over=o)
    J = -gc.mean(gc.log(gc.sum(gate[i, e] * gc.exp(-far / 2), over=e)), over=i)
    return J


@twin(mixture_of_experts)
def _(X, T, G, W, B):
    def row(x, t):
        answers = jnp.tanh(jnp.tensordot(x, W, axes=(0, 1)) + B)
        return jax.nn.logsumexp(jax.nn.log_softmax(x @ G) - jnp.sum((t - answers) ** 2, -1) / 2)

    return -jax.vmap(row)(X, T).mean()


@model("Reconstruction ICA", "Le et al. 2011", "Directions along which the data are far from normal.")
def reconstruction_ica():
    X, W = gc.input("X", ("n", 4)), gc.param("W", (4, 3))
    S = X @ W
    logcosh = gc.log((gc.exp(S) + gc.exp(-S)) / 2)
    J = gc.mean(gc.sum((S @ W.T - X) ** 2, axis=1)) + 0.3 * gc.mean(gc.sum(logcosh, axis=1))
    return J


@twin(reconstruction_ica)
def _(X, W):
    def row(x):
        s = W.T @ x
        return jnp.sum((W @ s - x) ** 2) + 0.3 * jnp.sum(jnp.logaddexp(s, -s) - jnp.log(2.0))

    return jax.vmap(row)(X).mean()
