"""scikit-learn's estimators, alive and from files: its own predictions are the oracle."""

import copy
import io
import os
import pickle
import tracemalloc
import warnings
from contextlib import suppress
from functools import cache

import numpy as np
import pytest
from helpers import placed, predicted, run_python
from hypothesis import given, reject, settings
from hypothesis import strategies as st

import portable_nn as pnn
from portable_nn.formats.sklearn import read_sklearn, sklearn_network
from portable_nn.readers.joblib import read_joblib
from portable_nn.readers.pickles import Record, interpret

pytest.importorskip("joblib", reason="the oracle: pip install scikit-learn pandas")
pytest.importorskip("pandas", reason="the oracle: pip install scikit-learn pandas")
pytest.importorskip("sklearn", reason="the oracle: pip install scikit-learn pandas")
import joblib
import pandas
from sklearn.compose import TransformedTargetRegressor
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import ElasticNet, Lasso, LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    PolynomialFeatures,
    RobustScaler,
    StandardScaler,
)

NAMES = ["width", "height", "depth", "mass"]
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(60, 4)) * [1, 10, 0.1, 3] + [0, 5, -2, 100]
BEYOND = X.min(axis=0) + np.ptp(X, axis=0) * RANDOM.uniform(-0.2, 1.2, size=(20, 4))  # where scalers clip
SCORES = (X - X.mean(axis=0)) / X.std(axis=0) @ RANDOM.normal(size=(4, 3))
TARGETS = {
    "binary": (SCORES[:, 0] > 0).astype(int),
    "words": np.array(["cat", "dog", "eel"])[SCORES.argmax(axis=1)],
    "objects": np.array(["no", "yes"], object)[(SCORES[:, 0] > 0).astype(int)],
    "numbers": np.array([1, 2, 7])[SCORES.argmax(axis=1)],
    "whole floats": (SCORES[:, 0] > 0).astype(float),
    "truth": SCORES[:, 0] > 0,
    "long": np.array([7, 2**40])[(SCORES[:, 0] > 0).astype(int)],
    "labels": (SCORES > 0).astype(int),
    "value": SCORES[:, 0],
    "values": SCORES,
    "counts": np.exp(SCORES),
}
CLASSES = {
    "binary": (0, 1),
    "words": ("cat", "dog", "eel"),
    "objects": ("no", "yes"),
    "numbers": (1, 2, 7),
    "whole floats": (0, 1),
    "truth": ("False", "True"),
    "long": ("7", "1099511627776"),
    "labels": None,
}
TTR = TransformedTargetRegressor
SCALERS = {
    "standard": StandardScaler(),
    "standard without mean": StandardScaler(with_mean=False),
    "standard without deviation": StandardScaler(with_std=False),
    "standard without either": StandardScaler(with_mean=False, with_std=False),
    "min max": MinMaxScaler((-1, 2)),
    "min max, clipped": MinMaxScaler(clip=True),
    "max abs": MaxAbsScaler(),
    "robust": RobustScaler(),
    "robust without centre": RobustScaler(with_centering=False),
    "robust without scale": RobustScaler(with_scaling=False),
    "PCA": PCA(3),
    "PCA, whitened": PCA(2, whiten=True),
    "square": FunctionTransformer(np.square),
    **{f.__name__: FunctionTransformer(f) for f in (np.abs, np.sin, np.cos, np.reciprocal)},
    "nothing": FunctionTransformer(),
    "passthrough": "passthrough",
    "two in one": make_pipeline(StandardScaler(), "passthrough", PCA(2)),
}


def classifier(*hidden, **options):
    return MLPClassifier(hidden or (5,), max_iter=3, random_state=0, **options)


def regressor(*hidden, **options):
    return MLPRegressor(hidden_layer_sizes=hidden or (5,), max_iter=3, random_state=0, **options)


