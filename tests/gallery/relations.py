"""Relations, rankings and places in curved spaces."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

import graphc as gc
from tests.gallery.entry import Room, binary, labels

ROOM = Room("Relations and rankings")
model, twin = ROOM.model, ROOM.twin

PAIRS = {"h": labels(5), "r": labels(3), "t": labels(5)}


@model("Tucker decomposition", "Tucker 1966", "A table of three axes from a small core and a matrix for each axis.")
def tucker_decomposition():
    T, G = gc.input("T", (4, 3, 5)), gc.param("G", (2, 2, 3))
    A, B, C = gc.param("A", (4, 2)), gc.param("B", (3, 2)), gc.param("C", (5, 3))
    J = gc.sum((gc.einsum("pqr,ip,jq,kr->ijk", G, A, B, C) - T) ** 2) / 2
    return J


@twin(tucker_decomposition)
def _(T, G, A, B, C):
    found = jnp.tensordot(A, jnp.tensordot(B, jnp.tensordot(C, G, (1, 2)), (1, 2)), (1, 2))
    return 0.5 * jnp.sum((found - T) ** 2)


@model("TransE", "Bordes et al. 2013", "A relation is a step from one thing to another.", **PAIRS, o=labels(5))
def translated_embedding():
    h, r, t, o = (gc.input(name, ("n",), dtype="int64") for name in "hrto")
    E, R = gc.param("E", (5, 3)), gc.param("R", (3, 3))
    distance = lambda a, b: gc.norm(E[a] + R[r] - E[b], axis=1)
    J = gc.mean(gc.relu(1 + distance(h, t) - distance(h, o)))
    return J


@twin(translated_embedding)
def _(h, r, t, o, E, R):
    def far(a, b):
        square = jnp.sum((E[a] + R[r] - E[b]) ** 2, -1)
        return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)

    return jnp.mean(jnp.maximum(0, 1 + far(h, t) - far(h, o)))


@model("ComplEx", "Trouillon et al. 2016", "Relations that are not symmetric, by complex numbers.", **PAIRS, y=binary)
def complex_embedding():
    h, r, t = (gc.input(name, ("n",), dtype="int64") for name in "hrt")
    y = gc.input("y", ("n",))
    A, B, P, Q = (gc.param(name, (count, 3)) for name, count in zip("ABPQ", (5, 5, 3, 3)))
    real = A[h] * P[r] * A[t] + B[h] * P[r] * B[t] + A[h] * Q[r] * B[t] - B[h] * Q[r] * A[t]
    J = gc.mean(gc.log(1 + gc.exp((1 - 2 * y) * gc.sum(real, axis=1))))
    return J


@twin(complex_embedding)
def _(h, r, t, y, A, B, P, Q):
    score = jnp.sum(((A[h] + 1j * B[h]) * (P[r] + 1j * Q[r]) * jnp.conj(A[t] + 1j * B[t])).real, 1)
    return jnp.mean(jax.nn.softplus((1 - 2 * y) * score))


@model("RotatE", "Sun et al. 2019", "A relation turns each number of a thing by an angle.", **PAIRS, y=binary)
def rotated_embedding():
    h, r, t = (gc.input(name, ("n",), dtype="int64") for name in "hrt")
    y = gc.input("y", ("n",))
    A, B, angle = gc.param("A", (5, 3)), gc.param("B", (5, 3)), gc.param("angle", (3, 3))
    c, s = gc.cos(angle)[r], gc.sin(angle)[r]
    real, imaginary = A[h] * c - B[h] * s - A[t], A[h] * s + B[h] * c - B[t]
    distance = gc.sum(gc.sqrt(real**2 + imaginary**2 + 1e-6), axis=1)
    J = -gc.mean(gc.log(gc.sigmoid((2 * y - 1) * (2 - distance))))
    return J


@twin(rotated_embedding)
def _(h, r, t, y, A, B, angle):
    z = (A + 1j * B)[h] * jnp.exp(1j * angle)[r] - (A + 1j * B)[t]
    distance = jnp.sum(jnp.sqrt(z.real**2 + z.imag**2 + 1e-6), -1)
    return -jnp.mean(jax.nn.log_sigmoid((2 * y - 1) * (2 - distance)))


@model("Neural tensor network", "Socher et al. 2013", "A bilinear form a slice, and a layer, judge a pair.", y=binary)
def neural_tensor_network():
    A, B, y = gc.input("A", ("n", 3)), gc.input("B", ("n", 3)), gc.input("y", ("n",))
    W, V, u = gc.param("W", (2, 3, 3)), gc.param("V", (6, 2)), gc.param("u", (2,))
    i, p, q, s = gc.indices("i p q s")
    form = gc.define("form", [i, s], gc.sum(A[i, p] * W[s, p, q] * B[i, q], over=(p, q)))
    score = gc.tanh(form + gc.concatenate([A, B], axis=1) @ V) @ u
    J = gc.losses.bce_with_logits(score, y) + 1e-3 * gc.sum(W**2)
    return J


@twin(neural_tensor_network)
def _(A, B, y, W, V, u):
    score = jnp.tanh(jnp.einsum("np,spq,nq->ns", A, W, B) + jnp.hstack([A, B]) @ V) @ u
    return jnp.mean(jax.nn.softplus(score) - y * score) + 1e-3 * jnp.sum(W**2)


@model("Poincaré embedding", "Nickel, Kiela 2017", "Trees fit into a disc whose rim is far away.", h=labels(6))
def poincare_embedding():
    h, E = gc.input("h", ("n",), dtype="int64"), gc.param("E", (6, 2))
    U = E / (1 + gc.norm(E, axis=1, keepdims=True))  # inside of the disc
    i, j, k = gc.indices("i j k")
    square = gc.define("square", [i, j], gc.sum((U[i, k] - U[j, k]) ** 2, over=k))
    room = 1 - gc.sum(U**2, axis=1)
    D = gc.arccosh(1 + 1e-9 + 2 * square / (room[:, None] * room[None, :]))
    J = gc.mean(D[h, 0] + gc.logsumexp(-D, axis=1)[h])
    return J


@twin(poincare_embedding)
def _(h, E):
    U = E / (1 + jnp.sqrt(jnp.sum(E**2, 1, keepdims=True)))
    gap = jnp.sum((U[:, None] - U[None]) ** 2, -1)
    room = 1 - jnp.sum(U * U, -1)
    D = jnp.arccosh(1 + 1e-9 + 2 * gap / jnp.outer(room, room))
    return jnp.mean(D[h, 0] + jax.nn.logsumexp(-D, 1)[h])


@model("Lorentz embedding", "Nickel, Kiela 2018", "The same tree on a hyperboloid.", h=labels(6), t=labels(6))
def lorentz_embedding():
    h, t = gc.input("h", ("n",), dtype="int64"), gc.input("t", ("n",), dtype="int64")
    E = gc.param("E", (6, 2))
    time = gc.sqrt(1 + gc.sum(E**2, axis=1))
    inner = gc.sum(E[h] * E[t], axis=1) - time[h] * time[t]
    J = gc.mean(gc.arccosh(1e-6 - inner) ** 2)
    return J


@twin(lorentz_embedding)
def _(h, t, E):
    P = jnp.hstack([jnp.sqrt(1 + jnp.sum(E**2, 1, keepdims=True)), E])
    inner = jnp.einsum("nk,k,nk->n", P[h], jnp.array([-1.0, 1, 1]), P[t])
    return jnp.mean(jnp.arccosh(1e-6 - inner) ** 2)


@model("Plackett-Luce", "Plackett 1975", "An order of four, chosen one after the other.")
def plackett_luce():
    X, w = gc.input("X", ("n", 4, 3)), gc.param("w", (3,))  # the first of the four won
    s = gc.tanh(X) @ w
    i, a, b = gc.indices("i a b", a=4)
    rest = gc.define("rest", [i, a], gc.logsumexp(gc.where(b >= a, s[i, b], -np.inf), over=b))
    J = gc.mean(gc.sum(rest - s, axis=1))
    return J


@twin(plackett_luce)
def _(X, w):
    s = jnp.tanh(X) @ w
    return jnp.mean(sum(jax.nn.logsumexp(s[:, a:], 1) - s[:, a] for a in range(4)))


@model("ListNet", "Cao et al. 2007", "The chance to come first, of grades and of scores.")
def listnet():
    X, G = gc.input("X", ("n", 5, 3)), gc.input("G", ("n", 5))
    w, v = gc.param("w", (3, 4)), gc.param("v", (4,))
    J = -gc.mean(gc.sum(gc.softmax(G, axis=1) * gc.log_softmax(gc.relu(X @ w) @ v, axis=1), axis=1))
    return J


@twin(listnet)
def _(X, G, w, v):
    z = jnp.maximum(X @ w, 0) @ v
    return jnp.mean(jnp.sum(jax.nn.softmax(G) * (jax.nn.logsumexp(z, 1, keepdims=True) - z), 1))


@model("Item response", "Birnbaum 1968", "Skill against difficulty, and guessing.", s=labels(4), q=labels(5), y=binary)
def item_response():
    s, q = gc.input("s", ("n",), dtype="int64"), gc.input("q", ("n",), dtype="int64")
    y, skill = gc.input("y", ("n",)), gc.param("skill", (4,))
    hard, sharp, guess = (gc.param(name, (5,)) for name in ("hard", "sharp", "guess"))
    c = gc.sigmoid(guess - 1)[q]
    P = c + (1 - c) * gc.sigmoid(gc.exp(sharp[q]) * (skill[s] - hard[q]))
    J = -gc.mean(y * gc.log(P) + (1 - y) * gc.log(1 - P)) + 0.1 * gc.mean(skill**2)
    return J


@twin(item_response)
def _(s, q, y, skill, hard, sharp, guess):
    c = jax.nn.sigmoid(guess[q] - 1)
    P = c + (1 - c) * jax.nn.sigmoid(jnp.exp(sharp[q]) * (skill[s] - hard[q]))
    return -jnp.mean(jnp.where(y > 0, jnp.log(P), jnp.log1p(-P))) + 0.1 * jnp.mean(skill**2)


@model("Neighbourhood components", "Goldberger et al. 2004", "A map in which neighbours share classes.", L=labels(2))
def neighbourhood_components():
    X, L, A = gc.input("X", (7, 4)), gc.input("L", (7,), dtype="int64"), gc.param("A", (4, 2))
    Z = X @ A
    i, j, k = gc.indices("i j k")
    D = gc.define("D", [i, j], gc.sum((Z[i, k] - Z[j, k]) ** 2, over=k))
    P = gc.define("P", [i, j], gc.where(gc.equal(i, j), -np.inf, -D[i, j]))
    same = gc.define("same", [i, j], gc.equal(L[i], L[j]))
    J = -gc.mean(gc.sum(gc.softmax(P, axis=1) * same, axis=1))
    return J


@twin(neighbourhood_components)
def _(X, L, A):
    Z = X @ A
    D = jnp.sum((Z[:, None] - Z) ** 2, -1)
    E = jnp.exp(-D) * (1 - np.eye(7))
    return -jnp.mean(jnp.sum(E * (L[:, None] == L), 1) / E.sum(1))


@model("Circle loss", "Sun et al. 2020", "Like ones and others, each with a weight of its own.")
def circle_loss():
    X, P, N = gc.input("X", ("n", 4)), gc.input("P", ("n", 3, 4)), gc.input("N", ("n", 5, 4))
    W = gc.param("W", (4, 3))
    unit = lambda A: A / gc.norm(A, axis=-1, keepdims=True)
    x, p, n = unit(X @ W), unit(P @ W), unit(N @ W)
    near, far = gc.sum(p * x[:, None], axis=2), gc.sum(n * x[:, None], axis=2)
    a, b = gc.stop_gradient(gc.relu(1.25 - near)), gc.stop_gradient(gc.relu(far + 0.25))
    J = gc.mean(gc.softplus(gc.logsumexp(4 * b * (far - 0.25), axis=1) + gc.logsumexp(-4 * a * (near - 0.75), axis=1)))
    return J


@twin(circle_loss)
def _(X, P, N, W):
    unit = lambda A: A / jnp.sqrt(jnp.sum(A * A, -1, keepdims=True))
    x = unit(X @ W)
    near, far = jnp.einsum("nk,npk->np", x, unit(P @ W)), jnp.einsum("nk,npk->np", x, unit(N @ W))
    a = jax.lax.stop_gradient(jnp.maximum(0, 1.25 - near))
    b = jax.lax.stop_gradient(jnp.maximum(0, far + 0.25))
    rise = jnp.sum(jnp.exp(4 * b * (far - 0.25)), 1) * jnp.sum(jnp.exp(-4 * a * (near - 0.75)), 1)
    return jnp.mean(jnp.log(1 + rise))
