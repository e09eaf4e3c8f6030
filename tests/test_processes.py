"""Threads, forks and worker processes: each fits, each gets the same bits."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import graphc as gc
from graphc.native.build import statistics
from tests import nets

ROOT = Path(__file__).parents[1]
X, T = nets.data(101)

FORK = """
import json, os, sys
from tests.test_processes import trained
before = trained(3)
read, write = os.pipe()
child = os.fork()
if child == 0:
    os.write(write, trained(3).encode())
    os._exit(0)
_, status = os.waitpid(child, 0)
os.close(write)
in_child = os.fdopen(read).read()
print(json.dumps([status, before, in_child, trained(3)]))
"""

LOADED = """
import json, sys
from tests.test_processes import trained
trained(3)
maps = open("/proc/self/maps").read()
print(json.dumps([sorted(sys.modules), [lib for lib in ("libgomp", "libiomp", "libtbb", "libomp") if lib in maps]]))
"""


def trained(seed: int) -> str:
    """The bits of the parameters after a few epochs."""
    model = nets.network("float32")
    model.fit(X, T, optimizer=gc.Adam(0.01), batch_size=8, epochs=4, seed=seed)
    return model.params.flat.tobytes().hex()


def other(seed: int) -> str:
    """The same for another network."""
    model = nets.xor()
    model.fit(X[:, :2], X[:, 2:] > 0, optimizer=gc.SGD(0.1), batch_size=4, epochs=4, seed=seed)
    return model.params.flat.tobytes().hex()


def output_of(script: str, **environment: str) -> list:
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    return json.loads(result.stdout)


def test_two_threads_that_derive_compile_and_fit_at_once_give_the_bits_of_each_alone(tmp_path, monkeypatch):
    """With an empty cache, so that both compile at the same time."""
    alone = [trained(3), other(3), trained(4), other(4)]
    monkeypatch.setenv("GRAPHC_CACHE", str(tmp_path / "cache"))
    found: dict[int, str] = {}
    start = threading.Barrier(4)

    def work(number, train, seed):
        start.wait()
        found[number] = train(seed)

    jobs = enumerate([(trained, 3), (other, 3), (trained, 4), (other, 4)])
    threads = [threading.Thread(target=work, args=(n, *job)) for n, job in jobs]
    compiled = statistics["compiled"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found.get(n) for n in range(4)] == alone
    assert 2 <= statistics["compiled"] - compiled <= 4


def in_threads(count: int, work: Callable[[], object]) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_of_threads_that_train_one_model_one_does_and_the_others_are_told():
    """Without turns they write to the same memory, and the process dies of a broken heap (seen)."""
    model, refused, done = nets.network("float32"), [], []
    options = {"optimizer": gc.Adam(0.01), "batch_size": 8, "epochs": 4000}
    model.fit(X, T, **options)
    start = threading.Barrier(4)

    def train() -> None:
        start.wait()
        for _ in range(2):
            try:
                done.append(model.fit(X, T, **options).steps)
            except gc.errors.BusyError as error:
                refused.append(str(error))

    in_threads(4, train)
    assert len(done) + len(refused) == 8 and done and refused
    [rule] = model.state.rules.values()
    assert rule.step == (len(done) + 1) * done[0] and set(done) == {4000 * 13}
    text = r"""the model is being trained by another thread
  at test_processes.py:\d+:  done.append\(model.fit\(X, T, \*\*options\).steps\)
  hint: wait until fit or sweep has ended, or give each thread a copy: copy.copy\(model\)"""
    assert re.fullmatch(text, refused[0])
    alone = nets.network("float32")
    for _ in range(len(done) + 1):
        alone.fit(X, T, **options)
    assert alone.params.flat.tobytes() == model.params.flat.tobytes()


def test_threads_that_predict_with_one_model_wait_for_each_other():
    model, wrong = nets.network("float32"), []
    model.params.initialize(0)
    expected = model.predict(X)
    in_threads(4, lambda: wrong.extend(k for k in range(50) if (model.predict(X) != expected).any()))
    assert not wrong


class Others(gc.callbacks.Callback):
    """What another thread, and a child that it forks, can do with a model in training."""

    def epoch_end(self, run: gc.Run, model: gc.Model) -> bool:
        self.said, self.child = [], -1
        in_threads(1, lambda: self.ask(model))
        self.own = model.predict(X)
        return True

    def ask(self, model: gc.Model) -> None:
        try:
            model.predict(X)
        except gc.errors.BusyError as error:
            self.said.append(str(error).partition("\n")[0])
        child = os.fork()
        if child == 0:
            os._exit(len(model.fit(X, T, optimizer=gc.Adam(0.01), batch_size=8, epochs=2).history["loss"]))
        self.child = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")  # JAX's, where another test has imported it
def test_a_callback_may_use_the_model_another_thread_is_told_and_a_forked_child_is_free():
    """Mutation-checked: without new turns after a fork the child says that the model is being trained."""
    model, others = nets.network("float32"), Others()
    model.fit(X, T, optimizer=gc.Adam(0.01), batch_size=8, epochs=3, callbacks=[others])
    assert others.said == ["the model is being trained by another thread"] and others.child == 2
    assert others.own.shape == T.shape and pickle.loads(pickle.dumps(model)).predict(X).shape == T.shape  # noqa: S301


def test_a_forked_child_fits_again_and_so_does_its_parent():
    status, before, in_child, after = output_of(FORK)
    assert status == 0 and before == in_child == after


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_of_a_pool_give_the_bits_of_the_parent(method):
    script = f"""
import json, multiprocessing
from tests.test_processes import pooled, trained
if __name__ == "__main__":
    print(json.dumps([pooled({method!r}), [trained(seed) for seed in (1, 2, 1)]]))
"""
    workers, parent = output_of(script)
    assert workers == parent and workers[0] == workers[2] != workers[1]


def pooled(method: str) -> list[str]:
    with multiprocessing.get_context(method).Pool(2) as pool:
        return pool.map(trained, [1, 2, 1])


def test_joblib_workers_give_the_bits_of_the_parent():
    pytest.importorskip("joblib")
    script = """
import json, joblib
from tests.test_processes import trained
print(json.dumps([joblib.Parallel(n_jobs=2)(joblib.delayed(trained)(s) for s in (1, 2)), [trained(1), trained(2)]]))
"""
    workers, parent = output_of(script)
    assert workers == parent


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/maps")
def test_no_threading_layer_and_no_openmp_library_is_ever_loaded():
    modules, libraries = output_of(LOADED)
    assert libraries == []
    assert not {f"numba.np.ufunc.{pool}" for pool in ("omppool", "tbbpool", "workqueue")} & set(modules)
