"""portable_nn, as its documentation says to use it."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import portable_nn as pnn
from benchmarks.given import Given

__all__ = ["tasks"]


def tasks(given: Given) -> dict[str, Callable[..., Any]]:
    """`predict` for many images; `optimized` for one, which is a tensor already where the backend is PyTorch."""
    library, _, compiled = given.how.partition(" ")
    net = given.net.compile() if compiled else given.net
    for_outputs = net if compiled else net.optimized()
    backend = pnn.backends.get(library)
    image = backend.place(given.image)
    workers = 1 if given.threads == "one" else None

    def labels_of(images: Any, size: int) -> Any:
        return pnn.predict(net, images, backend=library, batch_size=size or None, workers=workers)

    def waited_for(array: Any) -> Any:
        backend.synchronize(array)
        return array

    inference = nullcontext
    if library == "torch":
        from torch import inference_mode as inference

    def alone(function: Callable[[Any], Any]) -> Callable[[], Any]:
        if library == "numpy":
            return lambda: function(image)

        def run() -> Any:
            with inference():
                return waited_for(function(image))

        return run

    return {
        "labels": lambda size: labels_of(given.images, size),
        "labels of floats": lambda size: labels_of(given.floats, size),
        "probabilities": alone(for_outputs),
        "label": alone(net.predict),
    }
