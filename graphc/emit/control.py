"""Slots of the control words that a program and the host share.

C holds whole numbers (data sizes, position in the run, status), F floating-point numbers (tolerance, running totals).
"""

STOP, PROGRESS, ROWS, STEPS, STEP, EPOCH, POSITION, SHUFFLE, KEY0, KEY1, STATUS, EPOCHS, DONE, RECORD_STEPS = range(14)
BAD, VERDICT, MEET = 16, 17, 24  # words that threads of one run share, on cache lines of their own
C_SIZE = 32

TOLERANCE, GRADIENT, WEIGHT, TOTALS = range(4)
F_SIZE = 4  # and one for every metric

FINISHED, STOPPED, NONFINITE, CONVERGED, OVERFLOW = range(5)
"""What STATUS says: NONFINITE is a loss or gradient that is not finite, before the update; OVERFLOW an update that gave
parameters or optimizer state that are not finite."""
