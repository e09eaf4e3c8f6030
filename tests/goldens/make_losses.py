"""Writes losses.json: values and gradients of losses by torch in float64, some by scikit-learn too.

Run once by hand, ``python tests/goldens/make_losses.py``, with torch 2.13 and scikit-learn 1.9 installed. What torch
does not have is written out here as its documentation, or that of Keras, defines it, and differentiated by torch.
"""

# ruff: noqa: I001
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from sklearn import metrics as sk

ROWS, CLASSES = 6, 4


def data() -> dict[str, np.ndarray]:
    """Predictions and targets: z any number, p a probability, h a row of them, t in {0, 1}, s in {-1, 1}."""
    rng = np.random.default_rng(61)
    z, y, x = (rng.normal(size=(ROWS, CLASSES)) * s for s in (2.0, 1.0, 1.5))
    t = (rng.random((ROWS, CLASSES)) < 0.4) * 1.0
    labels = rng.integers(0, CLASSES, ROWS)
    soft = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    soft[0], soft[1, 2] = [0, 1, 0, 0], 0.0
    soft[1] /= soft[1].sum()
    counts = rng.poisson(1.5, (ROWS, CLASSES)) * 1.0
    return {
        "z": z, "y": y, "x": x, "p": 1 / (1 + np.exp(-z)), "h": np.exp(z) / np.exp(z).sum(1, keepdims=True), "t": t,
        "s": 2 * t - 1, "labels": labels, "one": np.eye(CLASSES)[labels], "soft": soft, "counts": counts,
        "d": np.abs(z), "v": np.exp(x), "past": np.where(labels == 1, CLASSES, labels),
    }  # fmt: skip


def keras_categorical_hinge(y, t):
    return torch.relu(((1 - t) * y).amax(1) - (t * y).sum(1) + 1)


def keras_tversky(y, t, alpha, beta, smooth):
    both, wrong, missed = (t * y).sum(1), ((1 - t) * y).sum(1), (t * (1 - y)).sum(1)
    return 1 - (both + smooth) / (both + wrong * alpha + missed * beta + smooth)


def torchvision_focal(z, t, gamma, alpha):
    p = torch.sigmoid(z)
    hit = p * t + (1 - p) * (1 - t)
    each = F.binary_cross_entropy_with_logits(z, t, reduction="none") * (1 - hit) ** gamma
    return each if alpha is None else (alpha * t + (1 - alpha) * (1 - t)) * each


def indices(t):
    """torch's targets of multilabel_margin_loss: the classes of a row, then -1."""
    found = torch.full(t.shape, -1, dtype=torch.int64)
    for i, row in enumerate(t):
        own = torch.nonzero(row)[:, 0]
        found[i, : len(own)] = own
    return found


