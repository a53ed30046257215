"""The networks of the suite, and what every contender is given of one: the same layers, the same input."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import groupby
from typing import NamedTuple, TypeAlias

import numpy as np

import portable_nn as pnn

__all__ = ["BATCHES", "NETWORKS", "Architecture", "Block", "Cell", "Layers"]

BATCHES = (1, 100, 10_000)

MULTIPLICATIONS = 50 * 10**9
"""The most in one call: about half a second of one core. Wide networks get fewer rows than the largest batch."""


class Block(NamedTuple):
    """Two layers: what comes to the first is added to what the second gives, before its activation."""

    first: pnn.Dense
    second: pnn.Dense


Layers: TypeAlias = tuple[pnn.Dense | pnn.Rescaling | Block, ...]


@dataclass(frozen=True)
class Architecture:
    """A network without its numbers.

    Attributes
    ----------
    hidden : str
        The activation of the hidden layers; several, separated by spaces, take turns.
    widths : tuple of int
        From the inputs to the outputs.
    last : str
        The activation of the last layer.
    dtype : {"float32", "float64"}
    pixels : bool
        Whether the input is uint8, and divided by 255.
    residual : bool
        Whether the layers between the first and the last are blocks of two.
    """

    hidden: str
    widths: tuple[int, ...]
    last: str
    dtype: str = "float32"
    pixels: bool = False
    residual: bool = False

    @property
    def name(self) -> str:
        """What it is called: "relu-784-256x2-10-softmax"."""
        runs = [(width, len([*run])) for width, run in groupby(self.widths)]
        widths = [str(width) if times == 1 else f"{width}x{times}" for width, times in runs]
        kind = ["residual"] * self.residual + ["uint8"] * self.pixels + ["float64"] * (self.dtype == "float64")
        return "-".join([self.hidden.replace(" ", "-"), *widths, self.last, *kind])

    @property
    def size(self) -> int:
        """The number of weights, biases aside."""
        return sum(n * m for n, m in zip(self.widths, self.widths[1:], strict=False))

    def rows(self, batch: int) -> int:
        """The rows of a batch: fewer than asked for where one call would take too long."""
        return next(rows for rows in (batch, 5000, 2000, 1000, 500) if rows * self.size <= MULTIPLICATIONS)

    def layers(self) -> Layers:
        """Layers of random numbers, the same each time, that neither explode nor die away."""
        rng = np.random.default_rng(0)
        hidden = self.hidden.split()
        dense = [
            pnn.Dense(
                rng.standard_normal((n, m), self.dtype) * np.asarray((2 / n) ** 0.5, self.dtype),
                rng.standard_normal(m, self.dtype) * np.asarray(0.1, self.dtype),
                self.last if i == len(self.widths) - 2 else hidden[i % len(hidden)],
            )
            for i, (n, m) in enumerate(zip(self.widths, self.widths[1:], strict=False))
        ]
        if self.residual:
            first, *middle, last = dense
            return (first, *map(Block, middle[::2], middle[1::2]), last)
        return (pnn.Rescaling(1 / 255), *dense) if self.pixels else tuple(dense)


def _suite(*architectures: Architecture) -> dict[str, Architecture]:
    return {architecture.name: architecture for architecture in architectures}


NETWORKS = _suite(
    Architecture("relu", (784, 512, 10), "softmax", pixels=True),
    Architecture("relu", (4, 20, 20, 1), "identity"),
    Architecture("relu", (256, 4096, 4096, 256), "identity"),
    Architecture("relu", (64, 256, 256, 8), "identity", "float64"),
    Architecture("leaky_relu", (64, 256, 256, 5), "softmax"),
    Architecture("leaky_relu", (8, 32, 100), "sigmoid"),
    Architecture("elu", (16, *[64] * 8, 3), "identity"),
    Architecture("gelu_tanh", (784, 512, 256, 10), "softmax"),
    Architecture("gelu", (32, 128, 128, 1), "identity"),
    Architecture("silu", (4, 64, 64, 64, 1), "identity"),
    Architecture("silu", (256, 1024, 1024, 256), "identity"),
    Architecture("softplus", (32, 128, 128, 1), "identity"),
    Architecture("tanh", (4, 50, 50, 50, 1), "identity", "float64"),
    Architecture("tanh", (32, *[128] * 4, 8), "identity"),
    Architecture("tanh", (1024, 4096, 1000), "softmax"),
    Architecture("sigmoid", (784, 50, 100, 10), "softmax", pixels=True),
    Architecture("sigmoid", (30, 64, 1), "sigmoid"),
    Architecture("sigmoid", (64, 128, 128, 10), "softmax", "float64"),
    Architecture("relu tanh sigmoid", (100, 200, 150, 100, 20), "softmax"),
    Architecture("gelu_tanh softplus elu silu", (64, 96, 96, 96, 96, 4), "identity"),
    Architecture("relu", (64, *[128] * 7, 8), "identity", residual=True),
)


@lru_cache(maxsize=1)
def _layers(architecture: Architecture) -> Layers:
    """Its layers, kept while its batches are timed."""
    return architecture.layers()


@dataclass(frozen=True)
class Cell:
    """A network and a batch: what the contenders are given.

    Attributes
    ----------
    architecture : Architecture
    batch : int
    threads : {"one", "all"}
        What the contender may use.
    how : str
        Which of a library's several ways to take, as the list of contenders has it.
    """

    architecture: Architecture
    batch: int
    threads: str = "all"
    how: str = ""

    @property
    def dtype(self) -> str:
        """Of the weights and of the computation."""
        return self.architecture.dtype

    @property
    def layers(self) -> Layers:
        """The network."""
        return _layers(self.architecture)

    @cached_property
    def x(self) -> np.ndarray:
        """The batch."""
        rng = np.random.default_rng(1)
        shape = self.architecture.rows(self.batch), self.architecture.widths[0]
        if self.architecture.pixels:
            return rng.integers(0, 256, shape, np.uint8)
        return rng.standard_normal(shape, self.dtype)
