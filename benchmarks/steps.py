"""Where the time goes when many images are labelled on one thread: each step of `predict`, written by hand."""

from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np

import portable_nn as pnn
from benchmarks.dispatch import optimized_weights
from portable_nn.inference import BATCH

__all__ = ["WHOLE", "functions"]

WHOLE = "all of predict"


def functions() -> dict[str, Callable[..., Any]]:
    """The call that `scale` makes, for `Worker`."""
    return {"milliseconds": milliseconds}


def milliseconds(passes: int) -> dict[str, list[float]]:
    """Of each step in each pass over the test images, and of `predict`, which takes turns with the steps."""
    net, (images, _) = pnn.load("mnist"), pnn.datasets.mnist("test")
    weights = optimized_weights(pnn.backends.get("numpy").units)
    taken: dict[str, list[float]] = {}
    for _ in range(passes):
        start = perf_counter()
        pnn.infer(net, images, workers=1)
        once = {WHOLE: perf_counter() - start} | one_pass(images, weights)
        for name, seconds in once.items():
            taken.setdefault(name, []).append(seconds * 1e3)
    return taken


def one_pass(images: np.ndarray, weights: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    """Seconds of each step, summed over batches."""
    taken: dict[str, float] = {}
    last = perf_counter()

    def lap(step: str) -> None:
        nonlocal last
        now = perf_counter()
        taken[step] = taken.get(step, 0) + now - last
        last = now

    buffer = np.empty((BATCH, images.shape[1]), dtype=np.float32)
    for i in range(0, len(images), BATCH):
        last = perf_counter()
        np.copyto(buffer, images[i : i + BATCH])
        lap("cast to float32")
        z: np.ndarray = buffer
        for weight, bias in weights:
            z = z @ weight
            lap(f"product by {weight.shape[0]} x {weight.shape[1]} weights")
            z += bias
            lap("biases, added in place")
            if weight is not weights[-1][0]:
                np.tanh(z, out=z)
                lap("tanh")
        z.argmax(axis=-1)
        lap("argmax")
    return taken
