"""Likelihoods with matrices, special functions or a memory."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import digamma, gammaln, ndtri

import graphc as gc
from tests.gallery.entry import Room, counts, like, unit

ROOM = Room("Likelihoods")
model, twin = ROOM.model, ROOM.twin

TIMES = np.cumsum([0.3, 0.5, 0.1, 0.9, 0.4, 0.2, 0.7])


def normal_nll(y, C):
    """0.5 y' C^-1 y + 0.5 log det C, by JAX."""
    L = jnp.linalg.cholesky(C)
    return 0.5 * jnp.sum(jax.scipy.linalg.solve_triangular(L, y, lower=True) ** 2) + jnp.sum(jnp.log(jnp.diag(L)))


@model("Spectral mixture kernel", "Wilson, Adams 2013", "A Gaussian process whose kernel is a sum of waves.")
def spectral_mixture():
    t, y = gc.input("t", (6,)), gc.input("y", (6,))
    w, m, v = (gc.param(name, (2,)) for name in "wmv")
    lag = (t[:, None] - t[None, :])[:, :, None]
    waves = gc.exp(w) * gc.exp(-2 * np.pi**2 * lag**2 * gc.exp(v - 3)) * gc.cos(2 * np.pi * lag * m)
    K = gc.sum(waves, axis=2) + 0.1 * np.eye(6)
    J = y @ gc.linalg.solve(K, y) / 2 + gc.linalg.slogdet(K)[1] / 2
    return J


@twin(spectral_mixture)
def _(t, y, w, m, v):
    lag = jnp.subtract.outer(t, t)
    kernel = lambda a, b, c: jnp.exp(a - 2 * jnp.pi**2 * lag**2 * jnp.exp(c - 3)) * jnp.cos(2 * jnp.pi * lag * b)
    return normal_nll(y, jax.vmap(kernel)(w, m, v).sum(0) + 0.1 * jnp.eye(6))


@model("Sparse Gaussian process", "Titsias 2009", "A few made-up points stand for all, at a bound of the likelihood.")
def sparse_process():
    X, y, Z = gc.input("X", (7, 2)), gc.input("y", (7,)), gc.param("Z", (3, 2))
    s, i, j, k = gc.param("s", (2,)), *gc.indices("i j k")
    square = lambda name, A, B: gc.define(name, [i, j], gc.sum(gc.exp(s[k]) * (A[i, k] - B[j, k]) ** 2, over=k))
    Kuu, Kuf = gc.exp(-square("uu", Z, Z)) + 1e-3 * np.eye(3), gc.exp(-square("uf", Z, X))
    Q = gc.transpose(Kuf) @ gc.linalg.solve(Kuu, Kuf)
    C = Q + 0.2 * np.eye(7)
    J = (y @ gc.linalg.solve(C, y) + gc.linalg.slogdet(C)[1]) / 2 + (7 - gc.trace(Q)) / 0.4
    return J


@twin(sparse_process)
def _(X, y, Z, s):
    K = lambda A, B: jnp.exp(-jnp.sum(jnp.exp(s) * (A[:, None] - B[None]) ** 2, -1))
    A = jax.scipy.linalg.solve_triangular(jnp.linalg.cholesky(K(Z, Z) + 1e-3 * jnp.eye(3)), K(Z, X), lower=True)
    return normal_nll(y, A.T @ A + 0.2 * jnp.eye(7)) + (7 - jnp.sum(A**2)) / 0.4


@model("Probabilistic principal components", "Tipping, Bishop 1999", "A plane with noise of one size around it.")
def probabilistic_components():
    X, W, s = gc.input("X", ("n", 4)), gc.param("W", (4, 2)), gc.param("s", ())
    C = W @ gc.transpose(W) + gc.exp(s) * np.eye(4)
    J = gc.mean(gc.sum(X * (X @ gc.linalg.inv(C)), axis=1)) / 2 + gc.log(gc.linalg.det(C)) / 2
    return J


