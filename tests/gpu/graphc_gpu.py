"""graphc on a GPU: one ``fit`` (or ``sweep``) a call with target="cuda", from the arrays of the host to the history.
``fit_tf32`` rounds the factors of large products."""

from __future__ import annotations

from contextlib import ExitStack

from graphc.cuda import selection
from graphc.facade.devices import cuda_plan
from tests.benchmarks import graphc_peer
from tests.benchmarks import workloads as wl
from tests.gpu.field import TF32


class Peer(graphc_peer.Peer):
    """The peer of the CPU, on the machine."""

    def __init__(self, w: wl.Workload, mode: str, device: str) -> None:
        super().__init__(w, "auto", 1)
        self.options |= {"target": "cuda"} | ({"precision": "tf32"} if mode.endswith(TF32) else {})
        self.places = ExitStack()
        if device == "cpu":
            self.places.enter_context(selection.use())
        self.facts = {"tier": "A" if self.restarts else self.tier(w)}

    def tier(self, w: wl.Workload) -> str:
        """The tier that was chosen."""
        return cuda_plan(self.model._core, graphc_peer.optimizer(w), w.batch).choice.tier
