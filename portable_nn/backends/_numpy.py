"""NumPy: the default. Here is all that makes a forward pass fast on it.

Rows go through the network in blocks that stay in a core's cache, and everything after a product is done in
place. A product of two matrices is `dot`, which starts in half the time that ``@`` takes. Activations are those of
`portable_nn.activations` in forms of few passes, on constants that are arrays: NumPy takes 0.2 µs to start on two
arrays of one shape, 0.5 on an array and a number, and compares with a number five times more slowly. float16, for
which there is no BLAS, is computed in float32 and rounded at the end.
"""

from collections.abc import Callable, Hashable
from functools import partial
from itertools import pairwise
from math import gcd
from operator import methodcaller
from types import SimpleNamespace
from typing import NamedTuple, TypeAlias, final

import numpy as np

from portable_nn._typing import Array, DType
from portable_nn.activations import FUNCTIONS
from portable_nn.backends._base import Backend, Forward
from portable_nn.layers import Dense, Layer

BLOCK = 2**17
"""Values that a block of rows has in the widest layer."""

ROWS = 400
"""Of which a block has a multiple: products of fewer run at less than full speed."""

REPEATS = (400, 200, 100, 50, 20, 10, 4, 1)
LONG = 4096
"""How often a row of units may be repeated, to as many values: short rows take several times as long."""

NARROW, UNITS = 16, 4
"""A hidden layer of more than `NARROW` units runs best with a multiple of `UNITS`: OpenBLAS multiplies by 49 to 51
columns no faster than by 52, and one row by 50 more slowly."""


class Constants(NamedTuple):
    """Arrays of one number each, of the shape that a kernel is called on, or of one of its rows."""

    zero: Array
    one: Array
    hundredth: Array
    low: Array
    high: Array
    largest: Array
    linear: Array
    cubic: Array


def constants(shape: tuple[int, ...], dtype: DType) -> Constants:
    """Those of a shape and dtype."""
    values = 0, 1, 0.01, -30, 10, 40, 1.5957691216057308, 1.5957691216057308 * 0.044715
    return Constants(*(np.full(shape, value, dtype) for value in values))


Kernel: TypeAlias = Callable[[Array, Constants], object]
"""An activation in place."""


def _leaky_relu(x: Array, c: Constants) -> None:
    np.maximum(x, x * c.hundredth, out=x)


def _sigmoid(x: Array, c: Constants) -> None:
    np.minimum(x, c.largest, out=x)  # beyond, it is 1 in every dtype
    np.exp(x, x)
    np.divide(x, x + c.one, x)


def _silu(x: Array, c: Constants) -> None:
    e = np.minimum(x, c.largest)
    _sigmoid(e, c)
    x *= e


def _gelu(x: Array, c: Constants) -> None:
    near = np.maximum(x, c.low)  # beyond, the sigmoid is 0 or 1
    np.minimum(near, c.high, out=near)
    e = near * near
    e *= c.cubic
    e += c.linear
    e *= near
    np.exp(e, e)
    np.add(e, c.one, near)
    e /= near
    x *= e


def _elu(x: Array, c: Constants) -> None:
    below = np.minimum(x, c.zero)
    np.expm1(below, below)
    np.maximum(x, c.zero, out=x)
    x += below


def _softplus(x: Array, c: Constants) -> None:
    e = np.negative(x)
    np.minimum(x, e, out=e)
    np.exp(e, e)
    np.log1p(e, e)
    np.maximum(x, c.zero, out=x)
    x += e