@twin(probabilistic_components)
def _(X, W, s):
    C = W @ W.T + jnp.exp(s) * jnp.eye(4)
    return jnp.mean(jax.vmap(lambda x: x @ jnp.linalg.solve(C, x))(X)) / 2 + jnp.linalg.slogdet(C)[1] / 2


@model("Determinantal point process", "Kulesza, Taskar 2012", "Sets of things that are not like each other.")
def determinantal_process():
    X, W, places = gc.input("X", (6, 3)), gc.param("W", (3, 4)), np.array([0, 2, 5])
    B = gc.tanh(X @ W)
    L = B @ gc.transpose(B) + 0.1 * np.eye(6)
    chosen = L[places][:, places]
    J = gc.linalg.slogdet(L + np.eye(6))[1] - gc.linalg.slogdet(chosen)[1]
    return J


@twin(determinantal_process)
def _(X, W):
    B = jnp.tanh(X @ W)
    L, S = B @ B.T + 0.1 * jnp.eye(6), np.ix_([0, 2, 5], [0, 2, 5])
    half = lambda A: 2 * jnp.sum(jnp.log(jnp.diag(jnp.linalg.cholesky(A))))
    return half(L + jnp.eye(6)) - half(L[S])


@model("Gaussian copula", "Song 2000", "How uniform numbers hang together.", U=unit)
def gaussian_copula():
    U, A = gc.input("U", ("n", 3)), gc.param("A", (3, 2))
    z, C = gc.special.ndtri(U), A @ gc.transpose(A) + np.eye(3)
    d = gc.sqrt(gc.diagonal(C))
    R = C / (d[:, None] * d[None, :])
    inner = gc.sum(z * (z @ (gc.linalg.inv(R) - np.eye(3))), axis=1)
    J = gc.linalg.slogdet(R)[1] / 2 + gc.mean(inner) / 2
    return J


@twin(gaussian_copula)
def _(U, A):
    C = A @ A.T + jnp.eye(3)
    R = C / jnp.sqrt(jnp.outer(jnp.diag(C), jnp.diag(C)))
    one = lambda z: normal_nll(z, R) - 0.5 * z @ z
    return jnp.mean(jax.vmap(one)(ndtri(U)))


@model("Beta regression", "Ferrari, Cribari-Neto 2004", "Shares between 0 and 1.", y=unit)
def beta_regression():
    X, y = gc.input("X", ("n", 3)), gc.input("y", ("n",))
    w, b, phi = gc.param("w", (3,)), gc.param("b", ()), gc.param("phi", ())
    m, size = gc.sigmoid(X @ w + b), gc.exp(phi + 1)
    p, q = m * size, (1 - m) * size
    logs = gc.special.gammaln(p) + gc.special.gammaln(q) - gc.special.gammaln(size)
    J = gc.mean(logs - (p - 1) * gc.log(y) - (q - 1) * gc.log(1 - y))
    return J


@twin(beta_regression)
def _(X, y, w, b, phi):
    m, size = jax.nn.sigmoid(X @ w + b), jnp.exp(phi + 1)
    return -jnp.mean(jax.scipy.stats.beta.logpdf(y, m * size, (1 - m) * size))


@model("Pólya distribution", "Minka 2000", "Counts of words of texts whose shares differ.", N=counts)
def polya():
    N, a = gc.input("N", ("n", 4)), gc.exp(gc.param("a", (4,)))
    lg = gc.special.gammaln
    total, all_of = gc.sum(N, axis=1), gc.sum(a)
    J = gc.mean(lg(total + all_of) - lg(all_of) - gc.sum(lg(N + a) - lg(a), axis=1))
    return J


@twin(polya)
def _(N, a):
    def one(n):  # a product of (a_k + 0) (a_k + 1) .. up to the count
        rises = jnp.arange(20.0)
        log_rise = lambda c, m: jnp.sum(jnp.where(rises < m, jnp.log(c + rises), 0))
        return log_rise(jnp.sum(jnp.exp(a)), jnp.sum(n)) - sum(log_rise(jnp.exp(a[k]), n[k]) for k in range(4))

    return jnp.mean(jax.vmap(one)(N))


