"""PyTorch on a GPU. Modes:

``eager``        functional operations and torch.optim with its defaults
``eager_fused``  the same with ``fused=True``
``graph``        a whole step (forward, backward, capturable fused update) as one CUDA graph; a batch is copied in first
``graph_epoch``  all steps of an epoch as one CUDA graph, which reads the batches where they lie
``compile``      a whole step as one graph of torch.compile(mode="reduce-overhead")

``_tf32`` lets products round their factors. The data are resident, batches are views. Several copies are batched
products with the update written out: torch.optim takes one learning rate. On the CPU a recorded graph is the function
itself.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch

from tests.benchmarks import NotExpressible, torch_peer
from tests.benchmarks import workloads as wl
from tests.gpu.field import TF32

WARM = 3  # steps before a recording, so that nothing is allocated or planned in it


class Step:
    """``step(x, y) -> loss`` with autograd and torch.optim."""

    def __init__(self, w: wl.Workload, params: dict[str, torch.Tensor], fused: bool) -> None:
        self.w, self.params = w, params
        leaves = [p.requires_grad_(True) for p in params.values()]
        options = {"fused": True} if fused else {}
        if w.opt == "adam":
            capturable = fused and leaves[0].is_cuda
            self.optimizer: torch.optim.Optimizer = torch.optim.Adam(leaves, w.lr, capturable=capturable, **options)
        else:
            self.optimizer = torch.optim.SGD(leaves, w.lr, momentum=w.momentum, **options)

    def __call__(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        self.optimizer.zero_grad(set_to_none=True)
        value = torch_peer.loss(self.w, self.params, x, y)
        value.backward()
        self.optimizer.step()
        return value.detach()

    def state(self) -> list[torch.Tensor]:
        """What the update keeps; all of it begins at 0."""
        kept = [s for of in self.optimizer.state.values() for s in of.values()]
        return [s for s in kept if isinstance(s, torch.Tensor)]


class WrittenStep:
    """``step(x, y) -> loss`` with torch.func and the update written out."""

    def __init__(self, w: wl.Workload, params: dict[str, torch.Tensor]) -> None:
        self.w, self.params = w, params
        device = params["W0"].device
        self.m, self.v = ({k: torch.zeros_like(p) for k, p in params.items()} for _ in range(2))
        self.t = torch.zeros(1, device=device)
        self.rates = torch.from_numpy(wl.learning_rates(w)).to(device) if w.copies > 1 else None

    def __call__(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        gradient = torch.func.grad_and_value(lambda q: torch_peer.loss(self.w, q, x, y))
        g, value = gradient(self.params)
        with torch.no_grad():
            torch_peer.update(self.w, self.rates, self.params, self.m, self.v, self.t, g)
        return value / self.w.copies

    def state(self) -> list[torch.Tensor]:
        """What the update keeps; all of it begins at 0."""
        return [*self.m.values(), *self.v.values(), self.t]


class Recorded:
    """A function of no arguments as a CUDA graph; its result lies where it lay in the recording."""

    def __init__(self, function: Callable[[], torch.Tensor], on_gpu: bool) -> None:
        self.function, self.graph = function, None
        if on_gpu:
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self.result = function()

    def replay(self) -> torch.Tensor:
        if self.graph is None:
            return self.function()
        self.graph.replay()
        return self.result


class Peer:
    def __init__(self, w: wl.Workload, mode: str, device: str) -> None:
        self.on_gpu = device == "gpu"
        if self.on_gpu and not torch.cuda.is_available():
            raise NotExpressible(f"PyTorch {torch.__version__} has no CUDA or sees no GPU")
        torch.set_float32_matmul_precision("high" if mode.endswith(TF32) else "highest")
        mode, where = mode.removesuffix(TF32), torch.device("cuda" if self.on_gpu else "cpu")
        X, Y = (torch.from_numpy(a).to(where) for a in wl.data(w))
        self.batches = list(zip(X.split(w.batch), Y.split(w.batch), strict=True))
        self.turn = itertools.cycle(self.batches)
        params = {k: v.to(where) for k, v in torch_peer.parameters(w).items()}
        written = w.copies > 1 or mode == "compile"
        self.step = WrittenStep(w, params) if written else Step(w, params, fused=mode != "eager")
        make = {"compile": self._compiled, "graph": self._a_step, "graph_epoch": self._an_epoch}
        self.call = make.get(mode, self._plain)()
        self.chunk = len(self.batches) if mode == "graph_epoch" else 1

    def _plain(self) -> Callable[[], torch.Tensor]:
        return lambda: self.step(*next(self.turn))

    def _compiled(self) -> Callable[[], torch.Tensor]:
        """Parameters and moments keep their places, or each step would copy them."""
        assert isinstance(self.step, WrittenStep)
        for kept in (*self.step.params.values(), *self.step.state()):
            torch._dynamo.mark_static_address(kept)
        compiled = torch.compile(self.step.__call__, mode="reduce-overhead")

        def call() -> torch.Tensor:
            torch.compiler.cudagraph_mark_step_begin()
            return compiled(*next(self.turn))

        return call

    def _a_step(self) -> Callable[[], torch.Tensor]:
        self._warm()
        x, y = (a.clone() for a in self.batches[0])
        recorded = Recorded(lambda: self.step(x, y), self.on_gpu)

        def call() -> torch.Tensor:
            for place, values in zip((x, y), next(self.turn), strict=True):
                place.copy_(values)
            return recorded.replay()

        return call

    def _an_epoch(self) -> Callable[[], torch.Tensor]:
        self._warm()
        return Recorded(lambda: torch.stack([self.step(*pair) for pair in self.batches]), self.on_gpu).replay

    def _warm(self) -> None:
        """Some steps on a stream of their own, as a recording wants it; then everything is as at the beginning."""
        start = {k: p.detach().clone() for k, p in self.step.params.items()}
        side = torch.cuda.Stream() if self.on_gpu else None
        with torch.cuda.stream(side):
            for _ in range(WARM):
                self.step(*self.batches[0])
        self._wait()
        with torch.no_grad():
            for k, p in self.step.params.items():
                p.copy_(start[k])
            for kept in self.step.state():
                kept.zero_()

    def _wait(self) -> None:
        if self.on_gpu:
            torch.cuda.synchronize()

    def run(self, n: int, keep: bool = False) -> list[float]:
        losses: list[float] = []
        for _ in range(-(-n // self.chunk)):
            value = self.call()
            if keep:
                losses += value.reshape(-1).tolist()
        self._wait()
        return losses
