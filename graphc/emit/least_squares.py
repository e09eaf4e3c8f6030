"""The text of the Levenberg-Marquardt method: residuals and their derivatives by programs that are called, the normal
equations and their solution here.

Parameters are counted without the gaps of their storage: w of them, rounded up to a whole number of lines. Behind the
direction A has the system JᵀJ and its factor (w by w, above the diagonal), ROWS rows of J, then Jᵀr, Jᵀr at P, and the
step (w each). U has what programs gave, W behind the weights of batches a factor for each of the blocks below.
"""

from __future__ import annotations

from graphc.emit import control

PACKED, PARAMS, TABLE, AGAIN = range(16, 20)
"""w; how many arrays of parameters there are; where tables begin in K: of every array the first of w, its place and
its length, of every batch its first block and the end, then the blocks; whether U has the values of one block only."""

CALL, COUNT, INSIDE, RESIDUAL, JACOBIAN = range(5)
"""A block is residuals of one program: the bundle to call, or -1 where the block before called it; how many residuals;
how many of them a row has, which lie side by side; where they lie in U; where their derivatives do, array by array."""

ROWS = 32
CONSTANTS = {
    "PACKED": PACKED, "PARAMS": PARAMS, "TABLE": TABLE, "AGAIN": AGAIN, "COUNT": COUNT, "INSIDE": INSIDE,
    "RESIDUAL": RESIDUAL, "JACOBIAN": JACOBIAN, "ROWS": ROWS, "TRIALS": 40,
}  # fmt: skip
"""TRIALS: of a larger mu within a step."""


def room(packed: int) -> int:
    """The numbers of A behind the direction."""
    return 2 * packed * packed + (ROWS + 3) * packed


EVALUATE = f'''

def evaluate(A, G, L, K, C, W, I, Y, V, B, U, team):
    """f = Σ r² at X, infinite where a residual or a derivative is not finite; G has the gradient 2 Jᵀr."""
    n = K[SIZE]
    w = K[PACKED]
    arrays = K[TABLE]
    width = JACOBIAN + K[PARAMS]
    at_b = GRADIENT + 2*n + 2*w*w + ROWS*w
    batch = arrays + 3*K[PARAMS] + 2*K[BATCH]
    first = arrays + 3*K[PARAMS] + 2*K[BATCHES]
    fill(A, at_b, 0.0, w)
    f = 0.0
    bad = 0
    for t in range(K[batch], K[batch + 1]):
        block = first + t*width
        if K[block] >= 0:
            failed = called(B, K, K[block])
        done = squares(A, K, U, block, W[K[BATCHES] + t], at_b)
        f = f + A[DOT]
        bad = bad + nonfinite(U, K[block + RESIDUAL], K[block + COUNT])
        for k in range(K[PARAMS]):
            bad = bad + nonfinite(U, K[block + JACOBIAN + k], K[block + COUNT]*K[arrays + 3*k + 2])
    for k in range(K[PARAMS]):
        done = scale(G, K[arrays + 3*k + 1], 2.0, A, at_b + K[arrays + 3*k], K[arrays + 3*k + 2])
    K[LOOKS] = K[LOOKS] + 1
    V[0] = f
    if K[SCALARS] > 1:
        failed = metrics(L, K, I, Y, V)
    A[FOUND] = f if bad == 0 else INF
    return 1


def metrics(L, K, I, Y, V):
    """Means over the rows."""
    copy(I, 0, K, TEMPLATES + K[BATCH]*K[WORDS], K[WORDS])
    fill(Y, 0, 0.0, {control.F_SIZE - 1} + K[SCALARS])
    failed = work(L, K)
    rows = Y[{control.WEIGHT}] if Y[{control.WEIGHT}] > 1.0 else 1.0
    for t in range(1, K[SCALARS]):
        V[t] = Y[{control.TOTALS} + t]/rows
    return failed


def called(B, K, number):
    """Residuals and derivatives of a program."""
    copy(B, 0, B, (1 + number)*K[WIDTH_OF_B], K[WIDTH_OF_B])
    return invoke(B)


def squares(A, K, U, block, factor, at_b):
    """Adds Jᵀr; DOT is Σ r²."""
    arrays = K[TABLE]
    rows = K[block + COUNT]//K[block + INSIDE]
    f = 0.0
    for m in range(K[block + COUNT]):
        r = factor*float(U[K[block + RESIDUAL] + m%rows*K[block + INSIDE] + m//rows])
        f = f + r*r
        for k in range(K[PARAMS]):
            size = K[arrays + 3*k + 2]
            done = add(A, at_b + K[arrays + 3*k], factor*r, U, K[block + JACOBIAN + k] + m*size, size)
    A[DOT] = f
    return 0
'''

