"""The scalar rules that make formulas written as on paper accurate; :mod:`graphc.rewrite.stable` applies them.

Every rule keeps the real-valued function on its domain. Where a rule enlarges the domain (x*log(x) at 0), its `why`
says so. Numbers are exact rationals here; `simplify` is never called.
"""

from __future__ import annotations

import sympy as sp
from sympy import Add, Expr, Mul, Pow, S, cosh, exp, log, sinh, tanh

from graphc.ir.scalar import (
    absolute,
    bce,
    expm1,
    log1p,
    logcosh,
    maximum,
    relu,
    sigmoid,
    softplus,
    xlogx,
    xlogx1p,
)
from graphc.rewrite.patterns import (
    as_sigmoid,
    factor_powers,
    negated,
    number_and,
    one_plus_exp,
    swap,
    two_exponentials,
)
from graphc.rewrite.rules import Table, rule

POWERS = Table("powers")
PRODUCTS = Table("products")
SUMS = Table("sums")
LOGARITHMS = Table("logarithms")
EXTREMES = Table("maxima and minima")
FUNCTIONS = Table("other functions")
TABLES = (POWERS, PRODUCTS, SUMS, LOGARITHMS, EXTREMES, FUNCTIONS)


# ---------------------------------------------------------------- powers


@rule(POWERS)
def logistic(e: Pow) -> Expr | None:
    """1/(1 + exp(u))  ->  sigmoid(-u)   for any negative power

    exp(u) overflows for large u."""
    found = one_plus_exp(e.base) if e.exp.is_Rational and e.exp < 0 else None
    return found[0] ** e.exp * sigmoid(negated(found[1])) ** -e.exp if found and found[0] > 0 else None


@rule(POWERS)
def power_of_complement(e: Pow) -> Expr | None:
    """(1 - sigmoid(u))**n  ->  sigmoid(-u)**n   for n < 0, also for 1 +- tanh(u)

    The difference cancels where sigmoid(u) is near 1, and a quotient amplifies that."""
    found = as_sigmoid(e.base) if e.exp.is_Rational and e.exp < 0 else None
    return found[0] ** e.exp * sigmoid(found[1]) ** e.exp if found and found[0] > 0 else None


# ---------------------------------------------------------------- products


@rule(PRODUCTS)
def exp_times_logistic(e: Mul) -> Expr | None:
    """exp(k*u)*sigmoid(-u)**n  ->  sigmoid(u)**k * sigmoid(-u)**(n - k)   for integers 1 <= k <= n

    exp(u)/(1 + exp(u)) is inf/inf for large u."""
    for grown, _ in factor_powers(e, exp):
        for s, n in factor_powers(e, sigmoid):
            w, v = grown.args[0], s.args[0]
            k = next((sp.Integer(k) for k in range(int(n), 0, -1) if _absorbs(w, k * v)), 0)
            if k:
                return swap(e, {grown: S.One, s: k}, exp(sp.expand_mul(w + k * v)), sigmoid(negated(v)) ** k)
    return None


def _absorbs(w: Expr, kv: Expr) -> bool:
    rest = sp.expand_mul(w + kv)
    return rest is S.Zero or len(Add.make_args(rest)) < len(Add.make_args(sp.expand_mul(w)))


@rule(PRODUCTS)
def share_of_two_exponentials(e: Mul) -> Expr | None:
    """exp(u)/(exp(u) + exp(v))  ->  sigmoid(u - v)

    Softmax over two entries: both exponentials overflow or vanish together."""
    for grown, _ in factor_powers(e, exp):
        for total, n in factor_powers(e, Add):
            pair = two_exponentials(total) if n is S.NegativeOne else None
            if pair and grown.args[0] in pair[1:]:
                c, u, v = pair
                other = v if grown.args[0] == u else u
                return swap(e, {grown: S.One, total: n}, 1 / c, sigmoid(sp.expand_mul(grown.args[0] - other)))
    return None


@rule(PRODUCTS)
def sinh_over_cosh(e: Mul) -> Expr | None:
    """sinh(u)/cosh(u)  ->  tanh(u)   also for powers, and cosh(u)/sinh(u) -> 1/tanh(u)

    Both overflow for large u."""
    below = {f.args[0]: n for f, n in factor_powers(e, cosh)}
    for f, n in factor_powers(e, sinh):
        u, m = f.args[0], below.get(f.args[0], S.Zero)
        k = min(abs(n), abs(m)) * sp.sign(n)
        if n * m < 0:
            return swap(e, {f: k, cosh(u): -k}, tanh(u) ** k)
    return None


