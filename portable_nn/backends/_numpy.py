"""NumPy: the default. Here is all that makes a forward pass fast on it.

Rows go through the network in blocks that stay in a core's cache, and everything after a product is done in
place. A product of two matrices is `dot`, which starts in half the time that ``@`` takes. Activations are those of
`portable_nn.activations` in forms of fewer passes. float16, for which there is no BLAS, is computed in float32 and
rounded at the end.
"""

from collections.abc import Callable
from itertools import pairwise
from math import gcd
from operator import methodcaller
from typing import TypeAlias, final

import numpy as np

from portable_nn._typing import Array, DType
from portable_nn.backends._base import Backend, Forward
from portable_nn.layers import Dense, Layer

Kernel: TypeAlias = Callable[[Array, Array], object]
"""An activation in place, given zeros of the same shape: NumPy's maximum of an array and a number is slow."""

BLOCK = 2**17
"""Values that a block of rows has in the widest layer."""

ROWS = 400
"""Of which a block has a multiple: products of fewer run at less than full speed."""

REPEATS = (400, 200, 100, 50, 20, 10, 4, 1)
LONG = 4096
"""How often a bias may be repeated, to as many values: it is added to a batch in long rows."""

NARROW, UNITS = 16, 4
"""A hidden layer of more than `NARROW` units runs best with a multiple of `UNITS`: OpenBLAS multiplies by 49 to 51
columns no faster than by 52, and one row by 50 more slowly."""


def _relu(x: Array, zeros: Array) -> None:
    np.maximum(x, zeros, out=x)


def _leaky_relu(x: Array, zeros: Array) -> None:
    np.maximum(x, 0.01 * x, out=x)


def _sigmoid(x: Array, zeros: Array) -> None:
    np.negative(x, x)
    np.exp(x, x)
    x += 1
    np.divide(1, x, x)


def _silu(x: Array, zeros: Array) -> None:
    e = np.negative(x)
    np.exp(e, e)
    e += 1
    x /= e


def _gelu(x: Array, zeros: Array) -> None:
    e = x * x
    e *= -1.5957691216057308 * 0.044715
    e += -1.5957691216057308
    e *= x
    np.exp(e, e)
    e += 1
    x /= e


def _elu(x: Array, zeros: Array) -> None:
    below = np.minimum(x, zeros)
    np.expm1(below, below)
    np.maximum(x, zeros, out=x)
    x += below


def _softplus(x: Array, zeros: Array) -> None:
    e = np.abs(x)
    np.negative(e, e)
    np.exp(e, e)
    np.log1p(e, e)
    np.maximum(x, zeros, out=x)
    x += e


KERNELS: dict[str, Kernel] = {
    "identity": lambda x, zeros: None,
    "tanh": lambda x, zeros: np.tanh(x, x),
    "step": lambda x, zeros: np.greater_equal(x, zeros, out=x),
    "relu": _relu,
    "leaky_relu": _leaky_relu,
    "sigmoid": _sigmoid,
    "silu": _silu,
    "gelu": _gelu,
    "elu": _elu,
    "softplus": _softplus,
}

OVERFLOWING = {"sigmoid", "silu", "gelu"}
"""Activations whose kernels divide by an exponential, infinite where they give 0."""


