"""Inverse, determinant, Cholesky factor and what is made of them: values and derivatives of any order against JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import graphc as gc
from graphc.derive.gradient import gradient, hessian_vector, jacobian, tangent
from graphc.emit.reference import evaluate
from graphc.errors import DomainError, ShapeError
from graphc.ir.verify import verify

N, BATCH = 4, 3
_random = np.random.default_rng(0)
A_, V_ = _random.normal(size=(2, BATCH, N, N))
B_, W_ = _random.normal(size=(BATCH, N, 2)), _random.normal(size=(N, N))


def _spd(a, xp):
    """Symmetric and positive definite."""
    return a @ xp.swapaxes(a, -1, -2) + 3 * np.eye(N)


def _whole(xp, linalg, a, b):
    """Scalars of matrices, for graphc and for JAX, nonlinear in each function: second derivatives are not 0."""
    found = {
        "inv": xp.sum(linalg.inv(a) ** 2 * W_),
        "det": xp.sum(linalg.det(a) ** 2),
        "slogdet": xp.sum(linalg.slogdet(a)[0] * linalg.slogdet(a)[1] ** 2),
        "solve": xp.sum(linalg.solve(a, b) ** 2),
        "cholesky": xp.sum(linalg.cholesky(_spd(a, xp)) ** 3 * W_),
    }
    return list(found.values())


@pytest.fixture(scope="module")
def of_jax():
    """Values, gradients, Hessian-vector products, directional derivatives, those once more: of each function."""

    def all_orders(a, v):
        f = lambda x: jnp.stack(_whole(jnp, jnp.linalg, x, B_))  # noqa: E731
        down, curved = jax.jvp(jax.jacrev(f), (a,), (v,))
        along = [jnp.sum(x * v, (1, 2, 3)) for x in (down, curved)]
        return f(a), down, curved, *along

    with jax.enable_x64(True):
        return [np.asarray(x) for x in jax.jit(all_orders)(A_, V_)]


@pytest.mark.parametrize("which", range(5), ids=["inv", "det", "slogdet", "solve", "cholesky"])
def test_values_and_derivatives_of_both_modes_and_orders_agree_with_jax(which, of_jax):
    """Red when the pullback of the inverse loses its sign, or Φ does not halve the diagonal."""
    a, v, b = gc.input("A", A_.shape), gc.input("V", A_.shape), gc.input("B", B_.shape)
    y = _whole(gc, gc.linalg, a, b)[which].node
    [slope], [curved] = gradient(y, [a.node]), hessian_vector(y, [a.node], [v.node])
    along = tangent(y, {a.node: v.node})
    nodes = [y, slope, curved, along, tangent(along, {a.node: v.node})]
    verify(nodes)
    found = evaluate(nodes, {a.node: A_, v.node: V_, b.node: B_})
    for ours, theirs in zip(found, (x[which] for x in of_jax), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9 * np.abs(theirs).max())


def test_a_jacobian_is_a_stack_of_cotangents():
    a = gc.param("A", (2, 2))
    expected = lambda x: jnp.linalg.cholesky(jnp.linalg.inv(x @ x.T) + jnp.linalg.det(x) ** 2 * np.eye(2))  # noqa: E731
    y = gc.linalg.cholesky(gc.linalg.inv(a @ a.T) + gc.linalg.det(a) ** 2 * np.eye(2))
    [found] = evaluate([jacobian(y.node, a.node)], {a.node: A_[0, :2, :2]})
    with jax.enable_x64(True):
        np.testing.assert_allclose(found, jax.jacobian(expected)(A_[0, :2, :2]), rtol=1e-10)


def test_a_jacobian_of_a_batch_keeps_its_matrices_apart():
    """Red when a stack of cotangents is read with the matrices' own places in the batch."""

    def of(xp, linalg, x):
        found = linalg.inv(x), linalg.cholesky(_spd(x, xp)), linalg.det(x)
        return *found, xp.sum(found[0] ** 2, (0, 1)), xp.sum(found[1] ** 2, 0), xp.sum(found[0], 2) * found[2][:, None]

    a = gc.input("A", A_.shape)
    found = evaluate([jacobian(y.node, a.node) for y in of(gc, gc.linalg, a)], {a.node: A_})
    with jax.enable_x64(True):
        expected = jax.jit(jax.jacobian(lambda x: of(jnp, jnp.linalg, x)))(A_)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9 * np.abs(theirs).max())


def test_the_functions_of_numpy_are_those_of_graphc():
    a = gc.param("A", (3, 3))
    assert np.linalg.inv(a).equation is gc.linalg.inv(a).equation
    assert np.linalg.slogdet(a)[1].shape == () and np.linalg.solve(a, a[0]).shape == (3,)


