"""The layers: frozen records of weights, each with its forward pass as one expression; one file for each.

NumPy weights are copied, made read-only and checked for nan; weights of another library are kept as they are,
so that gradients flow through them.

Every layer has `arrays`, its weights by name, and `options`, what else it was made of, by name: ``type(layer)(
**layer.options, **layer.arrays)`` is the same layer.
"""

from collections.abc import Iterable
from math import prod
from typing import Any, TypeAlias

from portable_nn._arrays import has_unknown
from portable_nn._typing import Array, Namespace
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
    "IDENTITY",
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
    "architecture",
    "axes_before",
    "fitted",
    "fused",
    "misfit",
    "sample_shapes",
    "standardized",
]

Layer: TypeAlias = Dense | Activation | Rescaling | Normalize | Flatten | Graph
Layers: TypeAlias = tuple[Layer, ...]

IDENTITY: Layers = (Activation("identity"),)
"""What changes nothing, as layers: a network has one at least."""

MOST_HALVED = 30


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


def architecture(layer: Layer) -> tuple[Any, ...]:
    """Of a layer what its weights may differ in and be the same layer: its type, shapes and functions."""
    shapes = {name: tuple(array.shape) for name, array in layer.arrays.items()}
    options = {name: value for name, value in layer.options.items() if isinstance(value, str)}
    return type(layer), shapes, layer.input_shape, options


def sample_shapes(layers: tuple[Layer, ...]) -> tuple[Shape | None, ...]:
    """The shape of one sample before the first layer and after each, None where any will do.

    Raises
    ------
    NetworkError
        If a layer does not take what the one before it gives.
    """
    shapes: list[Shape | None] = [_needed(layers)]
    for i, layer in enumerate(layers):
        if i and isinstance(layer, Graph) and len(layer.inputs) > 1:
            raise NetworkError(f"layer {i} takes {_several(layer.inputs)}, and layer {i - 1} gives one array")
        if i < len(layers) - 1 and isinstance(layer, Graph) and len(layer.outputs) > 1:
            raise NetworkError(f"layer {i} gives {', '.join(layer.outputs)}, and layer {i + 1} takes one array")
        given, taken = shapes[-1], layer.input_shape
        if taken is not None and given is not None and given != taken:
            before = f"layer {i - 1} gives" if i else "the network takes"
            raise NetworkError(f"{before} {_values(given)}, layer {i} takes {_values(taken)}")
        if taken is not None and given is None and any(map(_is_open, layers[:i])):
            raise NetworkError(
                f"layer {i} takes {_values(taken)}, and a Graph before it samples of any shape: give its input "
                "one, such as Value('x', 'float32', (8,))"
            )
        shapes.append(layer.output_shape(given))
    return tuple(shapes)


def _needed(layers: Layers) -> Shape | None:
    """What the first layer that takes one shape alone needs, before those that take any."""
    shapes = [layer.input_shape for layer in layers]
    shape = next((shape for shape in shapes if shape is not None), None)
    before = layers[: shapes.index(shape)] if shape else ()
    if any(isinstance(layer, Graph) for layer in before):
        return None
    halved = sum(isinstance(layer, Activation) and layer.name == "glu" for layer in before)
    if halved > MOST_HALVED:
        raise NetworkError(f"{halved} times glu halves the values of a sample: no array has so many")
    return (*shape[:-1], shape[-1] * 2**halved) if shape else shape


def _is_open(layer: Layer) -> bool:
    """Whether it is a Graph that does not tell the shape of all its inputs."""
    return isinstance(layer, Graph) and any(value.shape is None or None in value.shape for value in layer.inputs)


def _several(inputs: Iterable[Value]) -> str:
    return ", ".join(value.name for value in inputs)


def _values(shape: Shape) -> str:
    return f"{shape[0]} values" if len(shape) == 1 else f"samples of shape {shape}"


def axes_before(came: Shape, shape: Shape) -> int | None:
    """How many axes of an array of shape `came` come before those of a sample of `shape`, None if none fit.

    A sample may have other axes with as many values, as an image has where a network takes vectors: where it is
    plain which these are, and in which order the values lie.

    Examples
    --------
    >>> from portable_nn.layers import axes_before
    >>> axes_before((100, 784), (784,)), axes_before((100, 28, 28), (784,)), axes_before((28, 28), (784,))
    (1, 1, 0)
    """
    if came[len(came) - len(shape) :] == shape:
        return len(came) - len(shape)
    return next((axes for axes in (*range(1, len(came)), 0) if _is_sample(came, axes, shape)), None)


def _is_sample(came: Shape, axes: int, shape: Shape) -> bool:
    sample = came[axes:]
    if not all(isinstance(n, int) for n in sample) or prod(sample) != prod(shape):
        return False
    if axes == 0 and len(came) > 1 and came[0] == prod(shape):  # samples as columns, more likely
        return False
    return len(sample) == 1 or len(shape) == 1 or _long(sample) == _long(shape)


def _long(shape: Shape) -> list[int]:
    return [n for n in shape if n != 1]


def fitted(x: Array, shape: Shape, xp: Namespace) -> Array:
    """`x` itself, or with each of its samples in that shape; a `ShapeError` where it is not plain how."""
    came = tuple(x.shape)
    axes = axes_before(came, shape)
    if axes is None:
        raise misfit(x, shape)
    if came[axes:] == shape:
        return x
    leading = came[:axes]
    if has_unknown(leading):
        raise ShapeError("Dask reshapes no chunks of unknown size: call x.compute_chunk_sizes() first")
    return xp.reshape(x, (*(-1 if n is None else n for n in leading), *shape))


def misfit(x: Array, shape: Shape) -> ShapeError:
    """The error that says how to mend `x`, whose samples have not the shape `shape`."""
    came = tuple(x.shape)
    size = prod(shape)
    hint = ""
    if has_unknown(came):
        hint = ": chunks of unknown size are no samples, call x.compute_chunk_sizes() first"
    elif len(came) >= 2 and all(isinstance(n, int) for n in came):
        if sorted(_long(came[1:])) == sorted(_long(shape)):
            hint = ": the axes of a sample stand in another order, move them"
        elif prod(came[1:]) == size:
            hint = f": reshape each sample, x.reshape({came[0]}, {', '.join(map(str, shape))})"
        elif came[0] == size:
            hint = ": samples come first, transpose x"
    wanted = f"(..., {', '.join(map(str, shape))})"
    return ShapeError(f"the network takes arrays of shape {wanted}, got {came}{hint}")
