"""JAX on a GPU; the modes are those of :mod:`tests.benchmarks.jax_peer`: ``scan`` runs many steps in one call,
``scan_flat`` with all parameters in one vector. Products are float32 (JAX_DEFAULT_MATMUL_PRECISION=highest)."""

from __future__ import annotations

import jax

from tests.benchmarks import NotExpressible, jax_peer
from tests.benchmarks import workloads as wl


class Peer(jax_peer.Peer):
    """The peer of the CPU, on the GPU."""

    def __init__(self, w: wl.Workload, mode: str, device: str) -> None:
        if device == "gpu" and jax.default_backend() != "gpu":
            raise NotExpressible(f"JAX {jax.__version__} has no GPU, only {jax.default_backend()}")
        super().__init__(w, mode, 1)
