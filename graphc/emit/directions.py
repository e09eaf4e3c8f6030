"""The directions of optimizers that search along one, as text: L-BFGS, nonlinear conjugate gradients, Newton-CG.

Each is a function ``step`` of the text of :mod:`graphc.emit.descent`: it finds a point X with a lower loss, where G
is the gradient then, and says whether there is one. The direction lies behind the gradient in A.
"""

from __future__ import annotations

from graphc.emit import control

PAIRS = '''

def begin(S, A, K):
    """The products sᵀ y of the pairs; 0 where there is none."""
    n = K[SIZE]
    for i in range(K[MEMORY]):
        done = dot(A, S, i*n, S, (K[MEMORY] + i)*n, n)
        A[GRADIENT + 3*n + i] = A[DOT]
    return 0


def step(P, G, S, A, L, K, H, C, X, I, Y, V, W, B, U, team):
    """S has the pairs s and y of the last steps, of which step k replaces the oldest."""
    n = K[SIZE]
    m = K[MEMORY]
    products = GRADIENT + 3*n
    moved = 0
    if two_loop(S, A, K, NUMBER) != 0:
        moved = along(P, X, G, A, L, K, H, C, I, Y, V, 1.0, team)
    if moved == 0:
        fill(S, 0, 0.0, 2*m*n)
        fill(A, products, 0.0, m)
        moved = steepest(P, X, G, A, L, K, H, C, I, Y, V, team)
    if moved == 0:
        return 0
    slot = NUMBER%m
    s = slot*n
    y = (m + slot)*n
    done = less(S, s, X, 0, P, 0, n)
    done = less(S, y, G, 0, A, GRADIENT, n)
    done = dot(A, S, y, S, y, n)
    least = EPS*A[DOT]
    done = dot(A, S, s, S, y, n)
    A[products + slot] = A[DOT]
    if not (A[DOT] > least):
        fill(S, s, 0.0, n)
        fill(S, y, 0.0, n)
        A[products + slot] = 0.0
    return 1


def two_loop(S, A, K, k):
    """d = -H g by the two-loop recursion (Nocedal, Wright, algorithm 7.4): 1, or 0 without pairs."""
    n = K[SIZE]
    m = K[MEMORY]
    d = GRADIENT + n
    q = d + n
    products = q + n
    alpha = products + m
    last = -1
    done = scale(A, q, -1.0, A, GRADIENT, n)
    for t in range(m):
        i = (k + m - 1 - t)%m
        if A[products + i] != 0.0:
            done = dot(A, A, q, S, i*n, n)
            A[alpha + i] = A[DOT]/A[products + i]
            done = add(A, q, -A[alpha + i], S, (m + i)*n, n)
            last = i if last < 0 else last
    if last < 0:
        return 0
    done = dot(A, S, (m + last)*n, S, (m + last)*n, n)
    done = scale(A, d, A[products + last]/A[DOT], A, q, n)
    for t in range(m):
        i = (k + t)%m
        if A[products + i] != 0.0:
            done = dot(A, A, d, S, (m + i)*n, n)
            done = add(A, d, A[alpha + i] - A[DOT]/A[products + i], S, i*n, n)
    return 1


def less(S, s, X, x, Z, z, n):
    """s <- x - z."""
    noalias()
    for i in range(n):
        S[s + i] = float(X[x + i]) - float(Z[z + i])
    return 0
'''.replace("NUMBER", f"C[{control.STEP}]")

BEGIN = '''

def begin(S, A, K):
    """Nothing."""
    return 0
'''

CONJUGATE = '''

def step(P, G, S, A, L, K, H, C, X, I, Y, V, W, B, U, team):
    """S has the last gradient, the last direction, and what it promised (first element)."""
    n = K[SIZE]
    d = GRADIENT + n
    above = 0.0
    below = 0.0
    for i in range(n):
        above = radd(above, A[GRADIENT + i]*(A[GRADIENT + i] - float(S[i])))
        below = radd(below, float(S[i])*float(S[i]))
    beta = above/(below if below > 0.0 else 1.0)
    beta = beta if beta > 0.0 else 0.0
    for i in range(n):
        A[d + i] = beta*float(S[n + i]) - A[GRADIENT + i]
    done = dot(A, A, d, A, GRADIENT, n)
    promised = float(S[2*n])
    moved = 0
    if A[DOT] < 0.0:
        first = promised/A[DOT]
        if promised == 0.0:
            done = unit(A, d, n)
            first = A[DOT]
        moved = along(P, X, G, A, L, K, H, C, I, Y, V, first, team)
    if moved == 0:
        moved = steepest(P, X, G, A, L, K, H, C, I, Y, V, team)
    if moved == 0:
        return 0
    done = scale(S, 0, 1.0, A, GRADIENT, n)
    done = scale(S, n, 1.0, A, d, n)
    S[2*n] = A[STEP]*A[SLOPE]
    return 1
'''

NEWTON = '''

def step(P, G, S, A, L, K, H, C, X, I, Y, V, W, B, U, team):
    """H d = -g by conjugate gradients (Nocedal, Wright, algorithm 7.1), to min(1/2, sqrt norm g) of the norm of g or
    before a direction of negative curvature; then a search along d."""
    n = K[SIZE]
    d = GRADIENT + n
    r = d + n
    p = r + n
    product = p + n
    done = dot(A, A, GRADIENT, A, GRADIENT, n)
    rr = A[DOT]
    norm = sqrt(rr)
    enough = (0.5 if norm > 0.25 else sqrt(norm))*norm
    fill(A, d, 0.0, n)
    copy(A, r, A, GRADIENT, n)
    done = scale(A, p, -1.0, A, GRADIENT, n)
    most = K[MEMORY] if K[MEMORY] < 2*n + 10 else 2*n + 10
    j = 0
    while j < most:
        done = times(A, B, U, K, p, product)
        done = dot(A, A, p, A, p, n)
        least = EPS*A[DOT]
        done = dot(A, A, p, A, product, n)
        if not (A[DOT] > least):
            if j == 0:
                done = scale(A, d, -1.0, A, GRADIENT, n)
            break
        alpha = rr/A[DOT]
        done = add(A, d, alpha, A, p, n)
        done = add(A, r, alpha, A, product, n)
        done = dot(A, A, r, A, r, n)
        beta = A[DOT]/rr
        rr = A[DOT]
        if sqrt(rr) <= enough:
            break
        for i in range(n):
            A[p + i] = beta*A[p + i] - A[r + i]
        j = j + 1
    moved = along(P, X, G, A, L, K, H, C, I, Y, V, 1.0, team)
    if moved == 0:
        moved = steepest(P, X, G, A, L, K, H, C, I, Y, V, team)
    return moved


def times(A, B, U, K, v, product):
    """The Hessian at P times v."""
    n = K[SIZE]
    copy(B, 0, B, (1 + K[BATCH])*K[WIDTH_OF_B], K[WIDTH_OF_B])
    done = scale(U, 0, 1.0, A, v, n)
    failed = invoke(B)
    return scale(A, product, 1.0, U, n, n)
'''
