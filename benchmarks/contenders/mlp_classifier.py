"""scikit-learn's `MLPClassifier` with the same weights."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from benchmarks.given import Given, in_batches

__all__ = ["tasks"]


def tasks(given: Given) -> dict[str, Callable[..., Any]]:
    """Fitted for one step, which builds it, then given the weights."""
    classifier = MLPClassifier((50, 100), activation="logistic", max_iter=1)
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        classifier.fit(given.floats[:200], given.labels[:200])
    classifier.coefs_, classifier.intercepts_ = map(list, zip(*given.weights, strict=True))

    def scaled(images: np.ndarray) -> np.ndarray:
        return images.astype(np.float32) / 255

    return {
        "labels": lambda size: in_batches(lambda batch: classifier.predict(scaled(batch)), given.images, size),
        "probabilities": lambda: classifier.predict_proba(scaled(given.image[None]))[0],
        "label": lambda: classifier.predict(scaled(given.image[None]))[0],
    }
