"""Activations of NumPy arrays in as few calls as may be, which overwrite their argument."""

import sys
from collections.abc import Callable
from functools import cache
from math import log
from typing import TypeAlias

import numpy as np
from numpy.lib.introspect import opt_func_info

from portable_nn._typing import Array
from portable_nn.activations.gates import CUBIC, LINEAR
from portable_nn.backends._base import Forward

Number: TypeAlias = Callable[[float], Array]
"""Makes a constant an array without axes: NumPy starts on that in 0.3 µs, on a number of Python in 0.6."""

Zeros: TypeAlias = Callable[[Array], Array]
"""Makes zeros like an array: NumPy's maximum of an array and a number takes five times as long as that of two."""

Kernel: TypeAlias = Callable[[Number, Zeros], Forward]
"""Makes an activation of an array that it may overwrite."""


@cache
def _power() -> tuple[np.ufunc, float]:
    """A function and a unit so that ``exp(x)`` is ``power(unit * x)``.

    exp2 takes half the time of exp where NumPy has it for vectors of 512 bits, elsewhere several times as long.
    """
    kinds = opt_func_info("^exp2$", "float32").get("exp2", {}).values()
    is_wide = any(kind["current"] in ("X86_V4", "AVX512_SKX") for kind in kinds) and sys.platform == "linux"
    return (np.exp2, 1 / log(2)) if is_wide else (np.exp, 1.0)


def _sigmoid(number: Number, zeros: Zeros) -> Forward:
    power, unit = _power()
    one, rate = number(1), number(-unit)

    def sigmoid(x: Array) -> Array:
        x *= rate
        power(x, x)
        x += one
        return np.divide(one, x, x)

    return sigmoid


def _silu(number: Number, zeros: Zeros) -> Forward:
    power, unit = _power()
    one, rate = number(1), number(-unit)

    def silu(x: Array) -> Array:
        e = x * rate
        power(e, e)
        e += one
        x /= e
        return x

    return silu


def _gelu_tanh(number: Number, zeros: Zeros) -> Forward:
    power, unit = _power()
    one, linear, cubic = number(1), number(-LINEAR * unit), number(-CUBIC * unit)

    def gelu(x: Array) -> Array:
        e = x * x
        e *= cubic
        e += linear
        e *= x
        power(e, e)
        e += one
        x /= e
        return x

    return gelu


def _leaky_relu(number: Number, zeros: Zeros) -> Forward:
    hundredth = number(0.01)
    return lambda x: np.maximum(x, hundredth * x, out=x)


def _elu(number: Number, zeros: Zeros) -> Forward:
    def elu(x: Array) -> Array:
        below = np.minimum(x, zeros(x))
        np.expm1(below, below)
        return np.maximum(x, below, out=x)

    return elu


def _softplus(number: Number, zeros: Zeros) -> Forward:
    power, unit = _power()
    rate = number(-unit)

    def softplus(x: Array) -> Array:
        e = np.abs(x)
        e *= rate
        power(e, e)
        np.log1p(e, e)
        np.maximum(x, zeros(x), out=x)
        x += e
        return x

    return softplus


KERNELS: dict[str, Kernel] = {
    "identity": lambda number, zeros: lambda x: x,
    "tanh": lambda number, zeros: lambda x: np.tanh(x, x),
    "step": lambda number, zeros: lambda x: np.greater_equal(x, zeros(x), out=x),
    "relu": lambda number, zeros: lambda x: np.maximum(x, zeros(x), out=x),
    "leaky_relu": _leaky_relu,
    "sigmoid": _sigmoid,
    "silu": _silu,
    "gelu_tanh": _gelu_tanh,
    "elu": _elu,
    "softplus": _softplus,
}

OVERFLOWING = {"sigmoid", "silu", "gelu_tanh"}
"""Those that divide by an exponential, which is infinite where they are 0."""


def _sigmoid_of_one(number: Number, zeros: Zeros) -> Forward:
    one, largest = number(1), number(40)  # from where it is 1 in every dtype

    def sigmoid(x: Array) -> Array:
        e = np.exp(np.minimum(x, largest))
        return e / (e + one)

    return sigmoid


WITHOUT_OVERFLOW = {"sigmoid": _sigmoid_of_one}
"""It saves one sample the 0.7 µs of `errstate`."""
