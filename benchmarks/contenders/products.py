"""The limit: the three matrix products alone, and one square product of as many operations."""

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.given import Given, in_batches

__all__ = ["tasks"]


def tasks(given: Given) -> dict[str, Callable[..., Any]]:
    """Products of float32 images by the weights, nothing added and no activation; or the square one."""
    w1, w2, w3 = (weight for weight, _ in given.weights)
    if given.how == "square":
        square = np.ones((side(given), side(given)), dtype=np.float32)
        return {"labels of floats": lambda _: square @ square}
    return {"labels of floats": lambda size: in_batches(lambda x: x @ w1 @ w2 @ w3, given.floats, size)}


def side(given: Given) -> int:
    """Of square matrices whose product takes as many operations as those of all images by the weights."""
    multiplications = len(given.images) * sum(weight.size for weight, _ in given.weights)
    return round(multiplications ** (1 / 3))
