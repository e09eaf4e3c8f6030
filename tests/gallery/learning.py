"""Generating, deciding, learning to learn."""

from __future__ import annotations

import jax
import jax.numpy as jnp

import graphc as gc
from tests.gallery.entry import Room, binary, labels, positive, shares, unit

ROOM = Room("Generating, deciding, learning to learn")
model, twin = ROOM.model, ROOM.twin


@model("RealNVP", "Dinh et al. 2017", "Half of a vector scales and shifts the other half, and back.")
def real_nvp():
    X = gc.input("X", ("n", 4))
    h, loss = X, 0
    for t in range(2):
        S, A, B = gc.param(f"S{t}", (2, 2)), gc.param(f"A{t}", (2, 3)), gc.param(f"B{t}", (3, 2))
        a, b = h[:, :2], h[:, 2:]
        s = gc.tanh(a @ S)
        h = gc.concatenate([b * gc.exp(s) + gc.tanh(a @ A) @ B, a], axis=1)
        loss = loss - gc.mean(gc.sum(s, axis=1))
    J = loss + gc.mean(gc.sum(h**2, axis=1)) / 2
    return J


@twin(real_nvp)
def _(X, S0, A0, B0, S1, A1, B1):
    def flow(x):
        for S, A, B in ((S0, A0, B0), (S1, A1, B1)):
            a, b = jnp.split(x, 2)
            x = jnp.concatenate([b * jnp.exp(jnp.tanh(a @ S)) + jnp.tanh(a @ A) @ B, a])
        return x

    def surprise(x):
        return jnp.sum(flow(x) ** 2) / 2 - jnp.linalg.slogdet(jax.jacfwd(flow)(x))[1]

    return jax.vmap(surprise)(X).mean()


@model("Planar flow", "Rezende, Mohamed 2015", "Space is bent along one direction; the volume is known.")
def planar_flow():
    X = gc.input("X", ("n", 3))
    u, w, b = gc.param("u", (3,)), gc.param("w", (3,)), gc.param("b", ())
    h = gc.tanh(X @ w + b)
    Z = X + u * h[:, None]
    volume = gc.abs(1 + (1 - h**2) * gc.sum(u * w))
    J = gc.mean(gc.sum(Z**2, axis=1) / 2 - gc.log(volume))
    return J


@twin(planar_flow)
def _(X, u, w, b):
    def bend(x):
        return x + u * jnp.tanh(jnp.vdot(w, x) + b)

    def surprise(x):
        return jnp.vdot(bend(x), bend(x)) / 2 - jnp.log(jnp.abs(jnp.linalg.det(jax.jacobian(bend)(x))))

    return jnp.mean(jax.vmap(surprise)(X))


@model("Variational autoencoder", "Kingma, Welling 2014", "A code with noise, kept near the normal one.", X=binary)
def variational_autoencoder():
    X, N = gc.input("X", ("n", 5)), gc.input("N", ("n", 2))
    W, M, S = gc.param("W", (5, 4)), gc.param("M", (4, 2)), gc.param("S", (4, 2))
    V, U = gc.param("V", (2, 4)), gc.param("U", (4, 5))
    H = gc.tanh(X @ W)
    mean, logvar = H @ M, H @ S
    P = gc.sigmoid(gc.tanh((mean + gc.exp(logvar / 2) * N) @ V) @ U)
    kl = gc.sum(gc.exp(logvar) + mean**2 - 1 - logvar, axis=1) / 2
    J = gc.mean(kl - gc.sum(X * gc.log(P) + (1 - X) * gc.log(1 - P), axis=1))
    return J


@twin(variational_autoencoder)
def _(X, N, W, M, S, V, U):
    def elbo(x, noise):
        h = jnp.tanh(x @ W)
        mean, scale = h @ M, jnp.exp(0.5 * (h @ S))
        z = jnp.tanh((mean + scale * noise) @ V) @ U
        kl = 0.5 * (scale**2 + mean**2) - 0.5 - jnp.log(scale)
        return jnp.sum(x * z - jax.nn.softplus(z)) - kl.sum()

    return -jax.vmap(elbo)(X, N).mean()


@model("WGAN-GP critic", "Gulrajani et al. 2017", "The critic's slope between true and made data is held at 1.", e=unit)
def wasserstein_critic():
    X, F, e = gc.input("X", ("n", 3)), gc.input("F", ("n", 3)), gc.input("e", ("n", 1))
    W, b, v = gc.param("W", (3, 5)), gc.param("b", (5,)), gc.param("v", (5,))
    critic = lambda x: gc.leaky_relu(x @ W + b, 0.2) @ v
    M = e * X + (1 - e) * F
    slope = gc.grad(gc.sum(critic(M)), M)
    J = gc.mean(critic(F) - critic(X)) + 10 * gc.mean((gc.sqrt(gc.sum(slope**2, axis=1)) - 1) ** 2)
    return J