CASES = {
    **{f"classes: {target}": (classifier(6, 5), target) for target in CLASSES},
    **{f"activation: {name}": (classifier(4, activation=name), "words") for name in ("logistic", "tanh")},
    **{
        f"scaler: {name}": (make_pipeline(scaler, regressor(activation="identity")), "values")
        for name, scaler in SCALERS.items()
    },
    "regression of one": (regressor(), "value"),
    "a poisson loss": (regressor(loss="poisson"), "counts"),
    "target: scaled": (TTR(regressor(), transformer=StandardScaler()), "values"),
    "target: one, scaled": (TTR(regressor(), transformer=RobustScaler()), "value"),
    "target: centred": (TTR(regressor(), transformer=StandardScaler(with_std=False)), "values"),
    "target: in a range": (TTR(regressor(), transformer=MinMaxScaler((1, 3))), "values"),
    "target: at most 1": (TTR(regressor(), transformer=MaxAbsScaler()), "values"),
    "target: whitened": (TTR(regressor(), transformer=PCA(whiten=True)), "values"),
    "target: some components": (
        TTR(regressor(), transformer=make_pipeline(RobustScaler(), PCA(2)), check_inverse=False),
        "values",
    ),
    "target: logarithms": (TTR(regressor(), func=np.log, inverse_func=np.exp), "counts"),
    "target: logarithms of one more": (TTR(regressor(), func=np.log1p, inverse_func=np.expm1), "counts"),
    "target: nothing": (TTR(regressor()), "values"),
    "target, pipeline within": (
        TTR(make_pipeline(StandardScaler(), regressor()), transformer=StandardScaler()),
        "values",
    ),
    "target, within a pipeline": (
        make_pipeline(StandardScaler(), TTR(regressor(), transformer=StandardScaler())),
        "values",
    ),
    "a search": (
        GridSearchCV(make_pipeline(StandardScaler(), Ridge()), {"ridge__alpha": [1, 2]}, cv=2),
        "values",
    ),
    "logistic regression": (LogisticRegression(), "objects"),
    "logistic regression of three": (make_pipeline(StandardScaler(), LogisticRegression()), "words"),
    "logistic regression through 0": (LogisticRegression(fit_intercept=False), "words"),
    "linear regression": (LinearRegression(), "values"),
    "linear regression of one": (LinearRegression(), "value"),
    "linear regression through 0": (LinearRegression(fit_intercept=False), "values"),
    "ridge": (Ridge(), "value"),
    "lasso": (Lasso(0.01), "values"),
    "elastic net": (ElasticNet(0.01), "value"),
}
every_case = pytest.mark.parametrize("case", CASES)


@cache
def fitted(case, named=False):
    """An estimator of its own, fitted with names of features or without."""
    estimator, target = CASES[case]
    return fit(copy.deepcopy(estimator), TARGETS[target], named)


def fit(estimator, y, named=False):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.fit(pandas.DataFrame(X, columns=NAMES) if named else X, y)


def outputs(estimator, x):
    """Its probabilities, of two classes that of the second, or its values."""
    if not hasattr(estimator, "predict_proba"):
        return estimator.predict(x).reshape(len(x), -1)
    found = estimator.predict_proba(x)
    return found[:, 1:] if len(estimator.classes_) == found.shape[1] == 2 else found


@every_case
def test_outputs(case):
    estimator = fitted(case)
    net = pnn.from_sklearn(estimator)
    for x in X, BEYOND:
        np.testing.assert_allclose(net(x), outputs(estimator, x), rtol=1e-10, atol=1e-12)
    assert net.dtype == "float64"


@pytest.mark.parametrize("low", [0, -1])
def test_ranges_far_from_0_in_float32(low):
    x = (1e6 + np.arange(64).reshape(16, 4)).astype(np.float32)
    estimator = make_pipeline(MinMaxScaler((low, 1)), LinearRegression()).fit(
        x.astype(np.float64), x[:, :2] - 1e6
    )
    found = pnn.from_sklearn(estimator).astype("float32")(x)
    np.testing.assert_allclose(found, estimator.predict(x.astype(np.float64)), rtol=1e-5, atol=1e-4)


@every_case
def test_what_inputs_and_outputs_mean(case):
    target = CASES[case][1]
    for named in True, False:
        net = pnn.from_sklearn(fitted(case, named))
        assert net.inputs == (tuple(NAMES) if named else None)
        assert net.classes == CLASSES.get(target)
    assert net.task == {"labels": "multilabel"}.get(
        target, "classification" if target in CLASSES else "regression"
    )


@pytest.mark.parametrize("case", [case for case in CASES if CASES[case][1] in CLASSES])
def test_labels(case):
    estimator = fitted(case)
    net, wanted = pnn.from_sklearn(estimator), estimator.predict(X)
    labels = net.predict(X)
    if net.classes and isinstance(net.classes[0], str):
        labels, wanted = np.array(net.classes)[labels], wanted.astype(str)
    np.testing.assert_array_equal(labels, wanted)


BACKEND_CASES = [
    "classes: words",
    "classes: labels",
    "scaler: min max, clipped",
    "target: logarithms of one more",
    "target: some components",
]


@pytest.mark.dtypes("float32", "float64")
@pytest.mark.parametrize("case", BACKEND_CASES)
def test_every_backend(backend, dtype, case):
    estimator = fitted(case)
    found = backend.to_numpy(pnn.from_sklearn(estimator)(placed(backend, BEYOND, dtype)))
    wanted = outputs(estimator, BEYOND.astype(dtype).astype(np.float64))
    close = {"float32": 1e-4, "float64": 1e-9}[dtype]
    np.testing.assert_allclose(found, wanted, rtol=close, atol=close)


def test_labels_on_every_backend(backend):
    estimator = fitted("logistic regression of three")
    net, x = pnn.from_sklearn(estimator), placed(backend, X, "float32")
    np.testing.assert_array_equal(np.array(net.classes)[predicted(net, backend, x)], estimator.predict(X))


