"""The printed derivation: the form a person would write, and the law that every formula gives the computed numbers."""

from __future__ import annotations

import re
import runpy

import numpy as np
import pytest

import graphc as gc
from graphc.emit.reference import evaluate_all
from graphc.errors import DataError, DomainError, UnknownNameError
from graphc.facade.pipeline import differentiate, read_graph
from graphc.ir.walk import leaves
from graphc.show.derivation import Derivation, derivation
from graphc.show.explain import formula_page, gradient_page, rewritten_page, source_page
from graphc.show.notebook import preformatted
from tests import nets
from tests.formula_numbers import value_of

XOR = """import graphc as gc
X  = gc.input("X", ("n", 2));                        T  = gc.input("T", ("n", 1))
W0 = gc.param("W0", (2, 4), gc.normal(1.0));         B0 = gc.param("B0", (4,), 0.0)
W1 = gc.param("W1", (4, 1), gc.normal(1.0));         B1 = gc.param("B1", (1,), 0.0)

Y  = gc.sigmoid(gc.tanh(X @ W0 + B0) @ W1 + B1)
J  = gc.mean(-(T*gc.log(Y) + (1 - T)*gc.log(1 - Y)))
"""

DERIVATION = """\
Z0[i,j] = Σ_k X[i,k]·W0[k,j] + B0[j]                             xor.py:6
H0[i,j] = tanh(Z0[i,j])                                          xor.py:6
Z1[i]   = Σ_k H0[i,k]·W1[k] + B1                                 xor.py:6
J       = 1/n Σ_i (softplus(Z1[i]) - T[i]·Z1[i])                 xor.py:7   stable form
δ1[i]   = ∂J/∂Z1[i] = (σ(Z1[i]) - T[i]) / n                      (1)
δ0[i,j] = ∂J/∂Z0[i,j] = δ1[i]·W1[j]·(1 - H0[i,j]²) = (δ1 W1ᵀ) ⊙ (1 - H0⊙H0)      (2)
∂J/∂W0[k,j] = Σ_i X[i,k]·δ0[i,j] = Xᵀ δ0                         (3)"""


def derive(loss: gc.Tensor, params: list[gc.Tensor], wrt: list[gc.Tensor] | None = None, **names: str) -> Derivation:
    graph = read_graph({"loss": loss.node})
    differentiated = differentiate(graph, "loss", [w.node for w in params], deltas=True)
    return derivation(graph, differentiated, None if wrt is None else [w.node for w in wrt], **names)


@pytest.fixture
def xor(tmp_path):
    """The declaration of the XOR network, run from a file xor.py."""
    file = tmp_path / "xor.py"
    file.write_text(XOR)
    return runpy.run_path(str(file), run_name="xor")


def params_of(net: dict) -> list[gc.Tensor]:
    return [net[name] for name in ("W0", "B0", "W1", "B1")]


# ---------------------------------------------------------------- goldens


def test_the_derivation_of_w0_is_the_one_a_person_would_write(xor):
    assert str(derive(xor["J"], params_of(xor), [xor["W0"]])) == DERIVATION


def test_the_derivation_of_all_parameters_goes_on_with_theirs(xor):
    text = str(derive(xor["J"], params_of(xor)))
    assert text.splitlines()[:7] == DERIVATION.splitlines()
    assert [" ".join(line.split()) for line in text.splitlines()[7:]] == [
        "∂J/∂B0[j] = Σ_i δ0[i,j] = δ0ᵀ 1 (4)",
        "∂J/∂W1[k] = Σ_i H0[i,k]·δ1[i] = H0ᵀ δ1 (5)",
        "∂J/∂B1 = Σ_i δ1[i] = 1ᵀ δ1 (6)",
    ]


def test_a_derivation_prints_only_what_its_parameter_needs(xor):
    lines = derive(xor["J"], params_of(xor), [xor["W1"]]).lines
    assert [line.left or line.partial for line in lines] == ["Z0[i,j]", "H0[i,j]", "Z1[i]", "J", "δ1[i]", "∂J/∂W1[k]"]


