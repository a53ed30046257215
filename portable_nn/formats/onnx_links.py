"""Operators of ONNX that are layers, if one input is data and the others are constants."""

from collections.abc import Callable
from math import prod
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from portable_nn._typing import NumPyArray
from portable_nn.layers import Activation, Dense, Flatten, Layer, Normalize, Rescaling, Shape, standardized
from portable_nn.readers.onnx import Node

__all__ = ["LINKS", "Link", "against_zero"]


class Link(NamedTuple):
    """A node with one input that is no constant.

    Attributes
    ----------
    node : Node
    constants : dict of int to array
        By their positions.
    at : int
        The position of the other input.
    shape : tuple of int, or None
        Of one sample of it, if it is known.
    opset : int

    Examples
    --------
    >>> from portable_nn.formats.onnx_links import LINKS, Link
    >>> from portable_nn.readers.onnx import Node
    >>> LINKS["Elu"](Link(Node("Elu", ("x",), ("y",), {"alpha": 0.5}), {}, 0, (3,), 20))
    (Activation('elu', alpha=0.5),)
    """

    node: Node
    constants: dict[int, NumPyArray]
    at: int
    shape: Shape | None
    opset: int

    def get(self, name: str, default: Any) -> Any:
        """An attribute."""
        return self.node.attributes.get(name, default)

    def constant(self, at: int) -> NumPyArray | None:
        """A constant of floating numbers, at one position."""
        value = self.constants.get(at)
        return value if value is not None and value.dtype.kind == "f" else None


Layers: TypeAlias = tuple[Layer, ...] | None

PLAIN = {
    "Relu": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh", "Softplus": "softplus", "Softsign": "softsign",
    "HardSwish": "hard_swish", "Mish": "mish", "Exp": "exp", "Log": "log", "Sqrt": "sqrt", "Abs": "absolute",
    "Sin": "sine", "Cos": "cosine", "Reciprocal": "reciprocal", "Erf": "erf",
}  # fmt: skip
"""Operators that are activations without parameters."""


def _features(link: Link, value: NumPyArray | None) -> Any:
    """One number, or one for each feature; None where a constant is neither."""
    if value is None:
        return None
    if value.size == 1:
        return float(value.reshape(())) if value.ndim <= 1 + len(link.shape or ()) else None
    n = value.shape[-1]
    fits = prod(value.shape) == n and (link.shape is None or (len(link.shape) > 0 and link.shape[-1] == n))
    return value.reshape(n) if fits and value.ndim <= 1 + len(link.shape or (n,)) else None


def _affine(scale: Any, offset: Any) -> Layers:
    both = np.broadcast_arrays(scale, offset)
    if both[0].ndim == 0:
        return (Rescaling(float(both[0]), float(both[1])),)
    dtype = next(x.dtype for x in (scale, offset) if isinstance(x, np.ndarray))
    return (Rescaling(*(x.astype(dtype) for x in both)),)


def _add(link: Link) -> Layers:
    value = _features(link, link.constant(1 - link.at))
    return None if value is None else _affine(1.0, value)


def _subtract(link: Link) -> Layers:
    value = _features(link, link.constant(1 - link.at))
    if value is None:
        return None
    return _affine(-1.0, value) if link.at else _affine(1.0, -value)


def _multiply(link: Link) -> Layers:
    value = _features(link, link.constant(1 - link.at))
    return None if value is None else _affine(value, 0.0)


def _divide(link: Link) -> Layers:
    value = _features(link, link.constant(1 - link.at))
    if value is None or link.at or not np.all(value):
        return None
    return standardized(0.0, value)


def _power(link: Link) -> Layers:
    value = link.constants.get(1 - link.at)
    if value is None or value.size != 1:
        return None
    number = float(value.reshape(()))
    named = {(0, 2.0): "square", (0, 0.5): "sqrt", (0, -1.0): "reciprocal", (1, 10.0): "exp10"}
    name = named.get((link.at, number))
    return None if name is None else (Activation(name),)


def _matmul(link: Link) -> Layers:
    weight = link.constant(1)
    return None if weight is None or weight.ndim != 2 else (Dense(weight),)


