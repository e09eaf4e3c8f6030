"""The text of programs that carry out optimizers with curvature: L-BFGS, nonlinear conjugate gradients, Newton-CG.

They know nothing of any model: each is compiled once for a precision, and gets the address of a training program whose
rule changes nothing, which evaluates loss, metrics and gradient. What calls a training program, with its control words,
totals and history, can call one of these in its place.

P are the parameters, X the point that is looked at, G the gradient there, S the optimizer's states, A the working
memory in double precision; C, F, R, Q the control words, totals, history and losses of the run, H numbers of the
optimizer, W the weight of each batch. L are the bundles of a thread (:mod:`graphc.native.bundles`), one for every batch
behind the one that is called; I, Y and V the control words, totals and history of what is called. B is a bundle of
Hessian-vector products likewise, U the vector and its product. K are whole numbers, the words below.
"""

from __future__ import annotations

import re

from graphc.emit import control, least_squares
from graphc.emit.cpu import Program
from graphc.emit.directions import BEGIN, CONJUGATE, NEWTON, PAIRS
from graphc.emit.line_search import CONSTANTS, HEAD, SEARCH

SIZE, MEMORY, WIDTH, WORDS, FLAG, SCALARS, ROWS_OF, BATCHES = range(8)
"""Parameters; pairs or products; words of a bundle and of I, the one of I that is not 0 where a read or a write was
refused; quantities; rows or turns of a step; batches."""
BATCH, GO, TICK, KNOWN, LOOKS, STUCK, WIDTH_OF_B = range(8, 15)
"""The batch that comes next; whether threads go on, their meetings; whether loss and gradient at X are known;
evaluations; whether no lower loss was found; words of a bundle of B."""
TEMPLATES = 24
"""From here on: I as a call finds it, for every batch; then their rows or turns."""

_NUMBERS = {
    **CONSTANTS, **least_squares.CONSTANTS, "GRADIENT": HEAD,
    "SIZE": SIZE, "MEMORY": MEMORY, "WIDTH": WIDTH, "WORDS": WORDS, "FLAG": FLAG, "SCALARS": SCALARS,
    "ROWS_OF": ROWS_OF, "BATCHES": BATCHES, "BATCH": BATCH, "GO": GO, "TICK": TICK, "KNOWN": KNOWN, "LOOKS": LOOKS,
    "STUCK": STUCK, "WIDTH_OF_B": WIDTH_OF_B, "TEMPLATES": TEMPLATES, "EPS": 2.2e-16,
}  # fmt: skip

_HEAD = '''"""{title}: one call takes many steps"""
import math

from graphc.primitives.names import (
    {names},
)

INF = math.inf
{numbers}
'''