def test_the_index_form_has_no_matrices(xor):
    d = derive(xor["J"], params_of(xor), [xor["W0"]])
    assert "⊙" not in d.index() and "ᵀ" not in d.index()
    assert [line.number for line in d.lines] == [None, None, None, None, 1, 2, 3]


def test_the_matrix_form(xor):
    rows = [" ".join(row.split()) for row in derive(xor["J"], params_of(xor)).matrix().splitlines()]
    assert rows == [
        "Z0 = X W0 + 1 B0ᵀ xor.py:6",
        "H0 = tanh(Z0) xor.py:6",
        "Z1 = H0 W1 + 1 B1 xor.py:6",
        "J = 1/n 1ᵀ (softplus(Z1) - T ⊙ Z1) xor.py:7 stable form",
        "δ1 = ∂J/∂Z1 = (σ(Z1) - T) / n (1)",
        "δ0 = ∂J/∂Z0 = (δ1 W1ᵀ) ⊙ (1 - H0⊙H0) (2)",
        "∂J/∂W0 = Xᵀ δ0 (3)",
        "∂J/∂B0 = δ0ᵀ 1 (4)",
        "∂J/∂W1 = H0ᵀ δ1 (5)",
        "∂J/∂B1 = 1ᵀ δ1 (6)",
    ]


def test_the_lecture_form_writes_the_product_first_then_each_factor(xor):
    assert (
        derive(xor["J"], params_of(xor), [xor["W0"]]).lecture()
        == """\
∂J/∂W0 = ∂J/∂Z1 · ∂Z1/∂H0 · ∂H0/∂Z0 · ∂Z0/∂W0
  ∂J/∂Z1[i]         = (σ(Z1[i]) - T[i]) / n
  ∂Z1[i]/∂H0[i,k]   = W1[k]
  ∂H0[i,j]/∂Z0[i,j] = 1 - H0[i,j]²
  ∂Z0[i,j]/∂W0[k,j] = X[i,k]
  ∂J/∂W0[k,j]       = Σ_i X[i,k]·δ0[i,j]"""
    )


def test_latex_has_three_styles_and_no_double_subscript(xor):
    d = derive(xor["J"], params_of(xor), [xor["W0"]])
    index, matrix, lecture = (d.latex(style=style) for style in ("index", "matrix", "lecture"))
    assert r"{Z_{0}}_{i,j} &= \sum_{k} X_{i,k}\, {W_{0}}_{k,j} + {B_{0}}_{j} \\" in index
    assert r"= \frac{\sigma\left({Z_{1}}_{i}\right) - T_{i}}{n} && \text{(1)} \\" in index
    assert r"\left(\delta_{1} {W_{1}}^{\top}\right) \odot \left(1 - H_{0} \odot H_{0}\right)" in matrix
    assert r"\frac{\partial J}{\partial W_{0}} &= X^{\top} \delta_{0}" in matrix
    product = r"\frac{\partial J}{\partial Z_{1}} \cdot \frac{\partial Z_{1}}{\partial H_{0}} \cdot"
    assert lecture.splitlines()[1].startswith(r"\frac{\partial J}{\partial W_{0}} &= " + product)
    for text in (index, matrix, lecture):
        assert text.count("{") == text.count("}") and text.count(r"\left") == text.count(r"\right")
        assert not _double_subscript(text)
    assert d._repr_latex_().startswith("$$\n\\begin{aligned}")


def _double_subscript(text: str) -> bool:
    """True when a second subscript follows one at the same level of braces."""
    level, last = 0, {}
    for at, sign in enumerate(text):
        level += (sign == "{") - (sign == "}")
        if sign == "_":
            start = last.get(level)
            if start is not None and not any(c in " =&\\+-," for c in text[start:at]) and text[at - 1] == "}":
                return True
            last[level] = at
        elif sign in "{ ":
            last.pop(level, None)
    return False


def test_the_test_for_double_subscripts_finds_one():
    assert _double_subscript(r"A_{0}_{i,j}")
    assert not _double_subscript(r"{A_{0}}_{i,j}")