def _gemm(link: Link) -> Layers:
    weight, bias = link.constant(1), link.constants.get(2)
    if weight is None or weight.ndim != 2 or link.get("transA", 0):
        return None
    weight = weight.T if link.get("transB", 0) else weight
    if link.get("alpha", 1.0) != 1:
        weight = (weight * link.get("alpha", 1.0)).astype(weight.dtype)
    if bias is None:
        return (Dense(weight),)
    n = weight.shape[1]
    if bias.size not in (1, n):
        return None
    scaled = np.broadcast_to(bias.reshape(-1) * link.get("beta", 1.0), (n,)).astype(bias.dtype)
    return (Dense(weight, scaled),)


def _along(name: str) -> Callable[[Link], Layers]:
    """A softmax: along the last axis, and before opset 13 along all from one on."""

    def lowered(link: Link) -> Layers:
        axis = link.get("axis", 1 if link.opset < 13 else -1)
        last = axis == -1 or (link.shape is not None and axis == len(link.shape))
        return (Activation(name),) if last else None

    return lowered


def _plain(name: str) -> Callable[[Link], Layers]:
    return lambda _: (Activation(name),)


def _parametrised(name: str, **parameters: tuple[str, float]) -> Callable[[Link], Layers]:
    """An activation whose parameters are attributes, by their names and defaults."""
    return lambda link: (Activation(name, **{key: link.get(*each) for key, each in parameters.items()}),)


def _gelu(link: Link) -> Layers:
    return (Activation("gelu_tanh" if link.get("approximate", "none") == "tanh" else "gelu"),)


def _selu(link: Link) -> Layers:
    usual = {"alpha": 1.6732632, "gamma": 1.0507009}
    return (
        (Activation("selu"),)
        if all(np.isclose(link.get(*each), each[1], 1e-6) for each in usual.items())
        else None
    )


def _prelu(link: Link) -> Layers:
    slope = None if link.at else _features(link, link.constant(1))
    return None if slope is None else (Activation("prelu", slope=slope),)


def _clip(link: Link) -> Layers:
    if link.at:
        return None
    low, high = (
        (link.get("min", None), link.get("max", None))
        if link.opset < 11
        else (_features(link, link.constant(i)) if i in link.constants else None for i in (1, 2))
    )
    match low, high:
        case 0.0, None:
            return (Activation("relu"),)
        case 0.0, 6.0:
            return (Activation("relu6"),)
        case -1.0, 1.0:
            return (Activation("hard_tanh"),)
    low, high = (-np.inf if low is None else low), (np.inf if high is None else high)
    return (
        (Activation("clip", low=low, high=high),) if isinstance(low, float) and isinstance(high, float) else None
    )


def _flatten(link: Link) -> Layers:
    if link.shape is None or link.get("axis", 1) != 1:
        return None
    return _flat(link.shape)


def _reshape(link: Link) -> Layers:
    """What keeps samples and makes each one-dimensional; 0, -1 or a fixed length stands for their number."""
    shape = link.constants.get(1)
    if shape is None or shape.size != 2 or link.shape is None or link.at or link.get("allowzero", 0):
        return None
    samples, n = (int(k) for k in shape)
    size = prod(link.shape)
    return _flat(link.shape) if n in (size, -1) and samples in (-1, 0, 1) and samples + n > -2 else None


def _flat(shape: Shape) -> Layers:
    return () if len(shape) == 1 else (Flatten(shape),)


def _layer_normalization(link: Link) -> Layers:
    last = link.get("axis", -1) in (-1, len(link.shape or ()) or -1)
    scale, offset = link.constant(1), link.constants.get(2)
    if link.at or not last or scale is None or scale.ndim != 1:
        return None
    centred = link.node.operator == "LayerNormalization"
    return (Normalize(scale, offset, link.get("epsilon", 1e-5), centred),)


def _batch_normalization(link: Link) -> Layers:
    arrays = [link.constant(i) for i in range(1, 5)]
    flat = link.shape is not None and len(link.shape) == 1
    if link.at or not flat or any(x is None or x.ndim != 1 for x in arrays) or link.get("training_mode", 0):
        return None
    scale, offset, mean, variance = (np.asarray(x) for x in arrays)
    deviation = np.sqrt(variance.astype(np.float64) + link.get("epsilon", 1e-5)).astype(variance.dtype)
    return (*standardized(mean, deviation), Rescaling(scale, offset))


def _cast(link: Link) -> Layers:
    """To floating numbers: whatever comes is cast to those that are computed in."""
    return () if link.get("to", 0) in (1, 10, 11, 16) and link.shape is not None else None


