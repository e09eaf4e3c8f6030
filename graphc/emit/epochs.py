"""The text of a program that calls two others epoch after epoch: training, then the evaluation of validation data.

It knows nothing of any model: it is compiled once, and gets the addresses of programs and of their arguments. What
watches a quantity (early stopping, a learning rate that is made smaller) counts epochs here; the epoch in which it
would act, and every one in which something else must happen, ends in Python.

T and E are bundles: the training program with its arguments, the evaluation with its own. C are the control words of
training, Y what evaluation adds up; R and V the histories of training and validation, a row an epoch; D the words
below, W a row of numbers for everything that watches; P the parameters as words, B copies of them.
"""

from __future__ import annotations

from graphc.emit import control
from graphc.emit.cpu import Program

LEFT, DONE, PER_EPOCH, BATCH, WIDTH, LOSSES, VALIDATES, SCALARS, VALIDATED, WATCHERS, FLAT = range(11)
CALLS_AT, CALLS, QUIET = range(11, 14)
"""Steps to do, done; steps and rows (or turns) of an epoch and of a step; quantities of training; where T has the
pointer to the losses of steps; whether there are validation data, and their quantities; epochs validated; how many
watch; words of the parameters; the epoch (1 for the first) that ends in Python; whether the last one does; how many
did not."""
D_SIZE = 16

QUANTITY, SIGN, MIN_DELTA, PATIENCE, RESTS, COPY, BEST, WAIT, COOLING, FOUND, EPOCH = range(11)
"""Of what watches: its quantity (from 0 on those of training, from -1 down those of validation), what makes smaller
better, what it was told; whether it does not act any more; where its copy begins in B, or -1; its best value, epochs
without a better one and in which none is counted; the value of this epoch; the best epoch of this call, or 0."""
W_SIZE = 11

_TEXT = f'''"""Epoch after epoch"""
from numpy import int64

from graphc.primitives.names import atomic_store, copy, invoke


def epochs(T, E, C, Y, R, V, D, W, P, B):
    """Train for an epoch, evaluate, see what watches; until steps, patience or the run is at its end."""
    status = 0
    while D[{LEFT}] > 0:
        steps = D[{PER_EPOCH}] - C[{control.POSITION}]//D[{BATCH}]
        C[{control.STEPS}] = steps if steps < D[{LEFT}] else D[{LEFT}]
        before = C[{control.EPOCHS}]
        failed = invoke(T)
        done = C[{control.DONE}]
        D[{LEFT}] = D[{LEFT}] - done
        atomic_store(C, {control.PROGRESS}, 0)
        atomic_store(D, {DONE}, D[{DONE}] + done)
        T[D[{LOSSES}]] = T[D[{LOSSES}]] + 8*done
        status = C[{control.STATUS}]
        if status != {control.FINISHED} and status != {control.CONVERGED}:
            break
        if C[{control.EPOCHS}] > before:
            if D[{VALIDATES}] != 0:
                failed = validate(E, Y, V, D)
            D[{CALLS}] = acts(C, R, V, D, W)
            if D[{CALLS}] == 0:
                failed = watch(C, D, W, P, B)
                D[{QUIET}] = D[{QUIET}] + 1
        if status != {control.FINISHED} or D[{CALLS}] != 0:
            break
    C[{control.DONE}] = D[{DONE}]
    return status


def validate(E, Y, V, D):
    """The means over all rows become a row of V."""
    for t in range(D[{SCALARS}] + 1):
        Y[{control.WEIGHT} + t] = 0.0
    failed = invoke(E)
    rows = Y[{control.WEIGHT}] if Y[{control.WEIGHT}] > 1.0 else 1.0
    at = D[{VALIDATED}]*D[{SCALARS}]
    for t in range(D[{SCALARS}]):
        V[at + t] = Y[{control.TOTALS} + t]/rows
    D[{VALIDATED}] = D[{VALIDATED}] + 1
    return failed


def acts(C, R, V, D, W):
    """1 where this epoch ends in Python: its number says so, or the patience of what watches is at its end."""
    found = 1 if C[{control.EPOCHS}] == D[{CALLS_AT}] else 0
    for w in range(D[{WATCHERS}]):
        at = w*{W_SIZE}
        quantity = int64(W[at + {QUANTITY}])
        value = 0.0
        if quantity >= 0:
            value = R[(C[{control.EPOCHS}] - 1)*D[{WIDTH}] + quantity]
        else:
            value = V[(D[{VALIDATED}] - 1)*D[{SCALARS}] - quantity - 1]
        W[at + {FOUND}] = W[at + {SIGN}]*value
        better = 1 if W[at + {FOUND}] < W[at + {BEST}] - W[at + {MIN_DELTA}] else 0
        wait = 1.0 if W[at + {COOLING}] > 0.0 else W[at + {WAIT}] + 1.0
        if better == 0 and W[at + {COOLING}] <= 1.0 and wait >= W[at + {PATIENCE}] and W[at + {RESTS}] == 0.0:
            found = 1
    return found


def watch(C, D, W, P, B):
    """What watches takes note of the epoch."""
    for w in range(D[{WATCHERS}]):
        at = w*{W_SIZE}
        if W[at + {COOLING}] > 0.0:
            W[at + {COOLING}] = W[at + {COOLING}] - 1.0
            W[at + {WAIT}] = 0.0
        if W[at + {FOUND}] < W[at + {BEST}] - W[at + {MIN_DELTA}]:
            W[at + {BEST}] = W[at + {FOUND}]
            W[at + {WAIT}] = 0.0
            W[at + {EPOCH}] = float(C[{control.EPOCHS}])
            if W[at + {COPY}] >= 0.0:
                copy(B, int64(W[at + {COPY}]), P, 0, D[{FLAT}])
        elif W[at + {COOLING}] == 0.0:
            W[at + {WAIT}] = W[at + {WAIT}] + 1.0
    return 0
'''


def epochs_program() -> Program:
    """``epochs``: many epochs, one call."""
    words = "int64* int64* int64* float64* float64* float64* int64* float64* int64* int64*".split()
    return Program("epochs", _TEXT, "epochs", tuple(zip("TECYRVDWPB", words, strict=True)))