def test_an_unknown_latex_style_is_named(xor):
    with pytest.raises(DomainError, match=r"latex\(style='pretty'\): the styles are index, matrix, lecture"):
        derive(xor["J"], params_of(xor)).latex("pretty")


def test_softmax_with_integer_labels_reads_p_minus_y():
    loss, params = classifier()
    texts = {line.left: (line.index, line.matrix) for line in derive(loss, params).lines}
    assert texts["δ1[i,j]"] == ("(softmax(Z1)[i,j] - [T[i]=j]) / n", "(softmax(Z1) - onehot(T)) / n")
    assert texts["J"][0] == "1/n Σ_i (logsumexp_j Z1[i,j] - Z1[i,T[i]])"
    assert texts["δ0[i,j]"][0] == "(Σ_k δ1[i,k]·W1[j,k])·[H0[i,j] > 0]"


def test_a_free_extent_with_a_capital_letter_gives_its_index_the_small_one():
    loss, params = three_layers()
    lines = derive(loss, params).lines
    assert lines[0].index == "Σ_j X[n,j]·W0[j,i] + B0[i]"
    assert lines[5].index.startswith("1/(2N) Σ_{n,i} ")
    assert lines[7].matrix == "(δ2 W2ᵀ) ⊙ H1 ⊙ (1 - H1)"


def test_names_and_letters_of_definitions_win():
    loss, params = defined()
    texts = [(line.left or line.partial, line.index) for line in derive(loss, params, loss_name="E").lines]
    assert texts[1] == ("Hidden[s,u]", "tanh(Z0[s,u])")
    assert texts[2] == ("E", "1/n Σ_{s,u} (Hidden[s,u] - T[s,u])²")
    assert texts[-1] == ("∂E/∂b[u]", "Σ_s δ0[s,u]")


def test_our_names_avoid_those_of_the_user():
    X, T = gc.input("X", ("n", 3)), gc.input("J", ("n", 2))
    W, V = gc.param("Z0", (3, 2)), gc.param("H5", (2, 2))
    loss = gc.mean((gc.tanh(X @ W + 1) @ V - T) ** 2)
    assert [line.left for line in derive(loss, [W, V]).lines[:4]] == ["A0[i,j]", "G0[i,j]", "A1[i,j]", "L"]


def test_numbers_of_one_row_stand_in_every_line(xor):
    arrays = {"X": [[0, 0], [0, 1]], "T": [[0], [1]], "W0": np.full((2, 4), 0.5), "B0": [0.25] * 4}
    text = derive(xor["J"], params_of(xor)).numbers(arrays, row=1, params={"W1": np.ones((4, 1)), "B1": [-2]})
    rows = text.splitlines()
    assert rows[0] == "Z0[1,0] = 0·0.5 + 1·0.5 + 0.25 = 0.75"
    assert rows[1] == "H0[1,0] = tanh(0.75) = 0.6351"
    assert rows[2] == "Z1[1] = 0.6351·1 + 0.6351·1 + 0.6351·1 + 0.6351·1 + (-2) = 0.5406"
    assert rows[4] == "δ1[1] = (σ(0.5406) - 1) / 2 = -0.184"
    assert rows[6] == "∂J/∂W0[0,0] = 0·0.1245 + 0·(-0.1098) = 0"


def test_numbers_name_what_is_missing(xor):
    d = derive(xor["J"], params_of(xor))
    with pytest.raises(UnknownNameError, match=r"there is no array for X\[n, 2\]; given are T"):
        d.numbers({"T": [[0]]})
    arrays = {"X": [[0, 0]], "T": [[0]], "W0": np.ones((2, 4)), "B0": [0] * 4, "W1": np.ones((4, 1)), "B1": [0]}
    with pytest.raises(DataError, match="row 3 lies outside the data, which have 1 rows"):
        d.numbers(arrays, row=3)


def test_captions_hold_the_formula_and_its_number(xor):
    captions = derive(xor["J"], params_of(xor)).captions()
    assert "δ0[i,j] = δ1[i]·W1[j]·(1 - H0[i,j]²)   (2)" in captions.values()
    assert "part of Z0[i,j]" in captions.values()


