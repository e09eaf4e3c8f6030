"""Training and the rest: dropout, noise, batch normalisation, states, in plain Python but for one compiled program."""

from __future__ import annotations

import pickle
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import graphc as gc
from graphc.derive.gradient import gradient
from graphc.emit.reference import evaluate
from graphc.errors import DataError, DomainError, NameClashError, ShapeError, TypeMismatchError
from graphc.facade.chance import drawn
from graphc.run.sampler import Sampler
from tests.covering.plain import Plain, in_python
from tests.nets import batches, text_of

ROWS, RATE, MOMENTUM, EPS, SPREAD = 22, 0.25, 0.9, 1e-5, 0.1
RNG = np.random.default_rng(2)
x, t = 2 * RNG.normal(size=(ROWS, 3)) + 1, RNG.normal(size=(ROWS, 1))
NAMES = ("W0", "B0", "gamma0", "beta0", "W1", "B1")

pytestmark = pytest.mark.usefixtures("double_precision")


def declared() -> gc.Model:
    """Noise, a layer, batch normalisation, dropout, a layer, and a random number that all rows share."""
    X, T = gc.input("X", ("n", 3)), gc.input("T", ("n", 1))
    net = gc.nn.sequential(
        X, gc.nn.GaussianNoise(SPREAD), gc.nn.Dense(4), gc.nn.BatchNorm(momentum=MOMENTUM, eps=EPS), gc.tanh,
        gc.nn.Dropout(RATE), gc.nn.Dense(1),
    )  # fmt: skip
    count = gc.state("count", (), 0.0, update=lambda s: s + 1)
    Y = net.output + gc.random.uniform((1,), -1, 1)
    J = gc.losses.mse(Y, T) + gc.stop_gradient(gc.in_train_phase(0.0, count))
    return gc.Model(output=Y, loss=J, dtype="float64", name="noisy")


def values(model: gc.Model) -> dict[str, np.ndarray]:
    return {name: np.array(model.params[name]) for name in model.params}


def fitted(**options: Any) -> dict[str, np.ndarray]:
    model = declared()
    model.fit(x, t, optimizer=gc.SGD(0.1), batch_size=8, seed=3, **options)
    return values(model)


def same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


# ---------------------------------------------------------------- a run beside JAX


def loss_by_hand(params: dict, x: Any, t: Any, noise: dict) -> tuple[Any, tuple[Any, Any]]:
    z = (x + SPREAD * noise["ε"]) @ params["W0"] + params["B0"]
    m, v = z.mean(0), z.var(0)
    h = jnp.tanh((z - m) / jnp.sqrt(v + EPS) * params["gamma0"] + params["beta0"]) * noise["mask"] / (1 - RATE)
    return jnp.mean((h @ params["W1"] + params["B1"] + 2 * noise["u"] - 1 - t) ** 2), (m, v)


def test_training_is_that_of_jax_with_the_same_numbers_drawn_whatever_the_threads(tmp_path):
    """The one program that is compiled here. Parameters, running statistics and a count after six steps; the same bits
    by two threads, after an interruption, and in a sweep.

    Mutation-checked: numbers of the row within the part of a thread instead of within the batch.
    """
    alone = fitted(steps=6, threads=1)
    model = declared()
    model.initialize(3)
    sampler, params = Sampler(3, rows=ROWS, batch=8), {name: jnp.array(model.params[name]) for name in NAMES}
    mean, var, slope = np.zeros(4), np.ones(4), jax.jit(jax.grad(loss_by_hand, has_aux=True))
    for rows in batches(ROWS, 8, 6, 3):
        noise = {str(leaf.name): a for leaf, a in drawn(model._core, sampler, len(rows), np.float64).items()}
        slopes, (m, v) = slope(params, x[rows], t[rows], noise)
        params = {name: params[name] - 0.1 * slopes[name] for name in NAMES}
        mean, var = MOMENTUM * mean + (1 - MOMENTUM) * m, MOMENTUM * var + (1 - MOMENTUM) * v
        sampler.position += len(rows)
        sampler.epoch, sampler.position = sampler.epoch + (sampler.position == ROWS), sampler.position % ROWS
    for name, wanted in {**params, "mean0": mean, "var0": var, "count": 6}.items():
        np.testing.assert_allclose(alone[name], wanted, rtol=1e-11, atol=1e-13, err_msg=name)

    assert same(fitted(steps=6, threads=2), alone)
    model.fit(x, t, optimizer=gc.SGD(0.1), batch_size=8, steps=4, seed=3)
    model.save(tmp_path / "noisy.safetensors")
    packed = pickle.dumps(model)
    for twin in (gc.Model.load(tmp_path / "noisy.safetensors"), pickle.loads(packed)):  # noqa: S301
        twin.fit(x, t, optimizer=gc.SGD(0.1), batch_size=8, steps=2)
        assert same(values(twin), alone)
    sweep = model.sweep(x, t, optimizer=gc.SGD(np.array([0.2, 0.1])), batch_size=8, steps=6, seeds=[1, 3])
    assert same(values(sweep.model(3)), alone)


