"""scikit-learn's estimators that are not read: each says why, whatever they hold."""

import io
import os
import pickle
import tracemalloc
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn_cases import CASES, SCORES, TARGETS, TTR, X, classifier, fit, fitted, with_field

import portable_nn as pnn
from portable_nn.formats.sklearn import sklearn_network
from portable_nn.readers.pickles import Record, interpret

pytest.importorskip("joblib", reason="the oracle: pip install scikit-learn pandas")
pytest.importorskip("pandas", reason="the oracle: pip install scikit-learn pandas")
pytest.importorskip("sklearn", reason="the oracle: pip install scikit-learn pandas")
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    PolynomialFeatures,
    StandardScaler,
)


class OwnClassifier(MLPClassifier):
    """Whoever wrote it may have changed what it predicts."""


def sparsified():
    return fit(LogisticRegression(), TARGETS["words"]).sparsify()


REFUSED = {
    "unfitted": (MLPClassifier, "MLPClassifier has no coefs_: fit it first"),
    "unfitted pipeline": (
        lambda: make_pipeline(StandardScaler(), Ridge()),
        r"step 'standardscaler' .*has no mean_",
    ),
    "unfitted target": (lambda: TTR(Ridge()), "TransformedTargetRegressor has no transformer_: fit it first"),
    "unfitted search": (lambda: GridSearchCV(Ridge(), {}), "GridSearchCV has no best_estimator_: fit it first"),
    "unknown step": (
        lambda: fit(make_pipeline(PolynomialFeatures(), Ridge()), SCORES),
        r"step 'polynomialfeatures' \(PolynomialFeatures\) has no counterpart here, those that have are Sta",
    ),
    "no network": (lambda: fit(make_pipeline(StandardScaler()), None), "ends in no network: end it in one"),
    "a class of one's own": (
        lambda: fit(OwnClassifier(max_iter=1), SCORES > 0),
        "test_sklearn_refusals.OwnClassifier has no count",
    ),
    "a function of one's own": (
        lambda: fit(TTR(Ridge(), func=np.cbrt, inverse_func=lambda y: y**3), SCORES),
        r"transformer_ \(FunctionTransformer\): inverse_func is .*<lambda>, those .* numpy.exp, numpy.expm1",
    ),
    "another ufunc": (
        lambda: fit(make_pipeline(FunctionTransformer(np.cbrt), Ridge()), SCORES),
        "func is numpy.cbrt",
    ),
    "arguments": (
        lambda: fit(make_pipeline(FunctionTransformer(np.square, kw_args={"where": True}), Ridge()), SCORES),
        "kw_args have no counterpart",
    ),
    "another target": (
        lambda: Record(
            "sklearn.compose._target.TransformedTargetRegressor",
            (),
            {"transformer_": PolynomialFeatures(), "regressor_": fitted("ridge")},
        ),
        r"transformer_ \(PolynomialFeatures\) has no counterpart here, those that have are .*undo the target's",
    ),
    "two networks": (
        lambda: pipeline([("a", fitted("ridge")), ("b", fitted("ridge"))]),
        r"step 'b' \(Ridge\) has no counterpart here, .*: one of them ends a pipeline",
    ),
    "one against the rest": (
        lambda: with_field("logistic regression through 0", "multi_class", "ovr"),
        "3 classes with multi_class='ovr' are no softmax",
    ),
    "liblinear": (
        lambda: with_field("logistic regression through 0", "solver", "liblinear"),
        "3 classes with multi_class='ovr' are no softmax",
    ),
    "softmax of two": (
        lambda: with_field("logistic regression", "multi_class", "multinomial"),
        "2 classes with multi_class='multinomial' are no softmax",
    ),
    "one class": (lambda: fit(classifier(), ["cat"] * len(X)), "one class alone, 'cat': fit it on two"),
    "no numbers": (lambda: with_field("ridge", "coef_", np.array(["a"])), "coef_ must be .* got numpy.ndarray"),
    "weights that are no list": (
        lambda: with_field("regression of one", "coefs_", None),
        "must be lists of as many",
    ),
    "one bias too few": (lambda: with_field("regression of one", "intercepts_", []), "must be lists of as many"),
    "classes that are neither": (
        lambda: with_field("logistic regression", "classes_", np.array([None, {}])),
        "classes_ must be an array of strings or numbers",
    ),
    "sparse": (sparsified, "coef_ must be an array of real numbers, got scipy.sparse"),
}


@pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning", "ignore:The provided functions:UserWarning"
)
@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case):
    make, message = REFUSED[case]
    estimator = make()
    with pytest.raises(pnn.FormatError, match=f"^the estimator: .*{message}"):
        sklearn_network(estimator, "the estimator")


@pytest.mark.parametrize(
    ("estimator", "words"),
    [
        (3, "an object of int$"),
        (os, "an object of module$"),
        (MLPClassifier, "the class MLPClassifier: give an object of it, with its weights"),
        ("model.pkl", "a path: portable_nn.load reads files"),
    ],
    ids=["number", "module", "class", "path"],
)
def test_what_is_no_estimator(estimator, words):
    with pytest.raises(pnn.InputError, match=f"from_sklearn takes a fitted estimator, got {words}"):
        pnn.from_sklearn(estimator)


def pipeline(steps):
    return Record("sklearn.pipeline.Pipeline", (), {"steps": steps})


def test_pipelines_within_pipelines():
    itself = pipeline([])
    itself.state["steps"].append(("itself", itself))
    doubled = fitted("ridge")
    for _ in range(30):
        doubled = pipeline([("a", doubled), ("b", doubled)])
    deep = fitted("ridge")
    for _ in range(5000):
        deep = pipeline([("a", deep)])
    many = pipeline([("a", itself)] * 1000)
    itself.state["steps"] = [("a", many)] * 1000
    for hostile in itself, doubled, deep, many:
        tracemalloc.start()
        with pytest.raises(pnn.FormatError, match="it has more than 1000 steps"):
            sklearn_network(hostile, "it")
        assert tracemalloc.get_traced_memory()[1] < 2**20
        tracemalloc.stop()
    with pytest.raises(pnn.FormatError, match="steps must be a list of at most 1000"):
        sklearn_network(pipeline([("a", None)] * 1001), "it")


def test_one_long_name_many_times():
    long = "x" * 2**20
    for field in "classes_", "feature_names_in_":
        record = interpret(io.BytesIO(pickle.dumps(fitted("logistic regression"))))
        record.state[field] = np.array([long] * 1000, object)
        tracemalloc.start()
        with pytest.raises(pnn.FormatError, match="its names have more than 4194304 characters together"):
            sklearn_network(record, "it")
        assert tracemalloc.get_traced_memory()[1] < 2**20
        tracemalloc.stop()
    labelled = pipeline([(long, fitted("ridge"))] * 900)
    tracemalloc.start()
    with pytest.raises(pnn.FormatError, match=r"step 'x+' .* one of them ends a pipeline"):
        sklearn_network(labelled, "it")
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


arrays = [np.zeros((0, 2)), np.full(3, np.nan), np.ones((4, 5)), np.array("x"), np.array(1.0), np.zeros(4)]
plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(arrays)
junk = st.recursive(
    plain | st.builds(Record, st.text(max_size=9)),
    lambda inner: (
        st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=3), inner)
    ),
    max_leaves=4,
)


@given(case=st.sampled_from(list(CASES)), data=st.data())
@settings(deadline=None, max_examples=150)
def test_any_field_may_be_anything(case, data):
    record = top = interpret(io.BytesIO(pickle.dumps(fitted(case))))
    while data.draw(st.booleans(), "deeper") and (inner := [*records(record.state)]):
        record = data.draw(st.sampled_from(inner), "record")
    name = data.draw(st.sampled_from(sorted(record.state)), "field")
    record.state[name] = data.draw(junk, "value")
    with suppress(pnn.FormatError):
        assert isinstance(sklearn_network(top, "it"), pnn.Network)


def records(value):
    """The records with a state that a value holds."""
    match value:
        case Record(state=dict()):
            yield value
        case dict():
            for inner in value.values():
                yield from records(inner)
        case list() | tuple():
            for inner in value:
                yield from records(inner)
