"""The text of the line search of Moré and Thuente (1994, ACM TOMS 20, 286-307): a step that fulfils the strong Wolfe
conditions.

Along x + t d, with phi(t) the loss and phi'(t) its slope there,

    phi(t) <= phi(0) + c1 t phi'(0)   and   abs(phi'(t)) <= c2 abs(phi'(0)).

What phi is, ``look`` of :mod:`graphc.emit.descent` knows; A has the numbers below, H c1 and c2.
"""

from __future__ import annotations

LOSS, SLOPE, STEP, FOUND, FOUND_SLOPE, BEST, OTHER, NEXT, CUBIC, DOT = 0, 1, 2, 3, 4, 5, 8, 11, 12, 13
"""phi(0), phi'(0); t that was looked at last, phi and phi' there; t, phi, phi' at the best end of the interval and at
the other; what the functions of interpolation give; what a product of vectors gives."""
HEAD = 16

CONSTANTS = {
    "LOSS": LOSS, "SLOPE": SLOPE, "STEP": STEP, "FOUND": FOUND, "FOUND_SLOPE": FOUND_SLOPE, "BEST": BEST,
    "OTHER": OTHER, "NEXT": NEXT, "CUBIC": CUBIC, "DOT": DOT,
    "TRIES": 30, "LARGEST": 1e10, "NARROW": 1e-14,
}  # fmt: skip
"""TRIES: evaluations at most; LARGEST: step; NARROW: relative width of an interval in which no better step can be
told."""

