"""Nodes and values of a graph as lists, dicts, numbers and strings, which JSON can hold, and back."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from portable_nn.errors import NetworkError
from portable_nn.readers.onnx import Node, Value

__all__ = ["node_of", "plain", "value_of"]


def node_of(node: Any) -> Node:
    """A node, or what `options` made of one, as JSON may have changed it."""
    if isinstance(node, Node):
        return node
    operator, inputs, outputs, attributes, name = node
    found = {key: _attribute(value) for key, value in dict(attributes).items()}
    return Node(str(operator), _names(inputs), _names(outputs), found, str(name))


def value_of(value: Any) -> Value:
    if isinstance(value, Value):
        return value
    name, dtype, shape = value
    if not (isinstance(name, str) and isinstance(dtype, str)):
        raise NetworkError(f"Graph: an input is a name, a dtype and a shape, got {value!r:.80}")
    return Value(name, dtype, None if shape is None else tuple(n if n is None else int(n) for n in shape))


def _names(names: Any) -> tuple[str, ...]:
    if not all(isinstance(name, str) for name in names):
        raise NetworkError(f"Graph: names of values are strings, got {names!r:.80}")
    return tuple(names)


def plain(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: {"dtype": value.dtype.name, "shape": value.shape, "values": value.ravel().tolist()}
        if isinstance(value, np.ndarray)
        else value
        for key, value in attributes.items()
    }


def _attribute(value: Any) -> Any:
    match value:
        case list():
            return tuple(value)
        case {"dtype": str(dtype), "shape": shape, "values": values} if dtype != "object":
            return np.array(values, dtype).reshape(shape)
        case int() | float() | str() | tuple() | np.ndarray():
            return value
    raise NetworkError(f"Graph: an attribute is a number, a text, a list of such, or an array, got {value!r:.80}")
