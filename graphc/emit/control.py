"""Slots of the control words that a program and the host share.

C holds whole numbers (data sizes, position in the run, status), F floating-point numbers (tolerance, running totals).
"""

STOP, PROGRESS, ROWS, STEPS, STEP, EPOCH, POSITION, SHUFFLE, KEY0, KEY1, STATUS, EPOCHS, DONE, RECORD_STEPS = range(14)
BAD_GRADIENT, BAD_UPDATE, VERDICT, STEEP, MEET = 16, 17, 18, 19, 24  # threads share them, on cache lines of their own
C_SIZE = 32  # and SLOTS for each of several free extents
"""STEEP and STEEP + 1 belong to even and odd epochs: not 0 when a gradient of the epoch was above the tolerance."""

ROWS_OF, KEY0_OF, KEY1_OF = range(3)
SLOTS = 3


def slot(extent: int, word: int) -> int:
    """The place of a word of one of several free extents: the rows of its data, or a key of their order."""
    return C_SIZE + SLOTS * extent + word


def size_of(extents: int) -> int:
    """The number of control words of a program with so many free extents, where there are several."""
    return C_SIZE + SLOTS * extents


TOLERANCE, GRADIENT, WEIGHT, TOTALS = range(4)
F_SIZE = 4  # and one for every metric

FINISHED, STOPPED, NONFINITE, CONVERGED, OVERFLOW = range(5)
"""What STATUS says: NONFINITE is a step whose loss or gradient is not finite, OVERFLOW an update that gave parameters
or optimizer state that are not finite although the gradient is. Either is found when the update has been made: the host
puts back what was before and repeats the steps up to that one."""

STUCK = 5
"""What a call says of a run that found no lower loss (:mod:`graphc.run.descent`); no program does."""
