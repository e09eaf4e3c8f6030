"""Regression: likelihoods of every kind on top of one linear predictor."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import sympy

import graphc as gc
from tests.gallery.entry import Room, binary, counts, labels, like, positive

ROOM = Room("Regression")
model, twin = ROOM.model, ROOM.twin


@model("Softmax regression", "Cox 1966", "Classes compete for each row.", L=labels(3))
def softmax_regression():
    X, L = gc.input("X", ("n", 4)), gc.input("L", ("n",), dtype="int64")
    W, b = gc.param("W", (4, 3)), gc.param("b", (3,))
    i, c = gc.indices("i c")
    Z = X @ W + b
    J = gc.mean(gc.logsumexp(Z[i, c], over=c) - Z[i, L[i]], over=i)
    return J


@twin(softmax_regression)
def _(X, L, W, b):
    return -jnp.mean(jax.nn.log_softmax(X @ W + b)[jnp.arange(len(L)), L])


@model("Elastic net", "Zou, Hastie 2005", "Least squares that keep weights few and small.")
def elastic_net():
    X, T = gc.input("X", ("n", 5)), gc.input("T", ("n",))
    w, b = gc.param("w", (5,)), gc.param("b", ())
    J = gc.mean((X @ w + b - T) ** 2) / 2 + 0.1 * (0.7 * gc.sum(gc.abs(w)) + 0.15 * gc.sum(w**2))
    return J


@twin(elastic_net)
def _(X, T, w, b):
    rest = jnp.dot(X, w) + b - T
    return 0.5 * jnp.mean(jnp.square(rest)) + 0.07 * jnp.linalg.norm(w, 1) + 0.015 * jnp.vdot(w, w)


@model("Probit regression", "Bliss 1934", "A class is the sign of a normal variable.", T=binary)
def probit_regression():
    X, T = gc.input("X", ("n", 3)), gc.input("T", ("n",))
    w, b = gc.param("w", (3,)), gc.param("b", ())
    P = (1 + gc.erf((X @ w + b) / sympy.sqrt(2))) / 2
    J = -gc.mean(T * gc.log(P) + (1 - T) * gc.log(1 - P))
    return J


@twin(probit_regression)
def _(X, T, w, b):
    signs = 2 * T - 1
    return -jax.scipy.special.log_ndtr(signs * (X @ w + b)).mean()


@model("Platt scaling", "Platt 1999", "A score becomes a probability.", T=binary)
def platt_scaling():
    S, T = gc.input("S", ("n",)), gc.input("T", ("n",))
    a, b = gc.param("a", ()), gc.param("b", ())
    P = 1 / (1 + gc.exp(a * S + b))
    J = -gc.mean(T * gc.log(P) + (1 - T) * gc.log(1 - P))
    return J


@twin(platt_scaling)
def _(S, T, a, b):
    z = -(a * S + b)
    return jnp.mean(jnp.where(T > 0, jax.nn.softplus(-z), jax.nn.softplus(z)))


@model("Ordinal regression", "McCullagh 1980", "Ordered classes lie between growing thresholds.", L=labels(4))
def ordinal_regression():
    X, L = gc.input("X", ("n", 3)), gc.input("L", ("n",), dtype="int64")
    w, d = gc.param("w", (3,)), gc.param("d", (3,))
    i = gc.indices("i")
    eta = (X @ w)[:, None]
    F = gc.sigmoid(gc.cumsum(gc.exp(d)) - 2 - eta)
    F = gc.concatenate([0 * eta, F, 0 * eta + 1], axis=1)
    P = F[:, 1:] - F[:, :-1]
    J = -gc.mean(gc.log(P[i, L[i]]), over=i)
    return J


@twin(ordinal_regression)
def _(X, L, w, d):
    cuts = jnp.concatenate([jnp.array([-jnp.inf]), jnp.cumsum(jnp.exp(d)) - 2, jnp.array([jnp.inf])])
    eta = X @ w
    return -jnp.log(jax.nn.sigmoid(cuts[L + 1] - eta) - jax.nn.sigmoid(cuts[L] - eta)).mean()


@model("Poisson regression", "Nelder, Wedderburn 1972", "Counts with the logarithm of their mean linear.", T=counts)
def poisson_regression():
    X, T = gc.input("X", ("n", 3)), gc.input("T", ("n",))
    w, b = gc.param("w", (3,)), gc.param("b", ())
    eta = X @ w + b
    J = gc.mean(gc.exp(eta) - T * eta)
    return J


@twin(poisson_regression)
def _(X, T, w, b):
    rate = jnp.exp(X @ w + b)
    return jnp.mean(rate - jax.scipy.special.xlogy(T, rate))


@model(
    "Negative binomial regression", "Lawless 1987",
    "Counts that vary more than Poisson's; log Γ(T + r)/Γ(r) is a sum of logarithms.", T=counts,
)  # fmt: skip
def negative_binomial_regression():
    X, T = gc.input("X", ("n", 3)), gc.input("T", ("n",))
    w, a = gc.param("w", (3,)), gc.param("a", ())
    i, k = gc.indices("i k", k=12)
    r, mu = gc.exp(a), gc.exp(X @ w)
    rising = gc.define("rising", [i], gc.sum(gc.where(k < T[i], gc.log(r + k), 0), over=k))
    J = gc.mean((T + r) * gc.log(r + mu) - r * a - T * gc.log(mu) - rising)
    return J


@twin(negative_binomial_regression)
def _(X, T, w, a):
    r, mu = jnp.exp(a), jnp.exp(X @ w)
    gammaln = jax.scipy.special.gammaln
    choose = gammaln(T + r) - gammaln(r)
    return -jnp.mean(choose + r * jnp.log(r / (r + mu)) + T * jnp.log(mu / (r + mu)))


@model("Tweedie regression", "Jørgensen 1987", "Amounts that are often zero.", T=counts)
def tweedie_regression():
    X, T = gc.input("X", ("n", 3)), gc.input("T", ("n",))
    w, b, p = gc.param("w", (3,)), gc.param("b", ()), 1.5
    mu = gc.exp(X @ w + b)
    J = gc.mean(mu ** (2 - p) / (2 - p) - T * mu ** (1 - p) / (1 - p))
    return J


@twin(tweedie_regression)
def _(X, T, w, b):
    eta = X @ w + b
    return 2 * jnp.mean(jnp.exp(eta / 2) + T * jnp.exp(-eta / 2))


@model("Quantile regression", "Koenker, Bassett 1978", "The line that a tenth of the rows lie above.")
def quantile_regression():
    X, T = gc.input("X", ("n", 3)), gc.input("T", ("n",))
    w, b = gc.param("w", (3,)), gc.param("b", ())
    u = T - X @ w - b
    J = gc.mean(gc.maximum(0.9 * u, -0.1 * u))
    return J


@twin(quantile_regression)
def _(X, T, w, b):
    u = T - (X @ w + b)
    return jnp.mean(u * (0.9 - (u < 0)))


@model("Heteroscedastic regression", "Nix, Weigend 1994", "A network gives a mean and a variance.")
def heteroscedastic_regression():
    X, T = gc.input("X", ("n", 3)), gc.input("T", ("n",))
    V, c, W, b = gc.param("V", (3, 5)), gc.param("c", (5,)), gc.param("W", (5, 2)), gc.param("b", (2,))
    Y = gc.tanh(X @ V + c) @ W + b
    mean, logvar = Y[:, 0], Y[:, 1]
    J = gc.mean(logvar + (T - mean) ** 2 * gc.exp(-logvar)) / 2
    return J


@twin(heteroscedastic_regression)
def _(X, T, V, c, W, b):
    def row(x, t):
        mean, logvar = jnp.tanh(x @ V + c) @ W + b
        return -jax.scipy.stats.norm.logpdf(t, mean, jnp.exp(logvar / 2)) - jnp.log(2 * jnp.pi) / 2

    return jax.vmap(row)(X, T).mean()


@model(
    "Cox partial likelihood", "Cox 1972", "Who fails next, among those still at risk.",
    T=positive, E=like([1.0, 1, 0, 1, 0, 1]),
)  # fmt: skip
def cox_partial_likelihood():
    X, T, E = gc.input("X", ("n", 3)), gc.input("T", ("n",)), gc.input("E", ("n",))
    w = gc.param("w", (3,))
    i, j = gc.indices("i j")
    eta = X @ w
    at_risk = gc.sum(gc.where(T[j] >= T[i], gc.exp(eta[j]), 0), over=j)
    J = -gc.mean(E[i] * (eta[i] - gc.log(at_risk)), over=i)
    return J


@twin(cox_partial_likelihood)
def _(X, T, E, w):
    order = jnp.argsort(-T)
    eta = (X @ w)[order]
    return jnp.mean(E[order] * (jax.lax.cumlogsumexp(eta) - eta))


@model("Bradley-Terry", "Bradley, Terry 1952", "Strengths of players from who beat whom.")
def bradley_terry():
    winner, loser = gc.input("winner", ("n",), dtype="int64"), gc.input("loser", ("n",), dtype="int64")
    s = gc.param("s", (5,))
    J = -gc.mean(gc.log(gc.exp(s[winner]) / (gc.exp(s[winner]) + gc.exp(s[loser])))) + 0.01 * gc.sum(s**2)
    return J


@twin(bradley_terry)
def _(winner, loser, s):
    return -jax.nn.log_sigmoid(s.take(winner) - s.take(loser)).mean() + 0.01 * s @ s
