"""PyTorch. Modes:

``eager``         functional operations and torch.optim with its defaults
``eager_fused``   the same with ``fused=True``
``compile``       torch.compile of the loss; the fused update stays eager
``compile_step``  the whole step (forward, torch.func gradient, update) as one fullgraph Inductor graph
``compile_cpp``   ``compile_step`` with Inductor's cpp_wrapper: no Python between the kernels

The mini-batches are views of resident tensors. Several copies are batched products, in the modes whose update is
written out here: torch.optim takes one learning rate.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F

from tests.benchmarks import NotExpressible, torch_networks
from tests.benchmarks import workloads as wl

ACT = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "elu": F.elu,
    "gelu": F.gelu,
    "leaky_relu": lambda z: F.leaky_relu(z, 0.01),
    "linear": lambda z: z,
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "softmax": lambda z: torch.softmax(z, -1),
    "softplus": F.softplus,
    "custom": lambda z: z * torch.sigmoid(1.7 * z) + torch.sin(z).square() / 10,
}
LOSS = {"ce": F.cross_entropy, "mse": F.mse_loss, "bce": F.binary_cross_entropy_with_logits}


def linear(w, x, weight, bias):
    """Dense weights are (out, in), and (copies, in, out) for several copies."""
    if w.copies == 1:
        return F.linear(x, weight, bias)
    return torch.baddbmm(bias.unsqueeze(1), x.expand(w.copies, *x.shape[-2:]), weight)


def loss(w, params, x, y):
    if w.network:
        return torch_networks.LOSSES[w.network](params, x, y)
    for layer in range(wl.depth(w)):
        x = linear(w, x, params[f"W{layer}"], params[f"b{layer}"])
        if layer < wl.depth(w) - 1:
            x = ACT[w.act](x)
    if w.copies > 1:  # summed over the copies, so that each gets its own gradient
        return F.binary_cross_entropy_with_logits(x, y.expand_as(x), reduction="sum") / y.numel()
    return LOSS[w.loss](x, y)


def autograd_step(w, mode, params):
    """``step(x, y) -> loss`` with autograd and torch.optim."""
    leaves = [p.requires_grad_(True) for p in params.values()]
    fused = None if mode == "eager" else True
    if w.opt == "adam":
        optimizer = torch.optim.Adam(leaves, lr=w.lr, fused=fused)
    else:
        optimizer = torch.optim.SGD(leaves, lr=w.lr, momentum=w.momentum, fused=fused)
    value = lambda x, y: loss(w, params, x, y)
    if mode == "compile":
        value = torch.compile(value)

    def step(x, y):
        optimizer.zero_grad(set_to_none=True)
        result = value(x, y)
        result.backward()
        optimizer.step()
        return result.detach()

    return step


def update(w, rates, params, m, v, t, g):
    """In-place update of ``params``, the moments ``m, v`` and the step number ``t``; ``rates`` are those of copies."""
    t.add_(1)
    c1, c2 = 1 - wl.B1**t, 1 - wl.B2**t
    for k, p in params.items():
        if w.opt == "sgd":
            p.copy_(p - w.lr * g[k])
        elif w.opt == "momentum":
            m[k].copy_(w.momentum * m[k] + g[k])
            p.copy_(p - w.lr * m[k])
        else:
            m[k].copy_(wl.B1 * m[k] + (1 - wl.B1) * g[k])
            v[k].copy_(wl.B2 * v[k] + (1 - wl.B2) * g[k] * g[k])
            rate = w.lr if rates is None else rates.view(-1, *[1] * (p.ndim - 1))
            p.copy_(p - rate * (m[k] / c1) / ((v[k] / c2).sqrt() + wl.EPS))


def whole_step(w, mode, params):
    """``step(x, y) -> loss`` as one compiled graph."""
    m, v = ({k: torch.zeros_like(p) for k, p in params.items()} for _ in range(2))
    # Shape (1,), not (): Inductor of torch 2.13 silently drops in-place updates of 0-dim float64 CPU tensors.
    t = torch.zeros(1, dtype=getattr(torch, w.dtype))
    rates = torch.from_numpy(wl.learning_rates(w)) if w.copies > 1 else None

    def step(params, m, v, t, x, y):
        g, value = torch.func.grad_and_value(lambda q: loss(w, q, x, y))(params)
        with torch.no_grad():
            update(w, rates, params, m, v, t, g)
        return value / w.copies

    options = {"cpp_wrapper": True} if mode == "compile_cpp" else None
    compiled = torch.compile(step, fullgraph=True, options=options)
    return lambda x, y: compiled(params, m, v, t, x, y)


def parameters(w):
    """The initial weights, as :func:`linear` wants them."""
    if w.network:
        return {k: torch.from_numpy(v) for k, v in torch_networks.prepared(w.network).items()}
    if w.copies > 1:
        return {k: torch.from_numpy(v).repeat(w.copies, *[1] * v.ndim) for k, v in wl.init(w).items()}
    return {k: torch.from_numpy(v.T.copy()) for k, v in wl.init(w).items()}


class Peer:
    def __init__(self, w: wl.Workload, mode: str, threads: int) -> None:
        torch.set_num_threads(threads)
        X, Y = wl.data(w)
        pairs = zip(torch.from_numpy(X).split(w.batch), torch.from_numpy(Y).split(w.batch), strict=True)
        self.batches = itertools.cycle(list(pairs))
        by_optim = mode.startswith("eager") or mode == "compile"
        if by_optim and w.copies > 1:
            raise NotExpressible("torch.optim takes one learning rate")
        if "compile" in mode and w.network in torch_networks.DERIVATIVES:
            raise NotExpressible("torch.compile takes no loss that has derivatives")
        self.step = (autograd_step if by_optim else whole_step)(w, mode, parameters(w))

    def run(self, n: int, keep: bool = False) -> list[float]:
        losses = []
        step = self.step
        for x, y in itertools.islice(self.batches, n):
            value = step(x, y)
            if keep:
                losses.append(float(value))
        return losses