N = {"reduction": "none"}
W = torch.tensor([0.5, 1.0, 2.0, 3.0], dtype=torch.float64)
CASES = {  # name, arguments of graphc, the same of torch: elements or rows
    "mse": ("zy", {}, lambda z, y: F.mse_loss(z, y, **N)),
    "mae": ("zy", {}, lambda z, y: F.l1_loss(z, y, **N)),
    "huber": ("zy", {"delta": 0.7}, lambda z, y: F.huber_loss(z, y, delta=0.7, **N)),
    "smooth_l1": ("zy", {"beta": 0.7}, lambda z, y: F.smooth_l1_loss(z, y, beta=0.7, **N)),
    "log_cosh": ("zy", {}, lambda z, y: torch.log(torch.cosh(z - y))),
    "quantile": ("zy", {"q": 0.8}, lambda z, y: torch.maximum(0.8 * (y - z), -0.2 * (y - z))),
    "msle": ("dv", {}, lambda d, v: (torch.log1p(d) - torch.log1p(v)) ** 2),
    "mape": ("zy", {}, lambda z, y: 100 * (z - y).abs() / y.abs().clamp(min=1e-7)),
    "poisson": ("v counts", {}, lambda v, c: F.poisson_nll_loss(v, c, log_input=False, eps=0.0, **N)),
    "poisson log": ("z counts", {"log_input": True}, lambda z, c: F.poisson_nll_loss(z, c, **N)),
    "gaussian_nll": ("zyv", {}, lambda z, y, v: F.gaussian_nll_loss(z, y, v, **N)),
    "gaussian_nll full": ("zyv", {"full": True}, lambda z, y, v: F.gaussian_nll_loss(z, y, v, full=True, **N)),
    "hinge": ("zs", {}, lambda z, s: torch.relu(1 - s * z)),
    "squared_hinge": ("zs", {}, lambda z, s: torch.relu(1 - s * z) ** 2),
    "categorical_hinge": ("z one", {}, keras_categorical_hinge),
    "multi_margin": ("z labels", {"margin": 1.5}, lambda z, k: F.multi_margin_loss(z, k, margin=1.5, **N)),
    "multilabel_margin": ("zt", {}, lambda z, t: F.multilabel_margin_loss(z, indices(t), **N)),
    "multilabel_soft_margin": ("zt", {"class_weight": W.tolist()},
                               lambda z, t: F.multilabel_soft_margin_loss(z, t, weight=W, **N)),
    "kl_divergence": ("h soft", {}, lambda h, t: F.kl_div(torch.log(h), t, **N).sum(1)),
    "focal": ("zt", {}, lambda z, t: torchvision_focal(z, t, 2.0, None)),
    "focal alpha": ("zt", {"gamma": 1.5, "alpha": 0.25}, lambda z, t: torchvision_focal(z, t, 1.5, 0.25)),
    "tversky": ("pt", {"alpha": 0.3, "beta": 0.7, "smooth": 0.1}, lambda p, t: keras_tversky(p, t, 0.3, 0.7, 0.1)),
    "dice": ("pt", {"smooth": 0.1},
             lambda p, t: 1 - (2 * (p * t).sum(1) + 0.1) / (p.sum(1) + t.sum(1) + 0.1)),
    "cosine_similarity": ("zy", {}, lambda z, y: -F.cosine_similarity(z, y, dim=1)),
    "triplet": ("zyx", {"margin": 0.8}, lambda z, y, x: F.triplet_margin_loss(z, y, x, margin=0.8, **N)),
    "contrastive": ("dt", {"margin": 1.2}, lambda d, t: t * d**2 + (1 - t) * torch.relu(1.2 - d) ** 2),
    "margin_ranking": ("zys", {"margin": 0.3}, lambda z, y, s: F.margin_ranking_loss(z, y, s, margin=0.3, **N)),
    "bce": ("pt", {"label_smoothing": 0.2}, lambda p, t: F.binary_cross_entropy(p, 0.8 * t + 0.1, **N)),
    "bce weighted": ("pt", {"pos_weight": W.tolist()},
                     lambda p, t: -(W * t * torch.log(p) + (1 - t) * torch.log(1 - p))),
    "bce_with_logits": ("zt", {"label_smoothing": 0.2, "pos_weight": W.tolist()},
                        lambda z, t: F.binary_cross_entropy_with_logits(z, 0.8 * t + 0.1, pos_weight=W, **N)),
    "cross_entropy": ("z labels", {}, lambda z, k: F.cross_entropy(z, k, **N)),
    "cross_entropy smoothed": ("z labels", {"label_smoothing": 0.2},
                               lambda z, k: F.cross_entropy(z, k, label_smoothing=0.2, **N)),
    "cross_entropy weighted": ("z labels", {"label_smoothing": 0.2, "class_weight": W.tolist()},
                               lambda z, k: F.cross_entropy(z, k, label_smoothing=0.2, weight=W, **N)),
    "cross_entropy soft": ("z soft", {"label_smoothing": 0.2, "class_weight": W.tolist()},
                           lambda z, t: F.cross_entropy(z, t, label_smoothing=0.2, weight=W, **N)),
    "cross_entropy ignoring": (
        "z labels", {"label_smoothing": 0.2, "class_weight": W.tolist(), "ignore_index": 1},
        lambda z, k: F.cross_entropy(z, k, label_smoothing=0.2, weight=W, ignore_index=1, **N)),
    "cross_entropy past": ("z past", {"ignore_index": CLASSES},
                           lambda z, k: F.cross_entropy(z, k, ignore_index=CLASSES, **N)),
    "nll": ("z labels", {}, lambda z, k: F.nll_loss(z, k, **N)),
    "nll ignoring": ("z past", {"class_weight": W.tolist(), "ignore_index": CLASSES},
                     lambda z, k: F.nll_loss(z, k, W, ignore_index=CLASSES, **N)),
}  # fmt: skip


def words(text: str) -> list[str]:
    return text.split() if " " in text else list(text)


def record(names: str, options: dict, loss, numbers: dict[str, np.ndarray]) -> dict:
    x = [torch.tensor(numbers[n]) for n in words(names)]
    x[0].requires_grad_(True)
    each = loss(*x)
    mean = each.mean()
    if "ignore_index" in options or "class_weight" in options and "labels" in names:
        weights = W if "class_weight" in options else torch.ones_like(W)
        mean = each.sum() / weights[x[1][x[1] != options.get("ignore_index")]].sum()
    (gradient,) = torch.autograd.grad(mean, x[0], retain_graph=True)
    rows = each if each.ndim == 1 else each.mean(1)
    found = {"mean": mean.item(), "sum": each.sum().item(), "rows": rows.tolist(), "gradient": gradient.tolist()}
    return {"of": words(names), "options": options, **found}


if __name__ == "__main__":
    numbers = data()
    found = {name: record(*case, numbers) for name, case in CASES.items()}
    weighted = F.cross_entropy(torch.tensor(numbers["z"]), torch.tensor(numbers["labels"]), W, label_smoothing=0.2)
    np.testing.assert_allclose(found["cross_entropy weighted"]["mean"], weighted.item(), rtol=1e-14)
    past = F.cross_entropy(torch.tensor(numbers["z"]), torch.tensor(numbers["past"]), ignore_index=CLASSES)
    np.testing.assert_allclose(found["cross_entropy past"]["mean"], past.item(), rtol=1e-14)
    z, y, d, v, s = (numbers[n] for n in "zydvs")
    by_sklearn = {
        "mse": sk.mean_squared_error(y, z), "mae": sk.mean_absolute_error(y, z),
        "msle": sk.mean_squared_log_error(v, d), "mape": 100 * sk.mean_absolute_percentage_error(y, z),
        "quantile": sk.mean_pinball_loss(y, z, alpha=0.8), "hinge": sk.hinge_loss(s.ravel(), z.ravel()),
    }  # fmt: skip
    for name, value in by_sklearn.items():
        np.testing.assert_allclose(found[name]["mean"], value, rtol=1e-13, err_msg=name)
    written = {"data": {n: x.tolist() for n, x in numbers.items()}, "losses": found}
    Path(__file__).with_name("losses.json").write_text(json.dumps(written) + "\n")