@final
class NumPy(Backend):
    """NumPy on the CPU."""

    name = "numpy"
    namespace = "array_api_compat.numpy"
    package = "numpy"
    install = "numpy"

    def device_name(self) -> str:
        """Nothing: there is one device."""
        return ""

    def dtype_name(self, dtype: DType) -> str:
        """In whatever byte order."""
        return super().dtype_name(np.dtype(dtype).newbyteorder("="))

    @staticmethod
    def key(x: Array) -> DType:
        """The dtype: there is one device."""
        return x.dtype

    def computed_in(self, dtype: str) -> str:
        """float32 for float16."""
        return "float32" if dtype == "float16" else dtype

    def activation(self, name: str) -> Forward:
        """In place; what reduces rows gets columns in one piece, since short rows take twenty times as long."""
        if kernel := KERNELS.get(name):

            def in_place(x: Array) -> Array:
                kernel(x, _zeros_like(x))
                return x

            return in_place
        function = super().activation(name)
        return lambda x: function(np.asfortranarray(x))

    def prepared(self, layers: tuple[Layer, ...]) -> tuple[Forward, ...]:
        """Two steps for each Dense: the product, and all the rest in place."""
        steps: list[Forward] = []
        for layer in _widened(layers):
            match layer:
                case Dense(activation=name) if name in KERNELS:
                    steps += methodcaller("dot", layer.weight), _finish(layer.bias, KERNELS[name])
                case Dense():
                    finish = _finish(layer.bias, KERNELS["identity"])
                    steps += methodcaller("dot", layer.weight), finish, super().activation(layer.activation)
                case _:
                    steps += super().prepared((layer,))
        return tuple(steps)

    def entered(self, forward: Forward, layers: tuple[Layer, ...]) -> Forward:
        """By blocks of rows; one sample, or one block, goes as it is."""
        shape = next((layer.input_shape for layer in layers if layer.input_shape), None)
        if shape is None:
            return forward
        widest = max([1, *(len(layer.bias) for layer in layers if isinstance(layer, Dense))])
        rows = max(1, BLOCK // widest // ROWS) * ROWS
        overflows = any(getattr(layer, "activation", "") in OVERFLOWING for layer in layers)
        ndim = len(shape)

        def entered(x: Array) -> Array:
            if type(x) is not np.ndarray or x.ndim > ndim + 1 or (x.ndim > ndim and len(x) > rows):
                return _in_blocks(entered, np.asarray(x), rows, ndim)
            if overflows:
                with np.errstate(over="ignore"):
                    return forward(x)
            return forward(x)

        return entered


def _finish(bias: Array, kernel: Kernel) -> Forward:
    """What comes after a product: the bias added and the activation taken, in place."""
    n = len(bias)
    most = next(repeats for repeats in REPEATS if repeats * n <= LONG or repeats == 1)
    repeated = np.tile(bias, most)
    one = {1: (bias, np.zeros_like(bias)), 2: (bias[None], np.zeros_like(bias[None]))}

    def finish(product: Array) -> Array:
        if product.size == n:  # NumPy adds arrays of one shape in a third of the time
            row, zeros = one[product.ndim]
            product += row
            kernel(product, zeros)
        else:
            together = gcd(len(product), most) * n
            rows = product.reshape(-1, together)
            rows += repeated[:together]
            kernel(product, _zeros_like(product))
        return product

    return finish


def _in_blocks(forward: Forward, x: Array, rows: int, ndim: int) -> Array:
    """The results for samples of so many axes, a block at a time."""
    leading = x.shape[: x.ndim - ndim]
    if len(leading) != 1:
        x = x.reshape(-1, *x.shape[x.ndim - ndim :])
    first = forward(x[:rows])
    found = np.empty((len(x), *first.shape[1:]), first.dtype)
    found[:rows] = first
    for start in range(rows, len(x), rows):
        found[start : start + rows] = forward(x[start : start + rows])
    return found.reshape(*leading, *first.shape[1:])


_ZEROS: dict[DType, Array] = {}


def _zeros_like(x: Array) -> Array:
    """Zeros that nobody writes to: the system backs all of them by one page."""
    zeros = _ZEROS.get(x.dtype)
    if zeros is None or zeros.size < x.size:
        zeros = _ZEROS[x.dtype] = np.zeros(max(x.size, BLOCK), x.dtype)
    return zeros[: x.size].reshape(x.shape)


def _widened(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """Hidden layers of a multiple of `UNITS` units: some are there twice, and what reads them reads halves."""
    widened = list(layers)
    for i, (layer, after) in enumerate(pairwise(layers)):
        if isinstance(layer, Dense) and isinstance(after, Dense) and len(layer.bias) > NARROW:
            if copies := -len(layer.bias) % UNITS:
                before = widened[i]
                twice = np.concatenate([np.arange(len(layer.bias)), np.arange(copies)])
                rows = after.weight[twice]
                rows[:copies] /= 2
                rows[-copies:] /= 2
                widened[i] = before.map(lambda array: np.ascontiguousarray(array[..., twice]))
                widened[i + 1] = after.map(lambda array: rows if array is after.weight else array)
    return tuple(widened)