_TRAIN = f'''

def train(P, G, S, A, L, K, H, C, F, R, Q, X, I, Y, V, W, B, U, me, team):
    """Steps until there are enough, the gradient is small or no lower loss is found."""
    if me != 0:
        return follow(L, K, C, team)
    n = K[SIZE]
    n_steps = C[{control.STEPS}]
    at = C[{control.POSITION}]
    epoch = C[{control.EPOCH}]
    epochs = C[{control.EPOCHS}]
    tolerance = F[{control.TOLERANCE}]
    done = 0
    status = 0
    K[TICK] = 0
    K[STUCK] = 0
    atomic_store(K, GO, 1)
    known = K[KNOWN]
    i = 0
    while known != 0 and i < n:
        known = 1 if X[i] == P[i] else 0
        i = i + 1
    ready = begin(S, A, K)
    while done < n_steps and status == 0:
        K[BATCH] = at//K[ROWS_OF]
        if known == 0:
            copy(X, 0, P, 0, n)
            looked = EVALUATED
            if not (absolute(A[FOUND]) < INF):
                status = {control.NONFINITE} if I[K[FLAG]] == 0 else {control.STOPPED}
                break
        A[LOSS] = A[FOUND]
        top = 0.0
        for i in range(n):
            top = rlargest(top, float(G[i]))
        kept = scale(A, GRADIENT, 1.0, G, 0, n)
        weight = W[K[BATCH]]
        F[{control.WEIGHT}] = F[{control.WEIGHT}] + weight
        kept = add(F, {control.TOTALS}, weight, V, 0, K[SCALARS])
        if C[{control.RECORD_STEPS}] != 0:
            Q[done] = A[LOSS]
        if top > tolerance and tolerance > 0.0:
            C[{control.STEEP} + epoch%2] = 1
        moved = 0
        known = 0
        if tolerance > 0.0 and top <= tolerance:
            known = 1
        else:
            moved = step(P, G, S, A, L, K, H, C, X, I, Y, V, W, B, U, team)
        if moved != 0:
            copy(P, 0, X, 0, n)
            C[{control.STEP}] = C[{control.STEP}] + 1
            known = 1
        known = known if K[BATCHES] == 1 else 0
        done = done + 1
        at = at + K[TEMPLATES + K[BATCHES]*K[WORDS] + K[BATCH]]
        if atomic_load(C, {control.STOP}) != 0 or I[K[FLAG]] != 0:
            status = {control.STOPPED}
        if at >= C[{control.ROWS}]:
            t = 0
            while t < atomic_load(K, SCALARS):  # of a few turns no vector code is made
                R[epochs*K[SCALARS] + t] = F[{control.TOTALS} + t]/F[{control.WEIGHT}]
                F[{control.TOTALS} + t] = 0.0
                t = t + 1
            F[{control.WEIGHT}] = 0.0
            if tolerance > 0.0 and C[{control.STEEP} + epoch%2] == 0:
                status = {control.CONVERGED}
            C[{control.STEEP} + (epoch + 1)%2] = 0
            at = 0
            epoch = epoch + 1
            epochs = epochs + 1
        if status == 0 and moved == 0 and K[BATCHES] == 1:
            K[STUCK] = 1
            status = {control.CONVERGED}
        atomic_store(C, {control.PROGRESS}, done)
    K[KNOWN] = known
    atomic_store(K, GO, 0)
    ended = together(K, C, team)
    C[{control.EPOCH}] = epoch
    C[{control.POSITION}] = at
    C[{control.EPOCHS}] = epochs
    C[{control.DONE}] = done
    C[{control.STATUS}] = status
    return status


def follow(L, K, C, team):
    """The other threads: they take part in every evaluation, between two meetings."""
    tick = 0
    works = 0
    while works == 0 or atomic_load(K, GO) != 0:
        failed = work(L, K) if works != 0 else 0
        tick = tick + team
        meet(C, {control.MEET}, tick)
        works = 1 - works
    return 0


def together(K, C, team):
    """The first thread meets the others."""
    if team > 1:
        K[TICK] = K[TICK] + team
        meet(C, {control.MEET}, K[TICK])
    return 0


def work(L, K):
    """The thread's part of an evaluation on the batch."""
    copy(L, 0, L, (1 + K[BATCH])*K[WIDTH], K[WIDTH])
    return invoke(L)
'''

