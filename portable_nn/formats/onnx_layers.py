"""A graph of operators as layers: a chain where it is one, else a `Graph` between the chains at its ends."""

from dataclasses import replace

from portable_nn.errors import NetworkError
from portable_nn.formats.onnx_gemms import with_gemms
from portable_nn.formats.onnx_graph import Body, pruned
from portable_nn.formats.onnx_lowering import chain
from portable_nn.layers import IDENTITY, Graph, Layer, Layers, Shape, sample_shapes
from portable_nn.readers.onnx import Node, Value

__all__ = ["layers_of"]

MOST = 64
"""Nodes from the last one back in which a chain to the output is looked for."""

RESERVED = ("self", "nodes", "inputs", "outputs", "opsets")
"""What a constant of a `Graph` cannot be called."""


def layers_of(body: Body) -> Layers:
    """The layers of a graph.

    Parameters
    ----------
    body : Body

    Returns
    -------
    tuple of layers

    Raises
    ------
    NetworkError
        If it has no inputs or outputs, or its nodes do not take what they are given.

    Examples
    --------
    >>> from portable_nn.formats.onnx_graph import Body
    >>> from portable_nn.formats.onnx_layers import layers_of
    >>> from portable_nn.readers.onnx import Node, Value
    >>> nodes = Node("Sin", ("x",), ("h",)), Node("Tanh", ("h",), ("t",)), Node("Add", ("h", "t"), ("y",))
    >>> layers_of(Body(nodes, {}, (Value("x", "float32", ("n", 3)),), {"y": "y"}, {"": 20}))
    (Activation('sine'), Graph(Tanh, Add))
    """
    if not body.inputs or not body.outputs:
        raise NetworkError("a network needs inputs and outputs")
    inputs = tuple(replace(value, shape=_sample(value)) for value in body.inputs)
    head = tuple[Layer, ...]()
    if len(inputs) == 1 and "float" in (inputs[0].dtype or "float"):
        (only,) = inputs
        head, end, shape = chain(body, only.name, _fixed(only.shape))
        if list(body.outputs.values()) == [end] and _fit(head, None):
            return head or IDENTITY
        head = head if _fit(head, _fixed(only.shape)) else ()
        inputs = (Value(end, only.dtype, shape),) if head else inputs
    rest = _from(body, inputs)
    shapes = _graph(rest).shapes
    tail = _tail(rest, shapes)
    if tail is None:
        return *head, _graph(with_gemms(rest, shapes))
    middle = pruned(replace(rest, outputs={tail[0]: tail[0]}))
    return *head, _graph(with_gemms(middle, shapes)), *tail[1]


def _from(body: Body, inputs: tuple[Value, ...]) -> Body:
    """What comes after some values."""
    names = {value.name for value in inputs}
    nodes = tuple(node for node in body.nodes if names.isdisjoint(node.outputs))
    return pruned(replace(body, nodes=nodes, inputs=inputs))


def _tail(body: Body, shapes: dict[str, Shape]) -> tuple[str, Layers] | None:
    """The first value from which on there is a chain to the output, and its layers."""
    found = None
    if len(body.outputs) > 1:
        return None
    for node in reversed(body.nodes[-MOST:]):
        for name in node.outputs:
            last = chain(body, name, shapes.get(name))
            whole = last.layers and last.end in body.outputs.values()
            if whole and name in shapes and _fit(last.layers, shapes[name]):
                found = name, last.layers
    return found


def _fit(layers: Layers, shape: Shape | None) -> bool:
    """Whether layers take samples of a shape one after the other, without axes that they know nothing of."""
    try:
        first, *_ = sample_shapes(layers)
    except NetworkError:
        return False
    return None in (first, shape) or first == shape


def _graph(body: Body) -> Graph:
    """A layer of nodes: floating constants are its own, others are nodes."""
    others = [
        Node("Constant", (), (name,), {"value": value})
        for name, value in body.constants.items()
        if value.dtype.kind != "f"
    ]
    fresh = {name: _fresh(name, body) for name in RESERVED if name in body.constants}
    nodes = [replace(node, inputs=tuple(fresh.get(name, name) for name in node.inputs)) for node in body.nodes]
    floats = {fresh.get(name, name): value for name, value in body.constants.items() if value.dtype.kind == "f"}
    same = [Node("Identity", (name,), (public,)) for public, name in body.outputs.items() if public != name]
    return Graph([*others, *nodes, *same], body.inputs, list(body.outputs), body.opsets, **floats)


def _fresh(name: str, body: Body) -> str:
    """A name like this that no constant and no value has."""
    while name in body.constants or name in body.makers or name in {value.name for value in body.inputs}:
        name += "_"
    return name


def _sample(value: Value) -> tuple[int | None, ...] | None:
    """The shape of one sample, None for lengths that are not fixed."""
    if value.shape is None or not value.shape:
        return None
    return tuple(n if isinstance(n, int) and n > 0 else None for n in value.shape[1:])


def _fixed(shape: tuple[int | str | None, ...] | None) -> Shape | None:
    return None if shape is None or None in shape else tuple(n for n in shape if isinstance(n, int))
