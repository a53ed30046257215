"""scikit-learn's estimators, alive: its own predictions are the oracle."""

import copy
import warnings

import numpy as np
import pytest
from helpers import placed, predicted
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from sklearn_cases import (
    BEYOND,
    CASES,
    CLASSES,
    NAMES,
    SCALERS,
    TARGETS,
    X,
    classifier,
    every_case,
    fitted,
    outputs,
    regressor,
    same,
    with_field,
)

import portable_nn as pnn

pytest.importorskip("joblib", reason="the oracle: pip install scikit-learn pandas")
pytest.importorskip("pandas", reason="the oracle: pip install scikit-learn pandas")
pytest.importorskip("sklearn", reason="the oracle: pip install scikit-learn pandas")
import joblib
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    MinMaxScaler,
)


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


def test_ranges_far_from_0_that_were_fitted_in_float32():
    x = (1e4 + np.arange(64).reshape(16, 4) / 7).astype(np.float32)
    estimator = make_pipeline(MinMaxScaler((-1, 2)), LinearRegression()).fit(x, x[:, :2] - 1e4)
    numbers = x.astype(np.float64)
    np.testing.assert_allclose(pnn.from_sklearn(estimator)(numbers), estimator.predict(numbers), atol=1e-6)


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


def test_earlier_versions_had_a_choice_that_makes_no_difference():
    for case, choice in ("logistic regression", "ovr"), ("logistic regression through 0", "multinomial"):
        same(pnn.from_sklearn(with_field(case, "multi_class", choice)), pnn.from_sklearn(fitted(case)))
