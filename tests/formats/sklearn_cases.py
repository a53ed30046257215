"""scikit-learn's estimators by name, fitted when they are asked for."""

import copy
import warnings
from functools import cache

import numpy as np
import pytest

pytest.importorskip("joblib", reason="the oracle: pip install scikit-learn pandas")
pytest.importorskip("pandas", reason="the oracle: pip install scikit-learn pandas")
pytest.importorskip("sklearn", reason="the oracle: pip install scikit-learn pandas")
import pandas
from sklearn.compose import TransformedTargetRegressor
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import ElasticNet, Lasso, LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
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


def same(ours, theirs):
    assert ours.same_architecture(theirs)
    assert ours.meaning == theirs.meaning
    for a, b in zip(ours.layers, theirs.layers, strict=True):
        assert a.options == b.options
        for name, array in a.arrays.items():
            assert array.dtype == b.arrays[name].dtype
            np.testing.assert_array_equal(array, b.arrays[name])


def with_field(case, name, value):
    estimator = copy.deepcopy(fitted(case))
    setattr(estimator, name, value)
    return estimator
