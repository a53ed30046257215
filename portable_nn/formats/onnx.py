"""ONNX files, read without the `onnx` package: layers where they are chains, a `Graph` where they branch."""

import json
import os
from dataclasses import replace

import numpy as np

from portable_nn.errors import FormatError, NetworkError
from portable_nn.formats.onnx_gemms import with_gemms
from portable_nn.formats.onnx_graph import Body, cleared, pruned
from portable_nn.formats.onnx_labels import labelled
from portable_nn.formats.onnx_lowering import chain
from portable_nn.formats.onnx_writing import MEANING
from portable_nn.layers import Activation, Graph, Layer, Shape
from portable_nn.network import Network
from portable_nn.readers.onnx import Node, Value, read_model

__all__ = ["read_onnx"]

MOST = 64
"""Nodes from the last one back in which a chain to the output is looked for."""

RESERVED = ("self", "nodes", "inputs", "outputs", "opsets")
"""What a constant of a `Graph` cannot be called."""


def read_onnx(path: str | os.PathLike[str]) -> Network:
    """Read a network from an ONNX file.

    Outputs that are labels are left out: scores are what the network gives, and their classes are its own.

    Parameters
    ----------
    path : str or path-like
        External data are read from plain files in the same folder.

    Returns
    -------
    Network

    Raises
    ------
    FormatError
        If the file cannot be read, or has an operator that is not computed, which it then names.

    Examples
    --------
    >>> from portable_nn.formats.onnx import read_onnx
    >>> read_onnx("there/is/none.onnx")
    Traceback (most recent call last):
        ...
    portable_nn.errors.FormatError: there/is/none.onnx cannot be read: No such file or directory
    """
    model = read_model(path)
    try:
        with np.errstate(all="ignore"):  # what is nan then, a layer refuses
            body, classes, task = labelled(cleared(model))
            net = Network(_layers(_rows(body, model.producer)), classes=classes, task=task)
        return net.described(**json.loads(model.metadata.get(MEANING, "{}")))
    except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError) as error:
        raise FormatError(f"{path}: {error}") from error


def _layers(body: Body) -> tuple[Layer, ...]:
    if not body.inputs or not body.outputs:
        raise NetworkError("a network needs inputs and outputs")
    first, shape = body.inputs[0], _sample(body.inputs[0])
    if len(body.inputs) > 1 or "float" not in (first.dtype or "float"):
        return (_graph(body, tuple(replace(value, shape=_sample(value)) for value in body.inputs)),)
    head = chain(body, first.name, _fixed(shape))
    ends = set(body.outputs.values())
    if head.end in ends and len(ends) == 1:
        return head.layers or (Activation("identity"),)
    rest = _from(body, Value(head.end, first.dtype, head.shape if head.layers else shape))
    shapes = _graph(rest, rest.inputs).shapes
    tail = _tail(rest, shapes)
    if tail is None:
        return *head.layers, _graph(with_gemms(rest, shapes), rest.inputs)
    middle = pruned(replace(rest, outputs={tail[0]: tail[0]}))
    return (*head.layers, _graph(with_gemms(middle, shapes), rest.inputs), *tail[1])


def _from(body: Body, value: Value) -> Body:
    """What comes after a value."""
    nodes = tuple(node for node in body.nodes if value.name not in node.outputs)
    return pruned(replace(body, nodes=nodes, inputs=(value,)))


def _tail(body: Body, shapes: dict[str, Shape]) -> tuple[str, tuple[Layer, ...]] | None:
    """The first value from which on there is a chain to the output, and its layers."""
    found = None
    if len(set(body.outputs.values())) > 1:
        return None
    for node in reversed(body.nodes[-MOST:]):
        for name in node.outputs:
            last = chain(body, name, shapes.get(name))
            if name in shapes and last.layers and last.end in body.outputs.values():
                found = name, last.layers
    return found


def _graph(body: Body, inputs: tuple[Value, ...]) -> Graph:
    """A layer of nodes: floating constants are its own, others are nodes."""
    others = [
        Node("Constant", (), (name,), {"value": value})
        for name, value in body.constants.items()
        if value.dtype.kind != "f"
    ]
    fresh = {name: f"{name}_" for name in RESERVED if name in body.constants}
    nodes = [replace(node, inputs=tuple(fresh.get(name, name) for name in node.inputs)) for node in body.nodes]
    floats = {fresh.get(name, name): value for name, value in body.constants.items() if value.dtype.kind == "f"}
    same = [Node("Identity", (name,), (public,)) for public, name in body.outputs.items() if public != name]
    return Graph([*others, *nodes, *same], inputs, list(body.outputs), body.opsets, **floats)


def _sample(value: Value) -> tuple[int | None, ...] | None:
    """The shape of one sample, None for lengths that are not fixed."""
    if value.shape is None or not value.shape:
        return None
    return tuple(n if isinstance(n, int) and n > 0 else None for n in value.shape[1:])


def _fixed(shape: tuple[int | None, ...] | None) -> Shape | None:
    return None if shape is None or None in shape else tuple(n for n in shape if n is not None)


def _rows(body: Body, producer: str) -> Body:
    """Without the last node of skl2onnx's regressors, which puts the values of all outputs in one column."""
    (name, *others) = set(body.outputs.values()) or {""}
    node = body.makers.get(name)
    if producer != "skl2onnx" or others or node is None or node.operator != "Reshape":
        return body
    shape = body.constants.get(node.inputs[1])
    if shape is None or shape.tolist() != [-1, 1]:
        return body
    return pruned(replace(body, outputs=dict.fromkeys(body.outputs, node.inputs[0])))
