"""The networks of the field in PyTorch: what is made of the initial weights before training, and the loss."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from tests.benchmarks import networks as nets


def of_lenet(p):
    """Kernels (out, in, height, width); dense weights (out, in)."""
    return {k: v.transpose(3, 2, 0, 1) if k[0] == "K" else v.T for k, v in p.items()}


def lenet(p, x, y):
    for t in range(2):
        x = F.max_pool2d(F.relu(F.conv2d(x, p[f"K{t}"], p[f"k{t}"])), 2)
    x = x.flatten(1)
    for t in range(2):
        x = F.relu(F.linear(x, p[f"W{t}"], p[f"b{t}"]))
    return F.cross_entropy(F.linear(x, p["W2"], p["b2"]), y)


def of_matrices(p):
    return {k: v.T for k, v in p.items()}


def transformer(p, x, y):
    heads = lambda a: a.view(len(x), nets.LENGTH, nets.HEADS, -1).transpose(1, 2)
    norm = lambda a, scale, shift: F.layer_norm(a, (nets.WIDTH,), scale, shift)
    a = norm(x, p["g"], p["s"])
    mixed = F.scaled_dot_product_attention(*(heads(F.linear(a, p[name])) for name in "QKV"))
    h = x + F.linear(mixed.transpose(1, 2).reshape(x.shape), p["O"])
    h = h + F.linear(F.gelu(F.linear(norm(h, p["h"], p["t"]), p["U"], p["u"])), p["D"], p["d"])
    return F.mse_loss(h, y)


def of_lstm(p):
    joined = {name: np.concatenate([p[f"{name}{gate}"] for gate in nets.GATES], -1).T for name in "WUb"}
    return joined | {"V": p["V"].T, "v": p["v"]}


def lstm(p, x, y):
    """What ``torch.nn.LSTM`` calls."""
    zero = torch.zeros(1, len(x), nets.UNITS)
    weights = [p["W"], p["U"], p["b"], torch.zeros_like(p["b"])]
    _, h, _ = torch._VF.lstm(x, (zero, zero), weights, True, 1, 0.0, True, False, True)
    return F.cross_entropy(F.linear(h[0], p["V"], p["v"]), y)


def deep(p, h):
    last = len(p) // 2 - 1
    for t in range(last):
        h = torch.tanh(F.linear(h, p[f"W{t}"], p[f"b{t}"]))
    return F.linear(h, p[f"W{last}"], p[f"b{last}"])


def derivative(u, x):
    return torch.autograd.grad(u.sum(), x, create_graph=True)[0]


def burgers(p, x, t):
    x, t = (a.detach().requires_grad_() for a in (x, t))
    u = deep(p, torch.cat([x, t], 1))
    u_x, u_t = torch.autograd.grad(u.sum(), (x, t), create_graph=True)
    return (u_t + u * u_x - nets.VISCOSITY * derivative(u_x, x)).square().mean()


def order(k):
    def loss(p, x, y):
        x = x.detach().requires_grad_()
        u = deep(p, x)
        for _ in range(k):
            u = derivative(u, x)
        return F.mse_loss(u, y)

    return loss


LOSSES = {
    "lenet": lenet, "burgers": burgers, "transformer": transformer, "lstm": lstm,
    "order 4": order(4), "order 6": order(6),
}  # fmt: skip
PREPARED = {"lenet": of_lenet, "lstm": of_lstm}
DERIVATIVES = ("burgers", "order 4", "order 6")  # whose loss has derivatives, which torch.compile does not take


def prepared(network):
    """The initial weights in the form that the loss takes."""
    return {k: np.ascontiguousarray(v) for k, v in PREPARED.get(network, of_matrices)(nets.init(network)).items()}
