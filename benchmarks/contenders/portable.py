"""portable_nn, as its documentation says to use it."""

from collections.abc import Callable
from typing import Any

import portable_nn as pnn
from benchmarks.given import Given

__all__ = ["tasks"]


def tasks(given: Given) -> dict[str, Callable[..., Any]]:
    """`predict` for many images; `optimized` for one, which is a tensor already where the backend is PyTorch."""
    library, _, compiled = given.how.partition(" ")
    net = given.net.compile() if compiled else given.net
    for_outputs = net if compiled else net.optimized()
    image = pnn.backends.get(library).place(given.image)
    workers = 1 if given.threads == "one" else None

    def labels_of(images: Any, size: int) -> Any:
        return pnn.predict(net, images, backend=library, batch_size=size or None, workers=workers)

    def alone(function: Callable[[Any], Any]) -> Callable[[], Any]:
        if library == "torch":
            from torch import inference_mode

            return inference_mode()(lambda: function(image))  # type: ignore[no-any-return]
        if library == "jax":
            return lambda: function(image).block_until_ready()
        return lambda: function(image)

    return {
        "labels": lambda size: labels_of(given.images, size),
        "labels of floats": lambda size: labels_of(given.floats, size),
        "probabilities": alone(for_outputs),
        "label": alone(net.predict),
    }
