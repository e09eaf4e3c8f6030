"""The script for a machine with a GPU, tried without one: its tables, its verdicts, and a run on the emulator."""

from __future__ import annotations

import json
import re
import sys

import numpy as np
import pytest

from graphc.cuda import launching, libraries
from graphc.lower import verified_tiers as table_of
from tests.gpu import field, options, questions, report, run, seen, timings
from tests.gpu.bench import Bench, Outcome, Wrong, distance, require_close, require_same
from tests.gpu.process import Gone, Process
from tests.gpu.verify import judged
from tests.gpu.worker import outcome

ECHO = "import json, sys\nfor line in sys.stdin: print(json.dumps({'said': line.strip()}), flush=True)"


def timed(peer, mode, seconds, losses=(0.7, 0.6), workload="W1", **more):
    common = {"workload": workload, "title": "a net", "section": "benchmark", "p10_s": seconds, "p90_s": 2 * seconds}
    return common | {"peer": peer, "mode": mode, "median_s": seconds, "losses": list(losses)} | more


ROWS = [timed("torch", "graph", 8e-6), timed("jax", "scan", 16e-6), timed("graphc", "fit", 4e-6, tier="A")]


def test_the_table_of_steps_has_the_fastest_first_and_the_goal_beside_graphc():
    assert report.steps_table(ROWS)[2:] == [
        "| W1 a net | graphc fit (tier A) | 4 (4 to 8) | 1.00 | 3 to 5 |",
        "| W1 a net | torch graph | 8 (8 to 16) | 0.50 |  |",
        "| W1 a net | jax scan | 16 (16 to 32) | 0.25 |  |",
    ]


def test_the_tables_of_scaling_have_a_line_for_each_network_that_was_timed():
    name = f"S64x{field.BATCH}"
    rows = [timed("graphc", "fit", 4e-6, workload=name, tier="B"), timed("jax", "scan", 8e-6, workload=name)]
    assert report.scaling_table(rows, "width")[2:] == ["| a net | 4 (4 to 8) | 8 (8 to 16) | B |"]
    assert report.scaling_table(rows, "batch")[2:] == []


def test_losses_of_graphc_that_differ_fail_the_run_and_those_of_a_peer_are_noted():
    off = [0.7, 0.6 * 1.01]
    verdicts = [timings.agreement(r | {"losses": off}, ROWS, "benchmark")["status"] for r in (ROWS[2], ROWS[1])]
    assert verdicts == ["failed", "note"]
    assert timings.agreement(ROWS[2], ROWS, "benchmark")["status"] == "ok"
    assert timings.agreement(ROWS[2] | {"losses": [0.7, float("nan")]}, ROWS, "benchmark")["status"] == "failed"
    assert timings.agreement(ROWS[2] | {"mode": "fit_tf32", "losses": off}, ROWS, "benchmark")["status"] == "ok"


def test_a_page_says_what_failed_what_was_left_out_and_that_emulated_times_mean_nothing():
    lines = [
        {"section": "libraries", "name": "GPU", "status": "missing", "text": "no GPU"},
        {"section": "numerics", "name": "W1: tier A", "status": "ok", "figures": {"losses": 2e-7, "tolerance": 2e-4}},
        {"section": "numerics", "name": "W1: tier B", "status": "failed", "text": "losses differ"},
        {"section": "sanitizer", "name": "all", "status": "left out", "text": "there is none"},
    ]
    page = report.page({"emulated": True, "quick": True, "lines": lines, "rows": ROWS, "seconds": {"numerics": 3.2}})
    for text in (report.EMULATED, "**1 checks failed.**", "- numerics, W1: tier B: losses differ",
                 "- sanitizer, all: there is none", "| numerics | 1 | 1 | 0 | 0 | 0 | 3 |",
                 "| W1: tier A | 2.0e-07 | - | - | - | 2.0e-04 |", "| GPU | missing: no GPU |"):  # fmt: skip
        assert text in page
    assert [x["name"] for x in report.failures(lines)] == ["W1: tier B"]


def test_a_tier_that_was_right_enters_the_table_and_one_that_was_wrong_leaves_it(monkeypatch, tmp_path):
    monkeypatch.setattr(libraries, "capability", lambda number: (9, 0))
    monkeypatch.setattr(libraries, "driver_version", lambda: (13, 0))
    monkeypatch.setattr("importlib.metadata.version", lambda package: "0.30.4")
    path = tmp_path / "table.json"
    path.write_text(table_of.TABLE.read_text())
    right = [{"section": "numerics", "name": f"W{n}: tier B", "status": "ok", "figures": {"losses": n * 1e-8}}
             for n in (1, 2, 3, 9)]  # fmt: skip
    wrong = [{"section": "bits", "name": "W3: tier D on any number of blocks", "status": "failed", "text": "differ"}]
    few = [{"section": "numerics", "name": "W1: tier A", "status": "ok", "figures": {"losses": 1e-7}}]
    assert seen.note([*right, *wrong, *few], "a GPU", path) == [
        "tier B: right in 4 checks, in the table", "tier D: wrong in 1 checks, taken out of the table",
    ]  # fmt: skip
    found = {line.tier: line for line in table_of.seen(path)}
    assert sorted(found) == ["A", "B", "C"] and found["A"].gpu == "NVIDIA H100 80GB HBM3"
    assert found["B"].figures == "losses of 4 trainings within 9e-08 of the CPU's"