STEADY = [scaler for scaler in SCALERS.values() if getattr(scaler, "func", None) is not np.reciprocal]  # no poles
scalers = st.lists(st.sampled_from(STEADY), max_size=3)


@given(
    hidden=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    activation=st.sampled_from(["identity", "logistic", "tanh", "relu"]),
    before=scalers,
    target=st.sampled_from(list(TARGETS)),
    dtype=st.sampled_from(["float32", "float64"]),
    compress=st.sampled_from([None, 0, 3]),
)
@settings(deadline=None, max_examples=25)
def test_any_architecture(tmp_path_factory, hidden, activation, before, target, dtype, compress):
    make = classifier if target in CLASSES else regressor
    steps = [(str(i), copy.deepcopy(step)) for i, step in enumerate(before)]
    estimator = Pipeline([*steps, ("network", make(*hidden, activation=activation))])
    x = (X / 100).astype(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        try:
            estimator.fit(x, TARGETS[target])
        except ValueError:  # fewer features than components
            reject()
    if compress is None:
        net = pnn.from_sklearn(estimator)
    else:
        path = tmp_path_factory.mktemp("any") / "net.joblib"
        joblib.dump(estimator, path, compress=compress)
        net = pnn.load(path)
    wanted = outputs(estimator, x.astype(np.float64))
    np.testing.assert_allclose(
        net(x.astype(np.float64)), wanted, rtol=1e-5 if dtype == "float32" else 1e-9, atol=1e-5
    )


def same(ours, theirs):
    assert ours.same_architecture(theirs)
    assert ours.meaning == theirs.meaning
    for a, b in zip(ours.layers, theirs.layers, strict=True):
        assert a.options == b.options
        for name, array in a.arrays.items():
            assert array.dtype == b.arrays[name].dtype
            np.testing.assert_array_equal(array, b.arrays[name])


@every_case
@pytest.mark.parametrize("write", ["pickle", "joblib"])
def test_files_give_what_live_estimators_do(tmp_path, case, write):
    estimator, path = fitted(case), tmp_path / f"net.{write}"
    if write == "pickle":
        path.write_bytes(pickle.dumps(estimator))
    else:
        joblib.dump(estimator, path)
    same(read_sklearn(path), pnn.from_sklearn(estimator))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol(tmp_path, protocol):
    estimator, path = fitted("target: logarithms"), tmp_path / "net.pkl"
    path.write_bytes(pickle.dumps(estimator, protocol))
    same(pnn.load(path), pnn.from_sklearn(estimator))


WITHOUT = """
import sys
for name in ("sklearn", "joblib", "scipy", "pandas"):
    sys.modules[name] = None
import numpy as np
import portable_nn as pnn
net = pnn.load(sys.argv[1])
np.save(sys.argv[2], net(np.load(sys.argv[3])))
print(net.classes, net.inputs)
"""


@pytest.mark.parametrize("suffix", ["pkl", "joblib"])
def test_where_no_scikit_learn_is(tmp_path, suffix):
    estimator = fitted("logistic regression of three", named=True)
    path, out, data = tmp_path / f"net.{suffix}", tmp_path / "out.npy", tmp_path / "x.npy"
    if suffix == "pkl":
        path.write_bytes(pickle.dumps(estimator))
    else:
        joblib.dump(estimator, path, compress=3)
    np.save(data, X)
    assert run_python("-c", WITHOUT, path, out, data).splitlines() == [f"('cat', 'dog', 'eel') {tuple(NAMES)}"]
    wanted = estimator.predict_proba(pandas.DataFrame(X, columns=NAMES))
    np.testing.assert_allclose(np.load(out), wanted, rtol=1e-10)


class OwnClassifier(MLPClassifier):
    """Whoever wrote it may have changed what it predicts."""


def with_field(case, name, value):
    estimator = copy.deepcopy(fitted(case))
    setattr(estimator, name, value)
    return estimator


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
        "test_sklearn.OwnClassifier has no count",
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


def test_earlier_versions_had_a_choice_that_makes_no_difference():
    for case, choice in ("logistic regression", "ovr"), ("logistic regression through 0", "multinomial"):
        same(pnn.from_sklearn(with_field(case, "multi_class", choice)), pnn.from_sklearn(fitted(case)))


def test_the_file_is_named(tmp_path):
    path = tmp_path / "net.pkl"
    path.write_bytes(pickle.dumps(MLPClassifier()))
    with pytest.raises(pnn.FormatError, match=r"net.pkl: MLPClassifier has no coefs_: fit it first"):
        pnn.load(path)


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


def test_records_are_what_files_hold(tmp_path):
    path = tmp_path / "net.joblib"
    joblib.dump(fitted("ridge"), path)
    assert read_joblib(path).name == "sklearn.linear_model._ridge.Ridge"
