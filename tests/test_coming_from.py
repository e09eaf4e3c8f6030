"""Words of other libraries lead to ours: every name that a hint gives exists, and every word gives its hint."""

from __future__ import annotations

import re

import pytest

import graphc as gc
from graphc.errors import TypeMismatchError
from graphc.words import OPTIONS, WORDS, option_hint
from tests import nets

NAMES = [(library, theirs, ours) for library, words in WORDS.items() for theirs, ours in words.items()]


@pytest.mark.parametrize(("library", "theirs", "ours"), NAMES)
def test_an_unknown_name_is_answered_by_its_meaning_and_the_answer_exists(library: str, theirs: str, ours: str):
    """Mutation-checked: a hint that names gc.losses.nothing is seen."""
    for path in re.findall(r"\bgc\.([\w.]*\w)", ours):
        found = gc
        for part in path.split("."):
            found = getattr(found, part)
    if theirs not in gc.__all__:
        with pytest.raises(AttributeError) as caught:
            getattr(gc, theirs)
        assert str(caught.value) == f"module 'graphc' has no attribute {theirs!r}; here it is {ours}", library


def test_no_word_is_there_twice_and_spelling_still_helps():
    assert len({theirs for _, theirs, _ in NAMES}) == len(NAMES)
    with pytest.raises(AttributeError, match=r"did you mean graphc\.softmax\?"):
        _ = gc.softmaxx
    with pytest.raises(AttributeError, match=r"did you mean graphc\.SGD\?"):  # not std
        _ = gc.sgd


@pytest.mark.parametrize(
    ("place", "name", "hint"),
    [
        ("losses", "categorical_crossentropy", "; here it is gc.losses.cross_entropy"),
        ("losses", "crossentropy", "; did you mean graphc.losses.cross_entropy?"),
        ("losses", "softmax", "; here it is gc.softmax"),
        ("losses", "binary_cross_entropy", "; here it is gc.losses.bce"),
        ("special", "cholesky", "; here it is gc.linalg.cholesky"),
        ("nn", "Sigmoid", "; here it is gc.sigmoid"),
        ("activations", "ReLU", "; did you mean graphc.activations.relu?"),
        ("special", "erfcc", "; did you mean graphc.special.erfc?"),
        ("activations", "tahn", "; did you mean graphc.activations.tanh?"),
        ("init", "xavier_normal_", "; here it is gc.init.glorot_normal"),
        ("constraints", "nonneg", "; did you mean graphc.constraints.nonnegative?"),
        ("schedules", "zzzqq", "; dir(graphc.schedules) lists the public names"),
        ("nn", "__path__", ""),
    ],
)
def test_names_that_a_namespace_lacks_lead_on_as_those_of_graphc_do(place: str, name: str, hint: str):
    with pytest.raises(AttributeError) as caught:
        getattr(getattr(gc, place), name)
    assert str(caught.value) == f"module 'graphc.{place}' has no attribute {name!r}{hint}"


def test_a_word_is_told_where_it_lives_and_a_tensor_knows_other_libraries_words():
    x = gc.input("X", ("n", 3))
    for ask, hint in {
        lambda: gc.erfinv: "; here it is gc.special.erfinv",
        lambda: gc.Dense: "; here it is gc.nn.Dense",
        lambda: gc.ones: "; here it is np.ones, an array: X + a makes it a constant",  # a name of gc.init, too
        lambda: x.detach: "; here it is gc.stop_gradient",
        lambda: x.unsqueeze: "; here it is gc.expand_dims, or x[:, None]",
        lambda: x.squeze: "; did you mean x.squeeze?",
    }.items():
        with pytest.raises(AttributeError) as caught:
            ask()
        assert str(caught.value).endswith(hint)
    with pytest.raises(TypeMismatchError, match="no parameters; elsewhere the name stands for np.zeros, an array"):
        gc.zeros((2, 3))  # type: ignore[call-arg]


@pytest.mark.parametrize("option", ["learning_rate", "verbose", "validation_split", "x_train", "epoch"])
def test_an_option_that_is_asked_for_as_a_name_is_told_as_an_option(option: str):
    with pytest.raises(AttributeError, match=rf"has no attribute '{option}'; here it is an option: \w"):
        getattr(gc, option)


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_of_another_library_is_answered_by_ours(option: str):
    ours, example = OPTIONS[option]
    assert option_hint(option, [ours] * bool(ours)) == (f"here it is called {ours!r}." if ours else example)
    assert option_hint(option, []) == example
    for path in re.findall(r"\bgc\.([\w.]*\w)", example):
        assert path.partition(".")[0] in gc.__all__


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gc.Adam(lr=0.1), "Adam: there is no option 'lr'\n"
         "  hint: here it is called 'eta'."),
        (lambda: nets.xor().fit(lr=0.1), "fit: there is no option 'lr'\n"
         "  hint: give it to the optimizer: optimizer=gc.Adam(eta=0.01)."),
        (lambda: nets.xor().fit(verbose=1), "fit: there is no option 'verbose'\n"
         "  hint: here it is called 'progress'."),
        (lambda: gc.RMSProp(centered=True), "RMSProp: there is no option 'centered'\n"
         "  hint: here it is called 'centred'."),
    ],
)  # fmt: skip
def test_options_are_refused_with_their_meaning(call, message):
    with pytest.raises(TypeMismatchError) as caught:
        call()
    assert nets.text_of(caught) == message