@twin(wasserstein_critic)
def _(X, F, e, W, b, v):
    def critic(x):
        return jax.nn.leaky_relu(x @ W + b, 0.2) @ v

    def penalty(x, f, e):
        return (jnp.linalg.norm(jax.grad(critic)(f + e * (x - f))) - 1) ** 2

    return jnp.mean(critic(F)) - jnp.mean(critic(X)) + 10 * jax.vmap(penalty)(X, F, e).mean()


@model("Score matching", "Hyvärinen 2005", "A density without its constant, from slopes and their divergence.")
def score_matching():
    X, W, b, v = gc.input("X", ("n", 2)), gc.param("W", (2, 4)), gc.param("b", (4,)), gc.param("v", (4,))
    E = gc.sum(gc.softplus(X @ W + b) @ gc.exp(v))
    S = -gc.grad(E, X)
    curl = [gc.grad(gc.sum(S[:, k]), X)[:, k] for k in range(2)]
    J = gc.mean(curl[0] + curl[1] + gc.sum(S**2, axis=1) / 2)
    return J


@twin(score_matching)
def _(X, W, b, v):
    def logp(x):
        return -jax.nn.softplus(x @ W + b) @ jnp.exp(v)

    def objective(x):
        return jnp.trace(jax.hessian(logp)(x)) + jnp.sum(jax.grad(logp)(x) ** 2) / 2

    return jax.vmap(objective)(X).mean()


@model("Denoising diffusion", "Ho et al. 2020", "A network guesses the noise that was mixed in.", a=unit)
def denoising_diffusion():
    X, N, a = gc.input("X", ("n", 3)), gc.input("N", ("n", 3)), gc.input("a", ("n", 1))
    W, b, t, V = gc.param("W", (3, 5)), gc.param("b", (5,)), gc.param("t", (5,)), gc.param("V", (5, 3))
    Z = gc.sqrt(a) * X + gc.sqrt(1 - a) * N
    J = gc.mean((gc.silu(Z @ W + a * t + b) @ V - N) ** 2)
    return J


@twin(denoising_diffusion)
def _(X, N, a, W, b, t, V):
    def error(x, noise, a):
        z = jnp.sqrt(a) * x + jnp.sqrt(1 - a) * noise
        return jnp.square(jax.nn.swish(z @ W + t * a + b) @ V - noise).mean()

    return jax.vmap(error)(X, N, a[:, 0]).mean()


@model(
    "Sinkhorn distance", "Cuturi 2013", "Moving mass costs; three turns of scaling rows and columns.",
    p=shares, q=shares,
)  # fmt: skip
def sinkhorn_distance():
    p, q, A, B = gc.input("p", (4,)), gc.input("q", (3,)), gc.input("A", (4, 2)), gc.param("B", (3, 2))
    i, j, k = gc.indices("i j k")
    C = gc.define("C", [i, j], gc.sum((A[i, k] - B[j, k]) ** 2, over=k))
    K = gc.exp(-C)
    v = 1 + 0 * q
    for _ in range(3):
        u = p / (K @ v)
        v = q / (u @ K)
    J = gc.sum(u[:, None] * K * v * C)
    return J


@twin(sinkhorn_distance)
def _(p, q, A, B):
    cost = jnp.sum((A[:, None] - B[None]) ** 2, axis=-1)

    def turn(potentials, _):
        f = jnp.log(p) - jax.nn.logsumexp(potentials[1] - cost, axis=1)
        g = jnp.log(q) - jax.nn.logsumexp(f[:, None] - cost, axis=0)
        return (f, g), None

    (f, g), _ = jax.lax.scan(turn, (jnp.zeros(4), jnp.zeros(3)), length=3)
    return jnp.sum(jnp.exp(f[:, None] + g - cost) * cost)


@model("Model-agnostic meta-learning", "Finn et al. 2017", "Weights from which one step of descent learns a task.")
def meta_learning():
    X, T = gc.input("X", ("n", 2)), gc.input("T", ("n",))
    Xq, Tq = gc.input("Xq", ("n", 2)), gc.input("Tq", ("n",))
    W, v = gc.param("W", (2, 4)), gc.param("v", (4,))
    loss = lambda x, t, W, v: gc.mean((gc.tanh(x @ W) @ v - t) ** 2)
    dW, dv = gc.grad(loss(X, T, W, v), [W, v])
    J = loss(Xq, Tq, W - 0.3 * dW, v - 0.3 * dv)
    return J