KERNELS: dict[str, Kernel] = {
    "identity": lambda x, c: None,
    "tanh": lambda x, c: np.tanh(x, x),
    "step": lambda x, c: np.greater_equal(x, c.zero, out=x),
    "relu": lambda x, c: np.maximum(x, c.zero, out=x),
    "leaky_relu": _leaky_relu,
    "sigmoid": _sigmoid,
    "silu": _silu,
    "gelu": _gelu,
    "elu": _elu,
    "softplus": _softplus,
}

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
    def key(x: Array) -> Hashable:
        """Dtype, axes, and whether it is one sample: there is one device."""
        return x.dtype, x.ndim, x.shape[:1] == (1,)

    def computed_in(self, dtype: str) -> str:
        """float32 for float16."""
        return "float32" if dtype == "float16" else dtype

    def cast_to(self, dtype: DType) -> Forward:
        """The array's own method, which starts sooner."""
        return methodcaller("astype", dtype)

    def suited(self, layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
        """Hidden layers of a multiple of `UNITS` units: some are there twice, and what reads them reads halves."""
        wider = list(layers)
        for i, (layer, after) in enumerate(pairwise(layers)):
            copies = -len(layer.bias) % UNITS if isinstance(layer, Dense) else 0
            if copies and isinstance(layer, Dense) and isinstance(after, Dense) and len(layer.bias) > NARROW:
                twice = np.r_[: len(layer.bias), :copies]
                weight, bias = (array[..., twice] for array in wider[i].arrays.values())
                rows = after.weight[twice]
                rows[:copies] /= 2
                rows[-copies:] /= 2
                wider[i : i + 2] = Dense(weight, bias, layer.activation), Dense(rows, after.bias, after.activation)
        return tuple(wider)

    def activation(self, name: str) -> Forward:
        """In place; one that reduces rows gets each column in one piece, since short rows take twenty times as long."""
        if kernel := KERNELS.get(name):
            known: dict[Hashable, Constants] = {}

            def in_place(x: Array) -> Array:
                shape = x.shape[-1:], x.dtype
                kernel(x, known.get(shape) or known.setdefault(shape, constants(*shape)))
                return x

            return in_place
        function = partial(FUNCTIONS[name], xp=REDUCING)
        return lambda x: function(np.asfortranarray(x))

    def prepared(self, layers: tuple[Layer, ...], like: Array) -> tuple[Forward, ...]:
        """The product of each Dense, and all the rest of it in place."""
        steps: list[Forward] = []
        for layer in layers:
            if not isinstance(layer, Dense):
                steps += super().prepared((layer,), like)
                continue
            kernel = KERNELS.get(layer.activation, KERNELS["identity"])
            if like.ndim == 1 or like.shape[:1] == (1,):
                steps.append(_one_sample(layer, kernel))
            else:
                steps += methodcaller("dot", layer.weight), _finish(layer.bias, kernel)
            if layer.activation not in KERNELS:
                steps.append(self.activation(layer.activation))
        return tuple(steps)

    def parted(self, forward: Forward, layers: tuple[Layer, ...], like: Array) -> Forward:
        """By blocks of rows; one sample goes as it is."""
        shape = next((layer.input_shape for layer in layers if layer.input_shape), None)
        if shape is None or like.ndim == len(shape):
            return _on_arrays(forward, like)
        widest = max([1, *(len(layer.bias) for layer in layers if isinstance(layer, Dense))])
        rows, ndim = max(1, BLOCK // widest // ROWS) * ROWS, len(shape)
        if like.ndim == ndim + 1 and like.shape[:1] == (1,):
            return _on_arrays(forward, like)

        def parted(x: Array) -> Array:
            if x.ndim == ndim + 1 and len(x) <= rows:
                return forward(x)
            return _in_blocks(forward, x, rows, ndim)

        return _on_arrays(parted, like)


REDUCING = SimpleNamespace(
    exp=np.exp,
    log=np.log,
    where=np.where,
    zeros_like=np.zeros_like,
    max=lambda x, axis, keepdims: np.maximum.reduce(x, axis, None, None, keepdims),  # type: ignore[call-overload]
    sum=lambda x, axis, keepdims: np.add.reduce(x, axis, None, None, keepdims),  # type: ignore[call-overload]
)
"""What softmax takes of a namespace; the reductions start in half the time of `numpy.max` and `numpy.sum`."""


def _on_arrays(forward: Forward, like: Array) -> Forward:
    """On plain arrays, which those of a subclass are made first."""
    return forward if type(like) is np.ndarray else lambda x: forward(np.asarray(x))


def _one_sample(layer: Dense, kernel: Kernel) -> Forward:
    weight, bias = layer.weight, layer.bias
    by_ndim = {ndim: (a, constants(a.shape, a.dtype)) for ndim, a in ((1, bias), (2, bias[None]))}

    def dense(x: Array) -> Array:
        x = x.dot(weight)
        bias, c = by_ndim[x.ndim]
        x += bias
        kernel(x, c)
        return x

    return dense


def _finish(bias: Array, kernel: Kernel) -> Forward:
    """What comes after a product of many rows: the bias added and the activation taken, in long rows."""
    n = len(bias)
    most = next(repeats for repeats in REPEATS if repeats * n <= LONG or repeats == 1)
    known: dict[int, tuple[Array, Constants]] = {}

    def finish(product: Array) -> Array:
        repeats = gcd(len(product), most)
        if repeats not in known:
            known[repeats] = np.tile(bias, repeats), constants((repeats * n,), bias.dtype)
        repeated, c = known[repeats]
        rows = product.reshape(-1, repeats * n)
        rows += repeated
        kernel(rows, c)
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