@rule(PRODUCTS)
def expm1_over_one_plus_exp(e: Mul) -> Expr | None:
    """(exp(u) - 1)/(exp(u) + 1)  ->  tanh(u/2)

    inf*0 for large u."""
    arguments = {s.args[0]: s for s, n in factor_powers(e, sigmoid) if n > 0}
    for f, n in factor_powers(e, expm1):
        s = arguments.get(negated(f.args[0]))
        if n > 0 and s is not None:
            return swap(e, {f: S.One, s: S.One}, tanh(f.args[0] / 2))
    return None


@rule(PRODUCTS)
def exp_over_expm1(e: Mul) -> Expr | None:
    """exp(k*u)/(exp(u) - 1)**n  ->  (-expm1(-u))**-k * expm1(u)**(k - n)   for integers 1 <= k <= n

    inf/inf for large u."""
    for f, n in factor_powers(e, expm1):
        u = f.args[0]
        for grown, _ in factor_powers(e, exp) if n < 0 else ():
            k = grown.args[0] / u
            if k.is_Integer and 1 <= k <= -n:
                return swap(e, {grown: S.One, f: -k}, (-expm1(negated(u))) ** -k)
    return None


@rule(PRODUCTS)
def expm1_over_exp(e: Mul) -> Expr | None:
    """(exp(u) - 1)*exp(-u)  ->  -expm1(-u)

    inf*0 for large u."""
    grown = {f.args[0]: f for f, _ in factor_powers(e, exp)}
    for f, n in factor_powers(e, expm1):
        beside = grown.get(negated(f.args[0]))
        if n > 0 and beside is not None:
            return swap(e, {beside: S.One, f: S.One}, -expm1(negated(f.args[0])))
    return None


@rule(PRODUCTS)
def x_log_x(e: Mul) -> Expr | None:
    """x*log(x)  ->  xlogx(x)   also x*log(x/y) -> y*xlogx(x/y), (1 + u)*log1p(u) -> xlogx1p(u)

    0*log(0) is a NaN; the domain is enlarged by the limit 0 at x = 0."""
    for f in e.args:
        x = _argument(f)
        if isinstance(f, log1p) and x is not None and _has_factor(e, x):
            return swap(e, {f: S.One, x: S.One}, xlogx1p(f.args[0]))
        for multiple in (x, negated(x), *_numerators(x)) if x is not None else ():
            if _has_factor(e, multiple):
                return swap(e, {f: S.One, multiple: S.One}, sp.cancel(multiple / x), xlogx(x))
    return None


def _argument(f: Expr) -> Expr | None:
    """x if f is log(x) in one of its two spellings."""
    return f.args[0] if isinstance(f, log) else 1 + f.args[0] if isinstance(f, log1p) else None


def _numerators(x: Expr) -> list[Expr]:
    """The x of x/y, for a quotient of two single factors."""
    above, below = x.as_numer_denom()
    return [] if below.is_number or above.is_number or not x.is_Mul else [above]


def _has_factor(e: Mul, x: Expr) -> bool:
    if x.is_number:
        return False
    powers = (f.as_base_exp() for f in e.args)
    return any(base == x and n.is_Rational and n >= 1 for base, n in powers)


@rule(PRODUCTS)
def x_times_sum_with_log_x(e: Mul) -> Expr | None:
    """x*(log(x) + r)  ->  xlogx(x) + x*r

    0*log(0) is a NaN; the domain is enlarged by the limit 0 at x = 0."""
    for total, n in factor_powers(e, Add):
        arguments = [_argument(t.as_coeff_Mul()[1]) for t in total.args]
        if n is S.One and any(x is not None and _has_factor(e, x) for x in arguments):
            others = [f for f in e.args if f != total]
            return Add(*(Mul(*others, t) for t in total.args))
    return None


@rule(PRODUCTS)
def product_of_exponentials(e: Mul) -> Expr | None:
    """exp(u)*exp(v)  ->  exp(u + v)

    inf*0 where one overflows and the other vanishes, as in exp(z)/sum(exp(z))."""
    arguments = [f.args[0] for f in e.args if isinstance(f, exp)]
    if len(arguments) < 2:
        return None
    return Mul(exp(sp.expand_mul(Add(*arguments))), *[f for f in e.args if not isinstance(f, exp)])


# ---------------------------------------------------------------- sums


