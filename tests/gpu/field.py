"""Who is timed on what: contestants with their modes, workloads with their goals, networks of any width and batch."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tests.benchmarks import workloads as wl

TF32 = "_tf32"
MODES = {  # each is explained at the top of its <peer>_gpu.py
    "graphc": ("fit", "fit_tf32"),
    "torch": ("eager", "eager_fused", "graph", "graph_epoch", "graph_epoch_tf32", "compile"),
    "jax": ("scan", "scan_flat"),
}
QUICK = {"graphc": ("fit",), "torch": ("eager_fused", "graph_epoch", "compile"), "jax": ("scan",)}
SCALING = {"graphc": ("fit",), "torch": ("graph_epoch",), "jax": ("scan",)}
ROUNDED = ("W4",)  # where products dominate: timed with TF32 too
GOALS = {"W1": "3 to 5", "W2": "10 to 15", "W3": "20 to 25", "W4": "530; TF32 130", "W5": "25", "W9": "2 to 3",
         "W10": "3 to 5"}  # fmt: skip
"""µs a step on an H100: what was hoped for before anything had been measured."""
WIDTHS, BATCHES = (16, 64, 256, 1024, 4096), (1, 8, 64, 512, 4096)
LARGEST, SMALL_BATCH, SMALL_COPIES = 160, 64, 9  # of a workload that is made smaller for a machine of one thread
WIDTH, BATCH = 256, 128  # the one that stays while the other varies


@dataclass(frozen=True)
class Contestant:
    """A peer in one of its modes, run by an interpreter; on the CPU when ``emulated``."""

    peer: str
    mode: str
    python: str
    emulated: bool

    def __str__(self) -> str:
        return f"{self.peer} {self.mode}"

    def command(self, workload: str) -> list[str]:
        """How its process is started."""
        device = "cpu" if self.emulated else "gpu"
        return [self.python, "-m", "tests.gpu.child", self.peer, self.mode, workload, device]


def takes(contestant: Contestant, workload: str, quick: bool) -> bool:
    """TF32 where products dominate; in a quick run no compiler that needs a minute for a large network."""
    if contestant.mode.endswith(TF32):
        return workload in ROUNDED
    return not (quick and contestant.mode == "compile" and workload not in ("W1", "W2", "W3"))


def smaller(w: wl.Workload) -> wl.Workload:
    """A workload with narrow layers, but wide enough that its products go to a library where they did."""
    sizes, batch = tuple(min(s, LARGEST) for s in w.sizes), min(w.batch, SMALL_BATCH)
    copies = min(w.copies, SMALL_COPIES)
    title = f"{'-'.join(map(str, sizes))}, batch {batch}" + (f", {copies} copies" if copies > 1 else "")
    return replace(w, sizes=sizes, batch=batch, copies=copies, title=f"{title} (made smaller)")


def find(name: str, small: bool = False) -> wl.Workload:
    """The workload of that name: ``W1`` or ``S256x128`` (width, batch); ``small`` for a machine of one thread.

    Raises
    ------
    KeyError
        When there is none.
    """
    w = scaled(name) if name.startswith("S") else wl.WORKLOADS[name]
    return replace(smaller(w), parity=(0, 3, 6), n_batches=4, scan=4) if small else w


def scaled(name: str) -> wl.Workload:
    """64-width-width-10 with ReLU and Adam."""
    width, _, batch = name.removeprefix("S").partition("x")
    if not (width.isdigit() and batch.isdigit()):
        raise KeyError(name)
    sizes, n_batches = (64, int(width), int(width), 10), max(2, min(64, 8192 // int(batch)))
    title = f"{'-'.join(map(str, sizes))}, batch {batch}"
    return wl.Workload(
        name, title, sizes, "relu", "ce", int(batch), n_batches, "adam", 1e-4, n_batches, parity=(0, 5, 20)
    )


def grid(quick: bool) -> dict[str, list[str]]:
    """Names of the networks of the two tables."""
    widths, batches = (WIDTHS[::2], BATCHES[::2]) if quick else (WIDTHS, BATCHES)
    by_width, by_batch = [f"S{w}x{BATCH}" for w in widths], [f"S{WIDTH}x{b}" for b in batches]
    return {"width": by_width, "batch": by_batch}
