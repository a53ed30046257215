"""The way of chapter 3 of "Deep Learning from Scratch", written plainly."""

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.given import Given, in_batches

__all__ = ["tasks"]


def sigmoid(x: np.ndarray) -> np.ndarray:
    """As the book has it; exp may overflow."""
    return 1 / (1 + np.exp(-x))


def softmax(x: np.ndarray) -> np.ndarray:
    """As the book has it: a batch is transposed there and back, and exp is taken twice."""
    if x.ndim == 2:
        return softmax_of_columns(x.T).T
    x = x - np.max(x)
    return np.exp(x) / np.sum(np.exp(x))


def softmax_of_columns(x: np.ndarray) -> np.ndarray:
    """Each column on its own."""
    x = x - np.max(x, axis=0)
    return np.exp(x) / np.sum(np.exp(x), axis=0)


def tasks(given: Given) -> dict[str, Callable[..., Any]]:
    """Pixels as floats divided by 255, the forward pass, and argmax for labels."""
    (w1, b1), (w2, b2), (w3, b3) = given.weights

    def predict(x: np.ndarray) -> np.ndarray:
        z1 = sigmoid(np.dot(x, w1) + b1)
        z2 = sigmoid(np.dot(z1, w2) + b2)
        return softmax(np.dot(z2, w3) + b3)

    def scaled(images: np.ndarray) -> np.ndarray:
        return images.astype(np.float32) / 255

    def label(images: np.ndarray) -> Any:
        return np.argmax(predict(scaled(images)), axis=-1)

    labels = {"labels": lambda size: in_batches(label, given.images, size)}
    if given.how == "batches":
        return labels
    return labels | {
        "probabilities": lambda: predict(scaled(given.image)),
        "label": lambda: label(given.image),
    }