@rule(SUMS)
def opposite_exponentials(e: Add) -> Expr | None:
    """exp(u) - exp(-u)  ->  2*sinh(u),   and the sum to 2*cosh(u)

    The difference cancels near u = 0; the pair is recognised further by log and by quotients."""
    terms = {f: k for k, f in (t.as_coeff_Mul() for t in e.args) if isinstance(f, exp)}
    for f, k in terms.items():
        u, mirror = f.args[0], exp(negated(f.args[0]))
        if mirror is not f and abs(terms.get(mirror, S.Zero)) == abs(k) and not u.could_extract_minus_sign():
            pair = 2 * cosh(u) if terms[mirror] == k else 2 * sinh(u)
            return e - k * f - terms[mirror] * mirror + k * pair
    return None


@rule(SUMS)
def exp_minus_one(e: Add) -> Expr | None:
    """exp(u) - 1  ->  expm1(u)   also scaled and within a longer sum

    The difference cancels near u = 0."""
    c, rest = e.as_coeff_Add()
    for term in Add.make_args(rest) if c is not S.Zero else ():
        k, f = term.as_coeff_Mul()
        if isinstance(f, exp) and k == -c:
            return e - term - c + k * expm1(f.args[0])
    return None


@rule(SUMS)
def two_sigmoid_minus_one(e: Add) -> Expr | None:
    """2*sigmoid(u) - 1  ->  tanh(u/2)   also scaled

    The difference cancels near u = 0."""
    found = number_and(e, sigmoid)
    if not found or found[1] != -2 * found[0]:
        return None
    return -found[0] * tanh(found[2].args[0] / 2)


@rule(SUMS)
def complementary_sigmoids(e: Add) -> Expr | None:
    """k*sigmoid(u) + k*sigmoid(-u)  ->  k

    Two rounded numbers that add to exactly 1."""
    terms: dict[Expr, list[Expr]] = {}
    for term in e.args:
        for f in Mul.make_args(term):
            if isinstance(f, sigmoid):
                terms.setdefault(f, []).append(Mul(*(g for g in Mul.make_args(term) if g != f)))
    for f, shares in terms.items():
        mirror = sigmoid(negated(f.args[0]))
        common = [k for k in shares if k in terms.get(mirror, [])]
        if common and mirror != f:
            return e - common[0] * f - common[0] * mirror + common[0]
    return None


@rule(SUMS)
def softplus_by_magnitude(e: Add) -> Expr | None:
    """relu(u) + softplus(-|u|)  ->  softplus(u)

    The two kinks at u = 0 cancel; their derivatives need not be taken."""
    terms = {f: k for k, f in (t.as_coeff_Mul() for t in e.args)}
    for f, k in terms.items():
        if not isinstance(f, softplus) or not isinstance(-f.args[0], absolute):
            continue
        u = (-f.args[0]).args[0]
        for v in (u, negated(u)):
            if terms.get(relu(v)) == k:
                return e - k * f - k * relu(v) + k * softplus(v)
    return None


@rule(SUMS)
def cross_entropy(e: Add) -> Expr | None:
    """t*softplus(-z) + (1 - t)*softplus(z)  ->  bce(z, t),   and softplus(z) - t*z likewise

    One function with an evaluation order of its own: z - z*t cancels where the loss is small."""
    for s in sorted(e.atoms(softplus), key=sp.default_sort_key):
        z = s.args[0]
        if not z.could_extract_minus_sign() or softplus(negated(z)) not in e.atoms(softplus):
            found = _cross_entropy_of(e, z)
            if found is not None:
                return found
    return None


def _cross_entropy_of(e: Add, z: Expr) -> Expr | None:
    right, left = softplus(z), softplus(negated(z))
    p, n, m, rest = _split(e, right, left, z)
    weight = sp.expand(p + n)
    if p is S.Zero or (n is S.Zero and m is S.Zero):
        return None
    if weight is S.Zero:
        return rest + (p + m) * z
    target = _target(sp.expand(n - m), weight)
    if target is None or (target.is_number and target not in (S.One, S.Zero)):
        return None
    return rest + weight * ({S.One: left, S.Zero: right}.get(target) or bce(z, target))


def _target(share: Expr, weight: Expr) -> Expr | None:
    """share/weight if it divides without remainder, else None (class weights: both terms stay)."""
    single = len(Add.make_args(weight)) == 1 or not weight.free_symbols & share.free_symbols
    quotient = sp.expand(share / weight) if single else sp.cancel(share / weight)
    below = [p.base for p in quotient.atoms(Pow) if p.exp.could_extract_minus_sign()]
    return None if any(base.free_symbols & weight.free_symbols for base in below) else quotient


