"""``python -m graphc``: what it prints for a file, and what it says of files that are missing, broken or hostile."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import graphc as gc
from graphc.command.measuring import random_data
from graphc.command.parser import main
from tests.nets import ROOT, xor

NET = """
import graphc as gc
X, T = gc.input("X", ("n", 2)), gc.input("T", ("n", 1))
W = gc.param("W", (2, 1), gc.normal(1.0))
model = gc.Model(output=X @ W, loss=gc.mean((X @ W - T)**2))
if __name__ == "__main__":
    raise RuntimeError("it must not run")
"""


@pytest.fixture
def net(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "net.py"
    file.write_text(NET)
    return file


def said(capsys, *arguments: str, status: int = 0) -> str:
    """What a command prints: on the output when it went well, else on the errors."""
    assert main(arguments) == status
    out, err = capsys.readouterr()
    assert (err if status == 0 else out) == ""
    return out if status == 0 else err


def test_explain_prints_the_model_and_its_derivation(net, capsys):
    text = said(capsys, "explain", str(net))
    assert text.startswith("model: 2 parameters, float32, not trained yet")
    assert "∂J/∂W[k] = " in text and "net.py:5" in text
    assert "δ0" in said(capsys, "explain", str(net), "--wrt", "W")
    assert said(capsys, "explain", str(net), "--latex", "index").startswith("\\begin{aligned}")
    assert "arena" in said(capsys, "explain", str(net), "--stage", "plan")
    source = said(capsys, "explain", str(net), "--stage", "source")
    assert source.startswith('"""model: training"""')


def test_report_writes_a_page_beside_or_where_it_is_told(net, capsys):
    assert said(capsys, "report", str(net)).startswith("net.html: ")
    assert (net.parent / "net.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    said(capsys, "report", str(net), "-o", "pages/one.html")
    assert (net.parent / "pages" / "one.html").is_file()
    assert "this is a folder" in said(capsys, "report", str(net), "-o", ".", status=2)


def test_a_checkpoint_is_explained_as_well(tmp_path, capsys):
    xor().save(tmp_path / "xor.safetensors")
    assert "δ0[i,j]" in said(capsys, "explain", str(tmp_path / "xor.safetensors"))
    (tmp_path / "bad.safetensors").write_bytes(b"\x00" * 40)
    assert "bad.safetensors" in said(capsys, "explain", str(tmp_path / "bad.safetensors"), status=2)


def test_a_function_that_returns_a_model_is_found(net, capsys):
    net.write_text("import graphc as gc\ndef make() -> gc.Model:\n" + NET.split("if __name__")[0].strip()
                   .replace("import graphc as gc\n", "").replace("\n", "\n    ").replace("X, T", "    X, T", 1)
                   + "\n    return model\ndef other(n):\n    return None\n")  # fmt: skip
    assert "∂J/∂W" in said(capsys, "explain", str(net))
    assert "∂J/∂W" in said(capsys, "explain", str(net), "--model", "make")
    assert "'other' is no model" in said(capsys, "explain", str(net), "--model", "other", status=2)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("import graphc\n", "it declares no model\n  hint: at its top level: model = gc.Model("),
        (NET + "second = gc.Model(loss=gc.mean(W**2))\n", "several models\n  hint: choose one: --model model or sec"),
        ("x = 1\ny = (\n", "line 2: '(' was never closed"),
        ("x = 1\n\nx / 0\n", "line 3: ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit(3)\n", "it ends the program (exit 3)"),
        ("import nothing_of_that_name\n", "line 1: ModuleNotFoundError: No module named 'nothing_of_that_name'"),
        (NET.replace("(2, 1)", "(3, 1)"), "at net.py:5:  model = gc.Model("),
        ("import graphc as gc\ndef make() -> gc.Model:\n    return 3\n", "make() returns int, no model"),
        ("\x00\x01", "null bytes"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_said_in_a_line_and_a_hint(net, capsys, content, words):
    net.write_text(content)
    text = said(capsys, "explain", str(net), status=2)
    assert text.startswith(f"graphc explain: {net}: ") and words in text and "Traceback" not in text


def test_files_that_are_none(net, capsys):
    folder = net.parent
    assert f"did you mean {net}?" in said(capsys, "explain", str(folder / "nett.py"), status=2)
    assert "there is no such file" in said(capsys, "report", str(folder / "zzz"), status=2)
    assert "this is a folder" in said(capsys, "explain", str(folder), status=2)
    (folder / "net.txt").write_text("")
    assert "ends neither in .py nor in .safetensors" in said(capsys, "explain", str(folder / "net.txt"), status=2)
    text = said(capsys, "explain", str(net), "--wrt", "Q", status=2)
    assert text == "graphc explain: derive: 'Q' is no parameter of model\n  hint: known are W\n"
    net.write_text(NET.replace(", loss=gc.mean((X @ W - T)**2)", ""))
    assert "Y[i] = " in said(capsys, "explain", str(net))
    assert "has no loss" in said(capsys, "explain", str(net), "--stage", "plan", status=2)


def test_bench_measures_training_and_predicting(tmp_path, capsys, monkeypatch):
    """The network and the batch of the README's tests, whose program is there when these ran before."""
    monkeypatch.setattr("graphc.command.parser.model_of", lambda *_: xor())
    text = said(capsys, "bench", "net.py", "--rows", "4", "--batch-size", "4", "--seconds", "0.01", "--threads", "1")
    rows = [line.split(maxsplit=1)[0] for line in text.splitlines()]
    assert rows == ["model", "compile", "a", "training", "memory", "predict"]
    assert "17 parameters" in text and "4 rows, sgd, 1 thread" in text
    assert "--rows is 0" in said(capsys, "bench", "net.py", "--rows", "0", status=2)
    assert "Unknown optimizer 'sgdd'" in said(capsys, "bench", "net.py", "--optimizer", "sgdd", status=2)


