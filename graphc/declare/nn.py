"""Layers: what declares parameters and applies the operators to them, and networks made of layers."""

from graphc.declare.layers import Dense, Layer, Network, sequential
from graphc.declare.layers_of_norms import GroupNorm, LayerNorm, RMSNorm
from graphc.declare.layers_of_places import (
    AvgPool1D,
    AvgPool2D,
    Conv1D,
    Conv2D,
    Conv2DTranspose,
    Flatten,
    GlobalAvgPool1D,
    GlobalAvgPool2D,
    MaxPool1D,
    MaxPool2D,
    Reshape,
)
from graphc.declare.layers_of_rows import Embedding, MultiHeadAttention, Residual, TransformerBlock
from graphc.declare.layers_of_time import GRU, LSTM, RNN, Bidirectional
from graphc.declare.random_layers import BatchNorm, Dropout, GaussianNoise

__all__ = [
    "AvgPool1D", "AvgPool2D", "BatchNorm", "Bidirectional", "Conv1D", "Conv2D", "Conv2DTranspose", "Dense", "Dropout",
    "Embedding", "Flatten", "GRU", "GaussianNoise", "GlobalAvgPool1D", "GlobalAvgPool2D", "GroupNorm", "LSTM", "Layer",
    "LayerNorm", "MaxPool1D", "MaxPool2D", "MultiHeadAttention", "Network", "RMSNorm", "RNN", "Reshape", "Residual",
    "TransformerBlock", "sequential",
]  # fmt: skip


def __dir__() -> list[str]:
    return sorted(__all__)
