"""Estimators of scikit-learn around a network: its own checks, and its tools."""

import os
import pickle
from math import prod
from textwrap import dedent

import numpy as np
import pytest
from helpers import run_python

import portable_nn as pnn

pytest.importorskip("sklearn", reason='pip install "portable-nn[sklearn]"')

from sklearn.base import clone, is_classifier, is_regressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris
from sklearn.frozen import FrozenEstimator
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import get_scorer
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import validate_data

from portable_nn.sklearn import NetworkClassifier, NetworkRegressor

# scikit-learn's own checks. They come with data of all shapes, which no one trained network takes: so `fit` trains
# one here, by scikit-learn itself, and all that comes after is the estimator's.


class TrainedClassifier(NetworkClassifier):
    net = property(lambda self: self.net_)

    def __init__(self):
        pass

    def fit(self, X, y):
        self.net_ = trained(LogisticRegression(), *validate_data(self, X, y))
        return super().fit(X, y)


class TrainedRegressor(NetworkRegressor):
    net = property(lambda self: self.net_)

    def __init__(self):
        pass

    def fit(self, X, y):
        data = validate_data(self, X, y, multi_output=True, y_numeric=True)
        self.net_ = trained(LinearRegression(), *data)
        return super().fit(X, y)


def trained(estimator, X, y):
    if is_classifier(estimator) and np.asarray(y).dtype.kind == "f":
        y = np.asarray(y)
        if (y != y.astype(int)).any():
            raise ValueError("Unknown label type: continuous")
        y = y.astype(int)
    return pnn.from_sklearn(estimator.fit(X, y)).described(inputs=None)


DO_NOT_APPLY = {}


@parametrize_with_checks([TrainedClassifier(), TrainedRegressor()], expected_failed_checks=lambda _: DO_NOT_APPLY)
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)