def test_a_sum_over_several_ways_shows_each():
    X, w = gc.input("X", ("n", 3)), gc.param("w", (3,))
    d = derive(gc.mean((X @ w - 1) ** 2) + 0.01 * gc.sum(w**2), [w])
    assert d.lecture().splitlines()[0] == "∂J/∂w = ∂J/∂Z0 · ∂Z0/∂w + ∂J/∂w (direct)"
    assert d.lines[-1].matrix == "Xᵀ δ0 + 0.02 w"


def test_long_lines_are_broken():
    loss, params = swish()
    rows = str(derive(loss, params)).splitlines()
    assert max(map(len, rows)) < 100
    assert any(row.startswith("        = (δ1 W1ᵀ) ⊙") for row in rows)


def test_pages_print_and_escape_themselves(xor):
    d = derive(xor["J"], params_of(xor))
    assert str(formula_page(d)).splitlines() == DERIVATION.splitlines()[:4]
    assert str(gradient_page(d)) == str(d)
    page = rewritten_page(read_graph({"loss": xor["J"].node}).applied)
    assert "cross_entropy   u*softplus(-v) + (1 - u)*softplus(v)  bce(v, u)      xor.py:7" in str(page)
    assert source_page("a < b")._repr_html_() == preformatted("a < b")
    assert preformatted("a < b") == '<pre style="font-family:monospace">a &lt; b</pre>'


# ---------------------------------------------------------------- laws


def perceptron():
    X, T = gc.input("X", ("n", 2)), gc.input("T", ("n", 1))
    params = [gc.param("W0", (2, 4)), gc.param("B0", (4,)), gc.param("W1", (4, 1)), gc.param("B1", (1,))]
    Y = gc.sigmoid(gc.tanh(X @ params[0] + params[1]) @ params[2] + params[3])
    return gc.mean(-(T * gc.log(Y) + (1 - T) * gc.log(1 - Y))), params


def classifier():
    X, T = gc.input("X", ("n", 3)), gc.input("T", ("n",), dtype="int64")
    params = [gc.param("W0", (3, 5)), gc.param("B0", (5,)), gc.param("W1", (5, 4)), gc.param("B1", (4,))]
    return gc.losses.cross_entropy(gc.relu(X @ params[0] + params[1]) @ params[2] + params[3], T), params


def regression():
    X, T = gc.input("X", ("n", 3)), gc.input("T", ("n", 2))
    params = [gc.param("W0", (3, 5)), gc.param("B0", (5,)), gc.param("W1", (5, 2)), gc.param("B1", (2,))]
    return gc.losses.mse(gc.tanh(X @ params[0] + params[1]) @ params[2] + params[3], T), params


def three_layers():
    X, T = gc.input("X", ("N", 3)), gc.input("T", ("N", 2))
    W = [gc.param(f"W{t}", shape) for t, shape in enumerate([(3, 5), (5, 6), (6, 2)])]
    B = [gc.param(f"B{t}", (width,)) for t, width in enumerate([5, 6, 2])]
    Y = gc.sigmoid(gc.sigmoid(X @ W[0] + B[0]) @ W[1] + B[1]) @ W[2] + B[2]
    return gc.mean((Y - T) ** 2), [*W, *B]


def swish():
    X, T = gc.input("X", ("n", 3)), gc.input("T", ("n", 2))
    params = [gc.param("W0", (3, 5)), gc.param("B0", (5,)), gc.param("W1", (5, 2)), gc.param("B1", (2,))]
    activation = gc.function("swish", "z/(1 + exp(-beta*z))", beta=1.7)
    return gc.mean((activation(X @ params[0] + params[1]) @ params[2] + params[3] - T) ** 2), params


def defined():
    X, T = gc.input("X", ("n", 2)), gc.input("T", ("n", 3))
    W, b = gc.param("W", (2, 3)), gc.param("b", (3,))
    s, u, f = gc.indices("s u f")
    H = gc.define("Hidden", [s, u], gc.tanh(gc.sum(X[s, f] * W[f, u], over=f) + b[u]))
    return gc.mean(gc.sum((H - T) ** 2, axis=1)), [W, b]


