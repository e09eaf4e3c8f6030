"""Shapes, paths and views: distances of curves, flows, masks, codes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

import graphc as gc
from tests.gallery.entry import Room, binary, labels, positive, unit

ROOM = Room("Shapes, paths and views")
model, twin = ROOM.model, ROOM.twin


@model("Soft dynamic time warping", "Cuturi, Blondel 2017", "Two series that run at different paces.")
def soft_warping():
    x, y = gc.param("x", (4, 2)), gc.input("y", (5, 2))
    D = gc.sum((x[:, None] - y[None, :]) ** 2, axis=2)
    R = {(i, -1): np.inf for i in range(4)} | {(-1, j): np.inf for j in range(5)} | {(-1, -1): 0.0}
    for i in range(4):
        for j in range(5):
            before = [R[p] for p in ((i - 1, j), (i, j - 1), (i - 1, j - 1)) if not np.all(R[p] == np.inf)]
            soft = -0.5 * gc.logsumexp(gc.stack([-2 * b for b in before])) if len(before) > 1 else before[0]
            R[i, j] = D[i, j] + soft
    J = R[3, 4]
    return J


@twin(soft_warping)
def _(x, y):
    D = jnp.sum((x[:, None] - y[None]) ** 2, -1)
    R = np.full((5, 6), 1e10).tolist()
    R[0][0] = 0.0
    for i, j in np.ndindex(4, 5):
        three = jnp.array([R[i][j], R[i][j + 1], R[i + 1][j]])
        R[i + 1][j + 1] = D[i, j] - 0.5 * jax.nn.logsumexp(-three / 0.5)
    return R[4][5]


@model("Large deformations", "Miller et al. 2006", "Points flow along geodesics of a kernel until they lie on others.")
def large_deformations():
    q, p, target = gc.input("q", (5, 2)), gc.param("p", (5, 2)), gc.input("target", (5, 2))
    i, j, k = gc.indices("i j k")

    def energy(name, q, p):
        K = gc.define(name, [i, j], gc.exp(-gc.sum((q[i, k] - q[j, k]) ** 2, over=k) / 2))
        return gc.sum(p * (K @ p)) / 2

    start = energy("K0", q, p)
    x, m = q, p
    for t in range(3):
        dx, dm = gc.grad(energy(f"K{t + 1}", x, m), [m, x])
        x, m = x + dx / 3, m - dm / 3
    J = start + 5 * gc.sum((x - target) ** 2)
    return J


@twin(large_deformations)
def _(q, p, target):
    def energy(x, m):
        K = jnp.exp(-0.5 * jnp.sum((x[:, None] - x[None]) ** 2, -1))
        return 0.5 * jnp.einsum("ik,ij,jk->", m, K, m)

    x, m = q, p
    for _ in range(3):
        dx, dm = jax.grad(energy, (1, 0))(x, m)
        x, m = x + dx / 3, m - dm / 3
    return energy(q, p) + 5 * jnp.sum((x - target) ** 2)


@model("Predator and prey", "Volterra 1926", "Four rates of two animals, by steps of Runge and Kutta.", Y=positive)
def predator_and_prey():
    Y, r = gc.input("Y", (5, 2)), gc.param("r", (4,))
    a, b, c, d = (gc.exp(r[t] - 1) for t in range(4))
    f = lambda z: gc.stack([a * z[0] - b * z[0] * z[1], c * z[0] * z[1] - d * z[1]])

    def step(z, y):
        k1 = f(z)
        k2 = f(z + 0.1 * k1)
        k3 = f(z + 0.1 * k2)
        new = z + 0.2 / 6 * (k1 + 2 * k2 + 2 * k3 + f(z + 0.2 * k3))
        return new, gc.sum((gc.log(new) - gc.log(y)) ** 2)

    J = gc.sum(gc.scan(step, Y[0], Y[1:])[1])
    return J


@twin(predator_and_prey)
def _(Y, r):
    a, b, c, d = jnp.exp(r - 1)
    f = lambda z: jnp.array([z[0] * (a - b * z[1]), z[1] * (c * z[0] - d)])
    z, total = Y[0], 0.0
    for y in Y[1:]:
        k1 = f(z)
        k2 = f(z + 0.1 * k1)
        k3 = f(z + 0.1 * k2)
        z = z + 0.2 / 6 * (k1 + 2 * k2 + 2 * k3 + f(z + 0.2 * k3))
        total += jnp.sum(jnp.log(z / y) ** 2)
    return total


@model("Dice loss", "Milletari et al. 2016", "How much two regions of a picture overlap.", T=binary)
def dice_loss():
    X, T = gc.input("X", ("n", 1, 5, 5)), gc.input("T", ("n", 1, 5, 5))
    K, b = gc.param("K", (3, 3, 1, 1)), gc.param("b", ())
    P = gc.sigmoid(gc.conv2d(X, K, padding="same") + b)
    over = lambda A: gc.sum(A, axis=(1, 2, 3))
    J = gc.mean(1 - (2 * over(P * T) + 1) / (over(P**2) + over(T**2) + 1))
    return J


@twin(dice_loss)
def _(X, T, K, b):
    z = jax.lax.conv_general_dilated(X, K, (1, 1), "SAME", dimension_numbers=("NCHW", "HWIO", "NCHW")) + b
    P, T = jax.nn.sigmoid(z).reshape(len(X), -1), T.reshape(len(X), -1)
    return 1 - jnp.mean((2 * jnp.sum(P * T, 1) + 1) / (jnp.sum(P * P, 1) + jnp.sum(T, 1) + 1))


@model("Tversky loss", "Salehi et al. 2017", "Missed points cost more than those too many.", T=binary)
def tversky_loss():
    X, T, w = gc.input("X", ("n", 6, 3)), gc.input("T", ("n", 6)), gc.param("w", (3,))
    P = gc.sigmoid(X @ w)
    hit, more, less = gc.sum(P * T, axis=1), gc.sum(P * (1 - T), axis=1), gc.sum((1 - P) * T, axis=1)
    J = gc.mean((1 - hit / (hit + 0.3 * more + 0.7 * less + 1e-3)) ** 0.75)
    return J


@twin(tversky_loss)
def _(X, T, w):
    def one(x, t):
        p = jax.nn.sigmoid(x @ w)
        index = p @ t / (0.3 * p.sum() + 0.7 * t.sum() + 1e-3)
        return (1 - index) ** 0.75

    return jnp.mean(jax.vmap(one)(X, T))


@model("Gumbel softmax", "Jang et al. 2017", "A choice with noise that has slopes.", u=unit)
def gumbel_softmax():
    X, u, T = gc.input("X", ("n", 3)), gc.input("u", ("n", 4)), gc.input("T", ("n", 2))
    W, V, tau = gc.param("W", (3, 4)), gc.param("V", (4, 2)), gc.param("tau", ())
    logp = gc.log_softmax(X @ W, axis=1)
    Y = gc.softmax((logp - gc.log(-gc.log(u))) / gc.exp(tau), axis=1)
    J = gc.losses.mse(Y @ V, T) + 0.1 * gc.mean(gc.sum(gc.exp(logp) * logp, axis=1))
    return J


@twin(gumbel_softmax)
def _(X, u, T, W, V, tau):
    P = jax.nn.softmax(X @ W, -1)
    E = (P / -jnp.log(u)) ** jnp.exp(-tau)
    Y = E / E.sum(1, keepdims=True)
    return jnp.mean((Y @ V - T) ** 2) + 0.1 * jnp.mean(jnp.sum(P * jnp.log(P), 1))


@model("Variational dropout", "Molchanov et al. 2017", "Weights with noise of their own; what is all noise is dropped.")
def variational_dropout():
    X, E, T = gc.input("X", ("n", 4)), gc.input("E", ("n", 3)), gc.input("T", ("n", 3))
    W, s = gc.param("W", (4, 3)), gc.param("s", (4, 3))
    Y = X @ W + gc.sqrt(X**2 @ gc.exp(s - 3) + 1e-8) * E
    la = s - 3 - gc.log(W**2 + 1e-8)
    gain = 0.63576 * gc.sigmoid(1.8732 + 1.48695 * la) - 0.5 * gc.log(1 + gc.exp(-la))
    J = gc.losses.mse(Y, T) - 0.01 * gc.sum(gain - 0.63576)
    return J


@twin(variational_dropout)
def _(X, E, T, W, s):
    def row(x, e):
        return W.T @ x + e * jnp.sqrt(jnp.exp(s - 3).T @ (x * x) + 1e-8)

    la = jnp.log(jnp.exp(s - 3) / (W * W + 1e-8))
    kl = 0.63576 * (1 - jax.nn.sigmoid(1.8732 + 1.48695 * la)) + 0.5 * jax.nn.softplus(-la)
    return jnp.mean((jax.vmap(row)(X, E) - T) ** 2) + 0.01 * jnp.sum(kl)


@model("Capacity of a code", "Burgess et al. 2018", "A variational autoencoder that may tell so many nats.")
def code_capacity():
    X, E = gc.input("X", ("n", 4)), gc.input("E", ("n", 2))
    A, S, D = gc.param("A", (4, 2)), gc.param("S", (4, 2)), gc.param("D", (2, 4))
    m, logv = X @ A, X @ S
    Z = m + gc.exp(logv / 2) * E
    kl = gc.mean(gc.sum(gc.exp(logv) + m**2 - 1 - logv, axis=1)) / 2
    J = gc.mean(gc.sum((gc.tanh(Z) @ D - X) ** 2, axis=1)) + 10 * gc.abs(kl - 0.5)
    return J


@twin(code_capacity)
def _(X, E, A, S, D):
    m, sd = X @ A, jnp.exp(0.5 * X @ S)
    kl = jnp.mean(jnp.sum(0.5 * (sd**2 + m**2) - 0.5 - jnp.log(sd), -1))
    gap = kl - 0.5
    return jnp.mean(jnp.sum((jnp.tanh(m + sd * E) @ D - X) ** 2, -1)) + 10 * jnp.where(gap > 0, gap, -gap)


@model("NT-Xent", "Chen et al. 2020", "Two views of each row among all views but itself.")
def nt_xent():
    X, Y, W = gc.input("X", (4, 5)), gc.input("Y", (4, 5)), gc.param("W", (5, 3))
    Z = gc.concatenate([X, Y]) @ W
    Z = Z / gc.norm(Z, axis=1, keepdims=True)
    S = gc.where(np.eye(8) == 1, -np.inf, Z @ gc.transpose(Z) / 0.5)
    partner = (np.arange(8) + 4) % 8
    J = gc.losses.cross_entropy(S, partner)
    return J


@twin(nt_xent)
def _(X, Y, W):
    Z = jnp.concatenate([X, Y]) @ W
    Z = Z / jnp.linalg.norm(Z, axis=1, keepdims=True)
    E = jnp.exp(2 * Z @ Z.T) * (1 - jnp.eye(8))
    return jnp.mean(jnp.log(E.sum(1)) - 2 * jnp.sum(Z * jnp.roll(Z, 4, 0), 1))


@model("SimSiam", "Chen, He 2021", "Each view foretells the other, which counts as given.")
def simsiam():
    X, Y = gc.input("X", ("n", 4)), gc.input("Y", ("n", 4))
    W, V = gc.param("W", (4, 3)), gc.param("V", (3, 3))
    z = [gc.relu(A @ W + 0.1) for A in (X, Y)]
    cosine = lambda a, b: gc.sum(a * b, axis=1) / gc.sqrt(gc.sum(a**2, axis=1) * gc.sum(b**2, axis=1) + 1e-3)
    one, two = (cosine(a @ V, gc.stop_gradient(b)) for a, b in (z, z[::-1]))
    J = -gc.mean(one + two) / 2
    return J


@twin(simsiam)
def _(X, Y, W, V):
    a, b = jnp.maximum(X @ W + 0.1, 0), jnp.maximum(Y @ W + 0.1, 0)
    dots = lambda p, q: jnp.einsum("nk,nk->n", p, q)
    alike = lambda p, q: dots(p, q) / jnp.sqrt(dots(p, p) * dots(q, q) + 1e-3)
    fixed = jax.lax.stop_gradient
    return -0.5 * jnp.mean(alike(a @ V, fixed(b)) + alike(b @ V, fixed(a)))


@model("Quantiles that do not cross", "Bondell et al. 2010", "Three quantiles at once, in order.")
def uncrossed_quantiles():
    X, y, q = gc.input("X", ("n", 3)), gc.input("y", ("n",)), np.array([0.1, 0.5, 0.9])
    W, b = gc.param("W", (3, 3)), gc.param("b", (3,))
    Q = X @ W + b
    e = y[:, None] - Q
    J = gc.mean(gc.maximum(q * e, (q - 1) * e)) + gc.mean(gc.relu(Q[:, :-1] - Q[:, 1:]) ** 2)
    return J


@twin(uncrossed_quantiles)
def _(X, y, W, b):
    Q = X @ W + b
    under = jnp.array([0.1, 0.5, 0.9])
    gap = y[:, None] - Q
    crossed = jnp.clip(-jnp.diff(Q, axis=1), 0)
    return jnp.mean(jnp.where(gap > 0, under * gap, (under - 1) * gap)) + jnp.mean(crossed**2)


@model("Slot attention", "Locatello et al. 2020", "Slots compete for the parts of a scene, twice.")
def slot_attention():
    X, S = gc.input("X", ("n", 5, 3)), gc.param("S", (2, 3))
    Q, K, V = (gc.param(name, (3, 3)) for name in "QKV")
    slots = S + 0 * gc.mean(X, axis=1, keepdims=True)
    for _ in range(2):
        A = gc.softmax(gc.einsum("nsk,nik->nsi", gc.layer_norm(slots) @ Q, X @ K), axis=1)
        slots = slots + (A / gc.sum(A + 1e-3, axis=2, keepdims=True)) @ (X @ V)
    J = gc.mean(gc.sum((gc.softmax(slots @ gc.transpose(X, (0, 2, 1)), axis=1)[:, 0] - 0.5) ** 2, axis=1))
    return J


@twin(slot_attention)
def _(X, S, Q, K, V):
    def scene(x):
        slots = S
        for _ in range(2):
            m, v = slots.mean(1, keepdims=True), slots.var(1, keepdims=True)
            A = jax.nn.softmax(((slots - m) / jnp.sqrt(v + 1e-5) @ Q) @ (x @ K).T, axis=0)
            slots = slots + A / (A.sum(1, keepdims=True) + 5e-3) @ (x @ V)
        return jnp.sum((jax.nn.softmax(slots @ x.T, axis=0)[0] - 0.5) ** 2)

    return jnp.mean(jax.vmap(scene)(X))


@model("Householder flow", "Tomczak, Welling 2016", "A chain of mirrors turns a code.")
def householder_flow():
    X, E = gc.input("X", ("n", 4)), gc.input("E", ("n", 3))
    A, V, D = gc.param("A", (4, 3)), gc.param("V", (3, 3)), gc.param("D", (3, 4))
    z = X @ A + E
    for t in range(3):
        v = V[t]
        z = z - 2 * (z @ v)[:, None] * v / (v @ v)
    J = gc.mean(gc.sum((z @ D - X) ** 2 / 2, axis=1)) + gc.mean(gc.sum(z**2, axis=1)) / 2
    return J


@twin(householder_flow)
def _(X, E, A, V, D):
    mirror = lambda v: jnp.eye(3) - 2 * jnp.outer(v, v) / jnp.dot(v, v)
    z = (X @ A + E) @ mirror(V[0]) @ mirror(V[1]) @ mirror(V[2])
    return 0.5 * jnp.mean(jnp.sum((z @ D - X) ** 2, 1) + jnp.sum(z * z, 1))


@model("Sparse dynamics", "Brunton et al. 2016", "A law of motion from a few of many terms.")
def sparse_dynamics():
    Z, F, C = gc.input("Z", ("n", 2)), gc.input("F", ("n", 2)), gc.param("C", (6, 2))
    x, y = Z[:, 0], Z[:, 1]
    terms = gc.stack([gc.ones_like(x), x, y, x * y, x**2, y**2], axis=1)
    J = gc.losses.mse(terms @ C, F) + 0.05 * gc.sum(gc.sqrt(C**2 + 1e-4))
    return J


@twin(sparse_dynamics)
def _(Z, F, C):
    library = jax.vmap(lambda z: jnp.array([1.0, z[0], z[1], z[0] * z[1], z[0] ** 2, z[1] ** 2]))
    return jnp.mean((library(Z) @ C - F) ** 2) + 0.05 * jnp.sum(jnp.hypot(C, 0.01))


@model("Maximum mean discrepancy", "Gretton et al. 2012", "Do two clouds of points come from one source?")
def mean_discrepancy():
    X, Y, W = gc.input("X", (5, 3)), gc.input("Y", (4, 3)), gc.param("W", (3, 2))
    A, B = gc.tanh(X @ W), gc.tanh(Y @ W)

    def kernel(P, Q):
        D = gc.sum((P[:, None] - Q[None, :]) ** 2, axis=2)
        return gc.mean(sum(gc.exp(-D / (2 * s**2)) for s in (0.5, 1, 2)))

    J = 2 * kernel(A, B) - kernel(A, A) - kernel(B, B)
    return J


@twin(mean_discrepancy)
def _(X, Y, W):
    P = jnp.tanh(jnp.concatenate([X, Y]) @ W)
    D = jnp.sum(P**2, 1)[:, None] + jnp.sum(P**2, 1) - 2 * P @ P.T
    K = jnp.exp(-2 * D) + jnp.exp(-D / 2) + jnp.exp(-D / 8)
    sign = jnp.repeat(jnp.array([1 / 5, -1 / 4]), jnp.array([5, 4]), total_repeat_length=9)
    return -sign @ K @ sign


@model("Squeeze and excitation", "Hu et al. 2018", "Each channel of a picture is turned up or down.", L=labels(3))
def squeeze_excitation():
    X, L = gc.input("X", ("n", 4, 3, 3)), gc.input("L", ("n",), dtype="int64")
    A, B, C = gc.param("A", (4, 2)), gc.param("B", (2, 4)), gc.param("C", (4, 3))
    s = gc.sigmoid(gc.relu(gc.mean(X, axis=(2, 3)) @ A) @ B)
    H = gc.max(X * s[:, :, None, None], axis=(2, 3))
    J = gc.losses.cross_entropy(H @ C, L)
    return J


@twin(squeeze_excitation)
def _(X, L, A, B, C):
    s = jax.nn.sigmoid(jnp.maximum(X.mean((2, 3)) @ A, 0) @ B)
    z = jnp.max(X, (2, 3)) * s @ C
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(z), L[:, None], 1))
