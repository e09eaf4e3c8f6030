"""Callbacks: what happens at the end of an epoch. ``fit(.., callbacks=[gc.EarlyStopping(), gc.Checkpoint(..)])``."""

from graphc.run.callback import Callback
from graphc.run.keeping import Checkpoint, Trajectory
from graphc.run.logs import CSVLogger, JSONLogger, TensorBoard
from graphc.run.steering import EarlyStopping, ReduceLROnPlateau

__all__ = [
    "CSVLogger", "Callback", "Checkpoint", "EarlyStopping", "JSONLogger", "ReduceLROnPlateau", "TensorBoard",
    "Trajectory",
]  # fmt: skip


def __dir__() -> list[str]:
    return sorted(__all__)
