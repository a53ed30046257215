"""Keras 3 on the backend that KERAS_BACKEND names, through `predict` or by calling the model."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers

from benchmarks.given import Given, in_batches

__all__ = ["tasks"]


def model(given: Given) -> keras.Model:
    """The network as a user of Keras writes it, with its rescaling inside."""
    made = keras.Sequential(
        [
            keras.Input((784,), dtype="uint8"),
            layers.Rescaling(1 / 255),
            layers.Dense(50, "sigmoid"),
            layers.Dense(100, "sigmoid"),
            layers.Dense(10, "softmax"),
        ]
    )
    for layer, weights in zip(made.layers[-3:], given.weights, strict=True):
        layer.set_weights(weights)
    return made


def tasks(given: Given) -> dict[str, Callable[..., Any]]:
    """One image is a batch of one, called with, in the backend's own array."""
    net = model(given)
    image = keras.ops.convert_to_tensor(given.image[None])

    def to_numpy(tensor: Any) -> np.ndarray:
        return keras.ops.convert_to_numpy(keras.ops.stop_gradient(tensor))

    def labels(size: int) -> np.ndarray:
        if given.how == "predict":
            return net.predict(given.images, batch_size=size, verbose=0).argmax(axis=1)
        return in_batches(lambda batch: to_numpy(net(batch)).argmax(axis=1), given.images, size)

    if given.how == "predict":
        return {"labels": labels}
    return {
        "labels": labels,
        "probabilities": lambda: to_numpy(net(image))[0],
        "label": lambda: to_numpy(net(image)).argmax(axis=1)[0],
    }