def soft_labels():
    X, T = gc.input("X", ("n", 3)), gc.input("T", ("n", 4))
    W, b = gc.param("W", (3, 4)), gc.param("b", (4,))
    return -gc.mean(gc.sum(T * gc.log(gc.softmax(X @ W + b)), axis=1)), [W, b]


def embedding():
    X, T = gc.input("X", ("n", 3), dtype="int64"), gc.input("T", ("n",))
    E, W = gc.param("E", (7, 4)), gc.param("W", (12,))
    return gc.mean((gc.reshape(E[X], ("n", 12)) @ W - T) ** 2), [E, W]


def layer_norm():
    X, T = gc.input("X", ("n", 6)), gc.input("T", ("n", 6))
    W, g = gc.param("W", (6, 6)), gc.param("g", (6,))
    centred = X @ W - gc.mean(X @ W, axis=1, keepdims=True)
    scale = gc.sqrt(gc.mean(centred**2, axis=1, keepdims=True) + 1e-5)
    return gc.mean((g * centred / scale - T) ** 2), [W, g]


def attention():
    X, T = gc.input("X", ("n", 5, 6)), gc.input("T", ("n", 5, 6))
    Q, K, V = (gc.param(name, (6, 6)) for name in "QKV")
    P = gc.softmax((X @ Q) @ gc.transpose(X @ K, (0, 2, 1)) * 0.5)
    return gc.mean((P @ (X @ V) - T) ** 2), [Q, K, V]


def convolution():
    X, T = gc.input("X", ("n", 6, 6)), gc.input("T", ("n",))
    K, w = gc.param("K", (3, 3)), gc.param("w", (4, 4))
    r, i, j, p, q = gc.indices("r i j p q")
    C = gc.define("C", [r, i, j], gc.sum(X[r, i + p, j + q] * K[p, q], over=(p, q)))
    return gc.mean((gc.sum(gc.tanh(C) * w, axis=(1, 2)) - T) ** 2), [K, w]


def residual():
    X, T = gc.input("X", ("n", 4)), gc.input("T", ("n", 4))
    V, W = gc.param("V", (4, 4)), gc.param("W", (4, 4))
    H = X @ V
    H = H + gc.leaky_relu(H @ W)
    return gc.mean(gc.abs(H + gc.elu(H @ V) - T)), [V, W]


def extremes():
    X, W = gc.input("X", ("n", 3)), gc.param("W", (3, 3))
    U = gc.gelu(X @ W)
    return gc.mean(gc.max(U, axis=1) ** 3 + gc.prod(U + 1, axis=1)), [W]


NETS = [
    perceptron, classifier, regression, three_layers, swish, defined, soft_labels, embedding, layer_norm, attention,
    convolution, residual, extremes,
]  # fmt: skip


@pytest.mark.parametrize("net", NETS)
def test_printed_formulas_give_the_numbers_of_the_reference(net):
    """parse(print(y)) = y; caught when planted: a dropped factor 1/n, transposed letters of a read, a lost mask."""
    loss, params = net()
    d = derive(loss, params)
    values, arrays = _values(d)
    for line in d.lines:
        exact = values[line.node]
        left = line.left or line.partial.partition("/")[2]
        found = value_of(left, line.index, arrays, exact.shape)
        np.testing.assert_allclose(found, np.squeeze(exact), rtol=1e-10, atol=1e-12, err_msg=line.index)


def _values(d: Derivation):
    """The reference values of all lines for random leaves, and the arrays under their printed names."""
    rng = np.random.default_rng(3)
    sizes = {"n": 5, "N": 5}
    feed = {}
    for leaf in leaves([line.node for line in d.lines]):
        shape = [sizes.get(e, e) for e in leaf.shape]
        feed[leaf] = rng.integers(0, 4, size=shape) if leaf.dtype == "int" else rng.normal(size=shape)
    values = evaluate_all([line.node for line in d.lines], feed)
    names = d.lines[0].names
    return values, {names.of(node): v for node, v in values.items() if node in names.names} | sizes