# ---------------------------------------------------------------- in plain Python


def augmented(X: gc.Tensor) -> gc.Tensor:
    """Pictures moved along rows, flipped, with noise, in training only."""
    pictures = gc.reshape(X, ("n", 2, 4))
    left, right = (gc.roll(pictures, places, axis=2) for places in (-1, 1))
    side = gc.random.uniform(("n", 1, 1), -1, 2)
    moved = gc.where(side < 0, left, gc.where(side < 1, pictures, right))
    turned = gc.where(gc.random.bernoulli(("n", 1, 1), 0.6) > 0.5, gc.flip(moved, axis=1), moved)
    return gc.in_train_phase(gc.reshape(turned + 0.1 * gc.random.normal(turned.shape), X.shape), X)


def augmented_by_hand(x: Any, noise: dict) -> Any:
    pictures = x.reshape(-1, 2, 4)
    side, turn = 3 * noise["u"] - 1, noise["mask"]
    rolled = [jnp.roll(pictures, places, axis=2) for places in (-1, 0, 1)]
    moved = jnp.where(side < 0, rolled[0], jnp.where(side < 1, rolled[1], rolled[2]))
    return (jnp.where(turn > 0.5, moved[:, ::-1], moved) + 0.1 * noise["ε"]).reshape(x.shape)