SEARCH = '''
def search(P, X, G, A, L, K, H, C, I, Y, V, first, team):
    """1 where a step fulfils the conditions, else the best that lowers phi enough; 0 where there is none. The step that
    is given was looked at last."""
    f0 = A[LOSS]
    slope0 = A[SLOPE]
    if not (slope0 < 0.0):
        return 0
    test = H[0]*slope0
    A[BEST] = 0.0
    A[BEST + 1] = f0
    A[BEST + 2] = slope0
    copy(A, OTHER, A, BEST, 3)
    bracketed = 0
    low = 0.0
    high = 5.0*first
    t = first
    width = LARGEST
    before = 2.0*LARGEST
    auxiliary = 1  # until psi(t) = phi(t) - phi(0) - c1 t phi'(0) is at most 0 with a slope of at least 0
    tries = 0
    while tries < TRIES:
        tries = tries + 1
        looked = look(P, X, G, A, L, K, C, I, Y, V, t, team)
        f = A[FOUND]
        slope = A[FOUND_SLOPE]
        if not (absolute(f) < INF and absolute(slope) < INF):
            if t <= NARROW*first:
                break
            t = A[BEST] + 0.1*(t - A[BEST])
            high = t
        else:
            if f <= f0 + t*test and absolute(slope) <= -H[1]*slope0:
                return 1
            if f <= f0 + t*test and slope >= 0.0:
                auxiliary = 0
            shift = test if auxiliary != 0 and f <= A[BEST + 1] and f > f0 + t*test else 0.0
            bracketed = narrow(A, t, f, slope, bracketed, low, high, shift)
            t = A[NEXT]
            low = t + 1.1*(t - A[BEST])
            high = t + 4.0*(t - A[BEST])
            if bracketed != 0:
                low = A[BEST] if A[BEST] < A[OTHER] else A[OTHER]
                high = A[OTHER] if A[BEST] < A[OTHER] else A[BEST]
                if high - low >= 0.66*before:
                    t = A[BEST] + 0.5*(A[OTHER] - A[BEST])
                before = width
                width = high - low
                if high - low <= NARROW*high:
                    break
            t = 0.0 if t < 0.0 else t
            t = LARGEST if t > LARGEST else t
    t = A[BEST]
    if not (t > 0.0 and A[BEST + 1] < f0 + t*test):
        return 0
    return look(P, X, G, A, L, K, C, I, Y, V, t, team)


def narrow(A, t, f, slope, bracketed, low, high, shift):
    """The next trial; the interval is moved to hold the minimum of phi - shift t. Whether one is known to lie in it."""
    least = A[BEST + 1] - shift*A[BEST]
    other = A[OTHER + 1] - shift*A[OTHER]
    at = A[BEST + 2] - shift
    end = A[OTHER + 2] - shift
    here = f - shift*t
    now = trial(A, A[BEST], least, at, A[OTHER], other, end, t, here, slope - shift, bracketed, low, high)
    if here > least:
        A[OTHER] = t
        A[OTHER + 1] = f
        A[OTHER + 2] = slope
    else:
        if (slope - shift)*(-1.0 if at < 0.0 else 1.0) < 0.0:
            copy(A, OTHER, A, BEST, 3)
        A[BEST] = t
        A[BEST + 1] = f
        A[BEST + 2] = slope
    return now


def trial(A, ta, fa, sa, tb, fb, sb, tc, fc, sc, bracketed, low, high):
    """Section 4 of the paper: a is the best end, b the other, c the trial. The next trial by cubic and quadratic
    interpolation; whether a minimum is bracketed."""
    if fc > fa:  # case 1: a minimum lies between
        done = cubic(A, ta, fa, sa, tc, fc, sc)
        third = A[CUBIC]
        second = ta + sa/((fa - fc)/(tc - ta) + sa)/2.0*(tc - ta)
        A[NEXT] = third if absolute(third - ta) < absolute(second - ta) else third + (second - third)/2.0
        return 1
    secant = tc + sc/(sc - sa)*(ta - tc) if sc != sa else high
    if sc*(-1.0 if sa < 0.0 else 1.0) < 0.0:  # case 2: the slopes differ in sign
        done = cubic(A, tc, fc, sc, ta, fa, sa)
        third = A[CUBIC]
        A[NEXT] = third if absolute(third - tc) > absolute(secant - tc) else secant
        return 1
    if absolute(sc) < absolute(sa):  # case 3: the slope becomes less steep
        done = beyond(A, ta, fa, sa, tc, fc, sc, low, high)
        third = A[CUBIC]
        nearer = 1 if absolute(third - tc) < absolute(secant - tc) else 0
        if bracketed != 0:
            t = third if nearer != 0 else secant
            bound = tc + 0.66*(tb - tc)
            smaller = bound if bound < t else t
            larger = t if bound < t else bound
            A[NEXT] = smaller if tc > ta else larger
            return 1
        t = secant if nearer != 0 else third
        t = high if t > high else t
        A[NEXT] = low if t < low else t
        return 0
    if bracketed != 0:  # case 4: it does not
        done = cubic(A, tc, fc, sc, tb, fb, sb)
        A[NEXT] = A[CUBIC]
        return 1
    A[NEXT] = high if tc > ta else low
    return 0


def cubic(A, ta, fa, sa, tb, fb, sb):
    """Where the cubic that takes the values and slopes at a and b has its minimum."""
    theta = 3.0*(fa - fb)/(tb - ta) + sa + sb
    s = absolute(theta) + absolute(sa) + absolute(sb)
    s = s if s > 0.0 else 1.0
    inside = theta/s*(theta/s) - sa/s*(sb/s)
    gamma = s*sqrt(inside if inside > 0.0 else 0.0)
    gamma = -gamma if tb < ta else gamma
    q = gamma - sa + gamma + sb
    A[CUBIC] = ta + (gamma - sa + theta)/q*(tb - ta) if q != 0.0 else (ta + tb)/2.0
    return 0


def beyond(A, ta, fa, sa, tc, fc, sc, low, high):
    """That minimum where it lies beyond c as seen from a; else the end of the range in that direction."""
    theta = 3.0*(fa - fc)/(tc - ta) + sa + sc
    s = absolute(theta) + absolute(sa) + absolute(sc)
    s = s if s > 0.0 else 1.0
    inside = theta/s*(theta/s) - sa/s*(sc/s)
    gamma = s*sqrt(inside if inside > 0.0 else 0.0)
    gamma = -gamma if tc > ta else gamma
    q = gamma + (sa - sc) + gamma
    r = (gamma - sc + theta)/q if q != 0.0 else 0.0
    end = high if tc > ta else low
    A[CUBIC] = tc + r*(ta - tc) if r < 0.0 and gamma != 0.0 else end
    return 0
'''
