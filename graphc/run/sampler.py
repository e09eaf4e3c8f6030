"""Where a training run stands in its data: which seed, epoch and row come next.  Everything a resume needs."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from graphc.primitives.philox import order_keys


@dataclass
class Sampler:
    """Position in the sequence of batches: the order of epoch ``epoch`` depends on (seed, epoch) alone."""

    seed: int = 0
    epoch: int = 0
    position: int = 0
    rows: int = 0
    batch: int = 0

    def restart(self, seed: int) -> None:
        """Begin again with another seed."""
        self.seed, self.epoch, self.position = seed, 0, 0

    def bind(self, rows: int, batch: int) -> None:
        """Go on with this data length and batch size; another one than before begins a new epoch."""
        if (rows, batch) != (self.rows, self.batch):
            self.epoch += self.position > 0
            self.position = 0
        self.rows, self.batch = rows, batch

    @property
    def keys(self) -> tuple[int, int]:
        """The keys of the order for :func:`graphc.primitives.philox.permuted`."""
        return order_keys(self.seed)

    def as_dict(self) -> dict[str, int]:
        """For checkpoints."""
        return asdict(self)
