"""Losses that compare: classes, pairs, triplets, views of one thing, teachers and pupils."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import sympy

import graphc as gc
from tests.gallery.entry import Room, binary, labels, like

ROOM = Room("Losses that compare")
model, twin = ROOM.model, ROOM.twin


@model("Focal loss", "Lin et al. 2017", "Rows that are right already count less.", T=binary)
def focal_loss():
    X, T = gc.input("X", ("n", 4)), gc.input("T", ("n",))
    w, b = gc.param("w", (4,)), gc.param("b", ())
    P = gc.sigmoid(X @ w + b)
    J = -gc.mean(0.25 * T * (1 - P) ** 2 * gc.log(P) + 0.75 * (1 - T) * P**2 * gc.log(1 - P))
    return J


@twin(focal_loss)
def _(X, T, w, b):
    sign = 2 * T - 1
    margin = sign * (X @ w + b)
    weight = jnp.where(T > 0, 0.25, 0.75)
    return -(weight * jax.nn.sigmoid(-margin) ** 2 * jax.nn.log_sigmoid(margin)).mean()


@model("Label smoothing", "Szegedy et al. 2016", "The target keeps a tenth for all classes.", L=labels(4))
def label_smoothing():
    X, L = gc.input("X", ("n", 3)), gc.input("L", ("n",), dtype="int64")
    W, b = gc.param("W", (3, 4)), gc.param("b", (4,))
    i, c = gc.indices("i c", c=4)
    target = gc.define("target", [i, c], 0.9 * gc.equal(L[i], c) + 0.1 / 4)
    J = -gc.mean(gc.sum(target * gc.log(gc.softmax(X @ W + b)), axis=1))
    return J


@twin(label_smoothing)
def _(X, L, W, b):
    logp = jax.nn.log_softmax(X @ W + b)
    return -(0.9 * jnp.take_along_axis(logp, L[:, None], 1)[:, 0] + 0.1 * logp.mean(1)).mean()


@model("Knowledge distillation", "Hinton et al. 2015", "A pupil learns the soft answers of a teacher.", L=labels(4))
def knowledge_distillation():
    X, Z, L = gc.input("X", ("n", 3)), gc.input("Z", ("n", 4)), gc.input("L", ("n",), dtype="int64")
    W, b = gc.param("W", (3, 4)), gc.param("b", (4,))
    Y, tau = X @ W + b, 3
    P, Q = gc.softmax(Z / tau), gc.softmax(Y / tau)
    soft = gc.mean(gc.sum(P * (gc.log(P) - gc.log(Q)), axis=1))
    J = 0.3 * gc.losses.cross_entropy(Y, L) + 0.7 * tau**2 * soft
    return J


@twin(knowledge_distillation)
def _(X, Z, L, W, b):
    Y = X @ W + b
    hard = -jnp.mean(jnp.sum(jax.nn.one_hot(L, 4) * jax.nn.log_softmax(Y), -1))
    teacher, pupil = jax.nn.log_softmax(Z / 3), jax.nn.log_softmax(Y / 3)
    return 0.3 * hard + 0.7 * 9 * jnp.mean(jnp.sum(jnp.exp(teacher) * (teacher - pupil), -1))


@model("Triplet loss", "Schroff et al. 2015", "The like one is to be nearer than the other.")
def triplet_loss():
    A, P, N = (gc.input(name, ("n", 4)) for name in "APN")
    W = gc.param("W", (4, 3))
    a, p, n = (gc.tanh(X @ W) for X in (A, P, N))
    J = gc.mean(gc.relu(gc.sum((a - p) ** 2, axis=1) - gc.sum((a - n) ** 2, axis=1) + 1))
    return J


@twin(triplet_loss)
def _(A, P, N, W):
    def one(a, p, n):
        a, p, n = jnp.tanh(jnp.stack([a, p, n]) @ W)
        return jnp.maximum(0, jnp.sum((a - p) ** 2) - jnp.sum((a - n) ** 2) + 1)

    return jax.vmap(one)(A, P, N).mean()


@model("Siamese network", "Hadsell et al. 2006", "One network on both sides; pairs attract or repel.", T=binary)
def siamese_network():
    A, B, T = gc.input("A", ("n", 4)), gc.input("B", ("n", 4)), gc.input("T", ("n",))
    W, V = gc.param("W", (4, 5)), gc.param("V", (5, 2))
    D = gc.sqrt(gc.sum((gc.tanh(A @ W) @ V - gc.tanh(B @ W) @ V) ** 2, axis=1) + 1e-6)
    J = gc.mean(T * D**2 + (1 - T) * gc.relu(2 - D) ** 2)
    return J


@twin(siamese_network)
def _(A, B, T, W, V):
    net = lambda x: jnp.tanh(x @ W) @ V
    square = jnp.square(net(A) - net(B)).sum(-1) + 1e-6
    return jnp.where(T == 1, square, jnp.square(jnp.clip(2 - jnp.sqrt(square), 0))).mean()


@model("ArcFace", "Deng et al. 2019", "A margin is added to the angle of the right class.", L=labels(4))
def arcface():
    X, L = gc.input("X", ("n", 3)), gc.input("L", ("n",), dtype="int64")
    W, s, m = gc.param("W", (3, 4)), 4, sympy.pi / 6
    i, c = gc.indices("i c")
    C = (X / gc.sqrt(gc.sum(X**2, axis=1, keepdims=True))) @ (W / gc.sqrt(gc.sum(W**2, axis=0)))
    M = C * sympy.cos(m) - gc.sqrt(1 - C**2) * sympy.sin(m)
    Z = gc.define("Z", [i, c], s * gc.where(gc.equal(L[i], c), M[i, c], C[i, c]))
    J = gc.losses.cross_entropy(Z, L)
    return J


@twin(arcface)
def _(X, L, W):
    cosine = (X / jnp.linalg.norm(X, axis=1, keepdims=True)) @ (W / jnp.linalg.norm(W, axis=0))
    angle = jnp.arccos(cosine) + jnp.pi / 6 * jax.nn.one_hot(L, 4)
    return -jnp.mean(jax.nn.log_softmax(4 * jnp.cos(angle))[jnp.arange(len(L)), L])


@model("InfoNCE", "van den Oord et al. 2018", "Each view is to find its partner among all others.")
def info_nce():
    A, B = gc.input("A", ("n", 4)), gc.input("B", ("n", 4))
    W = gc.param("W", (4, 3))
    i, j = gc.indices("i j")
    S = gc.tanh(A @ W) @ gc.tanh(B @ W).T / 0.5
    J = gc.mean(gc.logsumexp(S[i, j], over=j) - S[i, i], over=i)
    return J


@twin(info_nce)
def _(A, B, W):
    logits = jnp.einsum("ik,jk->ij", jnp.tanh(A @ W), jnp.tanh(B @ W)) * 2
    return -jnp.mean(jnp.diag(jax.nn.log_softmax(logits, axis=1)))


@model(
    "Supervised contrastive loss", "Khosla et al. 2020", "All rows of a class are partners.",
    L=like([0, 1, 0, 2, 1, 0]),
)  # fmt: skip
def supervised_contrastive():
    X, L = gc.input("X", ("n", 4)), gc.input("L", ("n",), dtype="int64")
    W = gc.param("W", (4, 3))
    i, j = gc.indices("i j")
    H = gc.tanh(X @ W)
    S = H @ H.T
    rest = gc.log(gc.sum(gc.where(gc.equal(i, j), 0, gc.exp(S[i, j])), over=j))
    R = gc.define("R", [i], rest)
    pairs = gc.define("pairs", [i, j], gc.equal(L[i], L[j]) * (1 - gc.equal(i, j)))
    J = gc.sum(pairs[i, j] * (R[i] - S[i, j]), over=(i, j)) / gc.sum(pairs)
    return J


@twin(supervised_contrastive)
def _(X, L, W):
    H = jnp.tanh(X @ W)
    off = ~jnp.eye(len(L), dtype=bool)
    logp = jax.nn.log_softmax(jnp.where(off, H @ H.T, -jnp.inf), axis=1)
    pairs = (L[:, None] == L) & off
    return -jnp.sum(jnp.where(pairs, logp, 0)) / pairs.sum()


@model("Barlow twins", "Zbontar et al. 2021", "The correlations of two views become the identity.")
def barlow_twins():
    A, B = gc.input("A", ("n", 4)), gc.input("B", ("n", 4))
    W = gc.param("W", (4, 3))
    r, i, j = gc.indices("r i j")
    a, b = (H - gc.mean(H, axis=0) for H in (gc.tanh(A @ W), gc.tanh(B @ W)))
    a, b = (H / gc.sqrt(gc.mean(H**2, axis=0) + 0.01) for H in (a, b))
    C = gc.define("C", [i, j], gc.mean(a[r, i] * b[r, j], over=r))
    far = gc.where(gc.equal(i, j), (1 - C[i, j]) ** 2, 0.1 * C[i, j] ** 2)
    J = gc.sum(far, over=(i, j))
    return J


@twin(barlow_twins)
def _(A, B, W):
    def normal(H):
        return (H - H.mean(0)) / jnp.sqrt(H.var(0) + 0.01)

    C = normal(jnp.tanh(A @ W)).T @ normal(jnp.tanh(B @ W)) / len(A)
    on = jnp.diagonal(C)
    return jnp.sum((1 - on) ** 2) + 0.1 * (jnp.sum(C**2) - jnp.sum(on**2))


@model("VICReg", "Bardes et al. 2022", "Views agree, columns vary, columns are not the same.")
def vicreg():
    A, B = gc.input("A", ("n", 4)), gc.input("B", ("n", 4))
    W = gc.param("W", (4, 3))
    r, i, j = gc.indices("r i j")
    Z = gc.tanh(A @ W)
    H = Z - gc.mean(Z, axis=0)
    C = gc.define("C", [i, j], gc.mean(H[r, i] * H[r, j], over=r))
    spread = gc.mean(gc.relu(1 - gc.sqrt(C[i, i] + 0.01)), over=i)
    other = gc.sum(gc.where(gc.equal(i, j), 0, C[i, j] ** 2), over=(i, j)) / 3
    J = 25 * gc.mean((Z - gc.tanh(B @ W)) ** 2) + 25 * spread + other
    return J


@twin(vicreg)
def _(A, B, W):
    Z = jnp.tanh(A @ W)
    C = jnp.cov(Z, rowvar=False, bias=True)
    spread = jax.nn.relu(1 - jnp.sqrt(jnp.diag(C) + 0.01)).mean()
    other = jnp.sum(C.at[jnp.diag_indices(3)].set(0) ** 2) / 3
    return 25 * jnp.mean((Z - jnp.tanh(B @ W)) ** 2) + 25 * spread + other


@model(
    "Direct preference optimisation", "Rafailov et al. 2023",
    "The better answer becomes more likely, measured by a fixed policy.", good=labels(5), bad=labels(5),
)  # fmt: skip
def preference_optimisation():
    X, R = gc.input("X", ("n", 3)), gc.input("R", ("n", 5))
    good, bad = gc.input("good", ("n",), dtype="int64"), gc.input("bad", ("n",), dtype="int64")
    W = gc.param("W", (3, 5))
    i = gc.indices("i")
    D = gc.log(gc.softmax(X @ W)) - gc.log(gc.softmax(R))
    J = -gc.mean(gc.log(gc.sigmoid(0.5 * (D[i, good[i]] - D[i, bad[i]]))), over=i)
    return J


@twin(preference_optimisation)
def _(X, R, good, bad, W):
    def gain(x, r, g, b):
        policy, fixed = jax.nn.log_softmax(x @ W), jax.nn.log_softmax(r)
        return (policy[g] - policy[b]) - (fixed[g] - fixed[b])

    return -jax.nn.log_sigmoid(0.5 * jax.vmap(gain)(X, R, good, bad)).mean()
