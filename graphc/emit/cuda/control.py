"""Words that the host and a CUDA program share: int32, a set a copy of the network."""

ROWS, STEPS, POSITION, SHUFFLE, LOW_BITS, HIGH_BITS, ROUNDS, STATUS, DONE, EPOCHS = range(10)
"""LOW_BITS, HIGH_BITS and ROUNDS describe the network that orders the rows (:func:`graphc.run.random.permuted`);
EPOCHS counts the epochs ended in this launch."""
BAD_GRADIENT, BAD_UPDATE = 10, 11
"""Set by the first thread that meets a loss or gradient, or a parameter or state, that is not finite."""
ENDS = 12
"""1 when an epoch ends with the rows that are there, 0 when more rows of it follow in a later launch."""
SIZE = 16

BARRIER, BARRIER_SIZE = 0, 16
"""Words of a barrier between blocks: the arrivals so far, and at BAD_GRADIENT and BAD_UPDATE the flags."""
KEYS = 12
"""Round keys of an epoch, each a summand and an odd factor."""
