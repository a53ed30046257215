"""portable_nn, as its documentation says to use it."""

from collections.abc import Callable, Iterable
from itertools import groupby
from typing import Any

import numpy as np

import portable_nn as pnn
from benchmarks.given import Given
from benchmarks.networks import Block, Cell, Layers
from portable_nn.layers import Graph, Node, Value

__all__ = ["natural", "network", "tasks"]

OPERATORS = {"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid"}


def natural(cell: Cell) -> Callable[[], Any]:
    """The call on an array of the library, plain, under the user's own `jax.jit`, or compiled."""
    library, _, way = cell.how.partition(" ")
    net = network(cell.layers)
    x = pnn.backends.get(library).place(cell.x)
    if way == "jit":
        import jax

        return ended(jax.jit(net), x, library)
    return ended(net.compile() if way == "compiled" else net, x, library)


def network(layers: Layers) -> pnn.Network:
    """Blocks that follow one another are one graph, as in an ONNX file."""
    made: list[Any] = []
    for is_block, run in groupby(layers, lambda layer: isinstance(layer, Block)):
        together = [*run]
        made += [graph(together)] if is_block else together
    return pnn.Network(made)


def graph(blocks: Iterable[Any]) -> Graph:
    """Blocks as operators of ONNX."""
    nodes: list[Node] = []
    constants: dict[str, np.ndarray] = {}
    for i, (first, second) in enumerate(blocks):
        constants |= {f"w{i}": first.weight, f"b{i}": first.bias, f"v{i}": second.weight, f"c{i}": second.bias}
        nodes += [
            Node("Gemm", (f"x{i}", f"w{i}", f"b{i}"), (f"a{i}",)),
            Node(OPERATORS[first.activation], (f"a{i}",), (f"h{i}",)),
            Node("Gemm", (f"h{i}", f"v{i}", f"c{i}"), (f"g{i}",)),
            Node("Add", (f"x{i}", f"g{i}"), (f"s{i}",)),
            Node(OPERATORS[second.activation], (f"s{i}",), (f"x{i + 1}",)),
        ]
    taken = Value("x0", str(constants["w0"].dtype), constants["w0"].shape[:1])
    return Graph(nodes, [taken], nodes[-1].outputs, {"": 20}, **constants)


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
