"""Every example runs from a script and shows what it promises."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def output_of(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main()
    return capsys.readouterr().out


def accuracies(text: str) -> list[float]:
    return [float(v) for v in re.findall(r"test accuracy ([\d.]+) %", text)]


def test_xor_is_learnt_and_its_gradient_printed(capsys):
    text = output_of("xor", capsys)
    assert "δ0[i,j] = ∂J/∂Z0[i,j] = δ1[i]·W1[j]·(1 - H0[i,j]²) = (δ1 W1ᵀ) ⊙ (1 - H0⊙H0)      (2)" in text
    values = [float(v) for v in re.findall(r"xor \d = ([\d.]+)", text)]
    assert [round(v) for v in values] == [0, 1, 1, 0] and max(abs(v - round(v)) for v in values) < 0.01


def test_digits_are_recognised_with_97_percent_accuracy(capsys):
    text = output_of("digits", capsys)
    assert accuracies(text)[0] >= 97.0
    assert "∂J/∂W0[k,j] = Σ_i X[i,k]·δ0[i,j] = Xᵀ δ0" in text and "█" in text


def test_breast_cancer_is_classified_by_both_models(capsys):
    assert all(a >= 94.0 for a in accuracies(output_of("breast_cancer", capsys)))


def test_learning_rates_are_told_apart_and_the_best_network_knows_xor(capsys):
    text = output_of("learning_rates", capsys)
    verdicts = re.findall(r"^ +[\d.]+ .*?(too small|good|too large)", text, re.MULTILINE)[:16]
    assert verdicts == sorted(verdicts, key=["too small", "good", "too large"].index) and len(set(verdicts)) == 3
    assert [round(float(v)) for v in re.findall(r"xor \d \d = ([\d.]+)", text)] == [0, 1, 1, 0]


def test_the_lecture_shows_partial_derivatives_chain_rule_and_learning_rates(capsys):
    text = output_of("lecture", capsys)
    assert "∂f/∂theta0 = 2 " in text and "partial derivatives: 2.0 1.0" in text
    assert "∂J/∂theta0 = ∂J/∂Y · ∂Y/∂H0 · ∂H0/∂Z0 · ∂Z0/∂theta0" in text
    assert re.search(r"converged after \d+ steps", text)
    assert re.search(r"eta = 20 +step \d+ gave NaN or infinity", text)
