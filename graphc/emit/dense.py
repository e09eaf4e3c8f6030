"""Functions of matrices in NumPy, for the reference interpreter: what has none is NaN, as in compiled programs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "inverse": np.linalg.inv,
    "cholesky": np.linalg.cholesky,
    "det": np.linalg.det,
    "logabsdet": lambda a: np.linalg.slogdet(a)[1],
    "detsign": lambda a: np.linalg.slogdet(a)[0],
}


def of_matrices(kind: str, matrices: np.ndarray) -> np.ndarray:
    """The function of every matrix; NaN everywhere in what a singular or indefinite one has not."""
    found = _FUNCTIONS[kind]
    try:
        return np.asarray(found(matrices), dtype=matrices.dtype)
    except np.linalg.LinAlgError:
        stack = matrices.reshape(-1, *matrices.shape[-2:])
        return np.stack([_one(found, a) for a in stack]).reshape(matrices.shape)


def _one(found: Callable[[np.ndarray], np.ndarray], a: np.ndarray) -> np.ndarray:
    try:
        return found(a)
    except np.linalg.LinAlgError:
        return np.full_like(a, np.nan)
