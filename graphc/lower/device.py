"""What the lower stage knows of a machine with many threads: a few numbers."""

from __future__ import annotations

from graphc.records import record

REGISTERS = 65_536  # of a multiprocessor; a warp takes them in eights a thread
RESIDENT = 2048  # threads that a multiprocessor holds, from capability 8.0 on (1536 in 8.6 and 8.9)


@record(frozen=True)
class Device:
    """A machine whose threads come in blocks.

    Attributes
    ----------
    name : str
    blocks : int
        Blocks that run at a time: the number of multiprocessors.
    threads : int
        The most threads a block.
    shared : int
        Bytes of memory that the threads of a block share.
    vector : int
        Bytes that one thread loads at a time.
    blas : bool
        Whether a library of matrix products is there.
    capability : (int, int)
        The version of its instruction set.
    """

    name: str = "sm_90"
    blocks: int = 132
    threads: int = 1024
    shared: int = 227 * 1024
    vector: int = 16
    blas: bool = True
    capability: tuple[int, int] = (9, 0)

    def occupancy(self, threads: int, registers: int, shared: int) -> float:
        """The share of RESIDENT threads that a multiprocessor can hold of blocks that take so much."""
        each = -(-registers // 8) * 8 * threads
        blocks = min(REGISTERS // max(each, 1), RESIDENT // threads, self.shared // max(shared, 1))
        return blocks * threads / RESIDENT
