"""Writes optimizers.json: where torch.optim and optax arrive with the same hundred gradients, in float64.

Run once by hand, ``python tests/goldens/make_optimizers.py``, with torch 2.13, optax 0.2.8 and jax 0.10 installed.
"""

# ruff: noqa: I001
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch

STEPS, SHAPES = 100, {"W": (3, 4), "b": (4,)}
KEPT = (1, 2, 6, 100)  # the steps after which theta is written down

TORCH = {
    "SGD": (torch.optim.SGD, {"lr": 0.05}),
    "SGD decay": (torch.optim.SGD, {"lr": 0.05, "weight_decay": 0.1}),
    "Momentum": (torch.optim.SGD, {"lr": 0.01, "momentum": 0.8, "weight_decay": 0.1}),
    "Momentum dampening": (torch.optim.SGD, {"lr": 0.01, "momentum": 0.8, "dampening": 0.3}),
    "Nesterov": (torch.optim.SGD, {"lr": 0.01, "momentum": 0.8, "nesterov": True, "weight_decay": 0.1}),
    "Adagrad": (torch.optim.Adagrad, {"lr": 0.1, "weight_decay": 0.1}),
    "RMSProp": (torch.optim.RMSprop, {"lr": 0.01, "alpha": 0.95, "weight_decay": 0.1}),
    "RMSProp mu": (torch.optim.RMSprop, {"lr": 0.01, "alpha": 0.95, "momentum": 0.7}),
    "RMSProp centred": (torch.optim.RMSprop, {"lr": 0.01, "alpha": 0.95, "centered": True}),
    "RMSProp centred mu": (torch.optim.RMSprop, {"lr": 0.01, "alpha": 0.95, "centered": True, "momentum": 0.7}),
    "Adam": (torch.optim.Adam, {"lr": 0.01, "weight_decay": 0.1}),
    "AdamW": (torch.optim.AdamW, {"lr": 0.01, "weight_decay": 0.1}),
    "AMSGrad": (torch.optim.Adam, {"lr": 0.01, "amsgrad": True}),
    "Adadelta": (torch.optim.Adadelta, {"lr": 0.7, "rho": 0.8, "weight_decay": 0.1}),
    "Adamax": (torch.optim.Adamax, {"lr": 0.01, "weight_decay": 0.1}),
    "NAdam": (torch.optim.NAdam, {"lr": 0.01, "weight_decay": 0.1}),
    "RAdam": (torch.optim.RAdam, {"lr": 0.01, "weight_decay": 0.1}),
    "Rprop": (torch.optim.Rprop, {"lr": 0.02, "step_sizes": (1e-3, 0.05)}),
    "ASGD": (torch.optim.ASGD, {"lr": 0.05, "lambd": 0.01, "t0": 20.0, "weight_decay": 0.1}),
    "Adafactor": (torch.optim.Adafactor, {"lr": 0.2, "eps": (1e-7, 1e-3), "d": 1.0, "weight_decay": 0.1}),
}
OPTAX = {
    "Lion": optax.lion(0.01, 0.9, 0.99, weight_decay=0.1),
    "AdaBelief": optax.adabelief(0.01),
    "Yogi": optax.yogi(0.01),
    "LAMB": optax.lamb(0.01, weight_decay=0.1),
}


def starts() -> dict[str, np.ndarray]:
    return {name: np.linspace(-1, 1, int(np.prod(shape))).reshape(shape) for name, shape in SHAPES.items()}


def gradients() -> dict[str, np.ndarray]:
    """A hundred gradients of each parameter, of all sizes from 1e-3 to 10, with a drift."""
    rng = np.random.default_rng(16)
    scale = {name: np.geomspace(1e-3, 10, int(np.prod(shape))).reshape(shape) for name, shape in SHAPES.items()}
    return {n: (rng.standard_normal((STEPS, *s)) + 0.3) * scale[n] for n, s in SHAPES.items()}


def by_torch(make, options) -> list[dict[str, list]]:
    torch.set_default_dtype(torch.float64)  # ASGD keeps its rate as a tensor of that precision
    theta = {n: torch.tensor(x, requires_grad=True) for n, x in starts().items()}
    optimizer, kept = make(list(theta.values()), **options, foreach=False), []
    for k in range(STEPS):
        for n, p in theta.items():
            p.grad = torch.tensor(gradients()[n][k])
        optimizer.step()
        if k + 1 in KEPT:
            kept.append({n: p.detach().numpy().tolist() for n, p in theta.items()})
            states = {n: optimizer.state[p] for n, p in theta.items()}
            kept[-1] |= {f"mean of {n}": s["ax"].numpy().tolist() for n, s in states.items() if "ax" in s}
    return kept


def by_optax(optimizer) -> list[dict[str, list]]:
    theta = {n: jnp.asarray(x) for n, x in starts().items()}
    state, kept, g = optimizer.init(theta), [], gradients()
    for k in range(STEPS):
        updates, state = optimizer.update({n: jnp.asarray(g[n][k]) for n in theta}, state, theta)
        theta = optax.apply_updates(theta, updates)
        if k + 1 in KEPT:
            kept.append({n: np.asarray(x).tolist() for n, x in theta.items()})
    return kept


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    found = {name: by_torch(*made) for name, made in TORCH.items()} | {n: by_optax(o) for n, o in OPTAX.items()}
    written = {"steps": KEPT, "gradients": {n: g.tolist() for n, g in gradients().items()}, "theta": found}
    Path(__file__).with_name("optimizers.json").write_text(json.dumps(written) + "\n")