@model("Zero-inflated Poisson regression", "Lambert 1992", "Counts; some are zero for another reason.", y=counts)
def zero_inflated():
    X, y = gc.input("X", ("n", 3)), gc.input("y", ("n",))
    w, v = gc.param("w", (3,)), gc.param("v", (3,))
    rate, never = gc.exp(X @ w), gc.sigmoid(X @ v)
    some = gc.log(1 - never) + y * gc.log(rate) - rate - gc.special.gammaln(y + 1)
    J = -gc.mean(gc.where(gc.equal(y, 0), gc.log(never + (1 - never) * gc.exp(-rate)), some))
    return J


@twin(zero_inflated)
def _(X, y, w, v):
    some = jax.nn.log_sigmoid(-X @ v) + jax.scipy.stats.poisson.logpmf(y, jnp.exp(X @ w))
    return -jnp.mean(jnp.where(y == 0, jnp.logaddexp(jax.nn.log_sigmoid(X @ v), some), some))


@model("Student regression", "Lange et al. 1989", "Outliers count little; how little is learned.")
def student_regression():
    X, y = gc.input("X", ("n", 3)), gc.input("y", ("n",))
    w, s, f = gc.param("w", (3,)), gc.param("s", ()), gc.param("f", ())
    nu, lg = 1 + gc.exp(f), gc.special.gammaln
    z = (y - X @ w) / gc.exp(s)
    J = gc.mean((nu + 1) / 2 * gc.log(1 + z**2 / nu)) + s + lg(nu / 2) - lg((nu + 1) / 2) + gc.log(np.pi * nu) / 2
    return J


@twin(student_regression)
def _(X, y, w, s, f):
    return -jnp.mean(jax.scipy.stats.t.logpdf(y, 1 + jnp.exp(f), loc=X @ w, scale=jnp.exp(s)))


@model("Kalman filter", "Kalman 1960", "What is seen of a hidden state that moves, step by step.")
def kalman_filter():
    Y, F, H = gc.input("Y", (5, 2)), gc.param("F", (3, 3)), gc.param("H", (2, 3))

    def step(carry, y):
        m, P = F @ carry[0], F @ carry[1] @ gc.transpose(F) + 0.1 * np.eye(3)
        S = H @ P @ gc.transpose(H) + 0.5 * np.eye(2)
        K, e = P @ gc.transpose(H) @ gc.linalg.inv(S), y - H @ m
        return (m + K @ e, P - K @ H @ P), e @ gc.linalg.solve(S, e) + gc.linalg.slogdet(S)[1]

    J = gc.sum(gc.scan(step, (np.zeros(3), np.eye(3)), Y)[1]) / 2
    return J


@twin(kalman_filter)
def _(Y, F, H):
    m, P, total = jnp.zeros(3), jnp.eye(3), 0.0
    for y in Y:
        m, P = F @ m, F @ P @ F.T + 0.1 * jnp.eye(3)
        S = H @ P @ H.T + 0.5 * jnp.eye(2)
        total += normal_nll(y - H @ m, S)
        K = jnp.linalg.solve(S, H @ P).T
        m, P = m + K @ (y - H @ m), (jnp.eye(3) - K @ H) @ P
    return total


@model("GARCH", "Bollerslev 1986", "Quiet days follow quiet days.")
def garch():
    r, a = gc.input("r", (8,)), gc.param("a", (3,))
    base, shock, past = gc.exp(a[0] - 1), gc.sigmoid(a[1]) / 2, gc.sigmoid(a[2]) / 2
    _, v = gc.scan(lambda v, x: (base + shock * x**2 + past * v, v), gc.exp(a[0]), r)
    J = gc.mean(gc.log(v) + r**2 / v) / 2
    return J


