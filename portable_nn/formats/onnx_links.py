"""Operators of ONNX that are layers, if one input is data and the others are constants."""

from collections.abc import Callable
from math import prod
from typing import Any, cast

import numpy as np

from portable_nn._typing import ActivationName, NumPyArray
from portable_nn.formats.normalization import batch_normalization
from portable_nn.formats.onnx_classical import CLASSICAL, Layers, Link, affine
from portable_nn.formats.onnx_gemms import gemm_parts
from portable_nn.layers import Activation, Dense, Flatten, Normalize, Rescaling, Shape, standardized
from portable_nn.operators.own import OWN

__all__ = ["LINKS"]


PLAIN: dict[str, ActivationName] = {
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


def _add(link: Link) -> Layers:
    value = _features(link, link.constant(1 - link.at))
    return None if value is None else affine(1.0, value)


def _subtract(link: Link) -> Layers:
    value = _features(link, link.constant(1 - link.at))
    if value is None:
        return None
    return affine(-1.0, value) if link.at else affine(1.0, -value)


def _multiply(link: Link) -> Layers:
    value = _features(link, link.constant(1 - link.at))
    return None if value is None else affine(value, 0.0)


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
    named: dict[tuple[int, float], ActivationName] = {
        (0, 2.0): "square",
        (0, 0.5): "sqrt",
        (0, -1.0): "reciprocal",
        (1, 10.0): "exp10",
    }
    name = named.get((link.at, number))
    return None if name is None else (Activation(name),)


def _matmul(link: Link) -> Layers:
    weight = link.constant(1)
    return None if weight is None or weight.ndim != 2 else (Dense(weight),)


def _gemm(link: Link) -> Layers:
    weight = link.constant(1)
    if link.at or weight is None or weight.ndim != 2:
        return None
    parts = gemm_parts(link.node.attributes, weight, link.constants.get(2, np.zeros(1, weight.dtype)))
    return None if parts is None else (Dense(*parts),)


def _along(name: ActivationName) -> Callable[[Link], Layers]:
    """A softmax: along the last axis, and before opset 13 along all from one on."""

    def lowered(link: Link) -> Layers:
        axis = link.get("axis", 1 if link.opset < 13 else -1)
        last = axis == -1 or (link.shape is not None and axis == len(link.shape))
        return (Activation(name),) if last else None

    return lowered


def _plain(name: ActivationName) -> Callable[[Link], Layers]:
    return lambda _: (Activation(name),)


def _parametrised(name: ActivationName, **parameters: tuple[str, float]) -> Callable[[Link], Layers]:
    """An activation whose parameters are attributes, by their names and defaults."""
    return lambda link: (Activation(name, **{key: link.get(*each) for key, each in parameters.items()}),)


def _own(link: Link) -> Layers:
    """An activation under its name here."""
    return (Activation(cast(ActivationName, link.node.operator.rpartition(".")[2]), **link.node.attributes),)


def _gelu(link: Link) -> Layers:
    return (Activation("gelu_tanh" if link.get("approximate", "none") == "tanh" else "gelu"),)


def _selu(link: Link) -> Layers:
    usual = {"alpha": 1.6732632, "gamma": 1.0507009}
    return (
        (Activation("selu"),)
        if all(np.isclose(link.get(*each), each[1], 1e-6) for each in usual.items())
        else None
    )


def _shrink(link: Link) -> Layers:
    bias, width = link.get("bias", 0.0), link.get("lambd", 0.5)
    named: dict[float, ActivationName] = {width: "softshrink", 0.0: "hardshrink"}
    return (Activation(named[bias], width=width),) if bias in named else None


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
    if not link.shape or link.get("axis", 1) != 1:
        return None
    return _flat(link.shape)


def _reshape(link: Link) -> Layers:
    """What keeps samples and makes each one-dimensional; 0, -1 or a fixed length stands for their number."""
    shape = link.constants.get(1)
    if shape is None or shape.size != 2 or not link.shape or link.at:
        return None
    samples, n = (int(k) for k in shape)
    if samples == 0 and link.get("allowzero", 0):
        return None
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
    names = "weight", "bias", "running_mean", "running_var"
    arrays = {name: x for i, name in enumerate(names, 1) if (x := link.constant(i)) is not None and x.ndim == 1}
    flat = link.shape is not None and len(link.shape) == 1
    if link.at or not flat or len(arrays) < len(names) or link.get("training_mode", 0):
        return None
    return batch_normalization(arrays, link.get("epsilon", 1e-5))


def _cast(link: Link) -> Layers:
    """To floating numbers: whatever comes is cast to those that are computed in."""
    return () if link.get("to", 0) in (1, 10, 11, 16) and link.shape is not None else None


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
    "Shrink": _shrink,
    "Gelu": _gelu,
    "PRelu": _prelu,
    "Clip": _clip,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "LayerNormalization": _layer_normalization,
    "RMSNormalization": _layer_normalization,
    "BatchNormalization": _batch_normalization,
    "Cast": _cast,
    **CLASSICAL,
    **dict.fromkeys(OWN, _own),
}
"""What each operator becomes; None where its attributes or constants make it no layer."""