def test_rows_that_are_changed_at_random_train_as_by_jax_and_are_as_they_are_afterwards(python):
    """Mutation-checked: one choice for all rows, and changes that are not left out afterwards."""
    X, T = gc.input("X", ("n", 8)), gc.input("T", ("n", 1))
    Y = gc.tanh(augmented(X) @ gc.param("W", (8, 1), gc.normal(0.5)))
    model = gc.Model(output=Y, loss=gc.losses.mse(Y, T), dtype="float64")
    pictures, W = RNG.normal(size=(11, 8)), jnp.array(model.initialize(7).params["W"])
    slope = jax.grad(lambda W, x, t: jnp.mean((jnp.tanh(x @ W) - t) ** 2))
    sampler, changes = Sampler(7, rows=11, batch=4), set()
    for rows in batches(11, 4, 6, 7):
        noise = {str(leaf.name): a for leaf, a in drawn(model._core, sampler, len(rows), np.float64).items()}
        changes |= set(zip((noise["u"].ravel() * 3 // 1).tolist(), noise["mask"].ravel().tolist()))
        W = W - 0.1 * slope(W, augmented_by_hand(pictures[rows], noise), t[rows])
        sampler.position += len(rows)
        sampler.epoch, sampler.position = sampler.epoch + (sampler.position == 11), sampler.position % 11
    model.fit(pictures, t[:11], optimizer=gc.SGD(0.1), batch_size=4, steps=6, seed=7)
    np.testing.assert_allclose(model.params["W"], W, rtol=1e-11)
    assert len(changes) > 4, "rows of all kinds were among them"
    np.testing.assert_allclose(model.predict(pictures), np.tanh(pictures @ W), rtol=1e-11)


def test_predict_and_evaluate_take_means_and_running_statistics(python):
    model = declared()
    model.params = {n: np.array(model.params[n]) for n in model.params} | {"mean0": np.arange(4.0), "var0": np.ones(4)}
    p = values(model)
    h = np.tanh((x @ p["W0"] + p["B0"] - p["mean0"]) / np.sqrt(1 + EPS))
    wanted = h @ p["W1"] + p["B1"]
    np.testing.assert_allclose(model.predict(x), wanted, rtol=1e-13)
    np.testing.assert_allclose(model.evaluate(x, t)["loss"], np.mean((wanted - t) ** 2), rtol=1e-13)


def test_large_batches_in_blocks_of_rows_draw_what_whole_batches_draw(python, monkeypatch):
    X, T, W = gc.input("X", ("n", 3)), gc.input("T", ("n", 1)), gc.param("W", (3, 1), 0.5)
    Y = gc.dropout(X + gc.random.normal(X.shape) * gc.random.uniform((3,)), 0.3) @ W
    found = []
    for blocks in (False, True):
        for name, value in {"LARGE": 1, "BLOCK_BYTES": 1, "FEWEST": 4}.items() if blocks else ():
            monkeypatch.setattr(f"graphc.lower.training.{name}", value)
        model = gc.Model(loss=gc.mean((Y - T) ** 2), dtype="float64", name=f"blocks{blocks}")
        model.fit(x, t, optimizer=gc.SGD(0.1), batch_size=None, steps=2, threads=2)
        assert ("part_number" in model.source()) == blocks
        found.append(model.params["W"])
    np.testing.assert_allclose(*found, rtol=1e-12)


def test_rows_that_keep_their_order_are_read_where_they_lie(python, monkeypatch):
    """The bits of a copy, labels and random tensors among them, in two parts of several blocks; a shuffled run of the
    same model has a program that gathers. Mutation-checked: rows of a block from the start of its part, and one program
    for both orders."""
    for name, value in {"LARGE": 1, "BLOCK_BYTES": 1, "FEWEST": 4}.items():
        monkeypatch.setattr(f"graphc.lower.training.{name}", value)
    monkeypatch.setattr("graphc.emit.row_blocks.PARTS", 2)
    found, labels = [], np.arange(ROWS) % 3
    for near in (1 << 20, 0):
        monkeypatch.setattr("graphc.facade.preparing.NEAR", near)
        X, T, W = gc.input("X", ("n", 3)), gc.input("T", ("n",), dtype="int64"), gc.param("W", (3, 3), gc.normal(1.0))
        model = gc.Model(loss=gc.losses.cross_entropy(gc.dropout(X, 0.3) @ W, T), dtype="float64", name=f"near{near}")
        runs = [(None, True), (ROWS - 5, False), (ROWS - 5, True)]
        for size, shuffle in runs:
            model.fit(x, labels, optimizer=gc.SGD(0.1), batch_size=size, shuffle=shuffle, steps=3, seed=7, threads=2)
            text = python.texts[-1]
            assert "part_number" in text and ("copy(A, X," in text) == (near > 0 or (shuffle and size is not None))
            found.append(np.array(model.params["W"]))
    np.testing.assert_array_equal(found[:3], found[3:])
    assert np.abs(found[1] - found[2]).max() > 1e-6, "shuffled rows are others"


def test_batch_normalisation_has_the_value_and_the_gradient_of_jax():
    X, S = gc.input("X", ("n", 5, 3)), gc.input("S", ("n", 5, 3))
    layer = gc.nn.BatchNorm(axis=(1, 2), eps=0.01)
    mean, var, gamma, beta = layer.declare(X)
    J = gc.sum(layer.apply(X, [mean, var, gamma, beta]) * S)
    model = gc.Model(loss=J + 0 * gc.sum(mean), dtype="float64")
    rng = np.random.default_rng(0)
    feed = {leaf: rng.normal(size=[7 if e == "n" else e for e in leaf.shape]) for leaf in
            (X.node, S.node, mean.node, var.node, gamma.node, beta.node)}  # fmt: skip
    graph = model._core.differentiated()
    found = evaluate([graph.loss, graph.gradients[gamma.node], graph.roots["state:mean0"], graph.roots["state:var0"]],
                     feed)  # fmt: skip
    slope = evaluate(gradient(model._core.training_roots["loss"], [X.node]), feed)[0]

    def by_hand(x: Any, gamma: Any) -> Any:
        z = (x - x.mean(0)) / jnp.sqrt(x.var(0) + 0.01)
        return jnp.sum((z * gamma + feed[beta.node]) * feed[S.node])

    value, (dx, dgamma) = jax.jit(jax.value_and_grad(by_hand, (0, 1)))(feed[X.node], feed[gamma.node])
    a = feed[X.node]
    wanted = [value, dgamma, 0.9 * feed[mean.node] + 0.1 * a.mean(0), 0.9 * feed[var.node] + 0.1 * a.var(0)]
    for one, other in zip([*found, slope], [*wanted, dx], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


def test_dropout_keeps_the_mean_in_training_and_is_nothing_afterwards():
    X = gc.input("X", ("n", 1000))
    model = gc.Model(loss=gc.mean(gc.dropout(X, 0.9)), dtype="float64")
    feed = {X.node: np.full((200, 1000), 3.0), **drawn(model._core, Sampler(7), 200, np.float64)}
    training, evaluation = (graph.roots["loss"] for graph in (model._core.training_graph, model._core.graph))
    assert abs(evaluate([training], feed)[0] - 3) < 5 * 3 * 3 / np.sqrt(200_000)
    assert evaluation is gc.mean(X).equation and gc.dropout(X, 0).node is X.node


def test_random_tensors_have_the_numbers_of_their_place_and_names_of_their_own(python):
    X = gc.input("mask", ("n", 2))
    H = gc.dropout(gc.dropout(X, 0.5), 0.5) + gc.random.normal(X.shape, std=2) + gc.random.uniform(X.shape, -1, 1)
    Z = H * gc.random.bernoulli(X.shape, gc.sigmoid(X))
    model = gc.Model(output=Z, loss=gc.mean(Z**2), name="named")
    names = [leaf.name for leaf in model._core.random_numbers]
    assert names == ["mask1", "mask2", "ε", "u", "u1"]
    assert "J = 1/(2n) Σ_{i,j} (4·mask[i,j]·mask1[i,j]·mask2[i,j] + 2·u" in str(model)
    wanted = x[:, :2] / (1 + np.exp(-x[:, :2]))
    np.testing.assert_allclose(model.predict(x[:, :2]), wanted, rtol=1e-5)
    masks = gc.compile(H, [X, *map(gc.Tensor, model._core.random_numbers)][:4], dtype="float64")
    ones = np.ones((4, 2))
    np.testing.assert_allclose(masks(ones, ones, ones, 0 * ones), 4 * ones)


def test_what_a_step_draws_is_told_where_no_one_can_train(python):
    model = declared()
    with pytest.raises(DomainError, match="LBFGS evaluates the loss several times a step"):
        model.fit(x, t, optimizer=gc.LBFGS())
    with pytest.raises(DataError, match="sample_weight: the loss of a row depends on other rows"):
        model.fit(x, t, sample_weight=np.ones(ROWS))
    X = gc.input("X", ("n", 3))
    m = gc.state("m", (3,), update=lambda m: m + gc.mean(X, axis=0))
    with pytest.raises(DataError, match="the update of the state m takes rows of the batch"):
        gc.Model(loss=gc.mean(X * gc.stop_gradient(m))).fit(x, sample_weight=np.ones(ROWS))


def test_states_are_declared_whole_and_listed(python):
    X, W = gc.input("X", ("n", 3)), gc.param("W", (3, 1), 0.0)
    first = gc.state("first", (3,), 1.0, update=lambda s: 0.5 * s + gc.mean(X, axis=0))
    second = gc.state("second", (), update=lambda s: s + gc.sum(first))
    model = gc.Model(output=X @ W, loss=gc.mean((X @ W - second) ** 2), dtype="float64", name="listed")
    assert list(model.params) == ["W", "first", "second"] and "\nstates   first (3,), second ()\n" in str(model)
    assert "first[i] ← 1/n Σ_j X[j,i] + first[i]/2" in str(model)
    model.fit(x, optimizer=gc.AdamW(decay=0.5), batch_size=None, steps=2)
    a = x.mean(0)
    np.testing.assert_allclose(model.params["first"], 0.25 + 1.5 * a, rtol=1e-12)
    np.testing.assert_allclose(model.params["second"], 3 + np.sum(0.5 + a), rtol=1e-12)
    assert "∂J/∂first" not in str(model.derive())


REFUSED = [
    (lambda: gc.random.normal((2, "n")), ShapeError,
     "random.normal: the shape (2, n) has the free extent 'n' behind its first\n"
     "  hint: rows come first: transpose a tensor that was drawn with the rows in front."),
    (lambda: gc.random.bernoulli((2,), 1.5), DomainError,
     "random.bernoulli: the probability is 1.5\n  hint: it lies between 0 and 1."),
    (lambda: gc.nn.Dropout(1), DomainError, "nn.Dropout: the rate is 1\n  hint: it is at least 0 and below 1."),
    (lambda: gc.nn.GaussianNoise(-1), DomainError,
     "nn.GaussianNoise: the standard deviation is -1\n  hint: it is at least 0."),
    (lambda: gc.nn.BatchNorm(momentum=2), DomainError,
     "nn.BatchNorm: the momentum is 2\n  hint: it lies between 0 and 1."),
    (lambda: gc.nn.BatchNorm(eps=0), DomainError, "nn.BatchNorm: eps is 0\n  hint: it is above 0."),
    (lambda: gc.nn.BatchNorm(axis=0)(gc.input("X", ("n", 3))), ShapeError,
     "nn.BatchNorm: axis=0 of X[n, 3] keeps the free extent 'n'\n"
     "  hint: statistics are taken over the rows and kept by feature."),
    (lambda: gc.batch_norm(gc.input("X", ("n", 3)), np.zeros(2), np.zeros(3)), ShapeError,
     "batch_norm: C[2] has another shape than (3,)\n  hint: it has the kept axes."),
    (lambda: gc.state("s", (2,), update=0), TypeMismatchError,
     "state: the update of s is 0\n  hint: give a function of the state: update=lambda s: s + 1."),
    (lambda: gc.state("s", (2,), update=gc.sum), ShapeError,
     "state: the update of s gives the scalar, not the shape (2,)\n  hint: a state keeps its shape."),
    (lambda: gc.state("s", ("n",), update=gc.tanh), ShapeError,
     "the shape of the parameter s has the free extent 'n'\n"
     "  hint: parameters have a fixed shape; only the extents of an input may be free."),
    (lambda: gc.state("2s", (), update=gc.tanh), NameClashError,
     "the name '2s' of a state is no identifier\n"
     "  hint: use letters, digits and _, not beginning with a digit, and no keyword."),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "text"), REFUSED)
def test_what_does_not_fit_is_refused(call, error, text):
    with pytest.raises(error) as caught:
        call()
    assert re.sub(r"C\d+\[", "C[", re.sub(r" of test_modes.py:\d+", "", text_of(caught))) == text


def test_running_statistics_follow_the_tensor_that_a_network_is_applied_to():
    """Seen to fail (two declarations are named X) when the states keep the input that the network declared itself."""
    net = gc.nn.sequential(3, gc.nn.BatchNorm(momentum=0.5), gc.nn.Dense(1))
    models = [gc.Model(loss=gc.mean(net(gc.input(name, ("n", 3))) ** 2), dtype="float64") for name in ("X", "A")]
    x = np.random.default_rng(0).normal(5, 2, size=(8, 3))
    for model, name in zip(models, ("X", "A"), strict=True):
        with in_python(Plain()):
            model.fit({name: x}, optimizer=gc.SGD(0.0), steps=2, batch_size=8, verify=False)
        np.testing.assert_allclose(model.params["mean0"], 0.75 * x.mean(0), rtol=1e-12)
        np.testing.assert_allclose(model.params["var0"], 0.25 + 0.75 * x.var(0), rtol=1e-12)


def test_the_phase_chooses_between_means_that_are_numbers(python):
    """Planted by deciding after the means are put in, when the choice was a number of its own that kept the phase."""
    u, X = gc.random.uniform(("n",)), gc.input("X", ("n",))
    y = gc.in_train_phase(u + gc.random.normal(u.shape), gc.sin(u)) * X
    np.testing.assert_allclose(gc.compile(y, X)([1.0, 2.0]), np.sin(0.5) * np.array([1, 2]), rtol=1e-15)
    model = gc.Model(output=y, loss=gc.mean(y), dtype="float64")
    np.testing.assert_allclose(model.evaluate(np.ones(3))["loss"], np.sin(0.5), rtol=1e-15)
