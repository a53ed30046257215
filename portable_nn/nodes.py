"""Layers as operators of ONNX, and activations that it lacks as operators of this package."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from portable_nn.activations import BOUNDED_SOFTMAX
from portable_nn.errors import NetworkError
from portable_nn.layers import Activation, Dense, Flatten, Layer, Normalize, Rescaling, Shape
from portable_nn.operators.own import DOMAIN

__all__ = ["OPSET", "RMS", "Call", "as_nodes"]

OPSET, RMS = 20, 23
"""The opset of what is made here, and that which brought RMSNormalization."""

Call: TypeAlias = Callable[..., str]
"""Makes a node of an operator, of names of values, of constants and attributes, and names what it makes."""

PLAIN: dict[str, tuple[str, dict[str, str], dict[str, Any]]] = {
    "identity": ("Identity", {}, {}),
    "sigmoid": ("Sigmoid", {}, {}),
    "tanh": ("Tanh", {}, {}),
    "relu": ("Relu", {}, {}),
    "elu": ("Elu", {"alpha": "alpha"}, {}),
    "celu": ("Celu", {"alpha": "alpha"}, {}),
    "leaky_relu": ("LeakyRelu", {"negative_slope": "alpha"}, {}),
    "selu": ("Selu", {}, {}),
    "gelu": ("Gelu", {}, {}),
    "gelu_tanh": ("Gelu", {}, {"approximate": "tanh"}),
    "softplus": ("Softplus", {}, {}),
    "softsign": ("Softsign", {}, {}),
    "mish": ("Mish", {}, {}),
    "hard_swish": ("HardSwish", {}, {}),
    "softmax": ("Softmax", {}, {"axis": -1}),
    BOUNDED_SOFTMAX: ("Softmax", {}, {"axis": -1}),
    "log_softmax": ("LogSoftmax", {}, {"axis": -1}),
    "exp": ("Exp", {}, {}),
    "log": ("Log", {}, {}),
    "sqrt": ("Sqrt", {}, {}),
    "absolute": ("Abs", {}, {}),
    "sine": ("Sin", {}, {}),
    "cosine": ("Cos", {}, {}),
    "reciprocal": ("Reciprocal", {}, {}),
    "erf": ("Erf", {}, {}),
}
"""Activations that are one operator: its name, the names of parameters in it, and what else it is told."""


def as_nodes(call: Call, x: str, layer: Layer, shape: Shape | None = None) -> str:
    """Make the nodes of a layer; a `Graph` has its own.

    Parameters
    ----------
    call : callable
    x : str
        What the layer takes.
    layer : layer
    shape : tuple of int, or None
        Of one sample of it; vectors where it is not told.

    Returns
    -------
    str
        What the layer gives.

    Raises
    ------
    NetworkError
        If it cannot be written so.

    Examples
    --------
    >>> import numpy as np
    >>> import portable_nn as pnn
    >>> from portable_nn.formats.onnx_nodes import Nodes
    >>> from portable_nn.nodes import as_nodes
    >>> nodes = Nodes()
    >>> as_nodes(nodes.call, "x", pnn.Dense(np.eye(2), None, "tanh"))
    'tanh1'
    >>> [node.operator for node in nodes.made]
    ['Gemm', 'Tanh']
    """
    flat = shape is None or len(shape) == 1
    match layer:
        case Flatten():
            return call("Flatten", x)
        case Dense(weight=weight, bias=bias, activation=name):
            y = call("Gemm", x, weight, bias) if flat else call("Add", call("MatMul", x, weight), bias)
            return y if name == "identity" else _activation(call, y, Activation("identity").with_name(name))
        case Rescaling(scale=scale, offset=offset):
            y = x if np.all(np.asarray(scale) == 1) else call("Mul", x, scale)
            return y if not np.any(offset) else call("Add", y, offset)
        case Normalize():
            return _normalize(call, x, layer, layer.input_shape or shape)
        case Activation():
            return _activation(call, x, layer)
    raise NetworkError(f"a {type(layer).__name__} has nodes of its own")


def _normalize(call: Call, x: str, layer: Normalize, shape: Shape | None) -> str:
    if shape is None:
        raise NetworkError("Normalize of samples of an unknown size is not written: give it a scale of ones")
    scale = np.ones(shape[-1], np.float16) if layer.scale is None else layer.scale
    if layer.centred:
        offset = () if layer.offset is None else (layer.offset,)
        return call("LayerNormalization", x, scale, *offset, epsilon=layer.epsilon)
    y = call("RMSNormalization", x, scale, epsilon=layer.epsilon)
    return y if layer.offset is None else call("Add", y, layer.offset)


def _activation(call: Call, x: str, layer: Activation) -> str:
    if layer.name in PLAIN:
        operator, renamed, fixed = PLAIN[layer.name]
        given = {renamed[key]: value for key, value in layer.parameters.items() if key in renamed}
        if len(given) == len(layer.parameters) and all(isinstance(value, float) for value in given.values()):
            return call(operator, x, **fixed, **given)
    if layer.name == "prelu":
        return call("PRelu", x, layer.parameters["slope"])
    return call(f"{DOMAIN}.{layer.name}", x, **layer.parameters)
