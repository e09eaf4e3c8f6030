"""Writes schedules.json: the values of schedules of torch and optax at the first steps, in float64.

Run once by hand, ``python tests/goldens/make_schedules.py``, with torch 2.13, optax 0.2.8 and jax 0.10 installed.
"""

# ruff: noqa: I001
import json
from pathlib import Path

import jax
import optax
import torch
from torch.optim import lr_scheduler as lrs

STEPS, ETA = 60, 0.1


def by_torch(make, *args, **options) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], ETA)
    schedule, values = make(optimizer, *args, **options), []
    for _ in range(STEPS):
        values.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        schedule.step()
    return values


def then(optimizer):
    parts = [lrs.LinearLR(optimizer, 0.1, 1.0, 10), lrs.CosineAnnealingLR(optimizer, 50, 0.01)]
    return lrs.SequentialLR(optimizer, parts, [10])


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    parts = [optax.linear_schedule(0.01, ETA, 10), optax.cosine_decay_schedule(ETA, 50)]
    joined = optax.join_schedules(parts, [10])
    found = {
        "polynomial": by_torch(lrs.PolynomialLR, 40, 1.7),
        "linear": by_torch(lrs.LinearLR, 1.0, 0.2, 40),
        "linear up": by_torch(lrs.LinearLR, 0.2, 1.0, 40),
        "step_decay": by_torch(lrs.StepLR, 7, 0.5),
        "exponential": by_torch(lrs.ExponentialLR, 0.9),
        "cosine": by_torch(lrs.CosineAnnealingLR, 60, 0.01),
        "cosine_restarts": by_torch(lrs.CosineAnnealingWarmRestarts, 13, 1, 0.01),
        "cosine_restarts longer": by_torch(lrs.CosineAnnealingWarmRestarts, 7, 2, 0.01),
        "one_cycle": by_torch(lrs.OneCycleLR, ETA, STEPS + 1, cycle_momentum=False),
        "cyclic": by_torch(lrs.CyclicLR, 0.01, ETA, 5, 9, cycle_momentum=False),
        "cyclic lower": by_torch(lrs.CyclicLR, 0.01, ETA, 4, mode="triangular2", cycle_momentum=False),
        "piecewise": by_torch(lrs.MultiStepLR, [10, 25], 0.1),
        "sequence": by_torch(then),
        "polynomial optax": [float(optax.polynomial_schedule(ETA, 0.02, 1.7, 40)(k)) for k in range(STEPS)],
        "sequence optax": [float(joined(k)) for k in range(STEPS)],
    }
    Path(__file__).with_name("schedules.json").write_text(json.dumps(found) + "\n")