def test_the_reader_of_formulas_rejects_a_wrong_one():
    loss, params = perceptron()
    d = derive(loss, params)
    values, arrays = _values(d)
    delta = d.lines[5]
    wrong = value_of(delta.left, delta.index.replace("1 - ", "2 - "), arrays, values[delta.node].shape)
    assert not np.allclose(wrong, values[delta.node])
    with pytest.raises(AssertionError, match="indices"):
        value_of("δ0[i,j]", "δ1[i,j]·W1[j]", arrays, (5, 4))


@pytest.mark.parametrize("layers", [1, 2, 5])
def test_the_number_of_lines_keeps_to_the_budget(layers):
    X, T = gc.input("X", ("n", 3)), gc.input("T", ("n", 3))
    H, params = X, []
    for t in range(layers):
        params += [gc.param(f"W{t}", (3, 3)), gc.param(f"B{t}", (3,))]
        H = H @ params[-2] + params[-1]
        H = gc.tanh(H) if t < layers - 1 else H
    loss = gc.losses.mse(H, T)
    assert len(derive(loss, params).lines) <= 5 * layers + 2
    for w in params:
        d = derive(loss, params, [w])
        assert len(d.lines) <= 3 * layers + 2
        assert max(map(len, str(d).splitlines())) < 100


@pytest.mark.parametrize("net", NETS)
def test_every_form_prints_for_every_net(net):
    loss, params = net()
    d = derive(loss, params)
    texts = [str(d), d.index(), d.matrix(), d.lecture(), *(d.latex(s) for s in ("index", "matrix", "lecture"))]
    assert all(texts)
    for text in texts[4:]:
        assert text.count("{") == text.count("}") and not _double_subscript(text)


def test_a_parameter_with_one_row_has_a_gradient_with_one_row():
    X, T, W = gc.input("X", ("n", 3)), gc.input("T", ("n", 1)), gc.param("W", (1, 3))
    loss = gc.mean((X @ W.T + 1 - T) ** 2)
    d = derive(loss, [W])
    assert d.lines[-1].index == "Σ_i X[i,k]·δ0[i]"
    assert d.lines[-1].matrix == "δ0ᵀ X"


def test_print_of_a_tensor_shows_name_shape_and_the_equations_or_the_last_of_many():
    X, W = gc.input("X", ("n", 3)), gc.param("W", (3, 2), 0.5)
    assert str(X) == "X: an input of shape (n, 3)"
    assert str(W) == "W: a parameter of shape (3, 2)"
    assert str(gc.input("L", (), dtype="int64")) == "L: an input, a scalar of integers"
    H = gc.tanh(X @ W).named("H")
    lines = [re.sub(r" +test_show.py:\d+$", "", line) for line in str(H).splitlines()]
    assert lines == ["H: a Tensor of shape (n, 2)", "Z0[i,j] = Σ_k X[i,k]·W[k,j]", "H[i,j]  = tanh(Z0[i,j])"]
    assert repr(H) == "<Tensor H[n, 2]>" and str(gc.mean(X)).startswith("a Tensor, a scalar\nY = ")
    deep = gc.nn.sequential(3, *(gc.nn.Dense(3, "tanh") for _ in range(20)))(X)
    lines = str(deep).splitlines()
    assert lines[:2] == ["a Tensor of shape (n, 3)", ".. 32 lines before"] and len(lines) == 10
    assert lines[-1].startswith("Y[i,j]   = tanh(Z19[i,j])")


MODEL = """\
model: 17 parameters, float32, not trained yet
inputs   X (n, 2), T (n, 1)
output   Y (n, 1)
loss     J

equation                                    shape   parameters
------------------------------------------  ------  ----------
Z0[i,j] = Σ_k X[i,k]·W0[k,j] + B0[j]        (n, 4)  W0 8, B0 4
H0[i,j] = tanh(Z0[i,j])                     (n, 4)
Z1[i] = Σ_k H0[i,k]·W1[k] + B1              (n, 1)  W1 4, B1 1
Y[i] = σ(Z1[i])                             (n, 1)
J = 1/n Σ_i (softplus(Z1[i]) - T[i]·Z1[i])  scalar"""