def _scaler(link: Link) -> Layers:
    offset, scale = (np.array(link.get(name, (default,))) for name, default in (("offset", 0.0), ("scale", 1.0)))
    n = max(len(offset), len(scale))
    if n > 1 and link.shape is not None and link.shape != (n,):
        return None
    less, times = (x.astype(np.float32) if n > 1 else float(x[0]) for x in (offset, scale))
    if not np.all(scale):
        return (*(_affine(1.0, -less) or ()), *(_affine(times, 0.0) or ()))
    return standardized(less, (1 / scale).astype(np.float32) if n > 1 else 1 / times)


def _linear(link: Link) -> tuple[Dense, int] | None:
    """The product of `LinearRegressor` and `LinearClassifier`, and the number of its outputs."""
    coefficients = np.array(link.get("coefficients", ()), np.float32)
    intercepts = np.array(link.get("intercepts", ()), np.float32)
    classes = len(link.get("classlabels_ints", ()) or link.get("classlabels_strings", ()))
    rows = link.get("targets", 1) if link.node.operator.endswith("Regressor") else len(intercepts) or classes
    if rows < 1 or not coefficients.size or coefficients.size % rows or len(intercepts) not in (0, rows):
        return None
    weight = coefficients.reshape(rows, -1).T
    return Dense(weight, intercepts if len(intercepts) else None), rows


def _linear_regressor(link: Link) -> Layers:
    found = _linear(link)
    plain = link.get("post_transform", "NONE") == "NONE"
    return (found[0],) if found and plain else None


def _linear_classifier(link: Link) -> Layers:
    found = _linear(link)
    if found is None or found[1] == 1:
        return None
    dense, rows = found
    match link.get("post_transform", "NONE"):
        case "NONE":
            return (dense,)
        case "SOFTMAX":
            return (dense.with_activation("softmax"),)
        case "LOGISTIC" if (
            rows == 2
            and np.array_equal(dense.weight[:, 0], -dense.weight[:, 1])
            and (dense.bias[0] == -dense.bias[1])
        ):
            return (against_zero(dense.weight[:, 1:], dense.bias[1:]),)
        case "LOGISTIC":
            return (dense.with_activation("sigmoid"),)
    return None


def against_zero(weight: NumPyArray, bias: NumPyArray) -> Dense:
    """The probabilities ``1 - sigmoid(z)`` and ``sigmoid(z)``, which are the softmax of 0 and z.

    Parameters
    ----------
    weight : array of shape (n_in, 1)
    bias : array of shape (1,)

    Returns
    -------
    Dense

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.formats.onnx_links import against_zero
    >>> against_zero(np.ones((3, 1)), np.zeros(1))
    Dense(3, 2, 'softmax')
    """
    zeros = np.zeros_like(weight)
    return Dense(np.hstack([zeros, weight]), np.hstack([0 * bias, bias]), "softmax")


LINKS: dict[str, Callable[[Link], Layers]] = {
    "Add": _add,
    "Sub": _subtract,
    "Mul": _multiply,
    "Div": _divide,
    "Pow": _power,
    "Neg": lambda _: (Rescaling(-1.0),),
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Softmax": _along("softmax"),
    "LogSoftmax": _along("log_softmax"),
    **{operator: _plain(name) for operator, name in PLAIN.items()},
    "LeakyRelu": _parametrised("leaky_relu", negative_slope=("alpha", 0.01)),
    "Elu": _parametrised("elu", alpha=("alpha", 1.0)),
    "Celu": _parametrised("celu", alpha=("alpha", 1.0)),
    "Swish": _parametrised("silu", beta=("alpha", 1.0)),
    "HardSigmoid": _parametrised("hard_sigmoid", slope=("alpha", 0.2), offset=("beta", 0.5)),
    "ThresholdedRelu": lambda link: (Activation("threshold", threshold=link.get("alpha", 1.0), value=0.0),),
    "Selu": _selu,
    "Gelu": _gelu,
    "PRelu": _prelu,
    "Clip": _clip,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "LayerNormalization": _layer_normalization,
    "RMSNormalization": _layer_normalization,
    "BatchNormalization": _batch_normalization,
    "Cast": _cast,
    "ai.onnx.ml.Scaler": _scaler,
    "ai.onnx.ml.LinearRegressor": _linear_regressor,
    "ai.onnx.ml.LinearClassifier": _linear_classifier,
}
"""What each operator becomes; None where its attributes or constants make it no layer."""
