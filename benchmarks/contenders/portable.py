"""portable_nn, as its documentation says to use it."""

from collections.abc import Callable
from typing import Any

import portable_nn as pnn
from benchmarks.given import Given
from benchmarks.networks import Cell

__all__ = ["natural", "tasks"]


def natural(cell: Cell) -> Callable[[], Any]:
    """The call on an array of the library, plain, under the user's own `jax.jit`, or compiled."""
    library, _, way = cell.how.partition(" ")
    net = pnn.Network(cell.layers)
    x = pnn.backends.get(library).place(cell.x)
    if way == "jit":
        import jax

        return ended(jax.jit(net), x, library)
    return ended(net.compile() if way == "compiled" else net, x, library)


def ended(function: Callable[[Any], Any], x: Any, library: str) -> Callable[[], Any]:
    """The call until its result is there, without what PyTorch keeps for derivatives."""
    if library == "torch":
        from torch import inference_mode

        return inference_mode()(lambda: function(x))  # type: ignore[no-any-return]
    if library == "jax":
        return lambda: function(x).block_until_ready()
    return lambda: function(x)


def tasks(given: Given) -> dict[str, Callable[..., Any]]:
    """`infer` for many images; the network itself for one, which is a tensor already where that is PyTorch's."""
    library, _, compiled = given.how.partition(" ")
    net = given.net.compile() if compiled else given.net
    image = pnn.backends.get(library).place(given.image)
    workers = 1 if given.threads == "one" else None

    def labels_of(images: Any, size: int) -> Any:
        return pnn.infer(net, images, backend=library, batch_size=size or None, workers=workers)

    return {
        "labels": lambda size: labels_of(given.images, size),
        "labels of floats": lambda size: labels_of(given.floats, size),
        "probabilities": ended(net, image, library),
        "label": ended(net.predict, image, library),
    }