def test_print_of_a_model_shows_equations_shapes_parameters_and_whether_it_is_trained():
    model = nets.xor()
    assert str(model) == MODEL
    assert model._repr_html_() == preformatted(MODEL)
    model.state.rule("theta <- theta - eta*g", 0).step = 1
    assert str(model).startswith("model: 17 parameters, float32, trained for 1 step\n")
    assert repr(model) == "<Model model: W0[2, 4], B0[4], W1[4, 1], B1[1], float32>"


def test_print_of_a_model_names_outputs_and_metrics_and_does_without_a_loss():
    X, L = gc.input("X", ("n", 3)), gc.input("L", ("n",), dtype="int64")
    Z = X @ gc.param("W", (3, 5))
    accuracy = {"accuracy": gc.metrics.accuracy(Z, L)}
    text = str(gc.Model({"scores": Z, "p": gc.softmax(Z)}, gc.losses.cross_entropy(Z, L), accuracy))
    assert "\ninputs   X (n, 3), L (n,) of integers\noutput   scores = Z0 (n, 5), p (n, 5)\nloss     J\n" in text
    assert "\nmetrics  accuracy\n" in text and text.count("X[i,k]·W[k,j]") == 1
    assert str(gc.Model(output=X)) == "\n".join(
        ["model: 0 parameters, float32, not trained yet", "inputs   X (n, 3)", "output   X (n, 3)"]
    )


def test_latex_sets_letters_outside_english_and_greek_as_text_which_katex_takes_in_strict_mode():
    """Mutation-checked: a name, a free extent, an index letter or a constant of a rule left as it is."""
    X, T = gc.input("données", ("größe", 3)), gc.input("é", ("größe",))
    a, b = gc.param("naïve1", (), 1.0), gc.param("αé", (2,), 1.0)
    J = gc.mean((gc.sum(gc.tanh(X @ gc.param("poids_é", (3, 2), 0.5)) * b, axis=1) * a - T) ** 2)
    é, ü = gc.indices("é ü")
    D = gc.define("Dç", [é], gc.sum(X[é, ü] * a, over=ü))
    own = gc.rule("r", "vé <- μ*vé + g\ntheta <- theta - é*vé", é=0.1, μ=0.9)
    texts = [gc.derive(J).latex(style) for style in ("index", "matrix", "lecture")]
    texts += [x._repr_latex_() for x in (D, X, T, a, own)] + [gc.schedules.schedule("é*k", é=0.1).latex()]
    assert [re.findall(r"[^\x00-\x7fα-ω]", re.sub(r"\\text\{[^{}]*\}", "", t)) for t in texts] == [[]] * len(texts)
    assert T._repr_latex_() == r"$\text{é} \in \mathbb{R}^{\text{größe}}$"
    assert r"{\text{Dç}}_{\text{é}} &= \sum_{i} {\text{données}}_{\text{é},i}\, \text{naïve}_{1}" in texts[3]
    assert r"\text{vé} &\leftarrow g + \text{vé} μ" in texts[-2]
    assert gc.input("αé", ())._repr_latex_() == r"${α\text{é}} \in \mathbb{R}$"
    assert gc.input("Xy", ("N",))._repr_latex_() == r"$\mathrm{Xy} \in \mathbb{R}^{N}$"


def test_a_division_by_a_long_decimal_is_printed_as_one():
    """It was exp(x)·10000000000000000/25066282746310002 in lowest terms."""
    x = gc.param("x", (3,))
    for y, text in {
        gc.sum(x + gc.exp(x) / 2.5066282746310002): "exp(x[i])/2.5066282746310002",
        gc.sum(x + 30000 * gc.exp(x) / 7): "30000·exp(x[i])/7",
        gc.sum(x + 10000 * gc.exp(x)): "10000·exp(x[i])",
    }.items():
        assert text in str(gc.derive(y))