@twin(garch)
def _(r, a):
    v, total = jnp.exp(a[0]), 0.0
    for x in r:
        total += 0.5 * (jnp.log(v) + x * x / v)
        v = jnp.exp(a[0] - 1) + 0.5 * jax.nn.sigmoid(a[1]) * x * x + 0.5 * jax.nn.sigmoid(a[2]) * v
    return total / len(r)


@model("Hawkes process", "Hawkes 1971", "Events that call for events.", t=like(TIMES))
def hawkes():
    t, a = gc.input("t", (7,)), gc.param("a", (3,))
    mu, jump, decay = gc.exp(a[0]), gc.exp(a[1]), gc.exp(a[2])
    i, j = gc.indices("i j", i=7, j=7)
    past = gc.define("past", [i], gc.sum(gc.where(j < i, gc.exp(-decay * (t[i] - t[j])), 0), over=j))
    whole = mu * 4 + jump / decay * gc.sum(1 - gc.exp(-decay * (4 - t)))
    J = whole - gc.sum(gc.log(mu + jump * past))
    return J


@twin(hawkes)
def _(t, a):
    mu, jump, decay = jnp.exp(a)
    A, logs = 0.0, jnp.log(mu)
    for k in range(1, 7):
        A = jnp.exp(-decay * (t[k] - t[k - 1])) * (1 + A)
        logs += jnp.log(mu + jump * A)
    return 4 * mu - jump / decay * jnp.sum(jnp.expm1(-decay * (4 - t))) - logs


@model("Evidential regression", "Amini et al. 2020", "How sure a network is, and how sure of that.")
def evidential_regression():
    X, y, W = gc.input("X", ("n", 3)), gc.input("y", ("n",)), gc.param("W", (3, 4))
    h, lg = gc.tanh(X) @ W, gc.special.gammaln
    m, v, a, b = h[:, 0], gc.softplus(h[:, 1]), gc.softplus(h[:, 2]) + 1, gc.softplus(h[:, 3])
    o = 2 * b * (1 + v)
    nll = gc.log(np.pi / v) / 2 - a * gc.log(o) + (a + 0.5) * gc.log((y - m) ** 2 * v + o) + lg(a) - lg(a + 0.5)
    J = gc.mean(nll + 0.01 * gc.abs(y - m) * (2 * v + a))
    return J


@twin(evidential_regression)
def _(X, y, W):
    m, v, a, b = (jnp.tanh(X) @ W).T
    v, a, b = jax.nn.softplus(v), jax.nn.softplus(a) + 1, jax.nn.softplus(b)
    logp = jax.scipy.stats.t.logpdf(y, 2 * a, loc=m, scale=jnp.sqrt(b * (1 + v) / (v * a)))
    return jnp.mean(-logp + 0.01 * jnp.abs(y - m) * (2 * v + a))


@model("Variational Dirichlet", "Blei et al. 2003", "Shares of a text beside those of all texts.", N=counts)
def dirichlet_divergence():
    N, a, b = gc.input("N", ("n", 4)), gc.param("a", (4,)), gc.param("b", (4,))
    q, p = N + gc.exp(a), gc.exp(b)
    lg, psi = gc.special.gammaln, gc.special.digamma
    kl = gc.sum((q - p) * (psi(q) - psi(gc.sum(q, axis=1, keepdims=True))) - lg(q), axis=1)
    J = gc.mean(kl + lg(gc.sum(q, axis=1))) + gc.sum(lg(p)) - lg(gc.sum(p))
    return J


@twin(dirichlet_divergence)
def _(N, a, b):
    def one(n):
        q, p = n + jnp.exp(a), jnp.exp(b)
        norm = lambda c: jnp.sum(gammaln(c)) - gammaln(jnp.sum(c))
        return norm(p) - norm(q) + jnp.dot(q - p, digamma(q) - digamma(q.sum()))

    return jnp.mean(jax.vmap(one)(N))