_GRADIENTS = f'''

def evaluate(A, L, K, C, I, Y, V, team):
    """The loss at X, infinite where it or the gradient is not finite; V has the metrics, G the gradient."""
    A[FOUND] = INF
    if I[K[FLAG]] != 0:
        return 0
    copy(I, 0, K, TEMPLATES + K[BATCH]*K[WORDS], K[WORDS])
    fill(Y, 0, 0.0, {control.F_SIZE - 1} + K[SCALARS])
    begun = together(K, C, team)
    failed = work(L, K)
    ended = together(K, C, team)
    K[LOOKS] = K[LOOKS] + 1
    if I[{control.STATUS}] == {control.FINISHED} and I[K[FLAG]] == 0:
        A[FOUND] = V[0]
    return 1


def look(P, X, G, A, L, K, C, I, Y, V, t, team):
    """phi and phi' at t."""
    n = K[SIZE]
    A[STEP] = t
    A[FOUND_SLOPE] = INF
    moved = move(X, P, t, A, GRADIENT + n, n)
    if evaluate(A, L, K, C, I, Y, V, team) != 0:
        moved = dot(A, A, GRADIENT + n, G, 0, n)
        A[FOUND_SLOPE] = A[DOT]
    return 1


def along(P, X, G, A, L, K, H, C, I, Y, V, first, team):
    """Search along d, where the loss falls at first."""
    done = dot(A, A, GRADIENT + K[SIZE], A, GRADIENT, K[SIZE])
    A[SLOPE] = A[DOT]
    return search(P, X, G, A, L, K, H, C, I, Y, V, first, team)


def steepest(P, X, G, A, L, K, H, C, I, Y, V, team):
    """The same with d = -g; the first step has length 1, as in L-BFGS-B."""
    done = scale(A, GRADIENT + K[SIZE], -1.0, A, GRADIENT, K[SIZE])
    done = unit(A, GRADIENT, K[SIZE])
    return along(P, X, G, A, L, K, H, C, I, Y, V, A[DOT], team)


def unit(A, x, n):
    """1 over the norm of x, 1 of zeros."""
    done = dot(A, A, x, A, x, n)
    A[DOT] = 1.0/sqrt(A[DOT]) if A[DOT] > 0.0 else 1.0
    return 0


def move(X, P, t, A, d, n):
    """X = P + t d."""
    noalias()
    for i in range(n):
        X[i] = float(P[i]) + t*A[d + i]
    return 0


def dot(A, X, x, Z, z, n):
    """DOT = xᵀ z, of four strips side by side: vectors have a whole number of lines."""
    q = n//4
    s0 = 0.0
    s1 = 0.0
    s2 = 0.0
    s3 = 0.0
    for i in range(q):
        s0 = radd(s0, float(X[x + i])*float(Z[z + i]))
        s1 = radd(s1, float(X[x + q + i])*float(Z[z + q + i]))
        s2 = radd(s2, float(X[x + 2*q + i])*float(Z[z + 2*q + i]))
        s3 = radd(s3, float(X[x + 3*q + i])*float(Z[z + 3*q + i]))
    A[DOT] = (s0 + s1) + (s2 + s3)
    return 0
'''

_VECTORS = '''

def add(A, x, a, Z, z, n):
    """x <- x + a z."""
    noalias()
    for i in range(n):
        A[x + i] = A[x + i] + a*float(Z[z + i])
    return 0


def scale(A, x, a, Z, z, n):
    """x <- a z."""
    noalias()
    for i in range(n):
        A[x + i] = a*float(Z[z + i])
    return 0
'''

_SEARCHING = _GRADIENTS + SEARCH
METHODS = {
    "LBFGS": ("L-BFGS", _SEARCHING + PAIRS),
    "ConjugateGradient": ("Nonlinear conjugate gradients", _SEARCHING + BEGIN + CONJUGATE),
    "NewtonCG": ("Newton-CG", _SEARCHING + BEGIN + NEWTON),
    "LevenbergMarquardt": ("Levenberg-Marquardt", least_squares.EVALUATE + BEGIN + least_squares.STEP),
}
_LOOKS = {"LevenbergMarquardt": "evaluate(A, G, L, K, C, W, I, Y, V, B, U, team)"}
_PRIMITIVES = "absolute atomic_load atomic_store copy fill invoke meet noalias nonfinite radd rlargest sqrt".split()


def room(method: str, size: int, many: int) -> int:
    """The numbers of A that a method needs for so many parameters: the gradient, the direction, its own; ``many`` are
    the pairs of L-BFGS or the packed parameters of a system."""
    own = {"LBFGS": size + 2 * many, "NewtonCG": 3 * size, "LevenbergMarquardt": least_squares.room(many)}
    return HEAD + 2 * size + own.get(method, 0)


def descent_program(method: str, dtype: str) -> Program:
    """``train``: many steps of an optimizer, one call."""
    title, own = METHODS[method]
    body = _TRAIN.replace("EVALUATED", _LOOKS.get(method, "evaluate(A, L, K, C, I, Y, V, team)")) + own + _VECTORS
    named = {*re.findall(r"\w+", body)}
    numbers = "\n".join(f"{name} = {value}" for name, value in _NUMBERS.items() if name in named)
    names = ", ".join(name for name in _PRIMITIVES if name in named)
    kinds = dict.fromkeys("PGSXU", f"{dtype}*") | dict.fromkeys("LKCIB", "int64*")
    pointers = "P G S A L K H C F R Q X I Y V W B U".split()
    arguments = [(n, kinds.get(n, "float64*")) for n in pointers] + [("me", "int64"), ("team", "int64")]
    return Program(title, _HEAD.format(title=title, names=names, numbers=numbers) + body, "train", tuple(arguments))