def _split(e: Add, right: Expr, left: Expr, z: Expr) -> tuple[Expr, Expr, Expr, Expr]:
    """(p, n, m, rest) with e = p*right + n*left + m*z + rest; m is taken only if `right` occurs."""
    parts: dict[Expr, list[Expr]] = {right: [], left: [], z: []}
    rest = []
    for term in e.args:
        factors = Mul.make_args(term)
        owner = next((f for f in (right, left, z) if f in factors), None)
        others = [f for f in factors if f != owner]
        if owner is None or (owner == z and any(f.has(softplus) for f in others)):
            rest.append(term)
        else:
            parts[owner].append(Mul(*others))
    return Add(*parts[right]), Add(*parts[left]), Add(*parts[z]), Add(*rest)


# ---------------------------------------------------------------- logarithms


@rule(LOGARITHMS, of=log)
def log_of_product(e: log) -> Expr | None:
    """log(exp(u)*v)  ->  u + log(v)   for a product with a factor exp, sigmoid, 1 + exp, 1 - sigmoid, cosh

    Each factor over- or underflows where its logarithm does not."""
    terms, rest = [], S.One
    for factor in Mul.make_args(e.args[0]):
        base, n = (factor, S.One) if isinstance(factor, exp) else factor.as_base_exp()
        value = log_of_factor(base)
        rest = rest * factor if value is None else rest
        terms += [] if value is None else [n * value]
    if not terms or (rest.is_number and not rest.is_positive):
        return None
    return Add(*terms, log(rest)) if rest is not S.One else Add(*terms)


def log_of_factor(f: Expr) -> Expr | None:
    """The logarithm of a positive factor in a form that neither overflows nor cancels; None if there is none."""
    if isinstance(f, exp):
        return f.args[0]
    if isinstance(f, sigmoid):
        return -softplus(negated(f.args[0]))
    if isinstance(f, cosh):
        return logcosh(f.args[0])
    grown, part = one_plus_exp(f), as_sigmoid(f)
    if grown and grown[0] > 0:
        return log(grown[0]) + softplus(grown[1])
    if part and part[0] > 0:
        return log(part[0]) - softplus(negated(part[1]))
    return _log_of_sech_squared(f) or _log_of_two_exponentials(f)


def _log_of_sech_squared(f: Expr) -> Expr | None:
    """log(c*(1 - tanh(u)**2)) = log(c) - 2*logcosh(u)."""
    c, rest = f.as_coeff_Add()
    k, square = rest.as_coeff_Mul()
    hit = c.is_positive and k == -c and square.is_Pow and square.exp == 2 and isinstance(square.base, tanh)
    return log(c) - 2 * logcosh(square.base.args[0]) if hit else None


def _log_of_two_exponentials(f: Expr) -> Expr | None:
    """log(c*(exp(u) + exp(v))) = log(c) + u + softplus(v - u)."""
    pair = two_exponentials(f)
    if pair is None:
        return None
    c, u, v = pair
    return log(c) + u + softplus(sp.expand_mul(v - u))


@rule(LOGARITHMS, of=log)
def log_of_expm1(e: log) -> Expr | None:
    """log(exp(u) - 1)  ->  u + log(-expm1(-u))

    exp(u) overflows for large u."""
    f = e.args[0]
    return f.args[0] + log(-expm1(negated(f.args[0]))) if isinstance(f, expm1) else None


@rule(LOGARITHMS, of=log)
def log_of_one_plus(e: log) -> Expr | None:
    """log(1 + x)  ->  log1p(x)

    1 + x drops the digits of a small x."""
    c, rest = e.args[0].as_coeff_Add()
    return log1p(rest) if c is S.One else None


@rule(LOGARITHMS, of=log1p)
def log1p_of_exp(e: log1p) -> Expr | None:
    """log1p(exp(u))  ->  softplus(u),   log1p(exp(u) - 1) -> u,   log1p(-sigmoid(u)) -> -softplus(u)

    exp(u) overflows; sigmoid(u) reaches 1."""
    f = e.args[0]
    if isinstance(f, exp):
        return softplus(f.args[0])
    if isinstance(f, expm1):
        return f.args[0]
    return -softplus((-f).args[0]) if isinstance(-f, sigmoid) else None


# ---------------------------------------------------------------- maxima


@rule(EXTREMES)
def maximum_with_zero(e: Expr) -> Expr | None:
    """maximum(x, 0)  ->  relu(x),   minimum(x, 0) -> -relu(-x)

    The subgradient at 0 becomes 0, as for relu (a tie would give 1/2)."""
    if S.Zero not in e.args:
        return None
    x = next((a for a in e.args if a is not S.Zero), S.Zero)
    return relu(x) if isinstance(e, maximum) else -relu(negated(x))