def test_what_is_no_matrix_is_told():
    with pytest.raises(ShapeError, match=r"inv of A\[3, 4\]"):
        gc.linalg.inv(gc.param("A", (3, 4)))
    with pytest.raises(ShapeError, match=r"solve: b\[4\] does not fit matrices of 3 rows"):
        gc.linalg.solve(gc.param("A", (3, 3)), gc.input("b", (4,)))


def test_formulas_read_as_on_paper():
    """Red when the gradient of log|det A| is not A⁻ᵀ on the page."""
    a, x = gc.param("A", (3, 3), gc.normal(1.0)), gc.input("X", ("n", 3))
    loss = gc.mean(gc.sum((x @ gc.linalg.inv(a)) * x, axis=1)) + gc.linalg.slogdet(a).logabsdet
    page = gc.Model(loss=loss).derive(a)
    matrices = str(page.matrix())
    assert "Z0 = X A⁻¹" in matrices and "+ log|det A|" in matrices
    assert "∂J/∂A = A⁻ᵀ - A⁻ᵀ Xᵀ δ0 A⁻ᵀ" in matrices
    assert r"A^{-\top} - A^{-\top} X^{\top} \delta_{0} A^{-\top}" in page.latex(style="matrix")
    assert "∂J/∂A[i,j] = A⁻¹[j,i] - " in str(page.index())


def test_compiled_functions_of_matrices_agree_with_numpy_and_name_a_singular_one():
    """Red when the columns are not put back after pivoting, or the signs of the swaps are lost."""
    a, b, x = gc.input("A", ("n", N, N)), gc.input("B", ("n", N, 2)), gc.input("X", ("n", 8))
    big, one = gc.input("C", (40, 40)), gc.input("D", ("n", 1, 1))
    linalg, spd = gc.linalg, _spd(a, gc)
    loss = gc.sum(linalg.slogdet(spd)[1]) + gc.sum(linalg.cholesky(spd) ** 3) + gc.sum(linalg.det(a))
    outputs = [linalg.inv(a), linalg.det(a), *linalg.slogdet(a), linalg.cholesky(spd), linalg.solve(a, b)]
    outputs += [linalg.inv(big), linalg.det(big), linalg.inv(one), linalg.slogdet(x @ x.T)[1], gc.grad(loss, a)]
    f = gc.compile(outputs, [a, b, x, big, one], dtype="float64")
    [slope] = gradient(loss.node, [a.node])
    random = np.random.default_rng(1)
    for n in (7, 2):
        m, right, rows = (random.normal(size=s) for s in ((n, N, N), (n, N, 2), (n, 8)))
        m[0, 0, 0] = 0.0  # rows must be exchanged
        c, d = random.normal(size=(40, 40)), random.normal(size=(n, 1, 1))
        np_ = np.linalg
        expected = [np_.inv(m), np_.det(m), *np_.slogdet(m), np_.cholesky(_spd(m, np)), np_.solve(m, right)]
        expected += [np_.inv(c), np_.det(c), 1 / d, np_.slogdet(rows @ rows.T)[1]]
        expected += evaluate([slope], {a.node: m})
        for ours, theirs in zip(f(m, right, rows, c, d), expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-11 * np.abs(theirs).max())
    d[1] = 0.0
    with pytest.raises(DomainError, match=r"D⁻¹: the matrix D\[1\] is singular\n  at test_linalg"):
        f(m, right, rows, c, d)


def test_a_fit_stops_at_a_singular_matrix_and_threads_give_the_same_bits():
    """Red when a matrix is divided among threads, or the row of the batch is told instead of the row of the data."""
    a, w = gc.input("A", ("n", N, N)), gc.param("W", (N, N), gc.normal(1.0))
    rows = np.random.default_rng(2).normal(size=(600, N, N))
    loss = gc.mean(gc.sum(gc.linalg.inv(a) @ w, (1, 2)) ** 2) + gc.linalg.slogdet(w @ w.T).logabsdet ** 2
    model, found = gc.Model(output=gc.linalg.inv(a) @ w, loss=loss), []
    for threads in (1, 2):
        model.initialize(0).fit(rows, epochs=2, batch_size=300, optimizer=gc.SGD(1e-5), threads=threads)
        found.append(model.params["W"])
    np.testing.assert_array_equal(*found)
    rows[417] = 1.0
    with pytest.raises(DomainError, match=r"of step \d are kept\n  A⁻¹: the matrix A\[417\] is singular"):
        model.fit(rows, epochs=2, batch_size=300, optimizer=gc.SGD(1e-5))
    assert np.isfinite(model.params["W"]).all()
