"""The layers: frozen records of weights, each with its forward pass as one expression; one file for each.

NumPy weights are copied, made read-only and checked for nan; weights of another library are kept as they are,
so that gradients flow through them.

Every layer has `arrays`, its weights by name, and `options`, what else it was made of, by name: ``type(layer)(
**layer.options, **layer.arrays)`` is the same layer.
"""

from collections.abc import Iterable
from math import prod
from typing import TypeAlias

from portable_nn._typing import Array
from portable_nn.activations import PLAIN
from portable_nn.errors import NetworkError, ShapeError
from portable_nn.layers._weights import Shape
from portable_nn.layers.activation import Activation
from portable_nn.layers.dense import Dense
from portable_nn.layers.flatten import Flatten
from portable_nn.layers.graph import Graph
from portable_nn.layers.normalize import Normalize
from portable_nn.layers.rescaling import Rescaling, standardized
from portable_nn.readers.onnx import Node, Value

__all__ = [
    "Activation",
    "Dense",
    "Flatten",
    "Graph",
    "Layer",
    "Layers",
    "Node",
    "Normalize",
    "Rescaling",
    "Shape",
    "Value",
    "check_input",
    "fused",
    "sample_shapes",
    "standardized",
]

Layer: TypeAlias = Dense | Activation | Rescaling | Normalize | Flatten | Graph
Layers: TypeAlias = tuple[Layer, ...]


def fused(layers: Iterable[Layer]) -> Layers:
    """The layers with each Activation that has no parameters in the linear Dense before it.

    Parameters
    ----------
    layers : iterable of layers

    Returns
    -------
    tuple of layers

    Examples
    --------
    >>> import numpy as np
    >>> import portable_nn as pnn
    >>> from portable_nn.layers import fused
    >>> fused([pnn.Dense(np.eye(2)), pnn.Activation("tanh")])
    (Dense(2, 2, 'tanh'),)
    """
    done: list[Layer] = []
    for layer in layers:
        match done[-1:], layer:
            case [Dense(activation="identity") as dense], Activation(name=name) if (
                not layer.parameters and name in PLAIN
            ):
                done[-1] = dense.with_activation(name)
            case _:
                done.append(layer)
    return tuple(done)


def sample_shapes(layers: tuple[Layer, ...]) -> tuple[Shape | None, ...]:
    """The shape of one sample before the first layer and after each, None where any will do.

    Raises
    ------
    NetworkError
        If a layer does not take what the one before it gives.
    """
    needed = next((layer.input_shape for layer in layers if layer.input_shape is not None), None)
    shapes: list[Shape | None] = [needed]
    for i, layer in enumerate(layers):
        given, taken = shapes[-1], layer.input_shape
        if taken is not None and given is not None and given != taken:
            before = f"layer {i - 1} gives" if i else "the network takes"
            raise NetworkError(f"{before} {_values(given)}, layer {i} takes {_values(taken)}")
        shapes.append(layer.output_shape(given))
    return tuple(shapes)


def _values(shape: Shape) -> str:
    return f"{shape[0]} values" if len(shape) == 1 else f"samples of shape {shape}"


def check_input(x: Array, shape: Shape) -> None:
    """Raise a `ShapeError` that says how to mend `x`, whose samples have not the shape `shape`."""
    came = tuple(x.shape)
    size = prod(shape)
    hint = ""
    if len(came) >= 2 and all(isinstance(n, int) for n in came):
        if prod(came[1:]) == size:
            hint = f": reshape each sample, x.reshape({came[0]}, {', '.join(map(str, shape))})"
        elif came[0] == size:
            hint = ": samples come first, transpose x"
    wanted = f"(..., {', '.join(map(str, shape))})"
    raise ShapeError(f"the network takes arrays of shape {wanted}, got {came}{hint}")
