"""Words that the host and a CUDA program share: int32, a set a copy of the network."""

ROWS, STEPS, POSITION, SHUFFLE, LOW_BITS, HIGH_BITS, ROUNDS, STATUS, DONE, EPOCHS = range(10)
"""LOW_BITS, HIGH_BITS and ROUNDS describe the network that orders the rows (:func:`graphc.primitives.philox.permuted`);
EPOCHS counts the epochs ended in this launch."""
BAD_GRADIENT, BAD_UPDATE = 10, 11
"""Set by the first thread that meets a loss or gradient, or a parameter or state, that is not finite."""
ENDS = 12
"""1 when an epoch ends with the rows that are there, 0 when more rows of it follow in a later launch."""
ORDER, TABLE = 13, 14
"""Which set of round keys a copy reads, and which table of the numbers of its updates: copies that are alike share."""
RECORD, LOG = 15, 16
"""1 when the loss of every step is written down, and where in Q that of the first step of this launch goes."""
NEXT_STATUS, NEXT_DONE, NEXT_POSITION, NEXT_EPOCHS = 17, 18, 19, 20
"""Recordings: what the last kernel of a step leaves for the first of the next, which makes it STATUS, DONE, .."""
SIZE = 24

BARRIER, BARRIER_SIZE = 0, 16
"""Words of a barrier between blocks: the arrivals so far, and at BAD_GRADIENT and BAD_UPDATE the flags."""
KEYS = 12
"""Round keys of an epoch, each a summand and an odd factor."""
