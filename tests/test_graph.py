"""Pictures of graphs: what is drawn, where it stands, and that the SVG is one."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

import graphc as gc
from graphc.show.diagram.layered import arrange, crossings, ranks, spread
from graphc.show.diagram.picture import Picture
from graphc.show.diagram.svg import Sized, layout
from tests.nets import xor

SVG = "{http://www.w3.org/2000/svg}"


def attention() -> gc.Model:
    """Attention of words to each other, by index notation."""
    X, T = gc.input("X", ("n", 8, 16)), gc.input("T", ("n", 8, 16))
    Q, K, V = (gc.param(name, (16, 16), gc.normal(0.2)) for name in "QKV")
    n, s, t, d, e = gc.indices("n s t d e")
    q, k, v = (
        gc.define(name, [n, s, d], gc.sum(X[n, s, e] * W[e, d], over=e)) for name, W in zip("qkv", (Q, K, V))
    )
    z = gc.define("z", [n, s, t], gc.sum(q[n, s, d] * k[n, t, d], over=d) / 4)
    a = gc.define("a", [n, s, t], gc.exp(z[n, s, t]) / gc.sum(gc.exp(z[n, s, t]), over=t))
    y = gc.define("y", [n, s, d], gc.sum(a[n, s, t] * v[n, t, d], over=t))
    return gc.Model(output=y, loss=gc.mean((y - T) ** 2), name="attention")


def deep(depth: int = 30) -> gc.Model:
    """Equal layers, one after the other."""
    X, T, h = gc.input("X", ("n", 8)), gc.input("T", ("n", 1)), None
    for layer in range(depth):
        W, b = gc.param(f"W{layer}", (8, 8), gc.normal(0.2)), gc.param(f"b{layer}", (8,), 0.0)
        h = gc.tanh((X if h is None else h) @ W + b)
    Y = h @ gc.param("V", (8, 1), gc.normal(0.2))
    return gc.Model(output=Y, loss=gc.mean((Y - T) ** 2))


def named(model: gc.Model) -> dict:
    """The boxes by the name before the brackets."""
    return {box.name.split("[")[0]: box for box in model.graph().boxes}


def test_every_equation_leaf_and_derivative_is_a_box_with_formula_and_shape():
    boxes = named(xor())
    assert list(boxes) == "B0 X W0 Z0 H0 B1 W1 Z1 T J Y δ1 δ0 ∂J/∂W0 ∂J/∂B0 ∂J/∂W1 ∂J/∂B1".split()
    assert boxes["δ0"].text == ["δ0[i,j] = ∂J/∂Z0[i,j]", "= δ1[i]·W1[j]·(1 - H0[i,j]²)"]
    assert (boxes["δ0"].shape, boxes["δ0"].said, boxes["J"].shape) == ("(n, 4)", "(2)", "scalar")
    kinds = {name: box.kind for name, box in boxes.items()}
    assert (kinds["X"], kinds["W0"], kinds["Y"], kinds["J"]) == ("input", "param", "output", "loss")
    assert (kinds["δ1"], kinds["∂J/∂W1"]) == ("adjoint", "gradient")


def test_arrows_lead_from_what_is_read():
    picture = xor().graph()
    name = [box.name.split("[")[0] for box in picture.boxes]
    read = {n: {name[q] for q in box.reads} for n, box in zip(name, picture.boxes)}
    values = {n: {name[q] for q in box.values} for n, box in zip(name, picture.boxes)}
    assert read["Z0"] == {"X", "W0", "B0"} and read["J"] == {"Z1", "T"}
    assert read["δ0"] == {"δ1"} and values["δ0"] == {"W1", "H0"}
    assert read["∂J/∂W0"] == {"δ0"} and values["∂J/∂W0"] == {"X"}


@pytest.mark.parametrize("model", [xor, attention, deep])
def test_boxes_do_not_overlap_and_derivatives_stand_beside_what_they_are_of(model):
    at = in_order(model().graph())
    twins = [(a, at[a.box.twin]) for a in at if a.box.kind == "adjoint" and a.box.twin is not None]
    assert twins and all(a.y == b.y for a, b in twins)


def in_order(picture: Picture) -> list[Sized]:
    """The places of all boxes, which do not overlap; forward goes down on the left, derivatives up on the right."""
    placed, width, height = layout(picture.boxes)
    at = [d.place for d in placed]
    for a in at:
        assert a.x - a.width / 2 > 0 and a.x + a.width / 2 < width
        assert a.y - a.height / 2 > 0 and a.y + a.height / 2 < height
    pairs = [(a, b) for i, a in enumerate(at) for b in at[:i]]
    apart = [abs(a.x - b.x) >= (a.width + b.width) / 2 or abs(a.y - b.y) >= (a.height + b.height) / 2 for a, b in pairs]
    assert all(apart)
    assert all(at[q].y < a.y for a in at if not a.box.backward for q in a.box.reads)
    assert all(at[q].y > a.y for a in at if a.box.backward for q in a.box.reads)
    middle = max(a.x + a.width / 2 for a in at if not a.box.backward)
    assert all(a.x - a.width / 2 > middle for a in at if a.box.backward)
    return at


def test_the_svg_is_well_formed_says_what_it_shows_and_asks_for_nothing_outside(tmp_path):
    model = attention()
    model.graph().save(tmp_path / "pictures" / "graph.svg")
    text = (tmp_path / "pictures" / "graph.svg").read_text(encoding="utf-8")
    root = ElementTree.fromstring(text)
    groups = [g for g in root.iter(f"{SVG}g") if "box" in g.get("class", "").split()]
    assert len(groups) == len(model.graph().boxes) == 21
    assert all(g.get("aria-label") and g.get("tabindex") == "0" and g.find(f"{SVG}title") is not None for g in groups)
    assert root.find(f"{SVG}title").text == "attention: forward and backward" and root.find(f"{SVG}desc") is not None
    ids = {e.get("id") for e in root.iter()}
    ends = [(e.get("data-from"), e.get("data-to")) for e in root.iter(f"{SVG}path") if e.get("data-from")]
    assert ends and all(a in ids and b in ids for a, b in ends)
    assert "prefers-color-scheme:dark" in text
    assert re.findall(r"https?://[^\"']+", text) == ["http://www.w3.org/2000/svg"]
    assert model.graph()._repr_svg_() + "\n" == text


def test_a_large_network_is_collapsed_by_layer_and_equal_layers_are_one_box():
    picture = deep().graph()
    names = [box.name for box in picture.boxes]
    assert names == ["X", "T", "layer 0", "layers 1 to 28, 28 of one form", "layer 29", "layer 30"] + [
        "layer 30", "layer 29", "layers 1 to 28, 28 of one form", "layer 0"
    ]  # fmt: skip
    assert [len(box.lines) for box in picture.boxes[2:4]] == [2, 56]
    assert picture.boxes[2].said == "holds b0 (8,), W0 (8, 8)"
    assert len(deep().graph(by_layer=False).boxes) > 150
    assert [b.name for b in xor().graph(by_layer=True).boxes] == "X T|layer 0|layer 1|layer 1|layer 0".replace(
        "X T", "X|T"
    ).split("|")


def test_the_text_shows_both_ways():
    text = str(xor().graph())
    assert "▼ Z0[i,j] = Σ_k X[i,k]·W0[k,j] + B0[j]" in text and "reads δ1, W1, H0" in text
    assert text.index("derivatives ▲") < text.index("∂J/∂W0") < text.index("▲ δ0") < text.index("▲ δ1")
    assert max(map(len, text.splitlines())) <= 100


def test_a_model_without_a_loss_shows_its_forward_pass():
    X, W = gc.input("X", ("n", 2)), gc.param("W", (2, 1))
    boxes = gc.Model(output=gc.tanh(X @ W)).graph().boxes
    assert [b.kind for b in boxes] == ["input", "param", "output", "output"]


def test_ranks_are_longest_paths_and_pairs_share_one_where_they_can():
    assert ranks(4, [(0, 1), (1, 2), (3, 2)], {}) == [0, 1, 2, 1]
    assert ranks(4, [(0, 1), (3, 1)], {3: 2}) == [0, 1, 0, 0]
    assert ranks(3, [(0, 1), (1, 2)], {2: 0}) == [0, 1, 2]  # a circle: no pair


def test_an_order_without_crossings_is_found():
    edges = [(0, 4), (1, 3), (2, 5)]
    rank = {0: 0, 1: 0, 2: 0, 3: 1, 4: 1, 5: 1}
    placed = arrange(rank, edges, dict.fromkeys(rank, 10.0), [0, 1, 2, 3, 4, 5], 5.0)
    order = [sorted(row, key=placed.x.__getitem__) for row in ([0, 1, 2], [3, 4, 5])]
    neighbours = {v: [b for a, b in edges if a == v] + [a for a, b in edges if b == v] for v in rank}
    assert crossings(dict(enumerate(order)), rank, neighbours) == 0


def test_things_in_a_row_stand_nearest_to_where_they_want_to_be():
    assert spread([0.0, 0.0], [10.0, 10.0], 2.0, [1, 1]) == [-6.0, 6.0]
    assert spread([0.0, 100.0], [10.0, 10.0], 2.0, [1, 1]) == [0.0, 100.0]
    assert spread([0.0, 0.0], [10.0, 10.0], 2.0, [1, 1e-9]) == pytest.approx([0.0, 12.0], abs=1e-6)
    assert spread([5.0, 0.0, 50.0], [10.0, 10.0, 10.0], 0.0, [1, 1, 1]) == [-2.5, 7.5, 50.0]
