"""Activations under their names in ONNX: each calls the function of `portable_nn.activations`."""

from collections.abc import Callable
from math import prod

from portable_nn import activations
from portable_nn._typing import Array, Namespace
from portable_nn.operators._common import Table, shape_of

__all__ = ["ACTIVATING"]


def plain(name: str) -> Callable[..., Array]:
    """An activation without parameters."""

    def function(x: Array, *, xp: Namespace) -> Array:
        return getattr(activations, name)(x, xp=xp)

    function.activation = name  # type: ignore[attr-defined]
    return function


def leaky_relu(x: Array, *, xp: Namespace, alpha: float = 0.01) -> Array:
    """Slope `alpha` below 0."""
    return activations.leaky_relu(x, negative_slope=alpha, xp=xp)


def prelu(x: Array, slope: Array, *, xp: Namespace) -> Array:
    """A slope below 0 for each feature."""
    return activations.prelu(x, slope=slope, xp=xp)


def elu(x: Array, *, xp: Namespace, alpha: float = 1.0) -> Array:
    """Exponential below 0."""
    return activations.elu(x, alpha=alpha, xp=xp)


def celu(x: Array, *, xp: Namespace, alpha: float = 1.0) -> Array:
    """Exponential below 0, with a continuous derivative."""
    return activations.celu(x, alpha=alpha, xp=xp)


def selu(
    x: Array, *, xp: Namespace, alpha: float = 1.6732632423543772, gamma: float = 1.0507009873554805
) -> Array:
    """A scaled elu."""
    return gamma * activations.elu(x, alpha=alpha, xp=xp)


def gelu(x: Array, *, xp: Namespace, approximate: str = "none") -> Array:
    """Exact, or in its tanh form."""
    return (activations.gelu_tanh if approximate == "tanh" else activations.gelu)(x, xp=xp)


def swish(x: Array, *, xp: Namespace, alpha: float = 1.0) -> Array:
    """``x * sigmoid(alpha * x)``."""
    return activations.silu(x, beta=alpha, xp=xp)


def hard_sigmoid(x: Array, *, xp: Namespace, alpha: float = 0.2, beta: float = 0.5) -> Array:
    """A line between 0 and 1."""
    return activations.hard_sigmoid(x, slope=alpha, offset=beta, xp=xp)


def thresholded_relu(x: Array, *, xp: Namespace, alpha: float = 1.0) -> Array:
    """0 up to a threshold."""
    return activations.threshold(x, threshold=alpha, value=0.0, xp=xp)


def shrink(x: Array, *, xp: Namespace, bias: float = 0.0, lambd: float = 0.5) -> Array:
    """0 near 0, else nearer to it by `bias`."""
    zeros = xp.zeros_like(x)
    return xp.where(x < -lambd, x + bias, xp.where(x > lambd, x - bias, zeros))


def along(name: str) -> Callable[..., Array]:
    """An activation along one axis."""

    def function(x: Array, *, xp: Namespace, axis: int = -1) -> Array:
        return getattr(activations, name)(x, axis, xp=xp)

    return function


def hardmax(x: Array, *, xp: Namespace, axis: int = -1) -> Array:
    """1 at the first largest value along one axis, else 0."""
    at = xp.argmax(xp.moveaxis(x, axis, -1), axis=-1, keepdims=True)
    index = xp.arange(x.shape[axis], dtype=at.dtype, device=at.device if hasattr(at, "device") else None)
    return xp.moveaxis(xp.astype(index == at, x.dtype), -1, axis)


def from_axis_on(function: Callable[..., Array]) -> Callable[..., Array]:
    """What was done before opset 13: along all axes from one on, as if they were one."""

    def flat(x: Array, *, xp: Namespace, axis: int = 1) -> Array:
        shape = shape_of(x)
        axis = axis % len(shape)
        rows = xp.reshape(x, (prod(shape[:axis]), prod(shape[axis:])))
        return xp.reshape(function(rows, xp=xp), shape)

    return flat


ACTIVATING: Table = {
    "Relu": {7: plain("relu")},
    "Sigmoid": {7: plain("sigmoid")},
    "Tanh": {7: plain("tanh")},
    "Softplus": {7: plain("softplus")},
    "Softsign": {7: plain("softsign")},
    "HardSwish": {14: plain("hard_swish")},
    "Mish": {18: plain("mish")},
    "LeakyRelu": {7: leaky_relu},
    "PRelu": {7: prelu},
    "Elu": {7: elu},
    "Celu": {12: celu},
    "Selu": {7: selu},
    "Gelu": {20: gelu},
    "Swish": {24: swish},
    "HardSigmoid": {7: hard_sigmoid},
    "ThresholdedRelu": {10: thresholded_relu},
    "Shrink": {9: shrink},
    "Softmax": {7: from_axis_on(along("softmax")), 13: along("softmax")},
    "LogSoftmax": {7: from_axis_on(along("log_softmax")), 13: along("log_softmax")},
    "Hardmax": {7: from_axis_on(hardmax), 13: hardmax},
}
"""By name, and by the opset from which on they are so."""