@twin(meta_learning)
def _(X, T, Xq, Tq, W, v):
    def loss(weights, x, t):
        return jnp.mean((jnp.tanh(x @ weights[0]) @ weights[1] - t) ** 2)

    slopes = jax.grad(loss)((W, v), X, T)
    return loss(jax.tree.map(lambda w, s: w - 0.3 * s, (W, v), slopes), Xq, Tq)


@model(
    "Proximal policy optimisation", "Schulman et al. 2017", "Better actions, but not too far from what was done.",
    old=unit, act=labels(3),
)  # fmt: skip
def policy_optimisation():
    X, A = gc.input("X", ("n", 3)), gc.input("A", ("n",))
    act, old = gc.input("act", ("n",), dtype="int64"), gc.input("old", ("n",))
    W, b = gc.param("W", (3, 3)), gc.param("b", (3,))
    i = gc.indices("i")
    P = gc.softmax(X @ W + b)
    r = gc.define("r", [i], P[i, act[i]] / old[i])
    entropy = -gc.sum(P * gc.log(P), axis=1)
    J = -gc.mean(gc.minimum(r * A, gc.clip(r, 0.8, 1.2) * A) + 0.01 * entropy)
    return J


@twin(policy_optimisation)
def _(X, A, act, old, W, b):
    def gain(x, advantage, action, old):
        logp = jax.nn.log_softmax(x @ W + b)
        ratio = jnp.exp(logp[action] - jnp.log(old))
        bound = jnp.where(advantage > 0, jnp.minimum(ratio, 1.2), jnp.maximum(ratio, 0.8))
        return bound * advantage - 0.01 * jnp.sum(jnp.exp(logp) * logp)

    return -jax.vmap(gain)(X, A, act, old).mean()


@model("Temporal differences", "Sutton 1988", "A guess learns from the next guess, which counts as given.")
def temporal_differences():
    X, N, r = gc.input("X", ("n", 3)), gc.input("N", ("n", 3)), gc.input("r", ("n",))
    W, v = gc.param("W", (3, 4)), gc.param("v", (4,))
    value = lambda x: gc.tanh(x @ W) @ v
    J = gc.mean((r + 0.9 * gc.stop_gradient(value(N)) - value(X)) ** 2) / 2
    return J


@twin(temporal_differences)
def _(X, N, r, W, v):
    def value(x):
        return jnp.dot(jnp.tanh(jnp.dot(x, W)), v)

    return jnp.mean(0.5 * jnp.square(jax.lax.stop_gradient(r + 0.9 * value(N)) - value(X)))


@model("Soft Q-learning", "Haarnoja et al. 2017", "The value of a state is a soft maximum over actions.", act=labels(3))
def soft_q_learning():
    X, N, r = gc.input("X", ("n", 3)), gc.input("N", ("n", 3)), gc.input("r", ("n",))
    act, W, V = gc.input("act", ("n",), dtype="int64"), gc.param("W", (3, 4)), gc.param("V", (4, 3))
    i = gc.indices("i")
    Q = gc.tanh(X @ W) @ V
    target = r + 0.9 * 0.5 * gc.logsumexp(gc.tanh(N @ W) @ V / 0.5, axis=1)
    J = gc.mean((Q[i, act[i]] - target[i]) ** 2, over=i)
    return J


@twin(soft_q_learning)
def _(X, N, r, act, W, V):
    def error(x, n, r, a):
        q = lambda s: jnp.tanh(s @ W) @ V
        return q(x)[a] - r - 0.45 * jnp.log(jnp.sum(jnp.exp(2 * q(n))))

    return jnp.mean(jax.vmap(error)(X, N, r, act) ** 2)


@model("Mean-variance portfolio", "Markowitz 1952", "Return against the risk of all shares together.", R=positive)
def portfolio():
    R, a = gc.input("R", ("n", 4)), gc.param("a", (4,))
    y = R @ gc.softmax(a)
    J = 2 * gc.mean((y - gc.mean(y)) ** 2) - gc.mean(y)
    return J


@twin(portfolio)
def _(R, a):
    w = jax.nn.softmax(a)
    return 2 * w @ jnp.cov(R.T, bias=True) @ w - R.mean(0) @ w
