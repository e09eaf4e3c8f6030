"""What the lower stage knows of a machine with many threads: a few numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
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