def test_differences_are_relative_to_the_largest_number_or_to_one_and_nan_is_far_away():
    assert distance(np.array([1.0, 10.5]), np.array([1.0, 10.0])) == pytest.approx(0.05)
    assert distance(np.array([0.1]), np.array([0.2])) == pytest.approx(0.1)
    assert distance(np.array([np.nan]), np.array([0.0])) == np.inf
    with pytest.raises(Wrong, match=r"^losses differ by 1\.0e\+00, allowed are 1e-03$"):
        require_close("losses", [2.0], [1.0], 1e-3)


def test_bits_that_differ_are_counted():
    one, other = (Outcome(np.zeros(4), np.array([0.0, 1.0, last]), 4, "") for last in (2.0, np.nextafter(2.0, 3)))
    require_same("a run", one, one)
    with pytest.raises(Wrong, match="^the second run: 1 of 3 parameters have other bits$"):
        require_same("the second run", other, one)


def test_the_output_of_the_sanitizer_is_judged_by_its_exit_status_and_quoted():
    output = "========= COMPUTE-SANITIZER\n========= Invalid __global__ write of size 4\nsomething else\n"
    assert judged(86, output, emulated=False) == {
        "status": "failed", "text": "========= COMPUTE-SANITIZER / ========= Invalid __global__ write of size 4"
    }  # fmt: skip
    clean = judged(0, "========= ERROR SUMMARY: 0 errors\n", emulated=False)
    assert clean == {"status": "ok", "text": "========= ERROR SUMMARY: 0 errors"}


def test_a_child_that_dies_or_hangs_is_noticed():
    child = Process([sys.executable, "-c", ECHO])
    child.tell("hello")
    assert child.answer(30) == {"said": "hello"}
    with pytest.raises(Gone, match=r"^no answer within 0 s$"):
        child.answer(0.2)
    child.close()
    dead = Process([sys.executable, "-c", "import sys; sys.exit('out of luck')"])
    with pytest.raises(Gone, match=r"^it ended with status 1: out of luck$"):
        dead.answer(30)
    dead.close()


def test_names_of_networks_are_read_and_a_section_has_its_share_of_the_time():
    w = field.find("S64x8")
    assert (w.sizes, w.batch, w.n_batches) == ((64, 64, 64, 10), 8, 64)
    small = field.find("W4", small=True)
    assert small.sizes == (160, 160, 160, 160) and small.title == "160-160-160-160, batch 64 (made smaller)"
    for name in ("S64", "Sx8", "W77"):
        with pytest.raises(KeyError, match=name):
            field.find(name)
    quick, full = options.read(["--quick"]), options.read([])
    quick.begin("numerics", began=0.0)
    assert quick.until == 0.4 * 60 * options.QUICK_MINUTES
    full.begin("numerics", began=0.0)
    assert full.until == float("inf")


def test_a_product_that_passes_through_tiles_has_the_losses_of_the_cpu():
    """Mutation-checked: a register of a tile under the name of the tile's first row is caught (by 0.2)."""
    found = outcome("W3: tier B", Bench(emulated=True), quick=True)
    assert found["status"] == "ok" and found["figures"]["losses"] < 1e-5, found


def test_an_open_question_is_answered_with_the_times_of_its_alternatives():
    found = outcome("W9: which tier", Bench(emulated=True), quick=True)
    assert found["status"] == "ok" and list(found["figures"]) == ["A", "B", "C", "D", "fastest"], found
    assert all(re.fullmatch(r"\S+ µs \(expected \S+\)", found["figures"][t]) for t in "ABCD")
    line = {"section": "questions", "name": "W9: which tier"} | found
    assert report.questions_table([line])[2].startswith("| W9: which tier | A: ")
    before = launching.RECORDED
    with questions._set(questions.QUESTIONS["W2: steps of a recording"], 64):
        assert launching.RECORDED == 64
    assert before == launching.RECORDED


def test_a_run_on_the_emulator_goes_through_and_writes_both_files(tmp_path):
    files = [tmp_path / "gpu.json", tmp_path / "gpu.md"]
    arguments = "--emulated --quick --workers 1 --sections libraries bits --networks W9".split()
    assert run.main([*arguments, "--json", str(files[0]), "--markdown", str(files[1])]) == 0
    result = json.loads(files[0].read_text())
    bits = [(x["name"], x["status"]) for x in result["lines"] if x["section"] == "bits"]
    names = ("the same bits twice", "in halves as in one go", "tier B on any number of blocks")
    assert bits == [(f"W9: {name}", "ok") for name in names]
    assert "No check failed." in files[1].read_text()
