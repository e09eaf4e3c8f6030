"""Equations of motion and of fields; derivatives in space and time are taken by gc.grad."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import sympy

import graphc as gc
from tests.gallery.entry import Room, binary, like, unit

ROOM = Room("Physics")
model, twin = ROOM.model, ROOM.twin


@model("SIREN", "Sitzmann et al. 2020", "Sines give a distance to a curve: 0 on it, a slope of 1 everywhere.")
def siren():
    X, S = gc.input("X", ("n", 2)), gc.input("S", ("n", 2))
    W, b, V, c = gc.param("W", (2, 4)), gc.param("b", (4,)), gc.param("V", (4, 4)), gc.param("c", (4,))
    v = gc.param("v", (4,))
    field = lambda x: gc.sin(gc.sin(3 * (x @ W + b)) @ V + c) @ v
    slope = gc.grad(gc.sum(field(X)), X)
    J = gc.mean((gc.sqrt(gc.sum(slope**2, axis=1)) - 1) ** 2) + gc.mean(field(S) ** 2)
    return J


@twin(siren)
def _(X, S, W, b, V, c, v):
    def field(x):
        return jnp.sin(jnp.sin(3 * (x @ W + b)) @ V + c) @ v

    eikonal = jax.vmap(lambda x: jnp.linalg.norm(jax.grad(field)(x)) - 1)(X)
    return jnp.mean(eikonal**2) + jnp.mean(jax.vmap(field)(S) ** 2)


@model("Physics-informed network", "Raissi et al. 2019", "A network that obeys Burgers' equation.")
def physics_informed_network():
    x, t, x0 = gc.input("x", ("n",)), gc.input("t", ("n",)), gc.input("x0", ("n",))
    W, c, v = gc.param("W", (2, 5)), gc.param("c", (5,)), gc.param("v", (5,))
    net = lambda x, t: gc.tanh(gc.stack([x, t], axis=1) @ W + c) @ v
    u = net(x, t)
    u_t, u_x = gc.grad(gc.sum(u), [t, x])
    u_xx = gc.grad(gc.sum(u_x), x)
    J = gc.mean((u_t + u * u_x - 0.1 * u_xx) ** 2) + gc.mean((net(x0, 0 * x0) + gc.sin(x0)) ** 2)
    return J


@twin(physics_informed_network)
def _(x, t, x0, W, c, v):
    def u(x, t):
        return jnp.tanh(x * W[0] + t * W[1] + c) @ v

    def residual(x, t):
        u_xx = jax.grad(jax.grad(u))(x, t)
        return jax.grad(u, 1)(x, t) + u(x, t) * jax.grad(u)(x, t) - 0.1 * u_xx

    start = jax.vmap(u, (0, None))(x0, 0.0) + jnp.sin(x0)
    return jnp.mean(jax.vmap(residual)(x, t) ** 2) + jnp.mean(start**2)


@model("Hamiltonian network", "Greydanus et al. 2019", "A network is the energy; its slopes are the motion.")
def hamiltonian_network():
    q, p = gc.input("q", ("n", 2)), gc.input("p", ("n", 2))
    dq, dp = gc.input("dq", ("n", 2)), gc.input("dp", ("n", 2))
    A, B, b, v = gc.param("A", (2, 5)), gc.param("B", (2, 5)), gc.param("b", (5,)), gc.param("v", (5,))
    H = gc.sum(gc.tanh(q @ A + p @ B + b) @ v)
    Hq, Hp = gc.grad(H, [q, p])
    J = gc.mean((dq - Hp) ** 2) + gc.mean((dp + Hq) ** 2)
    return J


@twin(hamiltonian_network)
def _(q, p, dq, dp, A, B, b, v):
    def energy(z):
        return jnp.tanh(z @ jnp.concatenate([A, B]) + b) @ v

    slope = jax.vmap(jax.grad(energy))(jnp.hstack([q, p]))
    motion = slope @ jnp.kron(jnp.array([[0.0, -1], [1, 0]]), jnp.eye(2))
    return 2 * jnp.mean((jnp.hstack([dq, dp]) - motion) ** 2)


@model("Lagrangian network", "Cranmer et al. 2020", "A network is the action; its Euler-Lagrange equation holds.")
def lagrangian_network():
    q, v, a = gc.input("q", ("n",)), gc.input("v", ("n",)), gc.input("a", ("n",))
    W, c, w = gc.param("W", (2, 4)), gc.param("c", (4,)), gc.param("w", (4,))
    L = gc.sum(gc.softplus(gc.stack([q, v], axis=1) @ W + c) @ w + v**2 / 2)
    Lq, Lv = gc.grad(L, [q, v])
    Lvq, Lvv = gc.grad(gc.sum(Lv), [q, v])
    J = gc.mean((Lvv * a + Lvq * v - Lq) ** 2)
    return J


@twin(lagrangian_network)
def _(q, v, a, W, c, w):
    def action(q, v):
        return jax.nn.softplus(W[0] * q + W[1] * v + c) @ w + v**2 / 2

    def residual(q, v, a):
        momentum = jax.grad(action, argnums=1)
        _, change = jax.jvp(momentum, (q, v), (v, a))
        return change - jax.grad(action)(q, v)

    return jnp.mean(jnp.square(jax.vmap(residual)(q, v, a)))


@model("Neural ordinary differential equation", "Chen et al. 2018", "A network is a velocity; two Runge-Kutta steps.")
def neural_ode():
    X, T = gc.input("X", ("n", 2)), gc.input("T", ("n", 2))
    W, V = gc.param("W", (2, 4)), gc.param("V", (4, 2))
    f = lambda x: gc.tanh(x @ W) @ V
    h = sympy.Rational(1, 2)
    for _ in range(2):
        k1 = f(X)
        k2 = f(X + h / 2 * k1)
        k3 = f(X + h / 2 * k2)
        k4 = f(X + h * k3)
        X = X + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    J = gc.mean((X - T) ** 2)
    return J


@twin(neural_ode)
def _(X, T, W, V):
    h = 0.5

    def step(x, _):
        k, total = jnp.zeros_like(x), jnp.zeros_like(x)
        for weight, place in [(1, 0), (2, h / 2), (2, h / 2), (1, h)]:
            k = jnp.tanh((x + place * k) @ W) @ V
            total = total + weight * k
        return x + h / 6 * total, None

    return jnp.mean((jax.lax.scan(step, X, length=2)[0] - T) ** 2)


@model("Epidemic", "Kermack, McKendrick 1927", "Infected people from day to day.", I=like([0.1, 0.2, 0.25]))
def epidemic():
    I, b, g = gc.input("I", (3,)), gc.param("b", ()), gc.param("g", ())
    s, i, J = 0.95, 0.05, 0
    for t in range(3):
        new, well = gc.exp(b) * s * i, gc.exp(g) * i
        s, i = (s - new).named(f"s{t}"), (i + new - well).named(f"i{t}")
        J = J + (i - I[t]) ** 2
    return J


@twin(epidemic)
def _(I, b, g):
    def day(state, seen):
        flow = jnp.array([[-1, 0], [1, -1]]) @ jnp.array([jnp.exp(b) * state[0] * state[1], jnp.exp(g) * state[1]])
        return state + flow, (state[1] + flow[1] - seen) ** 2

    return jax.lax.scan(day, jnp.array([0.95, 0.05]), I)[1].sum()


@model("Kuramoto oscillators", "Kuramoto 1975", "Pendulums that pull each other into step.")
def kuramoto_oscillators():
    x, w, K = gc.input("x", (4,)), gc.param("w", (4,)), gc.param("K", (4, 4))
    i, j = gc.indices("i j")
    for t in range(3):
        pull = gc.sum(K[i, j] * gc.sin(x[j] - x[i]), over=j)
        x = gc.define(f"x{t}", [i], x[i] + 0.1 * (w[i] + pull))
    J = 1 - gc.mean(gc.cos(x)) ** 2 - gc.mean(gc.sin(x)) ** 2
    return J


@twin(kuramoto_oscillators)
def _(x, w, K):
    def step(x, _):
        return x + 0.1 * (w + jnp.sum(K * jnp.sin(x[None, :] - x[:, None]), axis=1)), None

    x, _ = jax.lax.scan(step, x, length=3)
    return 1 - jnp.abs(jnp.exp(1j * x).mean()) ** 2


@model("Hopfield energy", "Ramsauer et al. 2021", "Stored patterns are low places; a noisy one rolls into them.")
def hopfield_energy():
    X, N, P = gc.input("X", ("n", 4)), gc.input("N", ("n", 4)), gc.param("P", (3, 4))
    x = X + 0.3 * N
    E = gc.sum(x**2) / 2 - gc.sum(gc.logsumexp(2 * x @ P.T, axis=1)) / 2
    x = x - gc.grad(E, x)
    J = gc.mean(gc.sum((x - X) ** 2, axis=1))
    return J


@twin(hopfield_energy)
def _(X, N, P):
    recall = jax.nn.softmax(2 * (X + 0.3 * N) @ P.T) @ P
    return jnp.mean(jnp.sum((recall - X) ** 2, axis=-1))


@model("DeepONet", "Lu et al. 2021", "From a function, seen at a few places, to a function.")
def deep_operator_network():
    U, y, T = gc.input("U", ("n", 5)), gc.input("y", ("n", 1)), gc.input("T", ("n",))
    A, B = gc.param("A", (5, 4)), gc.param("B", (4, 3))
    C, c, D, b = gc.param("C", (1, 4)), gc.param("c", (4,)), gc.param("D", (4, 3)), gc.param("b", ())
    branch, trunk = gc.tanh(U @ A) @ B, gc.tanh(gc.tanh(y @ C + c) @ D)
    J = gc.mean((gc.sum(branch * trunk, axis=1) + b - T) ** 2)
    return J


@twin(deep_operator_network)
def _(U, y, T, A, B, C, c, D, b):
    def operator(u, y):
        return jnp.vdot(jnp.tanh(u @ A) @ B, jnp.tanh(jnp.tanh(y * C[0] + c) @ D)) + b

    return jnp.mean((jax.vmap(operator)(U, y[:, 0]) - T) ** 2)


@model("Ising model by pseudolikelihood", "Besag 1975", "Each spin is told by its neighbours on a torus.", S=binary)
def ising_pseudolikelihood():
    S, k, h = gc.input("S", (4, 5)), gc.param("k", ()), gc.param("h", ())
    i, j = gc.indices("i j", i=4, j=5)
    s = 2 * S - 1
    near = s[(i + 1) % 4, j] + s[(i + 3) % 4, j] + s[i, (j + 1) % 5] + s[i, (j + 4) % 5]
    J = gc.mean(gc.log(1 + gc.exp(-2 * s[i, j] * (k * near + h))), over=(i, j))
    return J


@twin(ising_pseudolikelihood)
def _(S, k, h):
    s = 2 * S - 1
    near = sum(jnp.roll(s, shift, axis) for shift in (1, -1) for axis in (0, 1))
    return jax.nn.softplus(-2 * s * (k * near + h)).mean()


@model("Heat equation, inverse", "Tikhonov 1943", "From what is left on a cooling ring back to its beginning.", T=unit)
def inverse_heat():
    T, u = gc.input("T", (6,)), gc.param("u", (6,))
    i = gc.indices("i")
    x = u
    for t in range(2):
        x = gc.define(f"x{t}", [i], x[i] + 0.2 * (x[(i + 1) % 6] - 2 * x[i] + x[(i + 5) % 6]))
    J = gc.sum((x - T) ** 2) + 0.01 * gc.sum((u[1:] - u[:-1]) ** 2)
    return J


@twin(inverse_heat)
def _(T, u):
    laplace = jnp.roll(jnp.eye(6), 1, 0) + jnp.roll(jnp.eye(6), -1, 0) - 2 * jnp.eye(6)
    x = jnp.linalg.matrix_power(jnp.eye(6) + 0.2 * laplace, 2) @ u
    return jnp.sum((x - T) ** 2) + 0.01 * jnp.sum(jnp.diff(u) ** 2)