STEP = '''

def step(P, G, S, A, L, K, H, C, X, I, Y, V, W, B, U, team):
    """S has mu and its factor nu (Nielsen 1999): (JᵀJ + mu I) d = -Jᵀr; with rho = (f(x) - f(x + d))/(dᵀ(mu d - Jᵀr))
    mu shrinks by max(1/3, 1 - (2 rho - 1)³) where rho > 0, and grows by nu = 2, 4, 8, .. where not."""
    n = K[SIZE]
    w = K[PACKED]
    arrays = K[TABLE]
    system = GRADIENT + 2*n
    factor = system + w*w
    b = factor + (w + ROWS + 1)*w
    d = b + w
    copy(A, b, A, b - w, w)
    done = normal(A, K, W, B, U)
    if S[0] == 0.0:
        largest = 0.0
        for i in range(w):
            largest = A[system + i*w + i] if A[system + i*w + i] > largest else largest
        S[0] = H[0]*(largest if largest > 0.0 else 1.0)
        S[1] = 2.0
    tries = 0
    while tries < TRIALS:
        tries = tries + 1
        mu = float(S[0])
        nu = float(S[1])
        copy(A, factor, A, system, w*w)
        for i in range(w):
            A[factor + i*w + i] = A[factor + i*w + i] + mu
        rho = -1.0
        length = 0.0
        if factored(A, factor, w) != 0:
            done = scale(A, d, -1.0, A, b, w)
            done = solved(A, factor, d, w)
            for k in range(K[PARAMS]):
                for i in range(K[arrays + 3*k + 2]):
                    place = K[arrays + 3*k + 1] + i
                    X[place] = float(P[place]) + A[d + K[arrays + 3*k] + i]
            looked = evaluate(A, G, L, K, C, W, I, Y, V, B, U, team)
            foretold = 0.0
            for i in range(w):
                foretold = radd(foretold, A[d + i]*(mu*A[d + i] - A[b + i]))
                length = radd(length, A[d + i]*A[d + i])
            if foretold > 0.0 and A[FOUND] < INF:
                rho = (A[LOSS] - A[FOUND])/foretold
            if rho > 0.0:
                u = 2.0*rho - 1.0
                u = 1.0 - u*u*u
                S[0] = mu*(u if u > 1.0/3.0 else 1.0/3.0)
                S[1] = 2.0
                return 1
            size = 0.0
            for i in range(n):
                size = radd(size, float(P[i])*float(P[i]))
            if sqrt(length) <= 1e-15*sqrt(size) or not (mu*nu < INF):
                return 0
        S[0] = mu*nu
        S[1] = 2.0*nu
    return 0


def normal(A, K, W, B, U):
    """JᵀJ at P, of ROWS rows of J at a time; U has them where one call of each program gives all that are needed."""
    n = K[SIZE]
    w = K[PACKED]
    arrays = K[TABLE]
    width = JACOBIAN + K[PARAMS]
    system = GRADIENT + 2*n
    rows = system + 2*w*w
    batch = arrays + 3*K[PARAMS] + 2*K[BATCH]
    first = arrays + 3*K[PARAMS] + 2*K[BATCHES]
    fill(A, system, 0.0, w*w)
    fill(A, rows, 0.0, ROWS*w)
    for t in range(K[batch], K[batch + 1]):
        block = first + t*width
        if K[AGAIN] != 0 and K[block] >= 0:
            failed = called(B, K, K[block])
        factor = W[K[BATCHES] + t]
        m = 0
        while m < K[block + COUNT]:
            many = K[block + COUNT] - m if K[block + COUNT] - m < ROWS else ROWS
            for k in range(K[PARAMS]):
                size = K[arrays + 3*k + 2]
                to = rows + K[arrays + 3*k]
                j = K[block + JACOBIAN + k] + m*size
                for q in range(many):
                    done = scale(A, to + q*w, factor, U, j + q*size, size)
            if many%4 != 0:
                fill(A, rows + many*w, 0.0, (4 - many%4)*w)
            done = products(A, system, rows, w, 0, (many + 3)//4, 1.0)
            m = m + ROWS
    return 0


def factored(A, at, w):
    """The matrix RᵀR at some place becomes R: 1, or 0 where it is not positive definite."""
    for begin in range(0, w, ROWS):
        end = begin + ROWS if begin + ROWS < w else w
        for k in range(begin, end):
            row = at + k*w
            if not (A[row + k] > 0.0 and A[row + k] < INF):
                return 0
            scale = 1.0/sqrt(A[row + k])
            for j in range(k, w):
                A[row + j] = scale*A[row + j]
            for i in range(k + 1, end):
                done = add(A, at + i*w + i, -A[row + i], A, row + i, w - i)
        done = products(A, at, at + begin*w, w, end, (end - begin)//4, -1.0)
    return 1


def products(A, at, rows, w, first, quads, sign):
    """Adds to a matrix, from a line on, the products of the columns of some rows, four rows at a time."""
    for i in range(first, w, 2):
        for q in range(quads):
            done = lines(A, A, A, at + i*w, rows + 4*q*w, w, i, sign)
    return 0


def lines(A, A2, Z, at, z, w, i, sign):
    """Two lines of that: columns i and i + 1."""
    noalias()
    a0 = sign*Z[z + i]
    a1 = sign*Z[z + w + i]
    a2 = sign*Z[z + 2*w + i]
    a3 = sign*Z[z + 3*w + i]
    b0 = sign*Z[z + i + 1]
    b1 = sign*Z[z + w + i + 1]
    b2 = sign*Z[z + 2*w + i + 1]
    b3 = sign*Z[z + 3*w + i + 1]
    for j in range(i, w):
        z0 = Z[z + j]
        z1 = Z[z + w + j]
        z2 = Z[z + 2*w + j]
        z3 = Z[z + 3*w + j]
        A[at + j] = A[at + j] + a0*z0 + a1*z1 + (a2*z2 + a3*z3)
        A2[at + w + j] = A2[at + w + j] + b0*z0 + b1*z1 + (b2*z2 + b3*z3)
    return 0


def solved(A, at, x, w):
    """RᵀR y = x, y in the place of x."""
    for k in range(w):
        A[x + k] = A[x + k]/A[at + k*w + k]
        done = add(A, x + k + 1, -A[x + k], A, at + k*w + k + 1, w - k - 1)
    for t in range(w):
        k = w - 1 - t
        s = 0.0
        for j in range(k + 1, w):
            s = radd(s, A[at + k*w + j]*A[x + j])
        A[x + k] = (A[x + k] - s)/A[at + k*w + k]
    return 0
'''
