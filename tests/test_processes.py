"""Threads, forks and worker processes: each fits, each gets the same bits."""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
import threading
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
