"""In which order the layers of a Keras model run: a chain, or operators that take each other's outputs."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial, reduce
from graphlib import CycleError, TopologicalSorter
from itertools import count
from typing import TypeAlias

from portable_nn.errors import NetworkError
from portable_nn.formats.keras_config import Argument, Model, Node, Tensor
from portable_nn.formats.keras_merging import EXPORT, MERGING, Taken
from portable_nn.formats.onnx_graph import Body
from portable_nn.formats.onnx_nodes import Nodes
from portable_nn.layers import Flatten, Layer, Shape
from portable_nn.nodes import as_nodes
from portable_nn.readers.onnx import Value

__all__ = ["LayersOf", "branched", "chain", "shape_after"]

LayersOf: TypeAlias = Callable[[Node, Shape | None], Sequence[Layer]]
"""The layers of a node, for samples of a shape."""

MOST = 10_000
"""Layers; a model that is used twice, of models that are used twice, … would have any number."""


def chain(model: Model) -> list[Node] | None:
    """Order the layers of a model, and of those in it, from the input to the output.

    Parameters
    ----------
    model : Model

    Returns
    -------
    list of Node or None
        Layers alone; one that is used twice comes twice. None if the model branches.

    Raises
    ------
    NetworkError
        If the config is damaged, or there are too many.

    Examples
    --------
    >>> from portable_nn.formats.keras_branches import chain
    >>> from portable_nn.formats.keras_config import read_model
    >>> dense = {"class_name": "Dense", "config": {"name": "hidden", "batch_input_shape": [None, 4]}}
    >>> [node.name for node in chain(read_model({"class_name": "Sequential", "config": [dense]}))]
    ['hidden']
    """
    steps: dict[int, list[Node] | None] = {}

    def ordered(model: Model) -> list[Node] | None:
        path = _path(model)
        nodes: list[Node] = []
        for node in path or ():
            if id(node) not in steps:
                steps[id(node)] = [node] if node.model is None else ordered(node.model)
            more = steps[id(node)]
            if more is None:
                return None
            nodes += more
            if len(nodes) > MOST:
                raise NetworkError(f"its layers are used more than {MOST} times")
        return None if path is None else nodes

    return ordered(model)


def _path(model: Model) -> list[Node] | None:
    """Follow a model from its output back to its input; None if it branches."""
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        return None
    (tensor,), (first,) = model.outputs.values(), model.inputs.values()
    most = sum(len(node.calls) for node in model.nodes.values())
    path: list[Node] = []
    while tensor != first:
        node, taken = _called(model, tensor)
        before = taken[0] if len(taken) == 1 else None
        if not isinstance(before, tuple) or node.class_name in MERGING or tensor[2] != 0:
            return None
        path.append(node)
        if len(path) > most:
            raise NetworkError(f"layer {node.name!r} takes its own outputs: the config is damaged")
        tensor = before
    return path[::-1]


def _called(model: Model, tensor: Tensor) -> tuple[Node, tuple[Argument, ...]]:
    """The layer that gives a tensor, and what it takes for that."""
    name, call, output = tensor
    node = model.nodes.get(name)
    outputs = 1 if node is None or node.model is None else len(node.model.outputs)
    if node is None or not 0 <= call < len(node.calls) or not 0 <= output < outputs:
        raise NetworkError(f"it has no output {output} of call {call} of {name!r}: the config is damaged")
    return node, node.calls[call]


def branched(model: Model, layers_of: LayersOf) -> Body:
    """The operators of a model whose layers take each other's outputs.

    Parameters
    ----------
    model : Model
    layers_of : callable

    Returns
    -------
    Body

    Raises
    ------
    NetworkError
        If the config is damaged, shapes are not told or do not fit, or there are too many layers.

    Examples
    --------
    >>> from portable_nn.formats.keras_branches import branched
    >>> from portable_nn.formats.keras_config import read_model
    >>> start = {"class_name": "InputLayer", "name": "x", "config": {"batch_shape": [None, 2]}}
    >>> both = {"class_name": "Add", "name": "y", "config": {}, "inbound_nodes": [[["x", 0, 0], ["x", 0, 0]]]}
    >>> config = {"layers": [start | {"inbound_nodes": []}, both]}
    >>> config |= {"input_layers": ["x", 0, 0], "output_layers": ["y", 0, 0]}
    >>> [node.operator for node in branched(read_model({"class_name": "Model", "config": config}), None).nodes]
    ['Add']
    """
    nodes = Nodes()
    given: list[tuple[str, Shape]] = []
    for name, shape in zip(model.inputs, model.shapes, strict=True):
        if not shape:
            raise NetworkError(f"its input {name!r} has no fixed shape, and the model branches: give it one")
        given.append((name, shape))
    made = _run(model, given, layers_of, nodes, count())
    inputs = [Value(name, "float32", (None, *shape)) for name, shape in given]
    return nodes.body(inputs, dict(zip(model.outputs, (name for name, _ in made), strict=True)))


def _run(
    model: Model,
    given: Sequence[tuple[str, Shape]],
    layers_of: LayersOf,
    nodes: Nodes,
    counted: Iterator[int],
) -> list[tuple[str, Shape]]:
    """Make the nodes of a model of what it takes: the values that it gives, by name and shape."""
    if len(given) != len(model.inputs):
        raise NetworkError(f"a model of {len(model.inputs)} inputs is called with {len(given)}")
    known = dict(zip(model.inputs.values(), given, strict=True))
    for name, call in _order(model, known):
        node = model.nodes[name]
        taken: list[Taken] = [known[x] if isinstance(x, tuple) else x for x in node.calls[call]]
        values = [x for x in taken if isinstance(x, tuple)]
        if next(counted) > MOST:
            raise NetworkError(f"its layers are used more than {MOST} times")
        if node.model is not None:
            made = _run(node.model, values, layers_of, nodes, counted)
        elif node.class_name in MERGING:
            try:
                made = [MERGING[node.class_name](nodes.call, node.config, taken)]
            except NetworkError as error:
                raise NetworkError(f"layer {node.name!r}: {error}") from error
        elif len(values) == len(taken) == 1:
            made = [reduce(partial(_layer, nodes), layers_of(node, values[0][1]), values[0])]
        else:
            raise NetworkError(
                f"layer {node.name!r}, a {node.class_name}, is called with what is not read, {len(taken)} "
                f"arguments: {EXPORT}, may do"
            )
        known.update(((name, call, i), each) for i, each in enumerate(made))
    return [known[tensor] for tensor in model.outputs.values()]


def _order(model: Model, known: dict[Tensor, tuple[str, Shape]]) -> list[tuple[str, int]]:
    """The calls that lead to the outputs of a model, each after those that it takes the outputs of."""
    calls: dict[tuple[str, int], set[tuple[str, int]]] = {}
    waiting = list(model.outputs.values())
    while waiting:
        tensor = waiting.pop()
        if tensor in known:
            continue
        _, taken = _called(model, tensor)
        if tensor[:2] not in calls:
            before = [x for x in taken if isinstance(x, tuple)]
            calls[tensor[:2]] = {x[:2] for x in before if x not in known}
            waiting += before
    try:
        return list(TopologicalSorter(calls).static_order())
    except CycleError as error:
        raise NetworkError(
            f"layer {error.args[1][0][0]!r} takes its own outputs: the config is damaged"
        ) from error


def _layer(nodes: Nodes, value: tuple[str, Shape], layer: Layer) -> tuple[str, Shape]:
    name, shape = value
    after = shape_after(layer, shape)
    if after is None or (layer.input_shape or shape)[-1] != shape[-1]:
        raise NetworkError(f"{layer!r} does not take samples of shape {shape}")
    return as_nodes(nodes.call, name, layer, shape), after


def shape_after(layer: Layer, shape: Shape | None) -> Shape | None:
    """The shape of one sample after a layer, which may come with axes that the layer knows nothing of.

    Parameters
    ----------
    layer : layer
    shape : tuple of int, or None

    Returns
    -------
    tuple of int, or None
    """
    if shape is None:
        return None
    own = len(layer.input_shape or ()) if isinstance(layer, Flatten) else 1
    return (*shape[: len(shape) - own], *(layer.output_shape(shape[len(shape) - own :]) or ()))
