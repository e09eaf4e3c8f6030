"""Layers and networks of them: the namespace ``gc.nn``."""

from __future__ import annotations

from graphc.declare.layers import Dense, Layer, Network, sequential
from graphc.declare.random_layers import BatchNorm, Dropout, GaussianNoise

__all__ = ["BatchNorm", "Dense", "Dropout", "GaussianNoise", "Layer", "Network", "sequential"]


def __dir__() -> list[str]:
    return sorted(__all__)
