"""What every contender is given: the same images, the same weights, the same answers to reach."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np

import portable_nn as pnn
from benchmarks.oracle import in_float64

__all__ = ["TOLERANCE", "Given", "answers", "in_batches"]

TOLERANCE = 1e-5
"""By which probabilities in float32 may differ from those in float64."""


@dataclass(frozen=True)
class Given:
    """The reference network and the MNIST test images.

    Attributes
    ----------
    threads : {"one", "all"}
        What the contender may use.
    how : str
        Which of a library's several ways to take, as the list of contenders has it.
    """

    threads: str = "all"
    how: str = ""

    @cached_property
    def net(self) -> pnn.Network:
        """The reference network."""
        return pnn.load("mnist")

    @cached_property
    def weights(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Weight and bias of each layer, float32."""
        layers = [layer for layer in self.net.layers if isinstance(layer, pnn.Dense)]
        return [(np.array(layer.weight), np.array(layer.bias)) for layer in layers]

    @cached_property
    def images(self) -> np.ndarray:
        """10,000 images of 784 pixels, uint8."""
        return pnn.datasets.mnist("test")[0]

    @property
    def image(self) -> np.ndarray:
        """One of them."""
        return self.images[0]

    @cached_property
    def floats(self) -> np.ndarray:
        """The images as float32, from 0 to 255 still."""
        return self.images.astype(np.float32)

    @cached_property
    def probabilities(self) -> np.ndarray:
        """The answer, in float64."""
        return in_float64(self.net.layers, self.images)

    @cached_property
    def labels(self) -> np.ndarray:
        """The answer, as labels."""
        return self.probabilities.argmax(axis=1)


@cache
def answers() -> Given:
    """The answers, computed once in a process."""
    return Given()


def in_batches(function: Callable[[Any], Any], images: Any, size: int) -> np.ndarray:
    """What a function gives for each batch, put together."""
    return np.concatenate([function(images[i : i + size]) for i in range(0, len(images), size)])
