"""graphc beside PyTorch, JAX, PyTensor and scikit-learn on the same networks, data, initial weights and batches.

``python -m tests.benchmarks.run`` starts one child process (:mod:`.child`) for each contestant: a peer, in one of its
modes, with one thread count. The children live side by side and are timed in turn, so that a busy machine hurts all
of them alike. :mod:`.workloads` defines what is trained, ``<peer>_peer`` how that peer trains it, :mod:`.report` the
tables. A new peer is one such module and a line in :mod:`.contestants`.
"""

from typing import Protocol


class NotExpressible(Exception):
    """The framework has no way to train this workload; the text says why."""


class Peer(Protocol):
    """``Peer(workload, mode, threads)`` of each ``<peer>_peer`` module.

    Two optional attributes: ``chunk``, the steps of one native call (1), and ``restarts``, whether every ``run``
    begins at the initial weights (False).
    """

    def run(self, n: int, keep: bool = False) -> list[float]:
        """Train n steps, rounded up to whole chunks; with ``keep`` return each step's loss before its update."""
        ...
