"""The benchmark harness: what it compares, what it leaves out, and when it says that graphc does not agree."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest

from tests.benchmarks import report, run
from tests.benchmarks import workloads as wl
from tests.benchmarks.contestants import Child, Contestant, Dropped, is_installed

SKLEARN = Contestant("sklearn", "fit", 1, sys.executable)


@pytest.fixture
def rows():
    """A finished run in which graphc takes 2 of the 4 microseconds of its best peer."""
    common = {"workload": "W1", "threads": 1, "p10_s": 1e-6, "p90_s": 9e-6, "first_step_s": 1.5, "peak_rss_mb": 99.0}
    figures = [("graphc", "fit", 2e-6), ("jax", "jit", 8e-6), ("jax", "scan", 4e-6)]
    losses = [0.7, 0.6, 0.5]
    return [
        common | {"peer": peer, "mode": mode, "median_s": seconds, "losses": list(losses), "version": "1.0"}
        for peer, mode, seconds in figures
    ]


@pytest.mark.parametrize("name", list(wl.WORKLOADS))
def test_every_peer_gets_the_same_data_and_weights(name):
    w = wl.WORKLOADS[name]
    (X, Y), again = wl.data(w), wl.data(w)
    assert X.shape == (w.batch * w.n_batches, w.sizes[0])
    assert np.array_equal(X, again[0]) and np.array_equal(Y, again[1])
    assert Y.dtype == ("int64" if w.loss == "ce" else w.dtype)
    weights = wl.init(w)
    assert [v.shape for v in weights.values()][-2:] == [w.sizes[-2:], w.sizes[-1:]]
    assert all(np.array_equal(v, weights[k]) for k, v in wl.init(w).items())


def test_a_child_reports_losses_that_fall_and_times_calls_that_are_long_enough():
    child = Child(SKLEARN, "W1")
    answer = child.measure(0.1)
    child.close()
    assert child.about["losses"][0] > child.about["losses"][2] > 0
    assert len(answer["samples"]) >= 3
    assert np.median(answer["samples"]) * answer["steps_per_call"] > 0.01


def test_a_workload_that_a_peer_cannot_express_is_left_out_with_the_reason():
    with pytest.raises(Dropped, match="neither a custom activation nor this loss"):
        Child(SKLEARN, "W5")
    with pytest.raises(Dropped, match="trains one network at a time"):
        Child(SKLEARN, "W10")


def test_a_child_that_fails_is_left_out_with_its_last_words():
    with pytest.raises(Dropped, match="ended with status 1: KeyError: 'W77'"):
        Child(SKLEARN, "W77")


def test_a_package_that_is_missing_is_noticed_and_an_unknown_peer_is_refused():
    assert is_installed("sklearn", sys.executable) and not is_installed("no_such_package", sys.executable)
    with pytest.raises(SystemExit, match="unknown peer 'jax:vmap'; known are graphc, jax, .* jax:scan"):
        run.contestants(run.arguments(["--peers", "jax:vmap"]))


def test_the_summary_compares_graphc_with_its_best_peer(rows):
    assert report.summary(rows)[-1] == (
        "| W1 tabular 30-16-1 | 2 (1 to 9) | jax scan | 4 (1 to 9) | **0.50** | 1.50 | 1.50 |"
    )


def test_losses_that_differ_are_reported_and_are_not_agreement(rows):
    assert report.graphc_agrees(rows, ["W1"])
    assert "differs" not in report.markdown({"cpu": "x", "cores": 2, "system": "y", "python": "z"}, rows)
    rows[0]["losses"][2] *= 1 + 2e-4
    assert not report.graphc_agrees(rows, ["W1"])
    assert "| W1 | graphc fit | 1 | 2 (1 to 9) | 1.50 | 99 | 2.0e-04 **differs** |" in report.details(rows)


def test_a_loss_that_is_not_a_number_or_a_workload_that_did_not_run_is_not_agreement(rows):
    assert not report.graphc_agrees(rows, ["W1", "W2"])
    rows[0]["losses"][1] = math.nan
    assert not report.graphc_agrees(rows, ["W1"])
