"""PyTorch's own activations, each in one pass over the values or in few.

They ask as little as may be: `is_narrow` would be one more call of Python.
"""

from collections.abc import Mapping
from math import inf, sqrt
from typing import Any

import torch
from array_api_compat import torch as xp
from torch.nn import functional

from portable_nn._typing import Array
from portable_nn.activations import ERFC_GATE, FUNCTIONS
from portable_nn.activations.gates import CUBIC, LINEAR
from portable_nn.backends._base import Kernel

__all__ = ["KERNELS", "gelu_tanh"]

is_transformed = torch._C._functorch.is_functorch_wrapped_tensor


def is_derived(x: Array) -> bool:
    """Whether derivatives may be taken, to which writing in place is an error; a compiler sees to it itself."""
    return bool(x.requires_grad or torch.compiler.is_compiling() or is_transformed(x))


def portable(name: str, x: Array, **parameters: Any) -> Array:
    """An activation as it is written once; its namespace is known, which a compiler would warn to look for."""
    return FUNCTIONS[name](x, xp=xp, **parameters)


def leaky_relu(x: Array, negative_slope: Any = 0.01) -> Array:
    if not isinstance(negative_slope, float):
        return portable("leaky_relu", x, negative_slope=negative_slope)
    return functional.leaky_relu(x, negative_slope, inplace=negative_slope > 0)


def prelu(x: Array, slope: Any) -> Array:
    return leaky_relu(x, slope)


def elu(x: Array, alpha: Any = 1.0) -> Array:
    return functional.elu(x, alpha) if isinstance(alpha, float) else portable("elu", x, alpha=alpha)


def celu(x: Array, alpha: Any = 1.0) -> Array:
    return functional.celu(x, alpha) if isinstance(alpha, float) else portable("celu", x, alpha=alpha)


def clip(x: Array, low: Any = -1.0, high: Any = 1.0) -> Array:
    if isinstance(low, float) and isinstance(high, float):
        return torch.clamp(x, low, high)
    return portable("clip", x, low=low, high=high)


def silu(x: Array, beta: Any = 1.0) -> Array:
    if isinstance(beta, float) and beta == 1:
        return functional.silu(x)
    return portable("silu", x, beta=beta) if x.itemsize == 2 else torch.sigmoid(beta * x) * x


def log_sigmoid(x: Array) -> Array:  # PyTorch's second derivative loses its upper tail
    return portable("log_sigmoid", x) if is_derived(x) else functional.logsigmoid(x)


def mish(x: Array) -> Array:  # PyTorch's second derivative is nan where exp overflows
    return portable("mish", x) if is_derived(x) else functional.mish(x)


def learned_swish(x: Array, alpha: Any, beta: Any) -> Array:
    if x.itemsize == 2:
        return portable("learned_swish", x, alpha=alpha, beta=beta)
    gate = torch.sigmoid_(alpha * x)
    if is_derived(x):
        return (beta + (1 - beta) * gate) * x
    return gate.mul_(1 - beta).add_(beta).mul_(x)


def hard_sigmoid(x: Array, **parameters: Any) -> Array:  # PyTorch's has no second derivative
    if parameters or is_derived(x) or x.device.type != "cpu":
        return portable("hard_sigmoid", x, **parameters)
    return functional.hardsigmoid(x, inplace=True)


def softplus(x: Array, beta: Any = 1.0, threshold: Any = inf) -> Array:
    if isinstance(beta, float) and isinstance(threshold, float):
        return functional.softplus(x, beta, min(threshold, 40))  # beyond, it is x in every dtype
    return portable("softplus", x, beta=beta, threshold=threshold)


def hard_swish(x: Array) -> Array:
    if x.device.type == "cpu":
        return functional.hardswish(x)
    return portable("hard_swish", x)  # CUDA's has a sixth of float32 in float64 too


def gelu(x: Array) -> Array:
    """By the complementary error function; PyTorch's own is 0 below -5, where gelu is not.

    Far below, where it is as good as 0, a rounded argument costs digits: to keep them takes three times as long.
    """
    if x.itemsize == 2 or is_derived(x):
        return portable("gelu", x)
    return (x * -sqrt(0.5)).erfc_().mul_(0.5).mul_(x)  # in this order nothing overflows


def erfc_gate(z: Array) -> Array:
    return portable(ERFC_GATE, z) if z.itemsize == 2 or is_derived(z) else z.erfc().mul_(z)


def gelu_tanh(linear: Array, x: Array) -> Array:
    """With one temporary; PyTorch's own is 0 below -5, where gelu_tanh is not, and takes longer for a batch."""
    if x.itemsize == 2 or is_derived(x):
        return portable("gelu_tanh", x)
    return torch.addcmul(linear, x, x, value=CUBIC).mul_(x).sigmoid_().mul_(x)


KERNELS: Mapping[str, Kernel] = {  # in place where derivatives are taken from the result
    "sigmoid": torch.sigmoid_,
    "tanh": torch.tanh_,
    "exp": torch.exp_,
    "relu": torch.relu_,
    "relu6": functional.relu6,
    "clip": clip,
    "hard_tanh": clip,
    "leaky_relu": leaky_relu,
    "prelu": prelu,
    "elu": elu,
    "celu": celu,
    "selu": functional.selu,
    "gelu": gelu,
    ERFC_GATE: erfc_gate,
    "gelu_tanh": lambda x: gelu_tanh(x.new_full((), LINEAR), x),
    "silu": silu,
    "learned_swish": learned_swish,
    "mish": mish,
    "hard_sigmoid": hard_sigmoid,
    "hard_swish": hard_swish,
    "log_sigmoid": log_sigmoid,
    "softplus": softplus,
}