def test_random_data_suits_the_inputs():
    X, t = gc.input("X", ("n", 3)), gc.input("t", ("n",), dtype="int64")
    W = gc.param("W", (3, 5))
    model = gc.Model(output=X @ W, loss=gc.losses.cross_entropy(X @ W, t))
    data = random_data(model._core.training_inputs, 50, model._core.label_limits)
    assert data["X"].shape == (50, 3) and data["t"].shape == (50,) and data["t"].dtype.kind == "i"
    assert set(np.unique(data["t"])) == set(range(5))


def test_the_cache_tells_its_size_and_is_cleared_of_what_is_its_own(tmp_path, capsys, monkeypatch):
    folder = tmp_path / "cache"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("GRAPHC_CACHE", str(folder))
    for name in ("a.obj", "b.obj", "a.facts", "a.checked", "own.txt"):
        (folder / name).write_bytes(b"x" * 2**20)
    assert said(capsys, "cache") == f"{folder}: 2 programs, 4.0 MiB of at most 512.0 MiB\n"
    assert said(capsys, "cache", "clear") == f"{folder}: 2 programs removed, 4.0 MiB\n"
    assert [f.name for f in folder.iterdir()] == ["own.txt"]
    assert said(capsys, "cache", "size").startswith(f"{folder}: 0 programs")
    folder.chmod(0o777)
    with pytest.warns(UserWarning, match="others can write to it"):
        assert "cannot be used" in said(capsys, "cache", status=2)


def test_help_teaches_and_every_command_has_its_own(capsys):
    assert main([]) == 0
    text = capsys.readouterr().out
    assert "model = gc.Model(output=X @ W" in text and "examples:" in text and "explain net.py" in text
    for command in ("explain", "report", "bench", "cache"):
        with pytest.raises(SystemExit, match="0"):
            main([command, "--help"])
        assert len(capsys.readouterr().out) > 400
    with pytest.raises(SystemExit, match="2"):
        main(["explain"])


def test_it_runs_as_a_module_into_a_pipe_that_closes(net):
    command = f"{sys.executable} -m graphc explain {net} --stage source | head -1"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    run = subprocess.run(command, shell=True, capture_output=True, text=True, env=environment, timeout=120)
    assert run.stdout == '"""model: training"""\n' and run.stderr == ""
