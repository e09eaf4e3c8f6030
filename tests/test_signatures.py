"""What a public function takes, as completion and ``help`` show it: every parameter by name, with its meaning."""

from __future__ import annotations

import inspect
import pickle
import re
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

import graphc as gc
from graphc.errors import TypeMismatchError
from tests import nets

METHODS = ["fit", "sweep", "predict", "evaluate", "initialize", "derive", "explain", "source", "check", "save", "load"]
MADE_BY_OTHERS = {"Tensor", "Network", "Initialiser", "Schedule", "Constraint"}
TAKES_ANYTHING = {"rule", "schedule", "function", "indices", "constraint"}  # names that a text or a call brings
STARS = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}


def public() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Everything that is called by a public name: functions, classes that users make, methods of a model."""
    for name in gc.__all__:
        found = getattr(gc, name)
        if not isinstance(found, ModuleType):
            yield name, found
        elif name != "errors":
            yield from ((f"{name}.{inner}", getattr(found, inner)) for inner in dir(found))
    yield from ((f"Model.{name}", getattr(gc.Model, name)) for name in METHODS)
    yield from (("Tensor.named", gc.Tensor.named), ("Rule.with_", type(gc.SGD()).with_))


X = gc.input("X", ("n", 2))
CALLED = {name: f for name, f in public() if callable(f) and name.rpartition(".")[2] not in MADE_BY_OTHERS}


def parameters(function: Callable[..., Any]) -> list[str]:
    found = inspect.signature(function).parameters.values()
    return [STARS.get(p.kind, "") + p.name for p in found if p.name not in ("self", "cls")]


def documented(function: Callable[..., Any]) -> list[str]:
    """The names of the section Parameters of a docstring, as numpydoc reads it."""
    section = re.search(r"^Parameters\n-+\n(.*?)(?=^\S[^\n]*\n-+$|\Z)", inspect.getdoc(function) or "", re.M | re.S)
    lines = [line for line in section[1].splitlines() if line and not line[0].isspace()] if section else []
    return [name.strip() for line in lines for name in line.partition(" : ")[0].split(",")]


@pytest.mark.parametrize("name", CALLED)
def test_the_docstring_explains_the_parameters_that_the_signature_has(name):
    """Mutation-checked: an option that is renamed in the signature alone is seen."""
    assert documented(CALLED[name]) == parameters(CALLED[name])


def test_every_parameter_has_a_type_and_no_option_hides_behind_stars():
    for name, function in CALLED.items():
        for p in inspect.signature(function).parameters.values():
            assert p.name in ("self", "cls") or p.annotation is not p.empty, (name, p.name)
            assert p.kind is not p.VAR_KEYWORD or name.rpartition(".")[2] in TAKES_ANYTHING | {"with_"}, name


def test_the_namespaces_show_only_what_is_public():
    for name in ("activations", "init", "losses", "metrics", "nn", "schedules", "errors", "constraints"):
        namespace = getattr(gc, name)
        assert dir(namespace) == sorted(namespace.__all__), name
        foreign = [n for n in dir(namespace) if not getattr(namespace, n).__module__.startswith("graphc.")]
        assert foreign == [], name


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.fit(epoch=3), "fit: there is no option 'epoch'\n  hint: here it is called 'epochs'."),
        (lambda m: m.fit(X=1, T=2),
         "fit: there is no option 'X'\n  hint: pass data by position or in one dict: {\"X\": .., \"T\": ..}"),
        (lambda m: m.predict(X=1),
         "predict: there is no option 'X'\n  hint: pass data by position or in one dict: {\"X\": .., \"T\": ..}"),
        (lambda m: m.sweep(seed=3),
         "sweep: there is no option 'seed'\n  hint: give seeds=4 for the seeds 0 to 3, or a list of seeds"),
        (lambda m: gc.function("f", "x**2").plot(pth=1),
         "plot: there is no option 'pth'\n  hint: did you mean 'path'?"),
        (lambda m: m.evaluate(targt="cpu"), "evaluate: there is no option 'targt'\n  hint: did you mean 'target'?"),
        (lambda m: gc.Model(outputs=m), "Model: there is no option 'outputs'\n  hint: did you mean 'output'?"),
        (lambda m: gc.SGD(etaa=1), "SGD: there is no option 'etaa'\n  hint: did you mean 'eta'?"),
        (lambda m: gc.SGD(1, 2), "SGD: too many positional arguments\n"
         "  hint: its parameters are eta, clip_value, clip_norm, decay."),
        (lambda m: gc.compile(), "compile: missing a required argument: 'outputs'\n"
         "  hint: its parameters are outputs, inputs, dtype, verify, subnormals, check_bounds."),
        (lambda m: gc.sum(X, ax=0), "sum: there is no option 'ax'\n  hint: did you mean 'axis'?"),
        (lambda m: X.mean(ax=0), "mean: there is no option 'ax'\n  hint: did you mean 'axis'?"),
        (lambda m: gc.exp(X, foo=1), "exp: there is no option 'foo'\n  hint: known are x"),
        (lambda m: gc.elu(X, alfa=2), "elu: there is no option 'alfa'\n  hint: did you mean 'alpha'?"),
        (lambda m: gc.losses.mse(1, 2, reduction="sum"),
         "mse: there is no option 'reduction'\n  hint: here it is called 'reduce'."),
        (lambda m: gc.nn.Flatten(2), "Flatten: too many positional arguments\n  hint: it has no parameters."),
        (lambda m: gc.special.erfc(), "erfc: missing a required argument: 'x'\n  hint: its parameters are x."),
    ],
)  # fmt: skip
def test_a_wrong_argument_is_refused_by_name_with_one_suggestion(call, message):
    with pytest.raises(TypeMismatchError) as caught:
        call(nets.xor())
    assert nets.text_of(caught) == message
    assert caught.value.__context__ is None  # nothing of Python's own error is shown before it


@pytest.mark.parametrize("name", [n for n in CALLED if n.rpartition(".")[2] not in TAKES_ANYTHING])
def test_everything_public_answers_an_option_that_it_does_not_have(name):
    """Seen to fail for 320 of them (Python's own TypeError) when public names are handed out as they are."""
    with pytest.raises(TypeMismatchError, match="there is no option 'no_such_option'"):
        CALLED[name](no_such_option=1)


def test_methods_of_what_they_give_do_too_and_show_what_they_are():
    f, w = gc.function("f", "x**2"), gc.param("w", (2,))
    for call in (f.d, gc.derive(gc.sum(f(w)), w).latex, gc.SGD().latex):
        with pytest.raises(TypeMismatchError, match="there is no option 'no_such_option'"):
            call(no_such_option=1)
    assert list(inspect.signature(gc.sum).parameters) == ["x", "axis", "keepdims", "where", "over"]
    assert "logits" in (gc.losses.cross_entropy.__doc__ or "")
    assert pickle.dumps(gc.losses.mse)  # which asks its module for it
