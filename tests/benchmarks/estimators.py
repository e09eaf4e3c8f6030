"""The estimators beside scikit-learn's own networks: ``python -m tests.benchmarks.estimators``.

Both have one hidden layer of 100 (relu), Adam with a rate of 1e-3, batches of 200 rows, all epochs (no stop by ``tol``)
and no penalty, in float64, on columns of mean 0 and deviation 1 (targets of regressions, too). Scores are of the same
folds, means over seeds, each with its standard error over the folds; so is their difference, fold by fold, which is the
one that says whether they differ.

Seconds are medians over fresh processes that import, load the data and fit once: of the whole process from its start
to its end, and of ``fit`` alone, which for graphc has the import of Numba in it when it compiles. *Cold* has an empty
code cache, *cached* that of the process before. ``california`` is drawn: a table of the size of California Housing.
"""

from __future__ import annotations

import argparse
import importlib
import json
import tempfile
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.contestants import answer_of

CLASSES, NUMBERS = ("wine", "breast_cancer", "digits"), ("diabetes", "california")
WHO = ("graphc", "MLP")
BATCH, HIDDEN = 200, (100,)
COLUMNS = (
    "data", *WHO, "difference", "process, s: graphc cold", "cached", "MLP", "fit, s: graphc cold", "cached", "MLP"
)  # fmt: skip


def california(rows: int = 20640) -> tuple[NDArray, NDArray]:
    """Eight columns, a smooth function of all of them, and noise: the best R2 that there can be is 0.9."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 8))
    a, b, c, d, e, f, g, h = x.T
    y = np.sin(2 * a) * b + np.abs(c) - 0.5 * d**2 + np.exp(-(e**2)) * f + np.tanh(g - h)
    return x, y + np.std(y) / 3 * rng.normal(size=rows)


def data(name: str) -> tuple[NDArray, NDArray]:
    return california() if name == "california" else getattr(_sklearn("datasets"), f"load_{name}")(return_X_y=True)


def _sklearn(part: str) -> Any:
    return importlib.import_module(f"sklearn.{part}")


def estimator(who: str, name: str, epochs: int, threads: int, seed: int = 0) -> Any:
    """Untrained, for rows that are standardised already."""
    kind = "Classifier" if name in CLASSES else "Regressor"
    if who == "graphc":
        made = getattr(importlib.import_module("graphc.sklearn"), f"Graph{kind}")
        return made(hidden=HIDDEN, epochs=epochs, batch_size=BATCH, threads=threads, random_state=seed)
    never = {"tol": 0.0, "n_iter_no_change": 10**9}
    made = getattr(_sklearn("neural_network"), f"MLP{kind}")
    return made(hidden_layer_sizes=HIDDEN, batch_size=BATCH, max_iter=epochs, alpha=0.0, random_state=seed, **never)


def scores(who: str, name: str, epochs: int, threads: int, folds: int, seeds: int) -> list[float]:
    """Accuracy or R2, fold by fold."""
    select, scaler = _sklearn("model_selection"), _sklearn("preprocessing").StandardScaler
    divide = select.StratifiedKFold if name in CLASSES else select.KFold
    cv, found = divide(folds, shuffle=True, random_state=0), []
    for seed in range(seeds):
        model = _sklearn("pipeline").make_pipeline(scaler(), estimator(who, name, epochs, threads, seed))
        if name in NUMBERS:
            model = _sklearn("compose").TransformedTargetRegressor(model, transformer=scaler())
        found.append(select.cross_val_score(model, *data(name), cv=cv))
    return np.mean(found, 0).tolist()


def fit(who: str, name: str, epochs: int, threads: int) -> float:
    """Seconds of a first fit."""
    scaled = lambda a: (a - a.mean(0)) / np.where(a.std(0) > 0, a.std(0), 1.0)
    x, y = data(name)
    model = estimator(who, name, epochs, threads)
    x, y = scaled(x), y if name in CLASSES else scaled(y)
    started = time.perf_counter()
    model.fit(x, y)
    return time.perf_counter() - started


def child(what: str, threads: int, *arguments: Any) -> Any:
    """What a process of its own does, with so many threads for BLAS, too."""
    limits = importlib.import_module("threadpoolctl").threadpool_limits
    importlib.import_module("scipy.linalg")  # whose BLAS is limited, too
    importlib.import_module("warnings").simplefilter("ignore")  # scikit-learn warns of not having converged
    with limits(threads):
        who, name, epochs, *rest = arguments
        return {"scores": scores, "fit": fit}[what](who, name, epochs, threads, *rest)


def ask(cache: str, what: str, *arguments: Any) -> tuple[Any, float]:
    """The same of a fresh process with that code cache, and the seconds that the process took."""
    return answer_of("estimators", [json.dumps([what, *arguments])], cache)


def seconds(who: str, name: str, epochs: int, threads: int, repeats: int) -> list[tuple[float, float]]:
    """Of the whole process and of the fit; graphc's cold and then cached, MLP's, which has no cache, once."""
    found = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            asked = [ask(folder, "fit", threads, who, name, epochs) for _ in range(2 if who == "graphc" else 1)]
        found.append([(whole, alone) for alone, whole in asked])
    return [tuple(pair) for pair in np.median(found, 0)]


def row(name: str, options: argparse.Namespace) -> str:
    """A line of the table."""
    epochs, threads, folds = options.epochs, options.threads, options.folds
    how = epochs, folds, options.seeds
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = (np.array(ask(folder, "scores", threads, who, name, *how)[0]) for who in WHO)
    error = lambda values: f"{np.mean(values):.3f} ± {np.std(values, ddof=1) / np.sqrt(folds):.3f}"
    times = [pair for who in WHO for pair in seconds(who, name, epochs, threads, options.repeats)]
    cells = [f"{pair[which]:.2f}" for which in (0, 1) for pair in times]
    return " | ".join([name, error(ours), error(theirs), error(ours - theirs), *cells])


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=[*CLASSES, *NUMBERS], choices=[*CLASSES, *NUMBERS])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folds", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1, help="of BLAS and of a run; compiling takes all cores")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args(given)
    if options.child:
        print(json.dumps(child(*json.loads(options.child))))
        return
    print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|")
    for name in options.data:
        print(f"| {row(name, options)} |", flush=True)


if __name__ == "__main__":
    main()
