"""Keras's layers and operations of several tensors, as operators of ONNX.

A new one is one function and its name in `MERGING`. Operations of `keras.ops` named as a layer do the same as it.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial, reduce
from typing import Any, TypeAlias, cast

import numpy as np

from portable_nn._typing import ActivationName, NumPyArray
from portable_nn.errors import NetworkError
from portable_nn.formats.keras_layers import ACTIVATIONS
from portable_nn.layers import Activation, Shape
from portable_nn.nodes import Call, as_nodes

__all__ = ["EXPORT", "MERGING", "Taken"]

EXPORT = "model.export('model.onnx', format='onnx'), and to load that"
"""What may do where a layer is not read."""

Merged: TypeAlias = tuple[str, Shape]
"""The name of a value, and the shape of one sample of it."""

Taken: TypeAlias = Merged | NumPyArray

EPSILON = 1e-7
"""The least length that Keras's `normalize` divides by: its `backend.epsilon()`."""


def _shape(taken: Sequence[Taken]) -> Shape:
    """Of one sample of what comes of tensors value by value, which have as many axes: Keras's rules differ."""
    shapes = [x[1] for x in taken if isinstance(x, tuple)]
    if len({len(shape) for shape in shapes}) != 1:
        raise NetworkError(
            f"it takes samples of shapes {', '.join(map(str, shapes)) or 'none'}, which do not fit"
        )
    constants = [x.shape for x in taken if not isinstance(x, tuple)]
    if any(len(shape) > len(shapes[0]) for shape in constants):
        raise NetworkError(f"it takes a constant of shape {max(constants, key=len)} of {len(shapes[0])} axes")
    try:
        return np.broadcast_shapes(*shapes, *constants)
    except ValueError as error:
        raise NetworkError(f"it takes what does not fit: {error}") from error


def _operands(taken: Sequence[Taken]) -> list[str | float | NumPyArray]:
    return [x[0] if isinstance(x, tuple) else x if x.ndim else float(x) for x in taken]


def _folded(operator: str, most: int, call: Call, _: Mapping[str, Any], taken: Sequence[Taken]) -> Merged:
    """An operator of two, of one after the other."""
    if not 2 <= len(taken) <= most:
        raise NetworkError(f"it takes {len(taken)} arguments")
    shape = _shape(taken)
    first, *others = _operands(taken)
    return str(reduce(partial(call, operator), others, first)), shape


def _average(call: Call, config: Mapping[str, Any], taken: Sequence[Taken]) -> Merged:
    if "axis" in config:
        raise NetworkError("it is keras.ops.average, which is not read")
    return call("Mean", *_operands(taken)), _shape(taken)


def _concatenate(call: Call, config: Mapping[str, Any], taken: Sequence[Taken]) -> Merged:
    values = [x for x in taken if isinstance(x, tuple)]
    axes = {len(shape) for _, shape in values}
    axis = config.get("axis", -1)
    if len(values) < len(taken) or len(axes) != 1 or not isinstance(axis, int):
        raise NetworkError(f"it puts side by side, along axis {axis!r}, what does not fit")
    place = axis + max(axes) if axis < 0 else axis - 1
    rest = {(*shape[:place], *shape[place + 1 :]) for _, shape in values}
    if not 0 <= place < max(axes) or len(rest) != 1:
        raise NetworkError(f"it puts samples of shapes {', '.join(str(x[1]) for x in values)} along axis {axis}")
    first = values[0][1]
    shape = (*first[:place], sum(shape[place] for _, shape in values), *first[place + 1 :])
    return call("Concat", *(name for name, _ in values), axis=place + 1), shape


def _dot(call: Call, config: Mapping[str, Any], taken: Sequence[Taken]) -> Merged:
    """Of vectors alone."""
    axes = config.get("axes")
    both = axes if isinstance(axes, list) else [axes]
    match taken:
        case [(str(x), (n,)), (str(y), (m,))] if n == m and all(axis in (1, -1) for axis in both):
            names = [_unit(call, name) for name in (x, y)] if config.get("normalize") else [x, y]
            return _sum(call, call("Mul", *names)), (1,)
    raise NetworkError(f"it multiplies along axes {axes!r:.40} what is not two vectors of one length")


def _sum(call: Call, x: str) -> str:
    return call("ReduceSum", x, np.array([-1]), keepdims=1)


def _unit(call: Call, x: str) -> str:
    length = call("Sqrt", _sum(call, call("Mul", x, x)))
    return call("Div", x, call("Max", length, EPSILON))


def _activated(name: str, call: Call, config: Mapping[str, Any], taken: Sequence[Taken]) -> Merged:
    """An activation as an operation, with its usual parameters."""
    function, parameters = ACTIVATIONS[name]
    told = {key: value for key, value in config.items() if key not in ("name", "dtype")}
    if name == "gelu" and told == {"approximate": True}:
        function, told = "gelu_tanh", {}
    usual = {"approximate": False, "axis": -1, "threshold": 0.5, "alpha": 1.0, "b": 4}
    if any(key not in usual or value != usual[key] for key, value in told.items()) or len(taken) != 1:
        raise NetworkError(f"it has {told}, which is not read of an operation: take the layer instead")
    (value,) = taken
    layer = Activation(function, **parameters)
    return as_nodes(call, value[0], layer), layer.output_shape(value[1]) or ()


def _of_one(operator: str, call: Call, _: Mapping[str, Any], taken: Sequence[Taken]) -> Merged:
    if len(taken) != 1:
        raise NetworkError(f"it takes {len(taken)} arguments")
    return call(operator, *_operands(taken)), _shape(taken)


def _function(name: str, call: Call, _: Mapping[str, Any], taken: Sequence[Taken]) -> Merged:
    """An activation without parameters."""
    match taken:
        case [(str(x), shape)]:
            return as_nodes(call, x, Activation(cast(ActivationName, name))), shape
    raise NetworkError(f"it takes {len(taken)} arguments")


Merging: TypeAlias = Callable[[Call, Mapping[str, Any], Sequence[Taken]], Merged]

MANY = 10**6

MERGING: dict[str, Merging] = {
    "Add": partial(_folded, "Add", MANY),
    "Average": _average,
    "Concatenate": _concatenate,
    "Dot": _dot,
    "Maximum": partial(_folded, "Max", MANY),
    "Minimum": partial(_folded, "Min", MANY),
    "Multiply": partial(_folded, "Mul", MANY),
    "Subtract": partial(_folded, "Sub", 2),
    "Divide": partial(_folded, "Div", 2),
    "Power": partial(_folded, "Pow", 2),
    "TrueDivide": partial(_folded, "Div", 2),
    **{
        name: partial(_function, function)
        for name, function in {
            "Expm1": "expm1", "Log10": "log10", "Log1p": "log1p", "Reciprocal": "reciprocal", "Square": "square",
        }.items()
    },
    **{
        f"{name}": partial(_of_one, operator)
        for name, operator in {
            "Absolute": "Abs", "Cos": "Cos", "Exp": "Exp", "Log": "Log", "Negative": "Neg", "Sin": "Sin",
            "Sqrt": "Sqrt",
        }.items()
    },
    **{
        f"{name.title().replace('_', '')}": partial(_activated, name)
        for name in ACTIVATIONS
        if name not in ("elu", "exponential", "glu", "leaky_relu", "linear", "softmax", "swish")
    },
}  # fmt: skip
"""By class."""
